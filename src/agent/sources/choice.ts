/**
 * Which source the configuration asks for, with the store of last good objects behind it. Reads nothing itself.
 */
import type { Logger } from '../../base/logger.ts';
import type { AgentConfig } from '../config-shape.ts';
import { DirectorySource } from './directory.ts';
import { KubeSource } from './kube.ts';
import type { KubeTarget } from '../../kube/config.ts';
import { LastGoodStore } from './last-good.ts';
import { RememberedSource } from './remembered.ts';
import type { RuleSource, SourceObject } from './source.ts';

function innerSource(config: AgentConfig, store: LastGoodStore, logger: Logger): RuleSource {
  const { rules, kubernetes, vteps } = config;
  if (rules.source === 'directory') return new DirectorySource(rules.path, { logger });
  const lastGood = async (): Promise<ReadonlyMap<string, SourceObject>> =>
    (await store.load()).lastGood?.objects ?? new Map();
  return new KubeSource(kubeTarget(rules, kubernetes), {
    logger,
    lastGood,
    endpointSlices: vteps.source === 'kubernetes',
  });
}

/** Which API server the configuration names, and as whom. */
export function kubeTarget(
  rules: Extract<AgentConfig['rules'], { readonly source: 'kubernetes' }>,
  { apiServer, localAddress }: AgentConfig['kubernetes'],
): KubeTarget {
  const { kubeconfig } = rules;
  return {
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    ...(apiServer === undefined ? {} : { apiServer }),
    ...(localAddress === undefined ? {} : { localAddress }),
  };
}

/** The source of rules for this configuration, not started. */
export function makeSource(config: AgentConfig, logger: Logger): RememberedSource {
  const store = new LastGoodStore(config.state);
  return new RememberedSource(innerSource(config, store, logger), store, { logger });
}

/** Where the rules come from, in a few words for people. */
export function sourcePlace({ rules, kubernetes }: AgentConfig): string {
  if (rules.source === 'directory') return rules.path;
  return kubernetes.apiServer ?? rules.kubeconfig ?? 'service account of the pod';
}
