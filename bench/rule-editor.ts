/**
 * The product's reconciler with a snapshot that a workload sets: changes are timed from the event to the commit reply.
 */
import { DesiredState } from '../src/agent/flow/desired.ts';
import type { Snapshot } from '../src/agent/flow/model.ts';
import { Reconciler } from '../src/agent/reconcile/reconciler.ts';
import { silentLogger } from '../src/base/logger.ts';
import type { OpenFlowConnection } from '../src/openflow/client.ts';

/** After this long a change has failed. */
const CHANGE_MS = 300_000;
/** Audits come when the workload asks for them, not in the middle of something that is timed. */
const AUDIT_MS = 24 * 3_600_000;

/** A reconciler with a snapshot that the workload sets. */
export class RuleEditor {
  readonly #reconciler: Reconciler;
  #snapshot: Snapshot;
  #committed: (ms: number) => void = () => {};

  constructor(connection: OpenFlowConnection, snapshot: Snapshot, debounceMs?: number) {
    this.#snapshot = snapshot;
    this.#reconciler = new Reconciler({
      desired: new DesiredState(),
      snapshot: () => this.#snapshot,
      connection: () => connection,
      mayWrite: () => true,
      logger: silentLogger,
      auditMs: AUDIT_MS,
      observer: {
        stage: () => {},
        committed: () => {},
        bundle: () => {},
        driftRepaired: () => {},
        compileDiverged: () => {},
        eventToCommit: (seconds) => this.#committed(seconds * 1000),
      },
      ...(debounceMs === undefined ? {} : { debounceMs }),
    });
  }

  /** Starts, and waits for the first complete pass. */
  start(): Promise<void> {
    return this.#pass(() => this.#reconciler.start());
  }

  /** Reads the whole table and compares it with what is desired. */
  audit(): Promise<void> {
    return this.#pass(() => this.#reconciler.audit());
  }

  /** Puts a snapshot in force and answers with the milliseconds from now to the commit reply. */
  change(snapshot: Snapshot): Promise<number> {
    this.#snapshot = snapshot;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('a change was not committed')), CHANGE_MS);
      this.#committed = (ms) => {
        clearTimeout(timer);
        resolve(ms);
      };
      this.#reconciler.poke(performance.now());
    });
  }

  /** Stops; the flows stay. */
  async close(): Promise<void> {
    await this.#reconciler.close();
  }

  #pass(begin: () => void): Promise<void> {
    return new Promise((resolve) => {
      this.#reconciler.once('synced', () => resolve());
      begin();
    });
  }
}
