/**
 * The rules of a snapshot with the verdict of ownership on each, and the networks that it rests on. Pure; what did not
 * change keeps its identity, so that the compiler's memory holds.
 */
import { isDeepStrictEqual } from 'node:util';
import type { DpuNetwork } from '../../api/dpu-network.ts';
import type { DpuRule } from '../../api/dpu-rule.ts';
import type { AgentConfig } from '../config.ts';
import type { SourceObject } from '../sources/source.ts';
import {
  checkOwnership,
  collectNetworks,
  type NetworkIndex,
  type NetworkProblem,
  type OwnershipVerdict,
} from './ownership.ts';

/** The parts of the configuration that rules depend on. */
export type RuleSetConfig = Pick<AgentConfig, 'customer' | 'tiers' | 'networks'>;

/** A rule with a verdict for each of its entries, in their order. */
export interface OwnedRule {
  readonly rule: DpuRule;
  readonly verdicts: readonly OwnershipVerdict[];
  /** True when an entry redirects: what it compiles to depends on the ports of the bridge too. */
  readonly redirects: boolean;
}

/** Everything that is to be compiled. */
export interface RuleSet {
  readonly config: RuleSetConfig;
  readonly networks: NetworkIndex;
  /** DPUNetwork objects that are not in force. */
  readonly networkProblems: readonly NetworkProblem[];
  /** Rules by object key. */
  readonly rules: ReadonlyMap<string, OwnedRule>;
}

/** Judges every rule of `objects`. From `previous` it takes what is still true. */
export function buildRuleSet(
  objects: ReadonlyMap<string, SourceObject>,
  config: RuleSetConfig,
  previous?: RuleSet,
): RuleSet {
  const networkObjects: DpuNetwork[] = [];
  const ruleObjects: [string, DpuRule][] = [];
  for (const [key, { object }] of objects) {
    if (object.kind === 'DPUNetwork') networkObjects.push(object);
    else if (object.kind === 'DPURule') ruleObjects.push([key, object]);
  }
  const customerVnis = config.customer.vnis;
  const collected = collectNetworks(config.networks, networkObjects, customerVnis);
  const sameNetworks =
    previous !== undefined && isDeepStrictEqual(previous.networks, collected.networks);
  const networks = sameNetworks ? previous.networks : collected.networks;
  const reusable = sameNetworks && previous.config === config ? previous.rules : undefined;
  const rules = new Map<string, OwnedRule>();
  for (const [key, rule] of ruleObjects) {
    const known = reusable?.get(key);
    const owned =
      known?.rule === rule
        ? known
        : {
            rule,
            verdicts: checkOwnership(rule, networks, { customerVnis, tiers: config.tiers }),
            redirects: rule.spec.rules.some(({ action }) => action === 'redirect'),
          };
    rules.set(key, owned);
  }
  return { config, networks, networkProblems: collected.problems, rules };
}
