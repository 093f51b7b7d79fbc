/**
 * A promise that is settled from outside: one per request in flight.
 */

/** A promise with its two ends in hand. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  /** Settles the promise; later calls do nothing. */
  resolve(value: T): void;
  /** Settles the promise with an error; later calls do nothing. */
  reject(error: Error): void;
  /** Starts the time-out anew, where there is one and it has not passed. */
  renew(): void;
}

/**
 * Makes a {@link Deferred}. With `timeoutMs` it rejects with what `onTimeout` returns unless settled before.
 */
export function makeDeferred<T>(timeoutMs?: number, onTimeout?: () => Error): Deferred<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  if (timeoutMs === undefined || onTimeout === undefined)
    return { promise, resolve, reject, renew: () => {} };
  let settled = false;
  const timer = setTimeout(() => {
    settled = true;
    reject(onTimeout());
  }, timeoutMs);
  return {
    promise,
    resolve: (value) => {
      settled = true;
      clearTimeout(timer);
      resolve(value);
    },
    reject: (error) => {
      settled = true;
      clearTimeout(timer);
      reject(error);
    },
    renew: () => {
      if (!settled) timer.refresh();
    },
  };
}
