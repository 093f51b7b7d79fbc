/**
 * The rules of a snapshot with the verdict of ownership on each, and the networks that it rests on. Pure; what did not
 * change keeps its identity, so that the compiler's memory holds.
 */
import { isDeepStrictEqual } from 'node:util';
import type { DpuGroup } from '../../api/dpu-group.ts';
import type { DpuGroupSlice } from '../../api/dpu-group-slice.ts';
import type { DpuNetwork } from '../../api/dpu-network.ts';
import type { DpuRule } from '../../api/dpu-rule.ts';
import type { AgentConfig } from '../config.ts';
import type { EntryVerdict } from '../flow/model.ts';
import type { SourceObject } from '../sources/source.ts';
import { collectGroups, type Group, type GroupIndex, groupKeys, withGroups } from './groups.ts';
import {
  checkOwnership,
  collectNetworks,
  type NetworkIndex,
  type NetworkProblem,
  type OwnershipConfig,
} from './ownership.ts';

/** The parts of the configuration that rules depend on. */
export type RuleSetConfig = Pick<AgentConfig, 'customer' | 'tiers' | 'networks'>;

/** A rule with a verdict for each of its entries, in their order. */
export interface OwnedRule {
  readonly rule: DpuRule;
  readonly verdicts: readonly EntryVerdict[];
  /** True when an entry redirects or mirrors: what it compiles to depends on the ports of the bridge too. */
  readonly namesPorts: boolean;
  /** The groups that its entries name, by key; undefined for one that is not there. */
  readonly groups: ReadonlyMap<string, Group | undefined>;
}

/** Everything that is to be compiled. */
export interface RuleSet {
  readonly config: RuleSetConfig;
  readonly networks: NetworkIndex;
  /** DPUNetwork objects that are not in force. */
  readonly networkProblems: readonly NetworkProblem[];
  readonly groups: GroupIndex;
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
  const groupObjects: DpuGroup[] = [];
  const sliceObjects: DpuGroupSlice[] = [];
  for (const [key, { object }] of objects) {
    if (object.kind === 'DPUNetwork') networkObjects.push(object);
    else if (object.kind === 'DPURule') ruleObjects.push([key, object]);
    else if (object.kind === 'DPUGroup') groupObjects.push(object);
    else if (object.kind === 'DPUGroupSlice') sliceObjects.push(object);
  }
  const customerVnis = config.customer.vnis;
  const collected = collectNetworks(config.networks, networkObjects, customerVnis);
  const sameNetworks =
    previous !== undefined && isDeepStrictEqual(previous.networks, collected.networks);
  const networks = sameNetworks ? previous.networks : collected.networks;
  const reusable = sameNetworks && previous.config === config ? previous.rules : undefined;
  const groups = collectGroups(groupObjects, sliceObjects, previous?.groups);
  const rules = new Map<string, OwnedRule>();
  for (const [key, rule] of ruleObjects) {
    const known = reusable?.get(key);
    const owned =
      known?.rule === rule && sameGroups(known.groups, groups)
        ? known
        : ownedRule(rule, networks, groups, { customerVnis, tiers: config.tiers });
    rules.set(key, owned);
  }
  return { config, networks, networkProblems: collected.problems, groups, rules };
}

function sameGroups(known: OwnedRule['groups'], groups: GroupIndex): boolean {
  for (const [key, group] of known) if (groups.get(key) !== group) return false;
  return true;
}

function ownedRule(
  rule: DpuRule,
  networks: NetworkIndex,
  groups: GroupIndex,
  config: OwnershipConfig,
): OwnedRule {
  const { rules } = rule.spec;
  const { namespace } = rule.metadata;
  const verdicts = checkOwnership(rule, networks, config).map((verdict, index) => {
    const entry = rules[index];
    return entry === undefined ? verdict : withGroups(verdict, entry, namespace, groups);
  });
  const named = groupKeys(rules, namespace).map((key) => [key, groups.get(key)] as const);
  const namesPorts = rules.some(
    ({ action, mirror }) => action === 'redirect' || mirror !== undefined,
  );
  return { rule, verdicts, namesPorts, groups: new Map(named) };
}
