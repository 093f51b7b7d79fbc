/**
 * One DPURule as flows: rank inside its tier, both directions, verdicts. Pure: the same rule and ids give the same bytes.
 */
import { TIERS, type DpuRule, type RuleEntry } from '../../api/dpu-rule.ts';
import { encodeFlow, type EncodedFlow } from '../../openflow/flow.ts';
import type { Match } from '../../openflow/match.ts';
import { makeCookie } from './cookie.ts';
import type { EntryVerdict } from './model.ts';
import { matchVni, VERDICT_REGISTER } from './registers.ts';
import { registerId, ruleEntryName } from './rule-id.ts';
import { ruleAlternatives, UnsupportedMatch } from './rule-match.ts';
import { EGRESS_CHAIN, INGRESS_CHAIN, type TierChain } from './tables/tiers.ts';

/** What became of one entry of a rule. */
export interface CompiledEntry {
  readonly namespace: string;
  readonly name: string;
  readonly rule: string;
  /** The name that ids and claims use: `DPURule/namespace/name/rule`. */
  readonly key: string;
  readonly cookie: bigint;
  /** Set when the entry is not accepted: a reason of api.md and a sentence. */
  readonly refusal?: { readonly reason: string; readonly message: string };
  readonly flows: readonly EncodedFlow[];
}

/** Order of actions at equal priority: what is more cautious wins. */
const ACTION_CLASS = { deny: 0, reject: 1, redirect: 2, pass: 3, allow: 4 } as const;
const TIER_PRIORITY_TOP = 60000;
const PRIORITY_STEP = 16;
const CLASS_STEP = 2;
const VERDICT_PRIORITY = 100;

/** OpenFlow priority of a rule inside its tier's table. `priority` is 0..1000, lower first. */
export function rankOf(priority: number, action: RuleEntry['action']): number {
  return TIER_PRIORITY_TOP - PRIORITY_STEP * priority - CLASS_STEP * ACTION_CLASS[action];
}

/** Compiles a rule. `idOf` gives the 40-bit id of an entry by its name. */
export function compileRule(
  object: DpuRule,
  verdicts: readonly EntryVerdict[],
  idOf: (name: string) => bigint,
): CompiledEntry[] {
  const { namespace, name } = object.metadata;
  return object.spec.rules.map((entry, index) => {
    const rule = entry.name;
    const key = ruleEntryName(namespace, name, rule);
    const id = idOf(key);
    const verdict = verdicts[index] ?? {};
    const base = { namespace, name, rule, key, cookie: makeCookie('rule', id) };
    const refuse = (reason: string, message: string): CompiledEntry => ({
      ...base,
      refusal: { reason, message },
      flows: [],
    });
    if (verdict.vni === undefined || verdict.reason !== undefined) {
      return refuse(verdict.reason ?? 'Invalid', verdict.message ?? 'no VNI');
    }
    if (object.spec.enforcement === 'Suspended') return { ...base, flows: [] };
    const unsupported = unsupportedField(object, entry);
    if (unsupported !== undefined) {
      return refuse('Unsupported', `${unsupported} is not available in this release`);
    }
    const tier = TIERS.indexOf(object.spec.tier);
    if (entry.action === 'pass' && tier === TIERS.length - 1) {
      return refuse('Invalid', 'action: pass needs a next tier, and baseline is the last one');
    }
    const alternatives = ruleAlternatives(entry.match);
    if (alternatives instanceof UnsupportedMatch) {
      return refuse('Unsupported', `${alternatives.field}: ${alternatives.why}`);
    }
    if (alternatives.length === 0) {
      return refuse(
        'Invalid',
        'match: no packet can match, since its parts name different address families',
      );
    }
    const network = matchVni(verdict.vni);
    const priority = rankOf(entry.priority ?? object.spec.priority, entry.action);
    const flows: EncodedFlow[] = [];
    for (const chain of chainsOf(entry)) {
      const decide = decision(chain, tier, entry.action, registerId(id));
      const table = chain.tiers[tier];
      if (table === undefined) continue;
      const push = (match: Match): void => {
        const full = [network, ...match];
        flows.push(
          encodeFlow({
            tableId: table.id,
            priority,
            cookie: base.cookie,
            match: full,
            instructions: decide,
          }),
        );
      };
      const fragments = new Set<string>();
      for (const alternative of alternatives) {
        push(alternative.match);
        // Safe: the first fragment is judged by its port, and nothing reassembles without it.
        if (entry.action !== 'allow' || alternative.fragmentMatch === undefined) continue;
        const text = alternative.fragmentMatch
          .map(({ field, value }) => `${field}=${value}`)
          .join();
        if (!fragments.has(text)) push(alternative.fragmentMatch);
        fragments.add(text);
      }
      if (entry.action !== 'pass')
        flows.push(verdictFlow(chain, network, entry.action, base.cookie, registerId(id)));
    }
    return { ...base, flows };
  });
}

/** The first field of a rule that this release accepts but does not act on; undefined when there is none. */
function unsupportedField(object: DpuRule, entry: RuleEntry): string | undefined {
  if (object.spec.enforcement === 'DryRun') return 'enforcement: DryRun';
  if (Object.keys(object.spec.nodeSelector ?? {}).length > 0) return 'nodeSelector';
  if (entry.action === 'redirect' || entry.action === 'reject') return `action: ${entry.action}`;
  if (entry.reverse) return 'reverse';
  if (entry.log !== undefined && entry.log.mode !== 'none') return 'log';
  if (entry.rateLimit !== undefined) return 'rateLimit';
  if (entry.mirror !== undefined) return 'mirror';
  if (entry.expiresAt !== undefined) return 'expiresAt';
  return undefined;
}

function chainsOf(entry: RuleEntry): TierChain[] {
  switch (entry.direction) {
    case 'Egress':
      return [EGRESS_CHAIN];
    case 'Ingress':
      return [INGRESS_CHAIN];
    case 'Both':
      return [EGRESS_CHAIN, INGRESS_CHAIN];
  }
}

/** What a matching packet does in the tier's table. */
function decision(chain: TierChain, tier: number, action: RuleEntry['action'], id: number) {
  if (action === 'pass') {
    return { gotoTable: (chain.tiers[tier + 1] ?? chain.verdict).id };
  }
  return {
    applyActions: [
      { type: 'setField', field: VERDICT_REGISTER[chain.direction], value: id } as const,
    ],
    gotoTable: chain.verdict.id,
  };
}

function verdictFlow(
  chain: TierChain,
  network: Match[number],
  action: RuleEntry['action'],
  cookie: bigint,
  id: number,
): EncodedFlow {
  return encodeFlow({
    tableId: chain.verdict.id,
    priority: VERDICT_PRIORITY,
    cookie,
    match: [network, { field: VERDICT_REGISTER[chain.direction], value: id }],
    instructions: action === 'allow' ? { gotoTable: chain.allowed.id } : {},
  });
}
