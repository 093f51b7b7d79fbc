/**
 * What keeps the packet log short: of equal events within a second one is written at once, and at the end of that second how
 * many there were beside it. Pure, with the time as an argument; bounded, and what finds no room is lost, which is counted by
 * whoever asks.
 */

/** How long equal events are one, in milliseconds. */
const WINDOW_MS = 1000;
/** Windows that are open at the same time. */
const WINDOWS_MAX = 4096;

/** What is to be done with an event. */
export type LogOutcome = 'logged' | 'suppressed' | 'lost';

/** The end of a window in which more than one event came. */
export interface ClosedWindow<Event> {
  /** The first of them. */
  readonly event: Event;
  /** How many came after it. */
  readonly suppressed: number;
}

interface OpenWindow<Event> {
  readonly event: Event;
  readonly openedMs: number;
  suppressed: number;
}

/** The windows, by key. */
export class LogWindows<Event> {
  /** The one that was opened first comes first. */
  readonly #open = new Map<string, OpenWindow<Event>>();
  readonly #max: number;

  constructor(max = WINDOWS_MAX) {
    this.#max = max;
  }

  /** Number of windows that are open. */
  get size(): number {
    return this.#open.size;
  }

  /** Takes an event; equal ones have equal keys. */
  take(key: string, event: Event, nowMs: number): LogOutcome {
    const open = this.#open.get(key);
    if (open !== undefined) {
      open.suppressed++;
      return 'suppressed';
    }
    if (this.#open.size >= this.#max) return 'lost';
    this.#open.set(key, { event, openedMs: nowMs, suppressed: 0 });
    return 'logged';
  }

  /** Ends the windows whose time is over. One with more than one event is followed by another, so that a line a second is all. */
  *close(nowMs: number): Generator<ClosedWindow<Event>, void, void> {
    for (const [key, { event, openedMs, suppressed }] of this.#open) {
      // Those that are put in while this goes on come last, and end it.
      if (nowMs - openedMs < WINDOW_MS) return;
      this.#open.delete(key);
      if (suppressed === 0) continue;
      this.#open.set(key, { event, openedMs: nowMs, suppressed: 0 });
      yield { event, suppressed };
    }
  }
}
