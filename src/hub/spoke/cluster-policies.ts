/**
 * All NetworkPolicies of a cluster into what they become together. Pure. One that is refused does not keep the others, and
 * what it became before stays: a typing error must not open what was closed.
 */
import type { Problem } from '../../base/error.ts';
import type { HubObject, StoredObject } from '../apply/customer.ts';
import { ORIGIN_ANNOTATION } from '../../api/labels.ts';
import { translatePolicy } from '../translate/policy-rules.ts';
import type { PolicyView } from './cluster.ts';
import type { NetworkPlaces } from './network-places.ts';

/** A policy that becomes nothing new, and why. */
export interface RefusedPolicy {
  readonly policy: PolicyView;
  /** One word. */
  readonly reason: 'Invalid' | 'ConntrackOff' | 'NetworkAmbiguous' | 'NameTaken';
  readonly message: string;
}

/** What the policies of a cluster become. */
export interface ClusterPolicies {
  /** Groups first. */
  readonly objects: readonly HubObject[];
  readonly refused: readonly RefusedPolicy[];
  /** Policies of namespaces that stand in no network of ours: they are others' to enforce. */
  readonly elsewhere: number;
}

function sayProblems(problems: readonly Problem[]): string {
  const texts = problems.map(({ path, message }) =>
    path === '' ? message : `${path}: ${message}`,
  );
  return texts.join('; ');
}

function faultOf(
  policy: PolicyView,
  places: NetworkPlaces,
): Omit<RefusedPolicy, 'policy'> | undefined {
  if (policy.policy === undefined) {
    return { reason: 'Invalid', message: sayProblems(policy.problems) };
  }
  const [network, other] = places.networksOf(policy.namespace);
  if (network === undefined) return undefined;
  if (other !== undefined) {
    const message = `DPUNetworks ${network.metadata.name} and ${other.metadata.name} both name namespace ${policy.namespace}; accepted: one network`;
    return { reason: 'NetworkAmbiguous', message };
  }
  if (network.spec.conntrack === 'on') return undefined;
  const message = `DPUNetwork ${network.metadata.name} has conntrack off; a NetworkPolicy allows replies, which needs conntrack: "on"`;
  return { reason: 'ConntrackOff', message };
}

/** See the head of the file. */
export function translateCluster(
  policies: Iterable<PolicyView>,
  places: NetworkPlaces,
): ClusterPolicies {
  const groups = new Map<string, HubObject>();
  const rules = new Map<string, HubObject>();
  const refused: RefusedPolicy[] = [];
  let elsewhere = 0;
  const inOrder = [...policies].sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const policy of inOrder) {
    const [network] = places.networksOf(policy.namespace);
    if (network === undefined) {
      elsewhere++;
      continue;
    }
    const fault = faultOf(policy, places);
    if (fault !== undefined || policy.policy === undefined) {
      if (fault !== undefined) refused.push({ policy, ...fault });
      continue;
    }
    const made = translatePolicy(policy.policy, network.metadata.name);
    const taken = [...made.rules].find(({ metadata }) =>
      rules.has(`${metadata.namespace}/${metadata.name}`),
    );
    if (made.problems.length > 0 || taken !== undefined) {
      const message =
        taken === undefined
          ? sayProblems(made.problems)
          : `DPURule ${taken.metadata.name} is another policy's; accepted: another name`;
      const reason = taken === undefined ? 'Invalid' : 'NameTaken';
      refused.push({ policy, reason, message });
      continue;
    }
    for (const object of made.groups) {
      groups.set(`${object.metadata.namespace}/${object.metadata.name}`, object);
    }
    for (const object of made.rules) {
      rules.set(`${object.metadata.namespace}/${object.metadata.name}`, object);
    }
  }
  return { objects: [...groups.values(), ...rules.values()], refused, elsewhere };
}

/**
 * Which of our objects stay although no policy asks for them now: rules of a refused policy, and the groups that they name.
 */
export function keepsOf(
  refused: readonly RefusedPolicy[],
  stored: Iterable<StoredObject>,
): (object: StoredObject) => boolean {
  const origins = new Set(
    refused.map(({ policy }) => `NetworkPolicy/${policy.namespace}/${policy.name}`),
  );
  const isRefused = ({ metadata }: StoredObject): boolean =>
    origins.has(metadata.annotations[ORIGIN_ANNOTATION] ?? '');
  const groups = new Set<string>();
  if (origins.size > 0) {
    for (const rule of stored) {
      if (rule.kind !== 'DPURule' || !isRefused(rule)) continue;
      for (const name of groupNames(rule.spec)) groups.add(`${rule.metadata.namespace}/${name}`);
    }
  }
  return (object) =>
    object.kind === 'DPURule'
      ? isRefused(object)
      : groups.has(`${object.metadata.namespace}/${object.metadata.name}`);
}

/** Names of the groups that the rules of a spec name, whatever else stands in it. */
function groupNames(spec: unknown): string[] {
  const own = (value: unknown, name: string): unknown =>
    typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
  const rules = own(spec, 'rules');
  const list: readonly unknown[] = Array.isArray(rules) ? rules : [];
  return list
    .flatMap((rule) => [own(own(rule, 'match'), 'srcGroup'), own(own(rule, 'match'), 'dstGroup')])
    .filter((name) => typeof name === 'string');
}
