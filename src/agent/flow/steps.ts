/**
 * Work in steps: a generator that pauses where the work may be interrupted, so that whoever drives it can let others have
 * the thread in between. Pure: when and how long to pause is for the driver to decide (`reconcile/slices.ts`).
 */

/** Work that pauses at each `yield` and returns its result at the end. */
export type Steps<T> = Generator<void, T, void>;

/** Does all of the work at once. */
export function allSteps<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}
