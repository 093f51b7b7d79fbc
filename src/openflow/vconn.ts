/**
 * One Unix socket that carries OpenFlow messages: connecting, framing, and writing with the switch's pace. Knows no
 * message but by its header.
 */
import type { Buffer } from 'node:buffer';
import { EventEmitter, once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { makeDeferred, type Deferred } from '../base/deferred.ts';
import { ConnectionError, isBaseError, toError, type BaseError } from '../base/error.ts';
import { Framer } from './framer.ts';

/** Bytes that are read in one turn of the event loop, about: some milliseconds of a dump. Node alone would read 2 MiB. */
const TURN_BYTES = 128 * 1024;

/** Events of a vconn. */
export interface VconnEvents {
  /** A whole message; it may share memory with others: whoever keeps it, copies it. */
  message: [Buffer];
  /** The socket is gone. Emitted once. */
  close: [BaseError];
}

/** Limits of a vconn. */
export interface VconnOptions {
  /** Bytes that may wait for the switch to read them before the connection is given up. Default 16 MiB. */
  readonly maxQueuedBytes?: number;
}

/** A connected socket. */
export class Vconn extends EventEmitter<VconnEvents> {
  readonly endpoint: string;
  readonly #socket: Socket;
  readonly #framer = new Framer();
  readonly #maxQueuedBytes: number;
  #closed: BaseError | undefined;
  /** Bytes that were read in the present turn of the event loop. */
  #turnBytes = 0;
  /** Settled by the next `drain`, or when the socket goes. */
  #drain: Deferred<void> | undefined;

  private constructor(endpoint: string, socket: Socket, options: VconnOptions) {
    super();
    this.endpoint = endpoint;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? 16 * 1024 * 1024;
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
    // Without `end`, a switch that is gone but has not read everything would look alive until the socket is empty.
    for (const gone of ['end', 'close'] as const) socket.on(gone, () => this.#finish(this.#gone()));
  }

  /**
   * Connects to a Unix socket.
   * @throws ConnectionError `CONN_REFUSED` when there is none or nobody listens; the reason of `giveUp` when that is first.
   */
  static async connect(
    path: string,
    giveUp: AbortSignal,
    options: VconnOptions = {},
  ): Promise<Vconn> {
    let socket: Socket | undefined;
    try {
      socket = connect(path);
      await once(socket, 'connect', { signal: giveUp });
      return new Vconn(path, socket, options);
    } catch (error) {
      socket?.destroy();
      if (giveUp.aborted) throw giveUp.reason;
      throw new ConnectionError(
        'CONN_REFUSED',
        `cannot connect: ${toError(error).message}; is ovs-vswitchd running and the bridge there?`,
        { op: 'openflow.connect', endpoint: path, cause: error },
      );
    }
  }

  /** Why the socket is gone; undefined while it is not. */
  get closed(): BaseError | undefined {
    return this.#closed;
  }

  /**
   * Sends bytes of whole messages.
   * @returns false when the switch has fallen behind: wait for {@link drained} before sending more.
   * @throws the error that closed the connection, `CONN_OVERLOAD` when too much waits already.
   */
  send(bytes: Uint8Array): boolean {
    if (this.#closed !== undefined) throw this.#closed;
    const queuedBytes = this.#socket.writableLength;
    if (queuedBytes > this.#maxQueuedBytes) {
      throw this.#overload(`switch does not read: ${queuedBytes} bytes wait for it`);
    }
    return this.#socket.write(bytes);
  }

  /**
   * Resolves when the switch has caught up.
   * @throws the error that closed the connection, `CONN_OVERLOAD` when the switch reads nothing for `timeoutMs`.
   */
  async drained(timeoutMs: number): Promise<void> {
    if (this.#closed === undefined && this.#socket.writableNeedDrain) {
      this.#drain ??= makeDeferred<void>(timeoutMs, () =>
        this.#overload(`switch has read nothing for ${timeoutMs} ms`),
      );
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
    this.#endTurnAfter(chunk.length);
    try {
      this.#framer.push(chunk, (message) => {
        // A listener may have closed the connection in the middle of the chunk.
        if (this.#closed === undefined) this.emit('message', message);
      });
    } catch (error) {
      // A listener throws DecodeErrors too: bytes that nobody understands end the connection, not the process.
      if (!isBaseError(error)) throw error;
      this.#finish(error);
    }
  }

  /** Reads no more in this turn of the event loop when a share is taken in: a dump must not keep others waiting. */
  #endTurnAfter(bytes: number): void {
    if (this.#turnBytes === 0) {
      setImmediate(() => {
        this.#turnBytes = 0;
        if (this.#socket.isPaused()) this.#socket.resume();
      });
    }
    this.#turnBytes += bytes;
    if (this.#turnBytes >= TURN_BYTES) this.#socket.pause();
  }

  #finish(reason: BaseError): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    this.#socket.destroy();
    this.#wake();
    this.emit('close', reason);
  }

  #gone(): ConnectionError {
    const { heldBytes } = this.#framer;
    const where = heldBytes === 0 ? '' : ` after ${heldBytes} bytes of a message`;
    return new ConnectionError(
      'CONN_CLOSED',
      `switch closed the connection${where}`,
      this.#where(),
    );
  }

  /** Closes the connection since the switch does not read, and returns why. */
  #overload(message: string): ConnectionError {
    const error = new ConnectionError('CONN_OVERLOAD', message, this.#where());
    this.close(error);
    return error;
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
