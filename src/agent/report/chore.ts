/**
 * Work towards an API server that must be done some time after it was asked for: not more often than every so many
 * milliseconds, with jitter so that a thousand agents do not come in step, and again after a growing wait when it failed.
 * Whatever happens in it stays in it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { toError } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';
import { KubeError } from '../../kube/error.ts';

/** Times in milliseconds. */
export interface ChoreOptions {
  /** For the log. */
  readonly name: string;
  /** Does the work. What it throws is logged, and leads to another try. */
  readonly work: (signal: AbortSignal) => Promise<void>;
  /** Shortest time from one run to the next; up to half as long again at random. */
  readonly minMs: number;
  /** Longest wait after a fault. */
  readonly maxBackoffMs: number;
  /** Run again after this although nobody asks; never when absent. */
  readonly everyMs?: number;
  readonly logger: Logger;
  /** Returns 0..1. */
  readonly random?: () => number;
}

/** First wait after a fault, and longest that a server may ask for. */
const MIN_BACKOFF_MS = 500;
const RETRY_AFTER_MAX_MS = 60_000;

/** See the head of the file. */
export class Chore {
  readonly #options: Required<Omit<ChoreOptions, 'everyMs'>> & Pick<ChoreOptions, 'everyMs'>;
  readonly #stop = new AbortController();
  #asked = Promise.withResolvers<void>();
  #running: Promise<void> | undefined;
  #failures = 0;

  constructor(options: ChoreOptions) {
    this.#options = { random: Math.random, ...options };
  }

  /** Begins; the first run comes when it is asked for, or after its time. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Asks for a run. Cheap: any number of calls before it lead to one. */
  poke(): void {
    this.#asked.resolve();
  }

  /** Ends. A request that is under way is given up. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const pause = (ms: number): Promise<void> =>
      sleep(ms, undefined, { signal }).catch(() => undefined);
    const aborted = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    while (!signal.aborted) {
      const { everyMs, minMs, random } = this.#options;
      if (this.#failures === 0) {
        const timer = new AbortController();
        const due =
          everyMs === undefined
            ? []
            : [sleep(everyMs, undefined, { signal: timer.signal }).catch(() => undefined)];
        await Promise.race([this.#asked.promise, aborted, ...due]);
        timer.abort();
        if (signal.aborted) return;
      }
      this.#asked = Promise.withResolvers();
      const retryMs = await this.#once();
      await pause(retryMs ?? minMs * (1 + random() / 2));
    }
  }

  /** Resolves with the wait before the next try; undefined when all went well. */
  async #once(): Promise<number | undefined> {
    const { work, name, logger, maxBackoffMs, random } = this.#options;
    try {
      await work(this.#stop.signal);
      if (this.#failures > 0) logger.info({ chore: name }, 'API server takes reports again');
      this.#failures = 0;
      return undefined;
    } catch (thrown) {
      if (this.#stop.signal.aborted) return 0;
      const err = toError(thrown);
      logger[this.#failures === 0 ? 'warn' : 'debug']({ chore: name, err }, 'report not written');
      const backoffMs = Math.min(MIN_BACKOFF_MS * 2 ** Math.min(this.#failures, 16), maxBackoffMs);
      this.#failures++;
      const asked = err instanceof KubeError ? (err.retryAfterMs ?? 0) : 0;
      return Math.max(backoffMs * (0.5 + random() / 2), Math.min(asked, RETRY_AFTER_MAX_MS));
    }
  }
}
