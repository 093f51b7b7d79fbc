/**
 * Counters of the switch by rule and by drop reason: one dump of our flows, kept for a moment so that a scrape and an
 * operator do not each ask.
 */
import type { OpenFlowConnection } from '../../openflow/client.ts';
import { flowKey } from '../../openflow/flow.ts';
import type { FlowStats } from '../../openflow/flow-stats.ts';
import { dropReasonOf, type DropReason } from '../flow/drop-reason.ts';
import { isRuleCookie } from '../flow/cookie.ts';
import { EGRESS_CHAIN, INGRESS_CHAIN } from '../flow/tables/tiers.ts';
import { visitOwnFlows } from '../reconcile/switch-dump.ts';

/** Packets and bytes. */
export interface Count {
  packets: number;
  bytes: number;
}

/** What a dump says. */
export interface Counters {
  /** By cookie of the rule entry, both directions together. */
  readonly rules: ReadonlyMap<bigint, Count>;
  /** Since this agent first looked; never falls. */
  readonly drops: ReadonlyMap<DropReason, number>;
}

const TIER_TABLES: ReadonlySet<number> = new Set(
  [EGRESS_CHAIN, INGRESS_CHAIN].flatMap((chain) => chain.tiers.map((tier) => Number(tier.id))),
);
const VERDICT_TABLES: ReadonlySet<number> = new Set<number>([
  EGRESS_CHAIN.verdict.id,
  INGRESS_CHAIN.verdict.id,
]);

/**
 * Totals of drops that never fall: a flow that goes takes its counter with it, and a total that fell would look like a
 * restart to whoever takes its rate. Pure.
 */
export class DropTotals {
  readonly #totals = new Map<DropReason, number>();
  #lastByFlow = new Map<string, number>();
  #nextByFlow = new Map<string, number>();

  /** Takes in the counter of one drop flow. */
  add(reason: DropReason, flow: string, packets: number): void {
    const last = this.#lastByFlow.get(flow) ?? 0;
    // Less than before: it is another flow of the same match.
    const more = packets >= last ? packets - last : packets;
    this.#totals.set(reason, (this.#totals.get(reason) ?? 0) + more);
    this.#nextByFlow.set(flow, packets);
  }

  /** Ends one dump. @returns the totals so far. */
  finish(): ReadonlyMap<DropReason, number> {
    this.#lastByFlow = this.#nextByFlow;
    this.#nextByFlow = new Map();
    return new Map(this.#totals);
  }
}

/** Adds up the counters of one dump. Pure. */
export class CounterSum {
  readonly rules = new Map<bigint, Count>();
  readonly #drops: DropTotals;

  constructor(drops: DropTotals) {
    this.#drops = drops;
  }

  /** Takes in one flow. A rule counts in its tier; the verdict tables say what it denied. */
  add(stats: FlowStats): void {
    const { cookie, packets, bytes } = stats;
    const reason = dropReasonOf(cookie);
    if (reason !== undefined) {
      this.#drops.add(reason, keyOf(stats), packets);
    } else if (isRuleCookie(cookie)) {
      if (TIER_TABLES.has(stats.tableId)) {
        const count = this.rules.get(cookie) ?? { packets: 0, bytes: 0 };
        count.packets += packets;
        count.bytes += bytes;
        this.rules.set(cookie, count);
      } else if (VERDICT_TABLES.has(stats.tableId) && stats.instructions.length === 0) {
        this.#drops.add('RuleDeny', keyOf(stats), packets);
      }
    }
  }
}

function keyOf(stats: FlowStats): string {
  return flowKey(stats.tableId, stats.priority, stats.match);
}

/** Reads counters at most once per `maxAgeMs`. */
export class CounterReader {
  readonly #connection: () => OpenFlowConnection | undefined;
  readonly #maxAgeMs: number;
  readonly #drops = new DropTotals();
  #last: { readonly atMs: number; readonly counters: Promise<Counters> } | undefined;

  constructor(connection: () => OpenFlowConnection | undefined, maxAgeMs = 500) {
    this.#connection = connection;
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
    const sum = new CounterSum(this.#drops);
    await visitOwnFlows(connection, (stats) => sum.add(stats));
    return { rules: sum.rules, drops: this.#drops.finish() };
  }
}
