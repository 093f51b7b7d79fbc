/**
 * JSON-RPC 1.0 as OVSDB uses it (RFC 7047 section 4): requests of ours matched to replies, notifications handed on, the
 * peer's echo answered. One object per connection; it has no socket, the owner moves the bytes.
 */
import { makeDeferred, type Deferred } from '../base/deferred.ts';
import { BaseError, ConnectionError, toError } from '../base/error.ts';
import { ovsdbErrorFrom } from './errors.ts';
import { badValue, expectObject, isJsonArray, type Json } from './json-value.ts';

/** What one connection's JSON-RPC needs from its owner. */
export interface JsonRpcOptions {
  /** Name of the peer in errors. */
  readonly endpoint: string;
  /** Puts one text on the wire. May throw ConnectionError. */
  readonly send: (text: string) => void;
  /** Receives the peer's notifications in the order in which they came. */
  readonly onNotification: (method: string, params: readonly Json[]) => void;
  /** How long a reply may take, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** Most requests in flight. Default 1000. */
  readonly maxPending?: number;
}

interface Pending {
  readonly method: string;
  readonly settle: (result: Json) => void;
  readonly reject: (error: Error) => void;
}

/** Matches requests and replies. */
export class JsonRpc {
  readonly #options: JsonRpcOptions;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #closed: Error | undefined;

  constructor(options: JsonRpcOptions) {
    this.#options = options;
  }

  /**
   * Sends a request. `decode` runs while the reply is being received, so before any later notification is handed on:
   * what the reply says can be stored in order.
   * @throws OvsdbError for an error reply, ConnectionError when there is none, and what `decode` throws.
   */
  async request<T>(
    method: string,
    params: readonly Json[],
    decode: (result: Json) => T,
    timeoutMs = this.#options.requestTimeoutMs,
  ): Promise<T> {
    if (this.#closed !== undefined) throw this.#closed;
    const op = `ovsdb.${method}`;
    const { endpoint, maxPending = 1000 } = this.#options;
    if (this.#pending.size >= maxPending) {
      throw new ConnectionError('CONN_OVERLOAD', 'too many requests in flight', { op, endpoint });
    }
    const id = this.#nextId++;
    const deferred: Deferred<T> = makeDeferred<T>(timeoutMs, () => {
      this.#pending.delete(id);
      const details = { timeoutMs };
      return new ConnectionError('CONN_TIMEOUT', `no reply to ${method}`, {
        op,
        endpoint,
        details,
      });
    });
    this.#pending.set(id, {
      method,
      settle: (result) => deferred.resolve(decode(result)),
      reject: (error) => deferred.reject(error),
    });
    try {
      this.#options.send(JSON.stringify({ method, params, id }));
    } catch (thrown) {
      this.#pending.delete(id);
      deferred.reject(toError(thrown));
    }
    return deferred.promise;
  }

  /**
   * Takes one message from the peer.
   * @throws DecodeError when it is no JSON-RPC message: the connection is of no further use.
   */
  receive(json: Json): void {
    const message = expectObject(json, 'ovsdb.receive', 'message');
    const { method, id } = message;
    if (typeof method !== 'string') {
      this.#reply(id, message['result'], message['error']);
      return;
    }
    const params = message['params'];
    if (!isJsonArray(params)) throw badValue('ovsdb.receive', 'params is not an array');
    if (id === null || id === undefined) this.#options.onNotification(method, params);
    else this.#answer(method, params, id);
  }

  /** Ends everything in flight with `error`; later requests fail with it at once. */
  close(error: Error): void {
    this.#closed ??= error;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(error);
  }

  #answer(method: string, params: readonly Json[], id: Json): void {
    const reply =
      method === 'echo'
        ? { result: params, error: null, id }
        : { result: null, error: { error: 'unknown method' }, id };
    this.#options.send(JSON.stringify(reply));
  }

  #reply(id: Json | undefined, result: Json | undefined, error: Json | undefined): void {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 1 || id >= this.#nextId) {
      throw badValue('ovsdb.receive', 'reply to a request that was not made');
    }
    const pending = this.#pending.get(id);
    // One of ours that timed out: the late reply is of no use and does no harm.
    if (pending === undefined) return;
    this.#pending.delete(id);
    if (error !== null && error !== undefined) {
      pending.reject(ovsdbErrorFrom(error, { op: `ovsdb.${pending.method}` }));
      return;
    }
    try {
      pending.settle(result ?? null);
    } catch (thrown) {
      pending.reject(toError(thrown));
      // A fault of ours, not of the peer's bytes, must not be taken for one.
      if (!(thrown instanceof BaseError)) throw thrown;
    }
  }
}
