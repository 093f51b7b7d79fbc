/**
 * A connection that is made again whenever it ends: base/reconnect.ts decides when, this file owns the timer and the
 * socket. Idle peers are probed with `echo` (RFC 7047 section 4.1.11). What is said on a connection is the owner's.
 */
import { ConnectionError, toError } from '../base/error.ts';
import type { Logger } from '../base/logger.ts';
import { Reconnect, type ReconnectOptions } from '../base/reconnect.ts';
import { Connection, type ConnectionLimits } from './connection.ts';
import type { Json } from './json-value.ts';
import { JsonRpc } from './jsonrpc.ts';

/** How a session connects. */
export interface SessionOptions {
  /** Path of the Unix socket. */
  readonly path: string;
  readonly reconnect: ReconnectOptions;
  /** How long a reply may take, in milliseconds. */
  readonly requestTimeoutMs: number;
  readonly limits: ConnectionLimits;
  readonly logger: Logger;
  /** Milliseconds that only grow. */
  readonly now: () => number;
}

/** What the owner of a session is told. */
export interface SessionHandlers {
  /** The socket is open. The promise ends when the connection can be used; its rejection closes the connection. */
  handshake(rpc: JsonRpc): Promise<void>;
  /** The handshake is done. */
  onReady(): void;
  onNotification(method: string, params: readonly Json[]): void;
  /** The connection, or the attempt to make one, ended. `wasOpen` tells which. */
  onDown(error: Error, wasOpen: boolean): void;
}

/** Connects until it is closed. */
export class Session {
  readonly #options: SessionOptions;
  readonly #handlers: SessionHandlers;
  readonly #reconnect: Reconnect;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due: ReturnType<typeof setImmediate> | undefined;
  #connection: Connection | undefined;
  #rpc: JsonRpc | undefined;
  #closed = false;

  constructor(options: SessionOptions, handlers: SessionHandlers) {
    this.#options = options;
    this.#handlers = handlers;
    this.#reconnect = new Reconnect(options.now(), options.reconnect);
  }

  /** JSON-RPC of the open connection; undefined while there is none. */
  get rpc(): JsonRpc | undefined {
    return this.#rpc;
  }

  /** For how long nothing has come from the peer. Milliseconds. */
  get silentMs(): number {
    return this.#options.now() - this.#reconnect.lastActivity;
  }

  /** Starts to connect. */
  start(): void {
    this.#tick();
  }

  /** Closes for good. Requests in flight fail with `CONN_CLOSED`; no handler is called any more. */
  close(): void {
    this.#closed = true;
    this.#disarm();
    this.#connection?.destroy();
    this.#connection = undefined;
    this.#rpc?.close(this.#error('CONN_CLOSED', 'the client was closed'));
    this.#rpc = undefined;
  }

  #tick(): void {
    switch (this.#reconnect.run(this.#options.now())) {
      case 'connect':
        this.#connect();
        break;
      case 'probe':
        this.#probe();
        break;
      case 'disconnect':
        this.#giveUp();
        break;
      case undefined:
    }
    this.#arm();
  }

  /** Sets the one timer. Bytes that arrive only move its deadline, which is seen when it fires. */
  #arm(): void {
    this.#disarm();
    if (this.#closed) return;
    const waitMs = this.#reconnect.timeout(this.#options.now());
    // Rounded up: firing within the same millisecond as the deadline would spin.
    if (waitMs === undefined) return;
    // Node runs timers before it reads sockets. After a stall of our own the answer to a probe may lie there unread: an
    // immediate comes after the sockets, and does not give up a server that has answered.
    this.#timer = setTimeout(() => {
      this.#due = setImmediate(() => this.#tick());
    }, Math.ceil(waitMs));
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#due);
  }

  #connect(): void {
    const { path, limits, now } = this.#options;
    this.#reconnect.connecting(now());
    const connection = new Connection(
      path,
      {
        onConnect: () => this.#open(connection),
        onActivity: () => this.#reconnect.activity(now()),
        onMessage: (value) => this.#rpc?.receive(value),
        onClose: (error) => this.#down(error),
      },
      limits,
    );
    this.#connection = connection;
  }

  #open(connection: Connection): void {
    const { path, requestTimeoutMs } = this.#options;
    const rpc = new JsonRpc({
      endpoint: path,
      requestTimeoutMs,
      send: (text) => connection.send(text),
      onNotification: (method, params) => this.#handlers.onNotification(method, params),
    });
    this.#rpc = rpc;
    this.#handlers.handshake(rpc).then(
      () => this.#ready(rpc),
      (thrown: unknown) => {
        if (this.#rpc === rpc) this.#down(toError(thrown));
      },
    );
  }

  #ready(rpc: JsonRpc): void {
    if (this.#rpc !== rpc) return;
    this.#reconnect.connected(this.#options.now());
    this.#arm();
    this.#handlers.onReady();
  }

  #probe(): void {
    // Its answer counts as activity; its absence is judged by the state machine, so the error says nothing new.
    this.#rpc?.request('echo', [], () => undefined).catch(() => undefined);
  }

  #giveUp(): void {
    const error =
      this.#reconnect.state === 'connecting'
        ? this.#error('CONN_TIMEOUT', 'connecting and first reading took too long')
        : this.#error('CONN_PROBE_LOST', 'the peer does not answer');
    this.#down(error);
  }

  #down(error: Error): void {
    const rpc = this.#rpc;
    this.#connection?.destroy();
    this.#connection = undefined;
    this.#rpc = undefined;
    rpc?.close(
      error instanceof ConnectionError
        ? error
        : this.#error('CONN_CLOSED', 'the connection was given up', error),
    );
    this.#reconnect.disconnected(this.#options.now());
    const fields = { endpoint: this.#options.path, err: error };
    if (this.#reconnect.failures === 1) this.#options.logger.warn(fields, 'ovsdb connection down');
    else this.#options.logger.debug(fields, 'ovsdb connection still down');
    this.#handlers.onDown(error, rpc !== undefined);
    this.#arm();
  }

  #error(
    code: 'CONN_CLOSED' | 'CONN_TIMEOUT' | 'CONN_PROBE_LOST',
    message: string,
    cause?: Error,
  ): ConnectionError {
    const endpoint = this.#options.path;
    return new ConnectionError(code, message, { op: 'ovsdb.session', endpoint, cause });
  }
}
