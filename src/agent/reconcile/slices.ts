/**
 * Drives work in steps so that the event loop never waits long for it: echo replies, the debug socket and the flow monitor
 * have their turn between two slices.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Steps } from '../flow/steps.ts';

/** A slice ends with the first step that passes this. Milliseconds. */
const SLICE_MS = 3;

/** How the work is cut. */
export interface SliceOptions {
  /** Clock in milliseconds. */
  readonly now?: () => number;
  /** Lets others have the thread. */
  readonly pause?: () => Promise<unknown>;
}

/** Does the work, with a turn of the event loop for others every {@link SLICE_MS}. */
export async function inSlices<T>(steps: Steps<T>, options: SliceOptions = {}): Promise<T> {
  const { now = () => performance.now(), pause = () => nextTurn() } = options;
  let endMs = now() + SLICE_MS;
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
    if (now() < endMs) continue;
    await pause();
    endMs = now() + SLICE_MS;
  }
}
