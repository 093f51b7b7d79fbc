/**
 * One Unix socket that carries OpenFlow messages: connecting, framing, and writing with the switch's pace. Knows no
 * message but by its header.
 */
import type { Buffer } from 'node:buffer';
import { EventEmitter, once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { makeDeferred, type Deferred } from '../base/deferred.ts';
import { BaseError, ConnectionError, toError } from '../base/error.ts';
import { Framer } from './framer.ts';

/** Events of a vconn. */
export interface VconnEvents {
  /** A whole message; it may share memory with others: whoever keeps it, copies it. */
  message: [Buffer];
  /** The socket is gone. Emitted once. */
  close: [BaseError];
}

/** Bytes that may wait for the switch to read them before a sender is told that it is too slow. */
const QUEUED_BYTES_MAX = 64 * 1024 * 1024;

/** A connected socket. */
export class Vconn extends EventEmitter<VconnEvents> {
  readonly endpoint: string;
  readonly #socket: Socket;
  readonly #framer = new Framer();
  #closed: BaseError | undefined;
  /** Settled by the next `drain`, or when the socket goes. */
  #drain: Deferred<void> | undefined;

  private constructor(endpoint: string, socket: Socket) {
    super();
    this.endpoint = endpoint;
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('drain', () => this.#wake());
    socket.on('error', (error) =>
      this.#finish(
        new ConnectionError(
          'CONN_CLOSED',
          `connection failed: ${error.message}`,
          this.#where(error),
        ),
      ),
    );
    socket.on('close', () =>
      this.#finish(
        new ConnectionError('CONN_CLOSED', 'switch closed the connection', this.#where()),
      ),
    );
  }

  /**
   * Connects to a Unix socket.
   * @throws ConnectionError `CONN_REFUSED` when there is none or nobody listens; `CONN_TIMEOUT`.
   */
  static async connect(path: string, timeoutMs: number): Promise<Vconn> {
    const socket = connect(path);
    try {
      await once(socket, 'connect', { signal: AbortSignal.timeout(timeoutMs) });
    } catch (error) {
      socket.destroy();
      const late = toError(error).name === 'AbortError';
      const message = late
        ? `no connection within ${timeoutMs} ms`
        : `cannot connect: ${toError(error).message}; is ovs-vswitchd running and the bridge there?`;
      throw new ConnectionError(late ? 'CONN_TIMEOUT' : 'CONN_REFUSED', message, {
        op: 'openflow.connect',
        endpoint: path,
        cause: error,
      });
    }
    return new Vconn(path, socket);
  }

  /** Why the socket is gone; undefined while it is not. */
  get closed(): BaseError | undefined {
    return this.#closed;
  }

  /**
   * Sends bytes of whole messages.
   * @returns false when the switch has fallen behind: wait for {@link drained} before sending more.
   * @throws the error that closed the connection.
   */
  send(bytes: Uint8Array): boolean {
    if (this.#closed !== undefined) throw this.#closed;
    if (this.#socket.writableLength > QUEUED_BYTES_MAX) {
      const message = `switch does not read: ${this.#socket.writableLength} bytes wait for it`;
      this.close(new ConnectionError('CONN_OVERLOAD', message, this.#where()));
      throw this.#closed ?? new ConnectionError('CONN_OVERLOAD', message, this.#where());
    }
    return this.#socket.write(bytes);
  }

  /**
   * Resolves when the switch has caught up.
   * @throws the error that closed the connection.
   */
  async drained(): Promise<void> {
    while (this.#socket.writableNeedDrain && this.#closed === undefined) {
      this.#drain ??= makeDeferred<void>();
      await this.#drain.promise;
    }
    if (this.#closed !== undefined) throw this.#closed;
  }

  /** Ends the connection; `reason` is what waiting requests are told. */
  close(reason?: BaseError): void {
    this.#finish(
      reason ?? new ConnectionError('CONN_CLOSED', 'connection closed by us', this.#where()),
    );
  }

  #receive(chunk: Buffer): void {
    if (this.#closed !== undefined) return;
    try {
      this.#framer.push(chunk, (message) => this.emit('message', message));
    } catch (error) {
      // A listener throws DecodeErrors too: bytes that nobody understands end the connection, not the process.
      if (!(error instanceof BaseError)) throw error;
      this.#finish(error);
    }
  }

  #finish(reason: BaseError): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    this.#socket.destroy();
    this.#wake();
    this.emit('close', reason);
  }

  #wake(): void {
    this.#drain?.resolve();
    this.#drain = undefined;
  }

  #where(cause?: unknown): { op: string; endpoint: string; cause?: unknown } {
    return {
      op: 'openflow.vconn',
      endpoint: this.endpoint,
      ...(cause === undefined ? {} : { cause }),
    };
  }
}
