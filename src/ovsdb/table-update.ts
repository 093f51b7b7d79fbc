/**
 * Reads the three forms of table updates: `<table-updates>` of RFC 7047 section 4.1.6, and `<table-updates2>` of
 * ovsdb-server(7) sections 4.1.13 to 4.1.15, which leaves out default values and sends sets and maps as differences.
 * The result is independent of the form. Pure; table-cache.ts keeps the rows.
 */
import { badValue, expectObject, isJsonObject, type Json, type JsonObject } from './json-value.ts';
import { atomKey, type Atom, type Value } from './notation.ts';
import type { Row } from './operation.ts';
import { decodeColumn, defaultValue, type ColumnSchema } from './schema.ts';

const OP = 'ovsdb.monitor';

/** Which columns of which tables are monitored, with their types. */
export type MonitoredTables = ReadonlyMap<string, ReadonlyMap<string, ColumnSchema>>;

/** What happened to one row: `put` has the whole row, `patch` the columns that changed as differences. */
export type RowUpdate =
  | { readonly kind: 'put'; readonly table: string; readonly uuid: string; readonly row: Row }
  | { readonly kind: 'patch'; readonly table: string; readonly uuid: string; readonly row: Row }
  | { readonly kind: 'delete'; readonly table: string; readonly uuid: string };

type Columns = ReadonlyMap<string, ColumnSchema>;

/** Every monitored column, those absent from `json` with their default. */
function decodeWholeRow(columns: Columns, json: JsonObject): Row {
  const row = new Map<string, Value>();
  for (const [name, column] of columns) {
    const value = Object.hasOwn(json, name) ? json[name] : undefined;
    row.set(name, value === undefined ? defaultValue(column) : decodeColumn(column, value));
  }
  return row;
}

/** The columns that `json` holds; those that were not asked for are left out. */
function decodePartialRow(columns: Columns, json: JsonObject): Row {
  const row = new Map<string, Value>();
  for (const [name, value] of Object.entries(json)) {
    const column = columns.get(name);
    if (column !== undefined) row.set(name, decodeColumn(column, value));
  }
  return row;
}

function decodeRowUpdate1(
  table: string,
  uuid: string,
  columns: Columns,
  json: JsonObject,
): RowUpdate {
  const row = json['new'];
  // `new` has every monitored column; `old` only says which of them changed.
  if (isJsonObject(row)) return { kind: 'put', table, uuid, row: decodeWholeRow(columns, row) };
  return { kind: 'delete', table, uuid };
}

function decodeRowUpdate2(
  table: string,
  uuid: string,
  columns: Columns,
  json: JsonObject,
): RowUpdate {
  const whole = json['initial'] ?? json['insert'];
  if (isJsonObject(whole)) return { kind: 'put', table, uuid, row: decodeWholeRow(columns, whole) };
  const patch = json['modify'];
  if (isJsonObject(patch)) {
    return { kind: 'patch', table, uuid, row: decodePartialRow(columns, patch) };
  }
  if (json['delete'] !== undefined) return { kind: 'delete', table, uuid };
  throw badValue(OP, 'row update says nothing');
}

/**
 * Reads the updates of one message. `form` 1 is that of `monitor`, 2 that of `monitor_cond` and `monitor_cond_since`.
 * @throws DecodeError when they are malformed or of a table that was not asked for.
 */
export function decodeTableUpdates(tables: MonitoredTables, json: Json, form: 1 | 2): RowUpdate[] {
  const decode = form === 1 ? decodeRowUpdate1 : decodeRowUpdate2;
  const updates: RowUpdate[] = [];
  for (const [table, rows] of Object.entries(expectObject(json, OP, 'table updates'))) {
    const columns = tables.get(table);
    if (columns === undefined) throw badValue(OP, 'update of a table that is not monitored');
    for (const [uuid, update] of Object.entries(expectObject(rows, OP, 'table update'))) {
      updates.push(decode(table, uuid, columns, expectObject(update, OP, 'row update')));
    }
  }
  return updates;
}

function isMap(value: Value | undefined): value is ReadonlyMap<Atom, Atom> {
  return value instanceof Map;
}

function isSet(value: Value | undefined): value is readonly Atom[] {
  return Array.isArray(value);
}

/** Elements in exactly one of both, those of `set` first. */
function patchSet(set: readonly Atom[], difference: readonly Atom[]): readonly Atom[] {
  const toggled = new Map(difference.map((atom) => [atomKey(atom), atom]));
  const kept = set.filter((atom) => !toggled.delete(atomKey(atom)));
  return [...kept, ...toggled.values()];
}

/** A pair that is there already is removed, a key with another value overwritten, a new key added. */
function patchMap(
  map: ReadonlyMap<Atom, Atom>,
  difference: ReadonlyMap<Atom, Atom>,
): ReadonlyMap<Atom, Atom> {
  const entries = new Map([...map].map((entry) => [atomKey(entry[0]), entry]));
  for (const [key, value] of difference) {
    const present = entries.get(atomKey(key));
    if (present !== undefined && atomKey(present[1]) === atomKey(value))
      entries.delete(atomKey(key));
    else entries.set(atomKey(key), [key, value]);
  }
  return new Map(entries.values());
}

function patchValue(column: ColumnSchema | undefined, old: Value | undefined, patch: Value): Value {
  // A column of at most one element comes as its new value, any other as a difference.
  if (column === undefined || column.max === 1) return patch;
  if (isMap(old) && isMap(patch)) return patchMap(old, patch);
  return isSet(old) && isSet(patch) ? patchSet(old, patch) : patch;
}

/** `row` after a `patch` update. Returns a new row: rows are never changed in place. */
export function patchRow(columns: Columns | undefined, row: Row, patch: Row): Row {
  const patched = new Map(row);
  for (const [name, value] of patch) {
    patched.set(name, patchValue(columns?.get(name), row.get(name), value));
  }
  return patched;
}

function setEquals(left: readonly Atom[], right: readonly Atom[]): boolean {
  if (left.length !== right.length) return false;
  const keys = new Set(left.map(atomKey));
  return right.every((atom) => keys.has(atomKey(atom)));
}

function mapEquals(left: ReadonlyMap<Atom, Atom>, right: ReadonlyMap<Atom, Atom>): boolean {
  if (left.size !== right.size) return false;
  const entries = new Map([...left].map(([key, value]) => [atomKey(key), atomKey(value)]));
  return [...right].every(([key, value]) => entries.get(atomKey(key)) === atomKey(value));
}

/** True when both are the same value; the order of a set or map does not count. */
export function valueEquals(left: Value | undefined, right: Value | undefined): boolean {
  if (left === undefined || right === undefined) return left === right;
  if (isMap(left)) return isMap(right) && mapEquals(left, right);
  if (isSet(left)) return isSet(right) && setEquals(left, right);
  return !isMap(right) && !isSet(right) && atomKey(left) === atomKey(right);
}

/** True when both rows hold the same columns with the same values. */
export function rowEquals(left: Row, right: Row): boolean {
  if (left.size !== right.size) return false;
  return [...left].every(([name, value]) => valueEquals(value, right.get(name)));
}
