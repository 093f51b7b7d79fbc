/**
 * One DPURule as flows: rank inside its tier, both directions, verdicts. Pure: the same rule and ids give the same bytes.
 */
import { TIERS, type DpuRule, type RuleEntry } from '../../api/dpu-rule.ts';
import type { Action } from '../../openflow/action.ts';
import { encodeFlow, type EncodedFlow } from '../../openflow/flow.ts';
import { OpenFlowError } from '../../openflow/errors.ts';
import type { Instructions } from '../../openflow/instruction.ts';
import type { Match, MatchField } from '../../openflow/match.ts';
import { makeCookie } from './cookie.ts';
import { dryRunForms, type FlowForm } from './dry-run.ts';
import { FlowIndex } from './flow-index.ts';
import type { EntryGroups, EntryVerdict } from './model.ts';
import { planRedirect } from './redirect.ts';
import { conjunctionPays, makeClauses } from './conjunction.ts';
import type { LogTarget } from './packet-logging.ts';
import type { PipelineTable } from './pipeline.ts';
import { faultText, ruleFlowFault } from './isolation.ts';
import { matchVni, setFlag, VERDICT_REGISTER } from './registers.ts';
import { registerId, replyName, ruleEntryName } from './rule-id.ts';
import { entryDimensions, entryReplies } from './group-match.ts';
import { UnsupportedMatch, type RuleDimensions } from './rule-match.ts';
import { verdictFlows } from './verdict-flows.ts';
import { Verbs, type MeterIdOf, type RejectTarget, type UsedMeter } from './verbs.ts';
import { EGRESS_CHAIN, INGRESS_CHAIN, TIER_CHAINS, type TierChain } from './tables/tiers.ts';

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
  /** The action, where the rule is on trial: its flows count and decide nothing. */
  readonly dryRun?: RuleEntry['action'];
  /** Set when it is accepted, but something that it needs is not there. Its flows say what happens until then. */
  readonly pending?: Refusal | undefined;
  /** Members of its groups that it does not act on, since they stand in other VNIs; undefined without groups. */
  readonly leftOut?: number;
  /** Flows that are this entry's alone. */
  readonly flows: readonly EncodedFlow[];
  /** Clauses of its conjunctions, whose flows others may share. */
  readonly clauses: readonly EncodedFlow[];
  /** Meters that its flows use; others may use them too. */
  readonly meters: readonly UsedMeter[];
  /** Set when the agent answers its packets. */
  readonly reject?: RejectTarget | undefined;
  /** Set when the agent writes a line about its packets. */
  readonly log?: LogTarget | undefined;
}

interface EntryFlows {
  readonly flows: EncodedFlow[];
  readonly clauses: EncodedFlow[];
  readonly pending?: Refusal | undefined;
  readonly meters: UsedMeter[];
  reject?: RejectTarget | undefined;
  log?: LogTarget | undefined;
}

/** Order of actions at equal priority: what is more cautious wins. */
const ACTION_CLASS = { deny: 0, reject: 1, redirect: 2, pass: 3, allow: 4 } as const;
const TIER_PRIORITY_TOP = 60000;
const PRIORITY_STEP = 16;
const CLASS_STEP = 2;
const NO_FLOWS: EncodedFlow[] = [];

/** OpenFlow priority of a rule inside its tier's table. `priority` is 0..1000, lower first. */
export function rankOf(priority: number, action: RuleEntry['action']): number {
  return TIER_PRIORITY_TOP - PRIORITY_STEP * priority - CLASS_STEP * ACTION_CLASS[action];
}

/** Compiles a rule. `idOf` gives the 40-bit id of an entry by its name, `meterIdOf` the number of a meter. */
export function compileRule(
  object: DpuRule,
  verdicts: readonly EntryVerdict[],
  idOf: (name: string) => bigint,
  meterIdOf: MeterIdOf,
): CompiledEntry[] {
  const { namespace, name } = object.metadata;
  return object.spec.rules.map((entry, index) => {
    const key = ruleEntryName(namespace, name, entry.name);
    const id = idOf(key);
    const base = {
      ...{ namespace, name, rule: entry.name, key, cookie: makeCookie('rule', id) },
      ...(object.spec.enforcement === 'DryRun' ? { dryRun: entry.action } : {}),
      ...leftOutOf(verdicts[index]?.groups),
    };
    // Replies to a redirect stand in the other chain: there its own id is free.
    const replyId = entry.reverse ? idOf(replyName(key)) : id;
    const verdict = verdicts[index] ?? {};
    const verbs = new Verbs(object, entry, { key, verdict }, meterIdOf);
    const result = isolated(compileEntry(object, entry, verdict, id, replyId, verbs), verdict);
    return 'reason' in result
      ? { ...base, refusal: result, flows: [], clauses: [], meters: [] }
      : { ...base, ...result };
  });
}

function leftOutOf(groups: EntryGroups | undefined): { leftOut?: number } {
  if (groups === undefined) return {};
  return { leftOut: (groups.source?.leftOut ?? 0) + (groups.destination?.leftOut ?? 0) };
}

/** What was compiled, unless it would reach beyond the network that the entry may speak for. */
function isolated(
  result: EntryFlows | Refusal,
  { vni, tracking }: EntryVerdict,
): EntryFlows | Refusal {
  if ('reason' in result || vni === undefined) return result;
  for (const flows of [result.flows, result.clauses]) {
    for (const flow of flows) {
      const fault = ruleFlowFault(flow, vni, tracking?.zone);
      if (fault !== undefined) return { reason: 'IsolationViolation', message: faultText(fault) };
    }
  }
  return result;
}

/** The flows of one entry, or why it has none. */
function compileEntry(
  object: DpuRule,
  entry: RuleEntry,
  verdict: EntryVerdict,
  id: bigint,
  replyId: bigint,
  verbs: Verbs,
): EntryFlows | Refusal {
  if (verdict.vni === undefined) {
    return { reason: verdict.reason ?? 'Invalid', message: verdict.message ?? 'no VNI' };
  }
  if (object.spec.enforcement === 'Suspended') return { flows: [], clauses: [], meters: [] };
  const unsupported = unsupportedField(object);
  if (unsupported !== undefined) {
    return { reason: 'Unsupported', message: `${unsupported} is not available in this release` };
  }
  if (verbs.problem !== undefined) return { reason: 'Invalid', message: verbs.problem };
  const needsNext = entry.action === 'pass' || entry.action === 'redirect';
  if (needsNext && object.spec.tier === TIERS.at(-1)) {
    const message = `action: ${entry.action} needs a next tier, and baseline is the last one`;
    return { reason: 'Invalid', message };
  }
  const families = entryDimensions(entry.match, verdict.groups);
  if (families instanceof UnsupportedMatch) {
    return { reason: 'Unsupported', message: `${families.field}: ${families.why}` };
  }
  if (families.length === 0) {
    // Who is in a group changes: nobody at the moment is no mistake.
    if (verdict.groups !== undefined) return { flows: [], clauses: [], meters: [] };
    const message = 'match: no packet can match, since its parts contradict each other';
    return { reason: 'Invalid', message };
  }
  const isRedirect = entry.action === 'redirect' && object.spec.enforcement === 'Enforce';
  const { tracking } = verdict;
  // A tracker that knows the connections knows their replies.
  const isStateful = tracking?.warming === false;
  const wantsReplies = (entry.reverse || isRedirect) && !isStateful;
  const replies = wantsReplies ? entryReplies(entry.match, verdict.groups) : [];
  const forward = chainsOf(entry);
  // A reply passes an endpoint the other way round than what it answers.
  const backward = replies.length === 0 ? [] : oppositeOf(forward);
  const missing = isRedirect && typeof verdict.legs === 'string' ? verdict.legs : undefined;
  const all: EntryFlows = {
    flows: [],
    clauses: [],
    meters: [],
    pending: missing === undefined ? verbs.pending : { reason: 'PortNotFound', message: missing },
  };
  const network = matchVni(verdict.vni);
  const ranked = {
    object,
    entry,
    network,
    cookie: makeCookie('rule', id),
    verdictId: registerId(id),
  };
  try {
    if (isRedirect) {
      const { legs } = verdict;
      const plan = planRedirect({
        ...ranked,
        tier: TIERS.indexOf(object.spec.tier),
        legs: typeof legs === 'string' ? undefined : legs,
        tracking,
        hasReplies: replies.length > 0,
        verbs,
      });
      for (const { isReply, chain, cookie, ...form } of plan.steps) {
        const place = { ...ranked, chain, cookie, form, conjId: ranked.verdictId };
        for (const family of isReply ? replies : families) addFamily(all, place, family);
      }
      all.flows.push(...plan.flows);
      return kept(withVerbs(all, verbs));
    }
    for (const chain of forward) {
      const place = { ...ranked, chain, conjId: ranked.verdictId };
      for (const family of families) addFamily(all, place, family);
    }
    for (const chain of backward) {
      const noted = tracking === undefined ? {} : { note: setFlag('byReverse') };
      const place = { ...ranked, ...noted, chain, conjId: registerId(replyId) };
      for (const family of replies) addFamily(all, place, family);
    }
    if (entry.action !== 'pass' && object.spec.enforcement === 'Enforce') {
      for (const chain of new Set([...forward, ...backward])) {
        all.flows.push(
          ...verdictFlows({ ...ranked, chain, action: entry.action, tracking }, verbs),
        );
      }
      withVerbs(all, verbs);
    }
  } catch (error) {
    // The encoder refuses what the switch would widen or misread: one entry must not hold back the others.
    if (!(error instanceof OpenFlowError)) throw error;
    return { reason: 'Invalid', message: `${error.code}: ${error.message}` };
  }
  return kept(all);
}

/** One entry in one direction. */
interface RankedEntry {
  readonly chain: TierChain;
  readonly object: DpuRule;
  readonly entry: RuleEntry;
  readonly network: MatchField;
  /** Done beside the decision. */
  readonly note?: Action;
  /** The one form of its flows, where the action alone does not say it. */
  readonly form?: FlowForm;
  readonly cookie: bigint;
  /** What goes into the verdict register: 32 bits. */
  readonly verdictId: number;
  /** Of conjunctions, unique in their table. */
  readonly conjId: number;
}

/** Adds the flows of one address family: plain ones, or a conjunction where that is fewer. */
function addFamily(all: EntryFlows, rank: RankedEntry, dimensions: RuleDimensions): void {
  const { chain, object } = rank;
  const table = chain.tiers[TIERS.indexOf(object.spec.tier)];
  if (table === undefined) return;
  if (dimensions.fragmentsOnly === true && !takesFragments(rank.entry.action)) return;
  for (const form of formsOf(rank, table)) addForm(all, rank, table.id, dimensions, form);
}

/** Adds the flows of one address family in one form. */
function addForm(
  all: EntryFlows,
  rank: RankedEntry,
  tableId: number,
  dimensions: RuleDimensions,
  { guard, instructions }: FlowForm,
): void {
  const { object, entry, network, cookie, conjId } = rank;
  const priority = rankOf(entry.priority ?? object.spec.priority, entry.action);
  const { sources, destinations } = dimensions;
  const transports = transportsOf(dimensions, entry.action);
  const add = (at: number, match: Match): void => {
    all.flows.push(encodeFlow({ tableId, priority: at, cookie, match, instructions }));
  };
  if (conjunctionPays([sources.length, destinations.length, transports.length])) {
    // One below the rank: a plain flow of the same match and priority would replace the clause.
    const place = { tableId, priority: priority - 1 };
    const common = [network, ...guard, ...dimensions.common];
    all.clauses.push(...makeClauses(place, conjId, common, [sources, destinations, transports]));
    add(place.priority, [network, ...guard, { field: 'conjId', value: conjId }]);
    return;
  }
  for (const source of sources) {
    for (const destination of destinations) {
      for (const transport of transports) {
        // In the order of the registry, most often: then the encoder has nothing to sort.
        add(priority, [
          ...dimensions.common,
          ...source,
          ...destination,
          ...transport,
          ...guard,
          network,
        ]);
      }
    }
  }
}

/** What lets a packet go on takes later fragments too: the first one is judged by its port. */
export function takesFragments(action: RuleEntry['action']): boolean {
  return action === 'allow' || action === 'redirect';
}

/** The choices of ports, with those of later fragments where the action takes them. */
function transportsOf({ transports }: RuleDimensions, action: RuleEntry['action']): Match[] {
  const matches = transports.map(({ match }) => match);
  if (!takesFragments(action)) return matches;
  const fragments = new Map<string, Match>();
  for (const { fragmentMatch } of transports) {
    if (fragmentMatch !== undefined) {
      fragments.set(fragmentMatch.map(({ value }) => String(value)).join(), fragmentMatch);
    }
  }
  return [...matches, ...fragments.values()];
}

/** Each key once: both families of a rule end in one conjunction flow. */
function unique(flows: EncodedFlow[]): EncodedFlow[] {
  if (flows.length === 2 && flows[0]?.tableId !== flows[1]?.tableId) return flows.slice();
  const index = new FlowIndex();
  for (const flow of flows) index.put(flow);
  return [...index];
}

/** Adds what the verbs need beside flows. */
function withVerbs(all: EntryFlows, verbs: Verbs): EntryFlows {
  all.meters.push(...verbs.meters);
  if (verbs.reject !== undefined) all.reject = verbs.reject;
  if (verbs.log !== undefined) all.log = verbs.log;
  return all;
}

/** What an entry keeps: arrays of just their length, since a list that grew has room for sixteen more. */
function kept(all: EntryFlows): EntryFlows {
  const clauses = all.clauses.length === 0 ? NO_FLOWS : all.clauses.slice();
  return { ...all, flows: unique(all.flows), clauses };
}

/** The first field of a rule that this release accepts but does not act on; undefined when there is none. */
function unsupportedField(object: DpuRule): string | undefined {
  if (Object.keys(object.spec.nodeSelector ?? {}).length > 0) return 'nodeSelector';
  return undefined;
}

function chainsOf({ direction, action }: RuleEntry): readonly TierChain[] {
  switch (direction) {
    case 'Egress':
      return [EGRESS_CHAIN];
    case 'Ingress':
      return [INGRESS_CHAIN];
    case 'Both':
      return action === 'redirect' ? [EGRESS_CHAIN] : TIER_CHAINS;
  }
}

function oppositeOf(chains: readonly TierChain[]): readonly TierChain[] {
  if (chains.length > 1) return chains;
  return TIER_CHAINS.filter((chain) => !chains.includes(chain));
}

/** In which forms the entry's flows stand in the tier's table: one when it is in force. */
function formsOf(rank: RankedEntry, table: PipelineTable): readonly FlowForm[] {
  const { chain, object, entry, verdictId, form } = rank;
  if (form !== undefined) return [form];
  const next = chain.tiers[TIERS.indexOf(object.spec.tier) + 1] ?? chain.verdict;
  return object.spec.enforcement === 'DryRun'
    ? dryRunForms(entry.action, { table, next, verdictId })
    : [{ guard: [], instructions: decision(rank, next) }];
}

/** What a matching packet does in the tier's table. */
function decision(
  { chain, entry, verdictId, note }: RankedEntry,
  next: PipelineTable,
): Instructions {
  if (entry.action === 'pass') return { gotoTable: next.id };
  const register = VERDICT_REGISTER[chain.direction];
  return {
    applyActions: [
      ...(note === undefined ? [] : [note]),
      { type: 'setField', field: register, value: verdictId },
    ],
    gotoTable: chain.verdict.id,
  };
}
