/**
 * The OVSDB client that the agent uses (RFC 7047; ovsdb-server(7)): it stays connected, mirrors the tables that it is told
 * to, holds locks and runs transactions. What the rows mean is vswitch.ts and the agent.
 */
import { EventEmitter } from 'node:events';
import { BaseError, ConnectionError } from '../base/error.ts';
import { silentLogger, type Logger } from '../base/logger.ts';
import type { ReconnectOptions } from '../base/reconnect.ts';
import { makeDeferred, type Deferred } from '../base/deferred.ts';
import type { ConnectionLimits } from './connection.ts';
import type { Json } from './json-value.ts';
import type { JsonRpc } from './jsonrpc.ts';
import { LockSet } from './lock.ts';
import { Monitor, type MonitorColumns, type MonitorMethod } from './monitor.ts';
import type { Operation, OperationResult } from './operation.ts';
import { parseSchema, type Schema } from './schema.ts';
import { Session } from './session.ts';
import { TableCache, type RowChange } from './table-cache.ts';
import { decodeTransactReply, encodeTransact } from './transaction.ts';
import { incrementNextConfig, parseNextConfig, readOpenVSwitch } from './vswitch.ts';

/** How an {@link OvsdbClient} is made. */
export interface OvsdbClientOptions {
  /** Path of the server's Unix socket; `unix:` in front of it is allowed. */
  readonly path: string;
  /** Default `Open_vSwitch`. */
  readonly database?: string;
  /** Columns to mirror, by table. */
  readonly monitor: MonitorColumns;
  readonly reconnect?: ReconnectOptions;
  /** How long a reply may take, in milliseconds. Default 10000. */
  readonly requestTimeoutMs?: number;
  readonly limits?: ConnectionLimits;
  /** Default: none. */
  readonly logger?: Logger;
  /** Clock in milliseconds that only grows. Default performance.now. */
  readonly now?: () => number;
}

/** Events of an {@link OvsdbClient}, with their arguments. */
export interface OvsdbClientEvents {
  /** The socket is open; the cache may still be that of the connection before. */
  connected: [];
  /** The cache holds what the server has. */
  synced: [];
  /** Rows changed: all changes of one message, which is one transaction or the differences after a reconnect. */
  change: [changes: readonly RowChange[]];
  /** An open connection ended. */
  disconnected: [error: Error];
  /** An attempt to connect failed; the next one follows by itself. */
  failed: [error: Error];
  locked: [name: string];
  unlocked: [name: string];
}

/** One server, over the life of many connections. */
export class OvsdbClient extends EventEmitter<OvsdbClientEvents> {
  /** The mirrored rows. After a disconnect they stay as they were. */
  readonly cache = new TableCache();
  readonly #path: string;
  readonly #database: string;
  readonly #session: Session;
  readonly #monitor: Monitor;
  readonly #locks: LockSet;
  readonly #logger: Logger;
  /** Waits for ovs-vswitchd to take a change: nobody else would tell them that the connection is gone. */
  readonly #configWaits = new Set<Deferred<void>>();
  #synced = false;
  #lastError: Error | undefined;

  constructor(options: OvsdbClientOptions) {
    super();
    this.#path = options.path.replace(/^unix:/, '');
    this.#database = options.database ?? 'Open_vSwitch';
    this.#logger = options.logger ?? silentLogger;
    this.#locks = new LockSet((name, held) => this.emit(held ? 'locked' : 'unlocked', name));
    this.#monitor = new Monitor({
      database: this.#database,
      columns: options.monitor,
      cache: this.cache,
      onChange: (changes) => this.emit('change', changes),
    });
    this.#session = new Session(
      {
        path: this.#path,
        reconnect: options.reconnect ?? {},
        requestTimeoutMs: options.requestTimeoutMs ?? 10_000,
        limits: options.limits ?? {},
        logger: this.#logger,
        now: options.now ?? (() => performance.now()),
      },
      {
        handshake: (rpc) => this.#handshake(rpc),
        onReady: () => this.#ready(),
        onNotification: (method, params) => this.#receive(method, params),
        onDown: (error, wasOpen) => this.#down(error, wasOpen),
      },
    );
  }

  /** True while the socket is open. */
  get connected(): boolean {
    return this.#session.rpc !== undefined;
  }

  /** True while the cache follows the server on an open connection. */
  get synced(): boolean {
    return this.#synced;
  }

  /** For how long nothing has come from the server. Milliseconds. */
  get silentMs(): number {
    return this.#session.silentMs;
  }

  /** Why the last connection or attempt ended; undefined while synced. */
  get lastError(): Error | undefined {
    return this.#lastError;
  }

  /** The form of monitor that the server understood. */
  get monitorMethod(): MonitorMethod | undefined {
    return this.#monitor.method;
  }

  /** Starts to connect; goes on until {@link close}. Errors are events, never thrown. */
  start(): void {
    this.#session.start();
  }

  /**
   * Closes for good: requests in flight, waits and locks not yet obtained are rejected with `CONN_CLOSED`. No event
   * follows.
   */
  async close(): Promise<void> {
    this.removeAllListeners();
    this.#session.close();
    this.#synced = false;
    this.#locks.close(this.#closedError('ovsdb.lock'));
    this.#endConfigWaits();
  }

  /**
   * Runs operations as one transaction.
   * @throws OvsdbError with the index of the operation that failed; ConnectionError when there is no connection or it
   * ends before the reply: the transaction may or may not have taken effect.
   */
  async transact(operations: readonly Operation[]): Promise<OperationResult[]> {
    const params = encodeTransact(this.#database, operations);
    return this.#request('transact', params, (reply) => decodeTransactReply(operations, reply));
  }

  /**
   * Like {@link transact}, and then waits until ovs-vswitchd has taken the new configuration, as ovs-vsctl does. Needs
   * `Open_vSwitch.cur_cfg` among the monitored columns.
   * @throws what {@link transact} throws; ConnectionError `CONN_TIMEOUT` when ovs-vswitchd does not follow in time,
   * `CONN_CLOSED` when the connection goes meanwhile: the transaction has taken effect nevertheless.
   */
  async transactAndWait(
    operations: readonly Operation[],
    timeoutMs = 10_000,
  ): Promise<OperationResult[]> {
    const results = await this.transact([...operations, ...incrementNextConfig()]);
    const nextConfig = parseNextConfig(results.at(-1));
    await this.#waitForConfig(nextConfig, timeoutMs);
    return results.slice(0, operations.length);
  }

  /**
   * Asks for a sign of life. When it ends, all that the server has said before has been taken in.
   * @throws ConnectionError.
   */
  async echo(): Promise<void> {
    return this.#request('echo', [], () => undefined);
  }

  /**
   * Reads the database's schema.
   * @throws OvsdbError, ConnectionError or DecodeError.
   */
  async getSchema(): Promise<Schema> {
    return this.#request('get_schema', [this.#database], parseSchema);
  }

  /**
   * Wants a lock from now on, on every connection. The promise ends when it is ours for the first time; whether it still
   * is, {@link hasLock} and the events tell.
   * @throws ConnectionError `CONN_CLOSED` when the client is closed first.
   */
  async lock(name: string): Promise<void> {
    const obtained = this.#locks.want(name);
    const rpc = this.#session.rpc;
    if (rpc !== undefined) {
      // A connection that ends meanwhile is no fault: the lock is asked for on the next one.
      await this.#locks.ask(rpc).catch((thrown: unknown) => {
        if (!(thrown instanceof ConnectionError)) throw thrown;
      });
    }
    return obtained;
  }

  /** True while the lock is ours. */
  hasLock(name: string): boolean {
    return this.#locks.isHeld(name);
  }

  async #request<T>(
    method: string,
    params: readonly Json[],
    decode: (result: Json) => T,
  ): Promise<T> {
    const rpc = this.#session.rpc;
    if (rpc === undefined) throw this.#closedError(`ovsdb.${method}`);
    return rpc.request(method, params, decode);
  }

  async #handshake(rpc: JsonRpc): Promise<void> {
    this.emit('connected');
    const schema = await rpc.request('get_schema', [this.#database], parseSchema);
    await this.#monitor.start(rpc, schema);
    await this.#locks.ask(rpc);
  }

  #ready(): void {
    this.#synced = true;
    this.#lastError = undefined;
    this.#logger.info(
      { endpoint: this.#path, method: this.#monitor.method },
      'ovsdb monitor in step',
    );
    this.emit('synced');
  }

  #receive(method: string, params: readonly Json[]): void {
    this.#monitor.receive(method, params);
    this.#locks.receive(method, params);
  }

  #down(error: Error, wasOpen: boolean): void {
    this.#synced = false;
    this.#lastError = error;
    this.#locks.loseAll();
    this.#endConfigWaits();
    this.emit(wasOpen ? 'disconnected' : 'failed', error);
  }

  async #waitForConfig(nextConfig: number, timeoutMs: number): Promise<void> {
    const reached = (): boolean => (readOpenVSwitch(this.cache)?.curCfg ?? -1) >= nextConfig;
    const deferred = makeDeferred<void>(timeoutMs, () => {
      const where = {
        op: 'ovsdb.transact',
        endpoint: this.#path,
        details: { timeoutMs, nextConfig },
      };
      return new ConnectionError('CONN_TIMEOUT', 'ovs-vswitchd did not take the change', where);
    });
    const check = (): void => {
      if (reached()) deferred.resolve();
    };
    this.on('change', check);
    this.#configWaits.add(deferred);
    check();
    try {
      await deferred.promise;
    } finally {
      this.off('change', check);
      this.#configWaits.delete(deferred);
    }
  }

  #endConfigWaits(): void {
    for (const wait of this.#configWaits) wait.reject(this.#closedError('ovsdb.transact'));
  }

  #closedError(op: string): ConnectionError {
    const cause = this.#lastError instanceof BaseError ? this.#lastError : undefined;
    const where = { op, endpoint: this.#path, cause };
    return new ConnectionError('CONN_CLOSED', `not connected to ${this.#path}`, where);
  }
}
