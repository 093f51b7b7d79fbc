/**
 * Keeps a {@link TableCache} equal to the server: `monitor_cond_since` (ovsdb-server(7) 4.1.15), which resumes after a
 * reconnect where it stopped; `monitor_cond` (4.1.13) or `monitor` (RFC 7047 4.1.5) where the server is too old. No
 * socket: client.ts starts it on each connection and hands it the notifications.
 */
import { OvsdbError } from './errors.ts';
import { badValue, expectArray, type Json } from './json-value.ts';
import type { JsonRpc } from './jsonrpc.ts';
import type { ColumnSchema, Schema } from './schema.ts';
import type { RowChange, TableCache } from './table-cache.ts';
import { decodeTableUpdates, type MonitoredTables } from './table-update.ts';

/** Columns to monitor, by table. */
export type MonitorColumns = Readonly<Record<string, readonly string[]>>;

/** The three forms of the request, best first. */
export type MonitorMethod = 'monitor_cond_since' | 'monitor_cond' | 'monitor';

const OP = 'ovsdb.monitor';
const METHODS: readonly MonitorMethod[] = ['monitor_cond_since', 'monitor_cond', 'monitor'];
const MONITOR_ID = 'monitor';
/** Transaction id that no server has: it asks for everything. */
const NO_TRANSACTION = '00000000-0000-0000-0000-000000000000';

/** What {@link Monitor} works on. */
export interface MonitorOptions {
  readonly database: string;
  readonly columns: MonitorColumns;
  readonly cache: TableCache;
  /** Receives the changes of one message, never an empty list, after the cache has them. */
  readonly onChange: (changes: readonly RowChange[]) => void;
}

/** One monitor over the life of many connections. */
export class Monitor {
  readonly #options: MonitorOptions;
  #tables: MonitoredTables = new Map();
  #lastTransaction = NO_TRANSACTION;
  #method: MonitorMethod | undefined;

  constructor(options: MonitorOptions) {
    this.#options = options;
  }

  /** The form that the present server understood; undefined before the first start. */
  get method(): MonitorMethod | undefined {
    return this.#method;
  }

  /**
   * Starts the monitor on a new connection; when it is done the cache holds what the server had.
   * @throws OvsdbError when the server refuses, or has no such table or column; ConnectionError; DecodeError.
   */
  async start(rpc: JsonRpc, schema: Schema): Promise<void> {
    this.#tables = this.#resolveColumns(schema);
    for (const method of METHODS) {
      if (await this.#tryMethod(rpc, method)) return;
    }
    throw new OvsdbError('OVSDB_UNKNOWN_METHOD', 'the server cannot monitor', { op: OP });
  }

  /**
   * Takes a notification; one that is not of this monitor is ignored.
   * @throws DecodeError when it is malformed or does not fit the cache.
   */
  receive(method: string, params: readonly Json[]): void {
    if (params[0] !== MONITOR_ID) return;
    switch (method) {
      case 'update3': {
        this.#apply(params[2], 2);
        this.#lastTransaction = transactionId(params[1]);
        return;
      }
      case 'update2':
        this.#apply(params[1], 2);
        return;
      case 'update':
        this.#apply(params[1], 1);
        return;
      default:
    }
  }

  async #tryMethod(rpc: JsonRpc, method: MonitorMethod): Promise<boolean> {
    const { database, columns } = this.#options;
    const requests = Object.fromEntries(
      Object.entries(columns).map(([table, names]) => [table, [{ columns: names }]]),
    );
    const since = method === 'monitor_cond_since' ? [this.#lastTransaction] : [];
    try {
      await rpc.request(method, [database, MONITOR_ID, requests, ...since], (reply) =>
        this.#start(method, reply),
      );
      return true;
    } catch (thrown) {
      if (thrown instanceof OvsdbError && thrown.code === 'OVSDB_UNKNOWN_METHOD') return false;
      throw thrown;
    }
  }

  #start(method: MonitorMethod, reply: Json): void {
    this.#method = method;
    if (method !== 'monitor_cond_since') {
      this.#replace(reply, method === 'monitor' ? 1 : 2);
      this.#lastTransaction = NO_TRANSACTION;
      return;
    }
    const [found, last, updates] = expectArray(reply, OP, 'monitor_cond_since result');
    if (found === true) this.#apply(updates, 2);
    else this.#replace(updates, 2);
    this.#lastTransaction = transactionId(last);
  }

  #apply(json: Json | undefined, form: 1 | 2): void {
    this.#update(() => {
      const updates = decodeTableUpdates(this.#tables, json ?? null, form);
      return this.#options.cache.apply(this.#tables, updates);
    });
  }

  #replace(json: Json | undefined, form: 1 | 2): void {
    this.#update(() =>
      this.#options.cache.replace(decodeTableUpdates(this.#tables, json ?? null, form)),
    );
  }

  #update(change: () => readonly RowChange[]): void {
    // Until it has succeeded the cache may have missed something: the next connection must ask for everything.
    const last = this.#lastTransaction;
    this.#lastTransaction = NO_TRANSACTION;
    const changes = change();
    this.#lastTransaction = last;
    if (changes.length > 0) this.#options.onChange(changes);
  }

  #resolveColumns(schema: Schema): MonitoredTables {
    const tables = new Map<string, ReadonlyMap<string, ColumnSchema>>();
    for (const [table, names] of Object.entries(this.#options.columns)) {
      const columns = schema.tables.get(table)?.columns;
      if (columns === undefined) {
        throw new OvsdbError('OVSDB_UNKNOWN_TABLE', `the server has no table ${table}`, {
          op: OP,
          table,
        });
      }
      const resolved = new Map<string, ColumnSchema>();
      for (const name of names) {
        const column = columns.get(name);
        if (column === undefined) {
          const message = `the server's table ${table} has no column ${name}`;
          throw new OvsdbError('OVSDB_UNKNOWN_COLUMN', message, { op: OP, table });
        }
        resolved.set(name, column);
      }
      tables.set(table, resolved);
    }
    return tables;
  }
}

function transactionId(json: Json | undefined): string {
  if (typeof json !== 'string') throw badValue(OP, 'last transaction id is not a string');
  return json;
}
