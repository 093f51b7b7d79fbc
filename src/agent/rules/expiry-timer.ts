/**
 * One timer for the next rule that expires. Timers of Node run on a clock that knows nothing of the wall clock's jumps (NTP,
 * a suspended machine), so a long wait is cut into looks at the wall clock; a look alone costs nothing and pokes nobody.
 */

/** What the timer works with. */
export interface ExpiryTimerOptions {
  /** Wall clock in milliseconds since the epoch. */
  readonly now: () => number;
  /** A rule has expired. */
  readonly onExpiry: () => void;
}

/** So long may a jump of the clock go unseen. Milliseconds. */
const LOOK_MS = 10_000;

/** The timer. */
export class ExpiryTimer {
  readonly #options: ExpiryTimerOptions;
  #timer: NodeJS.Timeout | undefined;
  #nextMs: number | undefined;

  constructor(options: ExpiryTimerOptions) {
    this.#options = options;
  }

  /** Waits for a moment in place of the one before, or for none. */
  set(nextMs: number | undefined): void {
    if (nextMs === this.#nextMs) return;
    this.#nextMs = nextMs;
    this.#arm();
  }

  /** Ends the wait. */
  close(): void {
    this.set(undefined);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#nextMs === undefined) return;
    const waitMs = Math.min(Math.max(0, this.#nextMs - this.#options.now()), LOOK_MS);
    this.#timer = setTimeout(() => this.#look(), Math.ceil(waitMs));
  }

  #look(): void {
    if (this.#nextMs === undefined || this.#options.now() < this.#nextMs) {
      this.#arm();
      return;
    }
    // Whoever is told looks at all rules again, and says then what comes next.
    this.#nextMs = undefined;
    this.#timer = undefined;
    this.#options.onExpiry();
  }
}
