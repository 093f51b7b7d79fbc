/**
 * What the switch refused: named in the status of its rule, and tried again with growing pauses instead of in every pass.
 * A changed message is tried at once: whoever wrote it may have mended it.
 */
import type { Logger } from '../../base/logger.ts';
import type { EncodedFlow } from '../../openflow/flow.ts';
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
  readonly message: EncodedFlow;
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

  /** Flows that may be tried again now. */
  due(): EncodedFlow[] {
    const nowMs = this.#options.now();
    return [...this.#refused.values()]
      .filter(({ retryAtMs }) => retryAtMs <= nowMs)
      .map(({ message }) => message);
  }

  /** True when the flow of this key was refused and is not in the switch yet. */
  has(flow: EncodedFlow): boolean {
    return this.#refused.size > 0 && this.#refused.has(flow.key);
  }

  /** True when a change is to be left out: the same message was refused a short while ago. */
  holds(change: Change): boolean {
    if (this.#refused.size === 0) return false;
    if (change.kind !== 'add' && change.kind !== 'modify') return false;
    const refusal = this.#refused.get(change.flow.key);
    if (refusal === undefined) return false;
    return refusal.message === change.flow && refusal.retryAtMs > this.#options.now();
  }

  /** The switch refused a change. */
  note({ change, error }: RefusedChange): void {
    const owner = 'owner' in change ? { owner: change.owner } : {};
    const flow = 'flow' in change ? change.flow : undefined;
    const known = flow === undefined ? undefined : this.#refused.get(flow.key);
    const failures = (known?.message === flow ? (known?.failures ?? 0) : 0) + 1;
    const level = failures === 1 ? 'error' : 'debug';
    this.#options.logger[level]({ err: error, failures, ...owner }, 'switch refused a message');
    if (change.kind !== 'add' && change.kind !== 'modify') return;
    const waitMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1));
    this.#refused.set(change.flow.key, {
      message: change.flow,
      error: `${error.code}: ${error.message}`,
      failures,
      retryAtMs: this.#options.now() + waitMs,
    });
    this.#arm();
  }

  /** The switch has taken these changes. */
  forget(changes: readonly Change[]): void {
    if (this.#refused.size === 0) return;
    for (const change of changes) if ('flow' in change) this.#refused.delete(change.flow.key);
  }

  /** Forgets the flows for which `isWanted` is false. */
  keepOnly(isWanted: (flow: EncodedFlow) => boolean): void {
    for (const [key, { message }] of this.#refused) {
      if (!isWanted(message)) this.#refused.delete(key);
    }
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
