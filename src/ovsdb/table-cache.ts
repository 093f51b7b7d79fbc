/**
 * The monitored rows, by table and UUID, kept equal to the server's by the updates that monitor.ts reads. Rows are
 * immutable: a changed row is a new Map, so a reader may keep what it was given. No I/O.
 */
import { DecodeError } from '../base/error.ts';
import { badValue } from './json-value.ts';
import type { Atom, Value } from './notation.ts';
import type { Row } from './operation.ts';
import { patchRow, rowEquals, type MonitoredTables, type RowUpdate } from './table-update.ts';

/** One row that changed. `old` is absent when it is new, `new` when it is gone. */
export interface RowChange {
  readonly table: string;
  readonly uuid: string;
  readonly old?: Row;
  readonly new?: Row;
}

/** Most that the rows may weigh, by {@link rowWeight}: more than a million interfaces do. */
const WEIGHT_MAX = 512 << 20;
/** What a row, and each value in it, costs beside its text. Bytes, roughly. */
const ROW_WEIGHT = 200;
const ATOM_WEIGHT = 32;
const NO_ROWS: ReadonlyMap<string, Row> = new Map();

/** Rows by table and UUID. */
export class TableCache {
  #tables = new Map<string, Map<string, Row>>();
  #weight = 0;
  readonly #weightMax: number;

  /** `weightMax`: about how many bytes the rows may take. */
  constructor(weightMax = WEIGHT_MAX) {
    this.#weightMax = weightMax;
  }

  /** All rows of a table by UUID; empty for a table that is not monitored. Live: it changes with the next update. */
  rows(table: string): ReadonlyMap<string, Row> {
    return this.#tables.get(table) ?? NO_ROWS;
  }

  /** One row, or undefined. */
  row(table: string, uuid: string): Row | undefined {
    return this.#tables.get(table)?.get(uuid);
  }

  /**
   * Applies the updates of one message and returns what changed. All of them or none: what is applied is reported.
   * @throws DecodeError when an update does not fit the rows held, or the rows would take too much memory: the cache is no
   * longer what the server has, and must be replaced.
   */
  apply(tables: MonitoredTables, updates: readonly RowUpdate[]): RowChange[] {
    const changes: RowChange[] = [];
    for (const update of updates) {
      const { table, uuid } = update;
      const old = this.row(table, uuid);
      const change = rowChange(table, uuid, old, nextRow(tables, update, old));
      if (change !== undefined) changes.push(change);
    }
    this.#weight = this.#checked(this.#weight + weightOf(changes));
    for (const change of changes) {
      if (change.new === undefined) this.#tables.get(change.table)?.delete(change.uuid);
      else tableOf(this.#tables, change.table).set(change.uuid, change.new);
    }
    return changes;
  }

  /**
   * Takes `updates`, all of kind `put`, as all that the server has, and returns the differences from what was held.
   * @throws DecodeError when one is of another kind, or they would take too much memory; the cache is as before.
   */
  replace(updates: readonly RowUpdate[]): RowChange[] {
    const before = this.#tables;
    const after = new Map<string, Map<string, Row>>();
    const changes: RowChange[] = [];
    for (const update of updates) {
      if (update.kind !== 'put') throw badValue('ovsdb.monitor', 'first update changes a row');
      const { table, uuid } = update;
      const old = before.get(table)?.get(uuid);
      const change = rowChange(table, uuid, old, update.row);
      // An equal row stays the same object, so that whoever compares by identity sees no change.
      tableOf(after, table).set(uuid, change === undefined && old !== undefined ? old : update.row);
      if (change !== undefined) changes.push(change);
    }
    for (const [table, rows] of before) {
      for (const [uuid, old] of rows) {
        if (after.get(table)?.has(uuid) !== true) changes.push({ table, uuid, old });
      }
    }
    this.#weight = this.#checked(this.#weight + weightOf(changes));
    this.#tables = after;
    return changes;
  }

  #checked(weight: number): number {
    if (weight <= this.#weightMax) return weight;
    throw new DecodeError('DECODE_TOO_LARGE', `rows take more than ${this.#weightMax} bytes`, {
      protocol: 'ovsdb',
      op: 'ovsdb.monitor',
      offset: 0,
    });
  }
}

function tableOf(tables: Map<string, Map<string, Row>>, name: string): Map<string, Row> {
  const present = tables.get(name);
  if (present !== undefined) return present;
  const table = new Map<string, Row>();
  tables.set(name, table);
  return table;
}

function nextRow(
  tables: MonitoredTables,
  update: RowUpdate,
  old: Row | undefined,
): Row | undefined {
  switch (update.kind) {
    case 'put':
      return update.row;
    case 'delete':
      return undefined;
    case 'patch':
      if (old === undefined) throw badValue('ovsdb.monitor', 'update of a row that is not known');
      return patchRow(tables.get(update.table), old, update.row);
  }
}

function rowChange(
  table: string,
  uuid: string,
  old: Row | undefined,
  next: Row | undefined,
): RowChange | undefined {
  if (old === undefined) return next === undefined ? undefined : { table, uuid, new: next };
  if (next === undefined) return { table, uuid, old };
  return rowEquals(old, next) ? undefined : { table, uuid, old, new: next };
}

function weightOf(changes: readonly RowChange[]): number {
  return changes.reduce((sum, change) => sum + rowWeight(change.new) - rowWeight(change.old), 0);
}

/** About how many bytes a row takes. */
function rowWeight(row: Row | undefined): number {
  if (row === undefined) return 0;
  let weight = ROW_WEIGHT;
  for (const value of row.values()) weight += valueWeight(value);
  return weight;
}

function valueWeight(value: Value): number {
  if (isMap(value)) {
    let weight = ATOM_WEIGHT;
    for (const [key, item] of value) weight += atomWeight(key) + atomWeight(item);
    return weight;
  }
  const atoms = isSet(value) ? value : [value];
  return atoms.reduce<number>((sum, atom) => sum + atomWeight(atom), ATOM_WEIGHT);
}

function isMap(value: Value): value is ReadonlyMap<Atom, Atom> {
  return value instanceof Map;
}

function isSet(value: Value): value is readonly Atom[] {
  return Array.isArray(value);
}

function atomWeight(atom: Atom): number {
  return ATOM_WEIGHT + (typeof atom === 'string' ? atom.length : 0);
}
