/**
 * Locks of the server (RFC 7047 sections 4.1.8 to 4.1.10): wanted once, asked for again on every connection, since the
 * server forgets them with the connection. No socket.
 */
import { makeDeferred, type Deferred } from '../base/deferred.ts';
import { badValue, expectObject, type Json } from './json-value.ts';
import type { JsonRpc } from './jsonrpc.ts';
import { encodeLockName } from './notation.ts';

interface Lock {
  readonly name: string;
  held: boolean;
  /** The connection on which it was asked for; asking twice on one is an error. */
  askedOn: JsonRpc | undefined;
  readonly first: Deferred<void>;
}

/** The locks that one client wants. */
export class LockSet {
  /** By the identifier that the server knows. */
  readonly #locks = new Map<string, Lock>();
  readonly #onChange: (name: string, held: boolean) => void;

  /** `onChange` is called when a lock was obtained or lost. */
  constructor(onChange: (name: string, held: boolean) => void) {
    this.#onChange = onChange;
  }

  /** True while the server says that the lock is ours. */
  isHeld(name: string): boolean {
    return this.#locks.get(encodeLockName(name))?.held ?? false;
  }

  /** Wants a lock from now on; the promise ends when it is ours for the first time. */
  want(name: string): Promise<void> {
    const id = encodeLockName(name);
    const wanted = this.#locks.get(id);
    if (wanted !== undefined) return wanted.first.promise;
    const first = makeDeferred<void>();
    // Whoever only listens to the events must not be ended by the rejection at close.
    first.promise.catch(() => undefined);
    this.#locks.set(id, { name, held: false, askedOn: undefined, first });
    return first.promise;
  }

  /**
   * Asks for all wanted locks that were not yet asked for on this connection. Ends when the server has answered, which
   * is not to say that they are ours.
   * @throws OvsdbError, ConnectionError or DecodeError.
   */
  async ask(rpc: JsonRpc): Promise<void> {
    const asked: Promise<void>[] = [];
    for (const [id, lock] of this.#locks) {
      if (lock.askedOn === rpc) continue;
      lock.askedOn = rpc;
      asked.push(
        rpc.request('lock', [id], (reply) => {
          if (expectObject(reply, 'ovsdb.lock', 'lock result')['locked'] === true) this.#gain(id);
        }),
      );
    }
    await Promise.all(asked);
  }

  /**
   * Takes a notification; others than `locked` and `stolen` are ignored. A stolen lock comes back by itself when the
   * thief lets it go.
   * @throws DecodeError when it is malformed.
   */
  receive(method: string, params: readonly Json[]): void {
    if (method !== 'locked' && method !== 'stolen') return;
    const id = params[0];
    if (typeof id !== 'string') throw badValue('ovsdb.lock', 'lock has no name');
    if (method === 'locked') this.#gain(id);
    else this.#lose(id);
  }

  /** The connection is gone, and with it every lock. */
  loseAll(): void {
    for (const id of this.#locks.keys()) this.#lose(id);
  }

  /** Gives up: what was never obtained is rejected. */
  close(error: Error): void {
    for (const lock of this.#locks.values()) lock.first.reject(error);
    this.loseAll();
  }

  #gain(id: string): void {
    const lock = this.#locks.get(id);
    if (lock === undefined || lock.held) return;
    lock.held = true;
    lock.first.resolve();
    this.#onChange(lock.name, true);
  }

  #lose(id: string): void {
    const lock = this.#locks.get(id);
    if (lock === undefined || !lock.held) return;
    lock.held = false;
    this.#onChange(lock.name, false);
  }
}
