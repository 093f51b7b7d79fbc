/**
 * The loop that makes the switch hold what the configuration asks for. Level-triggered: a poke only says "look again".
 * One pass at a time reads the whole snapshot, compiles what changed, compares the touched keys with the mirror and
 * writes the difference. A dump replaces the mirror at the start, after every connect, after every uncertain outcome, and
 * in the slow audit; in between the drift watch tells what others change.
 */
import { EventEmitter } from 'node:events';
import { toError } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';
import type { OpenFlowConnection } from '../../openflow/client.ts';
import type { EncodedFlow } from '../../openflow/flow.ts';
import { DesiredState } from '../flow/desired.ts';
import { diffSteps, fullScope, type Change } from '../flow/diff.ts';
import { divergenceSteps } from '../flow/divergence.ts';
import { FlowIndex } from '../flow/flow-index.ts';
import type { Snapshot } from '../flow/model.ts';
import { DriftWatch } from './drift-watch.ts';
import { FIRST_SYNC_CHUNK, TooManyRefusals, writeChanges } from './flow-writer.ts';
import { Mirror } from './mirror.ts';
import { Refusals } from './refusals.ts';
import { inSlices } from './slices.ts';
import { dumpMirror } from './switch-dump.ts';

/** The stages of a pass that are timed. */
export type Stage = 'compile' | 'audit' | 'dump' | 'diff' | 'write';

/** What the reconciler tells the metrics. */
export interface ReconcileObserver {
  stage(stage: Stage, seconds: number): void;
  committed(changes: readonly Change[]): void;
  bundle(result: 'committed' | 'refused' | 'failed'): void;
  eventToCommit(seconds: number): void;
  driftRepaired(count: number): void;
  /** The table kept up to date was not the one that the snapshot compiles to, in so many flows and groups. */
  compileDiverged(count: number): void;
}

/** Pokes that follow a pass this closely are a burst. Milliseconds. */
const BURST_MS = 20;

/** What the reconciler works with. */
export interface ReconcilerOptions {
  readonly desired: DesiredState;
  /** The present snapshot; undefined until every source has given its first complete one. */
  readonly snapshot: () => Snapshot | undefined;
  /** The present connection; undefined while there is none. */
  readonly connection: () => OpenFlowConnection | undefined;
  /** False while another agent holds the bridge's lock: nothing is written. */
  readonly mayWrite: () => boolean;
  readonly observer: ReconcileObserver;
  readonly logger: Logger;
  /** Wait after a poke in a burst, in which more pokes join; the first one waits for nothing. Milliseconds. */
  readonly debounceMs?: number;
  /** Period of the full audit. Milliseconds. */
  readonly auditMs?: number;
  /** Wait after a failed pass. Milliseconds. */
  readonly retryMs?: number;
  /** Clock in milliseconds. */
  readonly now?: () => number;
}

/** Facts about the last complete pass. */
export interface LastSync {
  /** Wall clock, ISO 8601. */
  readonly at: string;
  readonly durationMs: number;
  readonly flowMods: number;
}

/** The reconciler. Emits `synced` after each pass that left the switch as desired, but for what it refused. */
export class Reconciler extends EventEmitter<{ synced: [LastSync] }> {
  readonly #options: Required<ReconcilerOptions>;
  #mirror: Mirror | undefined;
  #mirrorOf: OpenFlowConnection | undefined;
  #auditDue = false;
  readonly #drift: DriftWatch;
  #dirtyFlows = new FlowIndex();
  readonly #dirtyGroups = new Set<number>();
  readonly #dirtyMeters = new Set<number>();
  readonly #refusals: Refusals;
  #timer: NodeJS.Timeout | undefined;
  #dueMs = 0;
  #lastPassMs = -Infinity;
  #auditTimer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #again = false;
  #closed = false;
  #firstEventMs: number | undefined;
  #lastSync: LastSync | undefined;

  constructor(options: ReconcilerOptions) {
    super();
    this.#options = {
      debounceMs: 3,
      auditMs: 60_000,
      retryMs: 1000,
      now: () => performance.now(),
      ...options,
    };
    const { desired, logger, now } = this.#options;
    this.#drift = new DriftWatch({ desired, logger, now, poke: (eventMs) => this.poke(eventMs) });
    this.#refusals = new Refusals({ logger, now, poke: () => this.poke() });
  }

  /** The mirror while it is that of the present connection. */
  get mirror(): Mirror | undefined {
    const connection = this.#options.connection();
    return connection !== undefined && connection === this.#mirrorOf ? this.#mirror : undefined;
  }

  /** Error text by flow key of what the switch refused. */
  get refused(): ReadonlyMap<string, string> {
    return this.#refusals.errors;
  }

  /** The last pass that left the switch as desired, but for what it refused; undefined before the first. */
  get lastSync(): LastSync | undefined {
    return this.#lastSync;
  }

  /** Starts the audit clock and the first pass. The clock counts from the end of the last pass that compared everything. */
  start(): void {
    if (this.#closed) return;
    this.#startAuditClock();
    this.poke();
  }

  /** Stops after the pass that is under way. The flows stay. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#auditTimer);
    clearTimeout(this.#timer);
    await this.#running;
    this.#drift.close();
    this.#refusals.close();
  }

  /** Something may have changed. `eventMs` is when its cause was seen, by the reconciler's clock. */
  poke(eventMs?: number): void {
    if (this.#closed) return;
    if (eventMs !== undefined)
      this.#firstEventMs = Math.min(this.#firstEventMs ?? eventMs, eventMs);
    if (this.#running !== undefined) this.#again = true;
    else
      this.#schedule(
        this.#options.now() - this.#lastPassMs > BURST_MS ? 0 : this.#options.debounceMs,
      );
  }

  /** Compares everything with a fresh dump in the next pass. */
  audit(): void {
    this.#auditDue = true;
    this.poke();
  }

  #startAuditClock(): void {
    this.#stopAuditClock();
    this.#auditTimer = setTimeout(() => {
      this.#auditTimer = undefined;
      this.audit();
    }, this.#options.auditMs);
  }

  /** Until the end of the pass. */
  #stopAuditClock(): void {
    clearTimeout(this.#auditTimer);
    this.#auditTimer = undefined;
  }

  /** Sees to it that a pass runs within `waitMs`. */
  #schedule(waitMs: number): void {
    const dueMs = this.#options.now() + waitMs;
    if (this.#timer !== undefined && this.#dueMs <= dueMs) return;
    clearTimeout(this.#timer);
    this.#dueMs = dueMs;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#running = this.#pass().finally(() => {
        this.#running = undefined;
        this.#lastPassMs = this.#options.now();
        if (!this.#closed && this.#auditTimer === undefined) this.#startAuditClock();
        if (this.#closed || !this.#again) return;
        this.#again = false;
        this.#schedule(this.#options.debounceMs);
      });
    }, waitMs);
  }

  async #pass(): Promise<void> {
    const startMs = this.#options.now();
    const eventMs = this.#firstEventMs;
    this.#firstEventMs = undefined;
    try {
      const flowMods = await this.#lookAgain();
      if (flowMods === undefined) {
        this.#keepEvent(eventMs);
        return;
      }
      const endMs = this.#options.now();
      if (eventMs !== undefined && flowMods > 0) {
        this.#options.observer.eventToCommit((endMs - eventMs) / 1000);
      }
      this.#lastSync = { at: new Date().toISOString(), durationMs: endMs - startMs, flowMods };
      this.emit('synced', this.#lastSync);
    } catch (error) {
      // Whatever went wrong, what the switch holds now is not known: the next pass dumps.
      this.#mirror = undefined;
      this.#keepEvent(eventMs);
      this.#options.logger.warn(
        { err: toError(error) },
        'pass failed, will look at the switch again',
      );
      if (!this.#closed) this.#schedule(this.#options.retryMs);
    }
  }

  /** A change that is not in the switch yet is still waiting, from when it was seen. */
  #keepEvent(eventMs: number | undefined): void {
    if (eventMs === undefined) return;
    this.#firstEventMs = Math.min(this.#firstEventMs ?? eventMs, eventMs);
  }

  /** @returns the number of messages that were committed; undefined when nothing could or might be written. */
  async #lookAgain(): Promise<number | undefined> {
    const snapshot = this.#options.snapshot();
    if (snapshot === undefined) return undefined;
    await this.#compile(snapshot);
    const connection = this.#options.connection();
    if (connection === undefined || !this.#options.mayWrite()) return undefined;
    if (this.#auditDue) await this.#timed('audit', () => this.#proveCompile(snapshot));
    return this.#sync(connection);
  }

  async #compile(snapshot: Snapshot): Promise<void> {
    const { desired } = this.#options;
    const change = await this.#timed('compile', () => inSlices(desired.updateSteps(snapshot)));
    if (this.#dirtyFlows.size === 0) this.#dirtyFlows = change.dirtyFlows;
    else for (const flow of change.dirtyFlows) this.#dirtyFlows.put(flow);
    for (const id of change.dirtyGroups) this.#dirtyGroups.add(id);
    for (const id of change.dirtyMeters) this.#dirtyMeters.add(id);
  }

  /** Compiles everything anew beside what is kept: where the two differ, that is a fault of ours, and the new one holds. */
  async #proveCompile(snapshot: Snapshot): Promise<void> {
    const { desired, logger, observer } = this.#options;
    const compiled = new DesiredState();
    await inSlices(compiled.updateSteps(snapshot));
    const { count, examples } = await inSlices(divergenceSteps(desired, compiled));
    if (count === 0) return;
    observer.compileDiverged(count);
    logger.error(
      { differences: count, examples },
      'flows kept up to date differ from what the configuration compiles to, taking the latter',
    );
    desired.adopt(compiled);
  }

  /** @returns the number of messages that were committed; undefined when writing was no longer allowed. */
  async #sync(connection: OpenFlowConnection): Promise<number | undefined> {
    const { desired } = this.#options;
    const known = this.mirror;
    const auditing = this.#auditDue || this.#drift.dumpDue;
    const isDump = known === undefined || auditing;
    // A first sync may take longer than the period: the next change must not pay for an audit of what was just written.
    if (known === undefined || this.#auditDue) this.#stopAuditClock();
    const target = isDump ? await this.#dump(connection) : known;
    const expected = this.#dirtyFlows;
    this.#dirtyFlows = new FlowIndex();
    const repairs = isDump ? undefined : this.#drift.take();
    const scope =
      repairs === undefined
        ? fullScope(desired, target)
        : {
            flows: union(expected, repairs, this.#refusals.due()),
            groups: new Set(this.#dirtyGroups),
            meters: new Set(this.#dirtyMeters),
          };
    this.#dirtyGroups.clear();
    this.#dirtyMeters.clear();
    this.#refusals.keepOnly((flow) => desired.flow(flow) !== undefined);
    const compared = await this.#timed('diff', () => inSlices(diffSteps(desired, target, scope)));
    const changes = compared.filter((change) => !this.#refusals.holds(change));
    if (changes.length === 0) return 0;
    if (known !== undefined) {
      this.#countDrift(
        changes,
        (flow) => repairs?.has(flow) ?? !(expected.has(flow) || this.#refusals.has(flow)),
      );
    }

    return this.#timed('write', () => this.#write(connection, target, changes));
  }

  /** @returns the number of messages that were committed; undefined when writing was no longer allowed. */
  async #write(
    connection: OpenFlowConnection,
    mirror: Mirror,
    changes: readonly Change[],
  ): Promise<number | undefined> {
    const { observer, mayWrite } = this.#options;
    let committed = 0;
    try {
      const outcome = await writeChanges(connection, changes, {
        chunkSize: mirror.flowCount === 0 ? FIRST_SYNC_CHUNK : undefined,
        onCommitted: (done) => {
          committed += done.length;
          mirror.apply(done);
          this.#refusals.forget(done);
          if (done.some(({ kind }) => !kind.startsWith('meter_'))) observer.bundle('committed');
          observer.committed(done);
        },
        onRefused: () => observer.bundle('refused'),
        mayWrite,
      });
      for (const refusal of outcome.refused) this.#refusals.note(refusal);
      if (outcome.complete) return committed;
    } catch (error) {
      if (error instanceof TooManyRefusals) {
        for (const refusal of error.refused) this.#refusals.note(refusal);
      } else {
        observer.bundle('failed');
      }
      throw error;
    }
    // Another agent writes now: what is there when the lock comes back has to be looked at.
    this.#mirror = undefined;
    return undefined;
  }

  /** Reads what the switch holds. What others change meanwhile goes into the new mirror too. */
  async #dump(connection: OpenFlowConnection): Promise<Mirror> {
    await this.#drift.subscribe(connection);
    if (await connection.ensureFragmentMode()) {
      this.#options.observer.driftRepaired(1);
      this.#options.logger.warn(
        {},
        'somebody had reset the fragment mode of the switch, set again',
      );
    }
    const mirror = new Mirror();
    this.#drift.follow(mirror);
    await this.#timed('dump', () => dumpMirror(connection, this.#options.desired, mirror));
    this.#drift.clear();
    this.#mirror = mirror;
    this.#mirrorOf = connection;
    this.#auditDue = false;
    return mirror;
  }

  #countDrift(changes: readonly Change[], isDrift: (flow: EncodedFlow) => boolean): void {
    const drift = changes.filter((change) => 'flow' in change && isDrift(change.flow)).length;
    if (drift === 0) return;
    this.#options.observer.driftRepaired(drift);
    if (this.#drift.contested) return;
    this.#options.logger.warn(
      { flows: drift },
      'flows differed from what was installed, repairing',
    );
  }

  async #timed<T>(stage: Stage, work: () => Promise<T>): Promise<T> {
    const start = this.#options.now();
    const result = await work();
    this.#options.observer.stage(stage, (this.#options.now() - start) / 1000);
    return result;
  }
}

/** The flows of all, each key once. */
function union(...parts: readonly Iterable<EncodedFlow>[]): FlowIndex {
  const all = new FlowIndex();
  for (const part of parts) for (const flow of part) all.put(flow);
  return all;
}
