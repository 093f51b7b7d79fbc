/**
 * A connection that comes back: connects, probes when idle, gives up a silent switch, and waits with growing pauses.
 * When is decided by `base/reconnect.ts`; here are only the timer and the socket.
 */
import { EventEmitter } from 'node:events';
import { ConnectionError, isBaseError, toError, type BaseError } from '../base/error.ts';
import { Reconnect, type ReconnectOptions } from '../base/reconnect.ts';
import { OpenFlowConnection, type OpenFlowOptions } from './client.ts';

/** Events of a session. */
export interface OpenFlowSessionEvents {
  /** Connected, handshake done. */
  up: [OpenFlowConnection];
  /** A connection was lost, or an attempt failed. The session goes on by itself. */
  down: [BaseError];
}

/** How to connect, and how often. */
export interface OpenFlowSessionOptions extends Omit<OpenFlowOptions, 'signal'> {
  readonly reconnect?: ReconnectOptions;
  /** Clock in milliseconds. Default `performance.now`. */
  readonly now?: () => number;
}

/** The session. */
export class OpenFlowSession extends EventEmitter<OpenFlowSessionEvents> {
  readonly #options: OpenFlowSessionOptions;
  readonly #now: () => number;
  readonly #fsm: Reconnect;
  #current: OpenFlowConnection | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Follows the timer by one look at the sockets. */
  #due: NodeJS.Immediate | undefined;
  #attempt: Promise<void> | undefined;
  /** Ends the attempt under way. */
  #giveUp = new AbortController();
  #closed = false;

  constructor(options: OpenFlowSessionOptions) {
    super();
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    // An attempt has a time limit of its own (`timeoutMs`): the state machine must not cut it short.
    const connectTimeoutMs = 2 * (options.timeoutMs ?? 5000);
    this.#fsm = new Reconnect(this.#now(), { connectTimeoutMs, ...options.reconnect });
  }

  /** The connection, while there is one. */
  get current(): OpenFlowConnection | undefined {
    return this.#current;
  }

  /** Starts connecting. Failures are events. */
  start(): void {
    this.#arm();
  }

  /** Ends the connection and connects no more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#disarm();
    this.#giveUp.abort();
    this.#current?.close();
    await this.#attempt;
  }

  #arm(): void {
    this.#disarm();
    if (this.#closed) return;
    const waitMs = this.#fsm.timeout(this.#now());
    if (waitMs === undefined) return;
    // Node runs timers before it reads sockets. After a stall of our own the answer to a probe may lie there unread: an
    // immediate comes after the sockets, and does not give up a switch that has answered.
    this.#timer = setTimeout(() => {
      this.#due = setImmediate(() => this.#run());
    }, waitMs);
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#due);
  }

  #run(): void {
    switch (this.#fsm.run(this.#now())) {
      case 'connect':
        this.#fsm.connecting(this.#now());
        this.#attempt = this.#connect();
        break;
      case 'probe':
        // Any message counts as an answer; silence is noticed by the state machine.
        this.#current?.echo().catch(() => undefined);
        break;
      case 'disconnect':
        this.#giveUp.abort();
        this.#current?.close(
          new ConnectionError('CONN_PROBE_LOST', 'switch is silent and did not answer a probe', {
            op: 'openflow.session',
            endpoint: this.#options.path,
          }),
        );
        break;
      case undefined:
        break;
    }
    this.#arm();
  }

  async #connect(): Promise<void> {
    let connection: OpenFlowConnection;
    // A new one for each attempt: listeners on one that lives as long as the session would pile up.
    this.#giveUp = new AbortController();
    try {
      connection = await OpenFlowConnection.connect({
        ...this.#options,
        signal: this.#giveUp.signal,
      });
    } catch (error) {
      this.#lost(isBaseError(error) ? error : this.#wrap(error));
      return;
    }
    if (this.#closed || connection.closed !== undefined) {
      connection.close();
      if (connection.closed !== undefined) this.#lost(connection.closed);
      return;
    }
    this.#current = connection;
    this.#fsm.connected(this.#now());
    connection.on('activity', () => this.#fsm.activity(this.#now()));
    connection.once('close', (reason) => {
      this.#current = undefined;
      this.#lost(reason);
    });
    this.#arm();
    this.emit('up', connection);
  }

  #lost(reason: BaseError): void {
    this.#fsm.disconnected(this.#now());
    this.#arm();
    if (!this.#closed) this.emit('down', reason);
  }

  #wrap(error: unknown): ConnectionError {
    const where = { op: 'openflow.session', endpoint: this.#options.path, cause: error };
    return new ConnectionError('CONN_CLOSED', toError(error).message, where);
  }
}
