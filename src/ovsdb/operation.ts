/**
 * The operations of a transaction (RFC 7047 section 5.2), built in their wire form. What the server answers to each is an
 * {@link OperationResult}; transaction.ts reads it.
 */
import type { Condition } from './condition.ts';
import type { Json, JsonObject } from './json-value.ts';
import { encodeLockName, encodeValue, type Uuid, type Value, type ValueInput } from './notation.ts';

/** Name of an operation. */
export type OperationName =
  'insert' | 'select' | 'update' | 'mutate' | 'delete' | 'wait' | 'comment' | 'assert';

/** One operation, ready to be sent. */
export interface Operation extends JsonObject {
  readonly op: OperationName;
  /** Absent for `comment` and `assert`. */
  readonly table?: string;
}

/** Columns to write, by name. */
export type RowInput = Readonly<Record<string, ValueInput>>;

/** Columns of a row as they were read, by name. */
export type Row = ReadonlyMap<string, Value>;

/** How `mutate` changes a column; `insert` and `delete` are for sets and maps. */
export type Mutator = '+=' | '-=' | '*=' | '/=' | '%=' | 'insert' | 'delete';

/** One mutation in its wire form. */
export type Mutation = readonly [column: string, mutator: Mutator, value: Json];

/** Answer to one operation. Which fields are there depends on the operation. */
export interface OperationResult {
  /** `insert`: the new row. */
  readonly uuid?: Uuid;
  /** `select`: the rows found; sets of one element are bare atoms. */
  readonly rows?: readonly Row[];
  /** `update`, `mutate`, `delete`: how many rows were met. */
  readonly count?: number;
}

function encodeRow(row: RowInput): Json {
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, encodeValue(value)]));
}

/** Inserts a row; `uuidName` lets other operations of the transaction refer to it as `{namedUuid}`. */
export function insert(table: string, row: RowInput, uuidName?: string): Operation {
  const name = uuidName === undefined ? {} : { 'uuid-name': uuidName };
  return { op: 'insert', table, row: encodeRow(row), ...name };
}

/** Reads rows; all columns, `_uuid` and `_version` included, when `columns` is absent. */
export function select(
  table: string,
  where: readonly Condition[],
  columns?: readonly string[],
): Operation {
  return { op: 'select', table, where, ...(columns === undefined ? {} : { columns }) };
}

/** Sets columns of the rows chosen. */
export function update(table: string, where: readonly Condition[], row: RowInput): Operation {
  return { op: 'update', table, where, row: encodeRow(row) };
}

/** Changes columns of the rows chosen without reading them first. */
export function mutate(
  table: string,
  where: readonly Condition[],
  mutations: readonly Mutation[],
): Operation {
  return { op: 'mutate', table, where, mutations };
}

/** One mutation for {@link mutate}. Deleting from a map takes a set of keys, or a map of exact pairs. */
export function mutation(column: string, mutator: Mutator, value: ValueInput): Mutation {
  return [column, mutator, encodeValue(value)];
}

/** Deletes the rows chosen. */
export function deleteRows(table: string, where: readonly Condition[]): Operation {
  return { op: 'delete', table, where };
}

/**
 * Goes on only when the chosen rows' `columns` are (`==`) or are not (`!=`) exactly `rows`; fails with
 * `OVSDB_TIMED_OUT` after `timeoutMs`. With 0, the default, it is a check at the moment of the transaction.
 */
export function wait(
  table: string,
  where: readonly Condition[],
  columns: readonly string[],
  until: '==' | '!=',
  rows: readonly RowInput[],
  timeoutMs = 0,
): Operation {
  return {
    op: 'wait',
    table,
    where,
    columns,
    until,
    rows: rows.map(encodeRow),
    timeout: timeoutMs,
  };
}

/** Writes `text` into the server's log beside the transaction. */
export function comment(text: string): Operation {
  return { op: 'comment', comment: text };
}

/** Fails the transaction with `OVSDB_NOT_OWNER` unless this connection holds the lock. */
export function assertLock(lock: string): Operation {
  return { op: 'assert', lock: encodeLockName(lock) };
}
