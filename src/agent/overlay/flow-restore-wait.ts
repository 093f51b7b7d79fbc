/**
 * `other_config:flow-restore-wait` of Open_vSwitch (ovs-vswitchd.conf.db(5)): whoever restarts ovs-vswitchd sets it, and the
 * new process keeps the kernel's flows and sets up no new ones until it is cleared. Here is decided when: after our flows
 * are in, or after a time with an alarm, since a management path over this switch is held back too. Writes nothing itself.
 */
import { toError } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';
import type { SourceProblem } from '../sources/source.ts';

/** What the decision is made from. */
export interface FlowRestoreOptions {
  /** Whether it is set; undefined while OVSDB is not in step or the bridge is not ours to write to. */
  readonly isSet: () => boolean | undefined;
  /** The OpenFlow connection, by identity. */
  readonly connection: () => object | undefined;
  /** Clears it in OVSDB. */
  readonly clear: () => Promise<void>;
  /** How long flows may take. Milliseconds. */
  readonly timeoutMs: number;
  readonly logger: Logger;
}

const RETRY_MS = 1000;

/** The wait of one Open vSwitch. */
export class FlowRestoreWait {
  readonly #options: FlowRestoreOptions;
  /** The connection that was there before it was set: that process of the switch waits for nothing. */
  #before: object | undefined;
  #waiting = false;
  /** Flows are in, or waiting is over: it is to be cleared. */
  #due = false;
  #clearing = false;
  #forced = false;
  #timer: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;

  constructor(options: FlowRestoreOptions) {
    this.#options = options;
  }

  /** What an operator should know. */
  get problems(): readonly SourceProblem[] {
    const problem = (message: string): SourceProblem[] => [
      { file: 'ovs:Open_vSwitch', path: 'other_config:flow-restore-wait', message },
    ];
    if (this.#forced) {
      const waited = `${this.#options.timeoutMs / 1000} s`;
      return problem(`was cleared after ${waited}, before the flows were in`);
    }
    return this.#waiting ? problem('is set: ovs-vswitchd waits for the flows') : [];
  }

  /** OVSDB, the lock or the OpenFlow connection may have changed. */
  look(): void {
    const isSet = this.#options.isSet();
    if (isSet === undefined) return;
    const connection = this.#options.connection();
    if (!isSet) {
      this.#before = connection;
      this.#end();
      return;
    }
    if (connection === undefined || connection !== this.#before) this.#before = undefined;
    if (this.#before !== undefined) return;
    if (!this.#waiting) {
      this.#waiting = true;
      this.#options.logger.info(
        {},
        'flow-restore-wait is set, it is cleared when the flows are in',
      );
      this.#timer = setTimeout(() => this.#force(), this.#options.timeoutMs);
    }
    if (this.#due) this.#clear();
  }

  /** The switch holds what is desired. */
  flowsAreIn(): void {
    this.#forced = false;
    this.look();
    if (!this.#waiting) return;
    this.#due = true;
    this.#clear();
  }

  /** Stops the clocks. */
  close(): void {
    this.#end();
  }

  #force(): void {
    this.#forced = true;
    this.#due = true;
    this.#options.logger.error(
      { timeoutMs: this.#options.timeoutMs },
      'flow-restore-wait is cleared although the flows are not in: it holds the whole switch back',
    );
    this.#clear();
  }

  #clear(): void {
    if (this.#clearing) return;
    this.#clearing = true;
    this.#options
      .clear()
      .then(
        () => this.#options.logger.info({}, 'flow-restore-wait cleared'),
        (error: unknown) => {
          this.#options.logger.warn({ err: toError(error) }, 'flow-restore-wait cannot be cleared');
          clearTimeout(this.#retry);
          if (this.#waiting) this.#retry = setTimeout(() => this.look(), RETRY_MS);
        },
      )
      .finally(() => (this.#clearing = false));
  }

  #end(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#retry);
    this.#waiting = false;
    this.#due = false;
  }
}
