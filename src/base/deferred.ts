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
}

/**
 * Makes a {@link Deferred}. With `timeoutMs` it rejects with what `onTimeout` returns unless settled before.
 */
export function makeDeferred<T>(timeoutMs?: number, onTimeout?: () => Error): Deferred<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  if (timeoutMs === undefined || onTimeout === undefined) return { promise, resolve, reject };
  const timer = setTimeout(() => reject(onTimeout()), timeoutMs);
  return {
    promise,
    resolve: (value) => {
      clearTimeout(timer);
      resolve(value);
    },
    reject: (error) => {
      clearTimeout(timer);
      reject(error);
    },
  };
}
