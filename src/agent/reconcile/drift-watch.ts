/**
 * Changes that others make to the switch, as its flow monitor tells them: the mirror follows at once, and what is ours is
 * marked for repair. Our own changes come abbreviated and are passed over. Nothing is written here, and without a monitor
 * the audit finds the same, only later.
 */
import type { Logger } from '../../base/logger.ts';
import type { OpenFlowConnection } from '../../openflow/client.ts';
import { OpenFlowError } from '../../openflow/errors.ts';
import { lendDumpedFlow, type EncodedFlow } from '../../openflow/flow.ts';
import type { FlowMonitorNotice, FlowUpdate } from '../../openflow/flow-monitor.ts';
import { OFPRR } from '../../openflow/ofp13.ts';
import type { DesiredState } from '../flow/desired.ts';
import { FlowIndex } from '../flow/flow-index.ts';
import { TABLE } from '../flow/pipeline.ts';
import { isLearnedFlow } from '../flow/tables/learned.ts';
import type { Mirror } from './mirror.ts';

/** Between two repairs of one flow, and between two dumps that others are the cause of. Milliseconds. */
const REPAIR_INTERVAL_MS = 1000;
/** A flow that was left alone for so long has been repaired for good. Milliseconds. */
const QUIET_MS = 10_000;
/** Repairs of one flow in a row that are called a tug of war. */
const CONTEST_REPAIRS = 3;
/** Marked flows, and remembered repairs: beyond, a dump is cheaper than remembering. */
const MARKS_MAX = 100_000;
const EMPTY = new Uint8Array(0);
const GONE_WITH_OTHERS: ReadonlySet<number> = new Set([OFPRR.GROUP_DELETE, OFPRR.METER_DELETE]);

/** What the watch works with. */
export interface DriftWatchOptions {
  readonly desired: DesiredState;
  readonly logger: Logger;
  /** Clock in milliseconds. */
  readonly now: () => number;
  /** There is something to repair. `eventMs` is when that was seen, by the clock. */
  readonly poke: (eventMs?: number) => void;
}

/** The watch over one switch, through all its connections. */
export class DriftWatch {
  readonly #options: DriftWatchOptions;
  #connection: OpenFlowConnection | undefined;
  #subscribed = false;
  /** Never used twice on a connection: Open vSwitch 3.1 does not stand that. */
  #nextMonitorId = 1;
  #mirror: Mirror | undefined;
  #marked = new FlowIndex();
  /** Flow key -> its last repair and how many there were in a row; the oldest first. */
  readonly #repairs = new Map<string, { readonly atMs: number; readonly count: number }>();
  #dumpWanted = false;
  #lastDumpMs = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #timerDueMs = 0;
  #contested = false;
  #refusalLogged = false;

  constructor(options: DriftWatchOptions) {
    this.#options = options;
  }

  /** True when what others did can only be found by a dump, and the last such dump is long enough ago. */
  get dumpDue(): boolean {
    return this.#dumpWanted && this.#dumpWaitMs() <= 0;
  }

  /** True while somebody undoes our repairs; that has been logged. */
  get contested(): boolean {
    return this.#contested;
  }

  /**
   * Sees to it that the switch tells changes on this connection. Has to come before the dump that the mirror is made from,
   * so that nothing is lost between. A switch that refuses is left to the audit, with one line in the log.
   * @throws ConnectionError, DecodeError.
   */
  async subscribe(connection: OpenFlowConnection): Promise<void> {
    if (connection !== this.#connection) {
      this.#connection = connection;
      this.#subscribed = false;
      this.#mirror = undefined;
      connection.on('flowUpdate', (update) => {
        if (connection === this.#connection) this.#receive(update);
      });
      connection.on('flowMonitor', (notice) => {
        if (connection === this.#connection) this.#notice(notice);
      });
    }
    if (this.#subscribed) return;
    try {
      await connection.monitorFlows({ id: this.#nextMonitorId++ });
      this.#refusalLogged = false;
    } catch (error) {
      if (!(error instanceof OpenFlowError)) throw error;
      if (!this.#refusalLogged) {
        this.#refusalLogged = true;
        this.#options.logger.warn(
          { err: error },
          'switch does not offer a flow monitor, changes by others are found by the audit',
        );
      }
    }
    this.#subscribed = true;
  }

  /** From now on changes go into this mirror, which a dump is about to fill: it answers everything that was marked. */
  follow(mirror: Mirror): void {
    this.#mirror = mirror;
    this.#dumpWanted = false;
    this.#lastDumpMs = this.#options.now();
  }

  /** Forgets the marks: everything is being compared anyway. */
  clear(): void {
    this.#marked = new FlowIndex();
  }

  /**
   * The marked flows that may be repaired now; none while a dump is wanted, since they may need what only that finds: a
   * group that is gone. A flow that was repaired less than a second ago stays marked, and a poke will
   * come in its time: whoever changes it again and again must not make us spin.
   */
  take(): FlowIndex {
    const nowMs = this.#options.now();
    this.#forgetQuiet(nowMs);
    const due = new FlowIndex();
    if (this.#dumpWanted) {
      this.#pokeIn(this.#dumpWaitMs());
      return due;
    }
    let againMs = Infinity;
    const early = new FlowIndex();
    for (const flow of this.#marked) {
      const { key } = flow;
      const last = this.#repairs.get(key);
      const waitMs = last === undefined ? 0 : last.atMs + REPAIR_INTERVAL_MS - nowMs;
      if (waitMs > 0) {
        againMs = Math.min(againMs, waitMs);
        early.put(flow);
        continue;
      }
      due.put(flow);
      this.#repairs.delete(key);
      const count = (last?.count ?? 0) + 1;
      if (this.#repairs.size < MARKS_MAX) this.#repairs.set(key, { atMs: nowMs, count });
      if (count >= CONTEST_REPAIRS) this.#noteContest(flow);
    }
    this.#marked = early;
    if (againMs < Infinity) this.#pokeIn(againMs);
    return due;
  }

  /** Stops the clock. */
  close(): void {
    clearTimeout(this.#timer);
    this.#connection = undefined;
  }

  #receive(update: FlowUpdate): void {
    const mirror = this.#mirror;
    if (mirror === undefined || update.event === 'abbrev') return;
    // What comes and goes in the table that the switch itself learns into is no drift.
    if (update.tableId === TABLE.learned.id) {
      if (update.event !== 'deleted' && isLearnedFlow(update)) this.#learned(mirror, update.cookie);
      return;
    }
    const { event, tableId, priority, cookie, match } = update;
    const instructions = event === 'deleted' ? EMPTY : update.instructions;
    // Lent: whoever keeps it below makes a copy.
    const flow = lendDumpedFlow({ tableId, priority, cookie, match, instructions });
    const want = this.#options.desired.flow(flow);
    const had = mirror.flow(flow);
    if (event === 'deleted') mirror.deleteFlow(flow);
    else mirror.putFlow(flow, want);
    const have = mirror.flow(flow);
    if (had === undefined && have === undefined && want === undefined) return;
    // The flow monitor tells of no groups and no meters: only of the flows that go with one.
    if (event === 'deleted' && GONE_WITH_OTHERS.has(update.reason)) this.#wantDump();
    if (want === undefined ? have === undefined : have !== undefined && want.sameActions(have)) {
      return;
    }
    if (this.#marked.size < MARKS_MAX) this.#marked.put(want ?? flow.copy());
    else this.#wantDump();
    this.#options.poke(this.#options.now());
  }

  /** A packet that was under way may still be learned from after its peer has gone. */
  #learned(mirror: Mirror, cookie: bigint): void {
    if (this.#options.desired.isLearner(cookie)) return;
    mirror.addOrphan(cookie);
    this.#pokeIn(REPAIR_INTERVAL_MS);
  }

  /** While paused the switch holds changes back; the dump after that is worth more than a guess what they were. */
  #notice(notice: FlowMonitorNotice): void {
    if (notice === 'paused') {
      this.#options.logger.info({}, 'switch pauses its flow monitor: too many changes at once');
    } else {
      this.#wantDump();
    }
  }

  #wantDump(): void {
    this.#dumpWanted = true;
    this.#pokeIn(this.#dumpWaitMs());
  }

  #dumpWaitMs(): number {
    return this.#lastDumpMs + REPAIR_INTERVAL_MS - this.#options.now();
  }

  /** Sees to it that a poke comes within `waitMs`. */
  #pokeIn(waitMs: number): void {
    const dueMs = this.#options.now() + waitMs;
    if (this.#timer !== undefined && this.#timerDueMs <= dueMs) return;
    clearTimeout(this.#timer);
    this.#timerDueMs = dueMs;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#options.poke();
      },
      Math.max(0, Math.ceil(waitMs)),
    );
  }

  #forgetQuiet(nowMs: number): void {
    for (const [key, { atMs }] of this.#repairs) {
      if (nowMs - atMs < QUIET_MS) break;
      this.#repairs.delete(key);
    }
    if (this.#repairs.size === 0) this.#contested = false;
  }

  #noteContest(flow: EncodedFlow): void {
    if (this.#contested) return;
    this.#contested = true;
    const owner = this.#options.desired.ownerOf(flow);
    this.#options.logger.warn(
      { table: flow.tableId, ...(owner === undefined ? {} : { owner }) },
      'somebody undoes repairs of our flows again and again, repairing them once a second',
    );
  }
}
