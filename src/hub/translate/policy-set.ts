/**
 * Many policies at once: which network each belongs to, what all of them become, and what contradicts. Pure.
 */
import type { DpuNetwork } from '../../api/dpu-network.ts';
import type { DpuGroupManifest, DpuRuleManifest } from './manifest.ts';
import { translatePolicy } from './policy-rules.ts';
import { formatPlaced, type PlacedPolicy } from './policy-text.ts';

/** What a set of policies becomes. With any problem there are no objects. */
export interface TranslatedSet {
  /** Groups first: what a rule names is there before it. */
  readonly objects: readonly (DpuGroupManifest | DpuRuleManifest)[];
  /** Whole lines. */
  readonly problems: readonly string[];
}

/** The network of a namespace: as the caller says, as a DPUNetwork says, or the one with the namespace's own name. */
function networkOf(
  namespace: string,
  networks: readonly DpuNetwork[],
  chosen: string | undefined,
): { readonly name: string; readonly fault?: string } {
  const owners = networks.filter(({ metadata, spec }) =>
    chosen === undefined ? spec.namespaces.includes(namespace) : metadata.name === chosen,
  );
  const [owner, other] = owners;
  if (owner === undefined) return { name: chosen ?? namespace };
  const { name } = owner.metadata;
  if (other !== undefined) {
    const fault = `DPUNetworks ${name} and ${other.metadata.name} both list namespace ${namespace}; say which with --network`;
    return { name, fault };
  }
  if (owner.spec.conntrack === 'on') return { name };
  const fault = `DPUNetwork ${name} has conntrack off; a NetworkPolicy allows replies, which needs conntrack: "on"`;
  return { name, fault };
}

/** Translates policies; `network` is the name of the DPUNetwork of all of them, where the caller knows it. */
export function translateSet(
  policies: readonly PlacedPolicy[],
  networks: readonly DpuNetwork[],
  network?: string,
): TranslatedSet {
  const problems: string[] = [];
  const groups = new Map<string, DpuGroupManifest>();
  const rules = new Map<string, DpuRuleManifest>();
  const seen = new Set<string>();
  for (const { policy, place } of policies) {
    const report = (path: string, message: string): void =>
      void problems.push(formatPlaced(place, { path, message }));
    const { namespace, name } = policy;
    const key = `${namespace}/${name}`;
    if (seen.has(key)) {
      report('metadata.name', `NetworkPolicy ${key} is given twice; accepted: each policy once`);
      continue;
    }
    seen.add(key);
    const found = networkOf(namespace, networks, network);
    if (found.fault !== undefined) report('metadata.namespace', found.fault);
    const translation = translatePolicy(policy, found.name);
    for (const problem of translation.problems) report(problem.path, problem.message);
    for (const group of translation.groups) {
      const groupKey = `${namespace}/${group.metadata.name}`;
      const known = groups.get(groupKey);
      if (known === undefined) groups.set(groupKey, group);
      else if (JSON.stringify(known.spec) !== JSON.stringify(group.spec)) {
        report('', `DPUGroup ${groupKey} would have two meanings: rename the policy`);
      }
    }
    for (const rule of translation.rules) {
      const ruleKey = `${namespace}/${rule.metadata.name}`;
      if (rules.has(ruleKey))
        report('', `DPURule ${ruleKey} would be made twice: rename the policy`);
      rules.set(ruleKey, rule);
    }
  }
  const objects = [...groups.values(), ...rules.values()];
  return { objects: problems.length > 0 ? [] : objects, problems };
}
