/**
 * What the switch refused: named in the status of its rule, and tried again with growing pauses instead of in every pass.
 * A changed message is tried at once: whoever wrote it may have mended it.
 */
import type { Logger } from '../../base/logger.ts';
import type { Change } from '../flow/diff.ts';
import type { RefusedChange } from './flow-writer.ts';

const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 60_000;

/** What the refusals work with. */
export interface RefusalOptions {
  readonly logger: Logger;
  /** Clock in milliseconds. */
  readonly now: () => number;
  /** Something may be tried again now. */
  readonly poke: () => void;
}

interface Refusal {
  readonly message: Uint8Array;
  readonly error: string;
  readonly failures: number;
  readonly retryAtMs: number;
}

/** The refused flows of one switch, by key. */
export class Refusals {
  readonly #options: RefusalOptions;
  readonly #refused = new Map<string, Refusal>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RefusalOptions) {
    this.#options = options;
  }

  /** Error text by flow key. */
  get errors(): ReadonlyMap<string, string> {
    return new Map([...this.#refused].map(([key, { error }]) => [key, error]));
  }

  /** Keys that may be tried again now. */
  dueKeys(): string[] {
    const nowMs = this.#options.now();
    return [...this.#refused].filter(([, { retryAtMs }]) => retryAtMs <= nowMs).map(([key]) => key);
  }

  /** True when the flow of this key was refused and is not in the switch yet. */
  has(key: string): boolean {
    return this.#refused.has(key);
  }

  /** True when a change is to be left out: the same message was refused a short while ago. */
  holds(change: Change): boolean {
    if (change.kind !== 'add' && change.kind !== 'modify') return false;
    const refusal = this.#refused.get(change.flow.key);
    if (refusal === undefined) return false;
    return refusal.message === change.message && refusal.retryAtMs > this.#options.now();
  }

  /** The switch refused a change. */
  note({ change, error }: RefusedChange): void {
    const owner = 'owner' in change ? { owner: change.owner } : {};
    const known = 'flow' in change ? this.#refused.get(change.flow.key) : undefined;
    const failures = (known?.message === change.message ? known.failures : 0) + 1;
    const level = failures === 1 ? 'error' : 'debug';
    this.#options.logger[level]({ err: error, failures, ...owner }, 'switch refused a message');
    if (change.kind !== 'add' && change.kind !== 'modify') return;
    const waitMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1));
    this.#refused.set(change.flow.key, {
      message: change.message,
      error: `${error.code}: ${error.message}`,
      failures,
      retryAtMs: this.#options.now() + waitMs,
    });
    this.#arm();
  }

  /** Keys that the switch has taken, or that nobody wants any more. */
  forget(keys: Iterable<string>): void {
    if (this.#refused.size === 0) return;
    for (const key of keys) this.#refused.delete(key);
  }

  /** Forgets the keys for which `isWanted` is false. */
  keepOnly(isWanted: (key: string) => boolean): void {
    this.forget([...this.#refused.keys()].filter((key) => !isWanted(key)));
  }

  /** Stops the clock. */
  close(): void {
    clearTimeout(this.#timer);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const next = Math.min(...[...this.#refused.values()].map(({ retryAtMs }) => retryAtMs));
    if (next === Infinity) return;
    const waitMs = Math.max(0, Math.ceil(next - this.#options.now()));
    this.#timer = setTimeout(() => this.#options.poke(), waitMs);
  }
}
