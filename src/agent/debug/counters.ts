/**
 * Counters of the switch by rule and by drop reason: one dump of our flows, kept for a moment so that a scrape and an
 * operator do not each ask.
 */
import type { RuleAction } from '../../api/dpu-rule.ts';
import type { OpenFlowConnection } from '../../openflow/client.ts';
import { OFPR } from '../../openflow/ofp13.ts';
import { flowKey } from '../../openflow/flow.ts';
import { decodeInstructions } from '../../openflow/instruction.ts';
import type { FlowStats } from '../../openflow/flow-stats.ts';
import { dropReasonOf, type DropReason } from '../flow/drop-reason.ts';
import type { DesiredState } from '../flow/desired.ts';
import { isRuleCookie } from '../flow/cookie.ts';
import { EGRESS_CHAIN, INGRESS_CHAIN } from '../flow/tables/tiers.ts';
import { visitOwnFlows, visitOwnMeters } from '../reconcile/switch-dump.ts';

/** Packets and bytes. */
export interface Count {
  readonly packets: number;
  readonly bytes: number;
}

/** What a dump says. */
export interface Counters {
  /** By cookie of the rule entry, both directions together. */
  readonly rules: ReadonlyMap<bigint, Count>;
  /** Packets over a rule's rateLimit, by cookie of the entry. */
  readonly limited: ReadonlyMap<bigint, number>;
  /** Since this agent first looked; never falls. */
  readonly drops: ReadonlyMap<DropReason, number>;
  /** Packets that rules on trial would have decided about, by action. Never falls either. */
  readonly dryRun: ReadonlyMap<RuleAction, number>;
}

const TIER_TABLES: ReadonlySet<number> = new Set(
  [EGRESS_CHAIN, INGRESS_CHAIN].flatMap((chain) => chain.tiers.map((tier) => Number(tier.id))),
);
const VERDICT_TABLES: ReadonlySet<number> = new Set<number>([
  EGRESS_CHAIN.verdict.id,
  INGRESS_CHAIN.verdict.id,
]);

/**
 * Totals by name that never fall: a flow that goes takes its counter with it, and a total that fell would look like a
 * restart to whoever takes its rate. Pure.
 */
export class NamedTotals<Name extends string> {
  readonly #totals = new Map<Name, number>();
  #lastByFlow = new Map<string, number>();
  #nextByFlow = new Map<string, number>();

  /** Takes in the counter of one flow. */
  add(name: Name, flow: string, packets: number): void {
    const last = this.#lastByFlow.get(flow) ?? 0;
    // Less than before: it is another flow of the same match.
    const more = packets >= last ? packets - last : packets;
    this.#totals.set(name, (this.#totals.get(name) ?? 0) + more);
    this.#nextByFlow.set(flow, packets);
  }

  /** Ends one dump. @returns the totals so far. */
  finish(): ReadonlyMap<Name, number> {
    this.#lastByFlow = this.#nextByFlow;
    this.#nextByFlow = new Map();
    return new Map(this.#totals);
  }
}

/** What is counted from dump to dump. */
export interface RunningTotals {
  readonly drops: NamedTotals<DropReason>;
  readonly dryRun: NamedTotals<RuleAction>;
}

/** How a rule's flow ends its packets; undefined where they go on, or where no verdict is carried out. */
export function ruleDropReason(stats: FlowStats): 'RuleDeny' | 'RuleReject' | undefined {
  if (!isRuleCookie(stats.cookie) || !VERDICT_TABLES.has(stats.tableId)) return undefined;
  // Nothing, a mark on a live connection, or a copy for the log or the answer: it ends here.
  const { gotoTable, applyActions = [] } = decodeInstructions(stats.instructions);
  if (gotoTable !== undefined) return undefined;
  const isReject = applyActions.some(
    (action) => action.type === 'controller' && action.reason === OFPR.NO_MATCH,
  );
  return isReject ? 'RuleReject' : 'RuleDeny';
}

/** Adds up the counters of one dump. Pure. */
export class CounterSum {
  readonly #inTiers = new Map<bigint, Count>();
  readonly #decided = new Map<bigint, Count>();
  readonly #totals: RunningTotals;
  readonly #dryRuns: ReadonlyMap<bigint, RuleAction>;

  /** `dryRuns`: the actions of the entries that are on trial, by cookie. */
  constructor(totals: RunningTotals, dryRuns: ReadonlyMap<bigint, RuleAction>) {
    this.#totals = totals;
    this.#dryRuns = dryRuns;
  }

  /**
   * Packets by rule: those that it decided about, or that met it in its tier where it decides nothing (pass, dry run). A
   * tier alone would count too many: a packet may come by it in the shadow of a dry run.
   */
  get rules(): Map<bigint, Count> {
    return new Map([...this.#inTiers, ...this.#decided]);
  }

  /** Takes in one flow. */
  add(stats: FlowStats): void {
    const { cookie, packets } = stats;
    const reason = dropReasonOf(cookie);
    if (reason !== undefined) {
      this.#totals.drops.add(reason, keyOf(stats), packets);
    } else if (isRuleCookie(cookie)) {
      if (TIER_TABLES.has(stats.tableId)) {
        addCount(this.#inTiers, stats);
        const action = this.#dryRuns.get(cookie);
        if (action !== undefined) this.#totals.dryRun.add(action, keyOf(stats), packets);
      } else if (VERDICT_TABLES.has(stats.tableId)) {
        addCount(this.#decided, stats);
        const refused = ruleDropReason(stats);
        if (refused !== undefined) this.#totals.drops.add(refused, keyOf(stats), packets);
      }
    }
  }
}

function addCount(counts: Map<bigint, Count>, { cookie, packets, bytes }: FlowStats): void {
  const count = counts.get(cookie) ?? { packets: 0, bytes: 0 };
  counts.set(cookie, { packets: count.packets + packets, bytes: count.bytes + bytes });
}

function keyOf(stats: FlowStats): string {
  return flowKey(stats.tableId, stats.priority, stats.match);
}

/** Reads counters at most once per `maxAgeMs`. */
export class CounterReader {
  readonly #connection: () => OpenFlowConnection | undefined;
  readonly #desired: DesiredState;
  readonly #maxAgeMs: number;
  readonly #totals: RunningTotals = { drops: new NamedTotals(), dryRun: new NamedTotals() };
  #last: { readonly atMs: number; readonly counters: Promise<Counters> } | undefined;

  constructor(
    connection: () => OpenFlowConnection | undefined,
    desired: DesiredState,
    maxAgeMs = 500,
  ) {
    this.#connection = connection;
    this.#desired = desired;
    this.#maxAgeMs = maxAgeMs;
  }

  /** The counters; undefined while the switch cannot be reached. */
  async read(): Promise<Counters | undefined> {
    const connection = this.#connection();
    if (connection === undefined) return undefined;
    const nowMs = performance.now();
    if (this.#last === undefined || nowMs - this.#last.atMs > this.#maxAgeMs) {
      this.#last = { atMs: nowMs, counters: this.#dump(connection) };
    }
    const { counters } = this.#last;
    try {
      return await counters;
    } catch {
      // The connection went while we asked: the caller sees the same as without one, and its loss is logged elsewhere.
      this.#last = undefined;
      return undefined;
    }
  }

  async #dump(connection: OpenFlowConnection): Promise<Counters> {
    const { drops, dryRun } = this.#totals;
    const dryRuns = new Map<bigint, RuleAction>();
    const limiters = new Map<number, bigint>();
    for (const { cookie, dryRun: action, meters } of this.#desired.entries()) {
      if (action !== undefined) dryRuns.set(cookie, action);
      for (const { use, meterId } of meters) if (use === 'rateLimit') limiters.set(meterId, cookie);
    }
    const sum = new CounterSum(this.#totals, dryRuns);
    await visitOwnFlows(connection, (stats) => sum.add(stats));
    const limited = new Map<bigint, number>();
    await visitOwnMeters(connection, ({ meterId, dropped }) => {
      const cookie = limiters.get(meterId);
      if (cookie === undefined) return;
      limited.set(cookie, dropped);
      drops.add('RateLimited', `meter ${meterId}`, dropped);
    });
    return { rules: sum.rules, limited, drops: drops.finish(), dryRun: dryRun.finish() };
  }
}
