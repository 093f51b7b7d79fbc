/**
 * One DPURule as flows: rank inside its tier, both directions, verdicts. Pure: the same rule and ids give the same bytes.
 */
import { TIERS, type DpuRule, type RuleEntry } from '../../api/dpu-rule.ts';
import { encodeFlow, type EncodedFlow } from '../../openflow/flow.ts';
import { OpenFlowError } from '../../openflow/errors.ts';
import type { Match, MatchField } from '../../openflow/match.ts';
import { makeCookie } from './cookie.ts';
import type { EntryVerdict } from './model.ts';
import { matchVni, VERDICT_REGISTER } from './registers.ts';
import { registerId, ruleEntryName } from './rule-id.ts';
import { ruleAlternatives, UnsupportedMatch, type RuleAlternative } from './rule-match.ts';
import { EGRESS_CHAIN, INGRESS_CHAIN, type TierChain } from './tables/tiers.ts';

/** Why an entry is not accepted: a reason of api.md and a sentence. */
export interface Refusal {
  readonly reason: string;
  readonly message: string;
}

/** What became of one entry of a rule. */
export interface CompiledEntry {
  readonly namespace: string;
  readonly name: string;
  readonly rule: string;
  /** The name that ids and claims use: `DPURule/namespace/name/rule`. */
  readonly key: string;
  readonly cookie: bigint;
  /** Set when the entry is not accepted. */
  readonly refusal?: Refusal;
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
    const key = ruleEntryName(namespace, name, entry.name);
    const id = idOf(key);
    const base = { namespace, name, rule: entry.name, key, cookie: makeCookie('rule', id) };
    const result = compileEntry(object, entry, verdicts[index] ?? {}, id);
    return 'reason' in result
      ? { ...base, refusal: result, flows: [] }
      : { ...base, flows: result };
  });
}

/** The flows of one entry, or why it has none. */
function compileEntry(
  object: DpuRule,
  entry: RuleEntry,
  verdict: EntryVerdict,
  id: bigint,
): readonly EncodedFlow[] | Refusal {
  if (verdict.vni === undefined) {
    return { reason: verdict.reason ?? 'Invalid', message: verdict.message ?? 'no VNI' };
  }
  if (object.spec.enforcement === 'Suspended') return [];
  const unsupported = unsupportedField(object, entry);
  if (unsupported !== undefined) {
    return { reason: 'Unsupported', message: `${unsupported} is not available in this release` };
  }
  if (entry.action === 'pass' && object.spec.tier === TIERS.at(-1)) {
    const message = 'action: pass needs a next tier, and baseline is the last one';
    return { reason: 'Invalid', message };
  }
  const alternatives = ruleAlternatives(entry.match);
  if (alternatives instanceof UnsupportedMatch) {
    return { reason: 'Unsupported', message: `${alternatives.field}: ${alternatives.why}` };
  }
  if (alternatives.length === 0) {
    const message = 'match: no packet can match, since its parts name different address families';
    return { reason: 'Invalid', message };
  }
  const network = matchVni(verdict.vni);
  try {
    return chainsOf(entry).flatMap((chain) =>
      chainFlows(chain, object, entry, network, id, alternatives),
    );
  } catch (error) {
    // The encoder refuses what the switch would widen or misread: one entry must not hold back the others.
    if (!(error instanceof OpenFlowError)) throw error;
    return { reason: 'Invalid', message: `${error.code}: ${error.message}` };
  }
}

/** The flows of one entry in one direction: its matches, each once, and the verdict. */
function chainFlows(
  chain: TierChain,
  object: DpuRule,
  entry: RuleEntry,
  network: MatchField,
  id: bigint,
  alternatives: readonly RuleAlternative[],
): EncodedFlow[] {
  const tier = TIERS.indexOf(object.spec.tier);
  const table = chain.tiers[tier];
  if (table === undefined) return [];
  const cookie = makeCookie('rule', id);
  const priority = rankOf(entry.priority ?? object.spec.priority, entry.action);
  const instructions = decision(chain, tier, entry.action, registerId(id));
  const flows = new Map<string, EncodedFlow>();
  const add = (match: Match): void => {
    const flow = encodeFlow({
      tableId: table.id,
      priority,
      cookie,
      match: [network, ...match],
      instructions,
    });
    flows.set(flow.key, flow);
  };
  for (const { match, fragmentMatch } of alternatives) {
    add(match);
    // Safe: the first fragment is judged by its port, and nothing reassembles without it.
    if (entry.action === 'allow' && fragmentMatch !== undefined) add(fragmentMatch);
  }
  const matches = [...flows.values()];
  if (entry.action === 'pass') return matches;
  return [...matches, verdictFlow(chain, network, entry.action, cookie, registerId(id))];
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
  network: MatchField,
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
