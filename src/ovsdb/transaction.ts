/**
 * A transaction: its parameters, and what the server answered (RFC 7047 section 4.1.3). All operations take effect or
 * none does; the first error ends it. No I/O: client.ts sends it.
 */
import { ovsdbErrorFrom } from './errors.ts';
import { badValue, expectArray, expectObject, isJsonObject, type Json } from './json-value.ts';
import { decodeAtom, decodeValue, type NamedUuid, type Value } from './notation.ts';
import {
  insert,
  type Operation,
  type OperationResult,
  type Row,
  type RowInput,
} from './operation.ts';

const OP = 'ovsdb.transact';

/** Collects operations and gives each inserted row a name that the others can use. */
export class Transaction {
  readonly #operations: Operation[] = [];

  /** What was added so far, in order. */
  get operations(): readonly Operation[] {
    return this.#operations;
  }

  /** Adds an operation. */
  add(operation: Operation): void {
    this.#operations.push(operation);
  }

  /** Adds an insert and returns the reference to its row, good within this transaction only. */
  insert(table: string, row: RowInput): NamedUuid {
    const namedUuid = `row${this.#operations.length}`;
    this.add(insert(table, row, namedUuid));
    return { namedUuid };
  }
}

/** Parameters of the `transact` request. */
export function encodeTransact(database: string, operations: readonly Operation[]): Json[] {
  return [database, ...operations];
}

function decodeRow(json: Json): Row {
  const row = new Map<string, Value>();
  for (const [name, value] of Object.entries(expectObject(json, OP, 'row'))) {
    row.set(name, decodeValue(value));
  }
  return row;
}

function decodeResult(json: Json): OperationResult {
  const { uuid, rows, count } = expectObject(json, OP, 'operation result');
  if (uuid !== undefined) {
    const atom = decodeAtom(uuid);
    if (typeof atom !== 'object') throw badValue(OP, 'insert result has no uuid');
    return { uuid: atom };
  }
  if (rows !== undefined) return { rows: expectArray(rows, OP, 'rows').map(decodeRow) };
  if (count === undefined) return {};
  if (typeof count !== 'number') throw badValue(OP, 'count is not a number');
  return { count };
}

/**
 * Reads the reply to `transact`: one result per operation, in order.
 * @throws OvsdbError with the index and table of the operation that failed; DecodeError when the reply makes no sense.
 */
export function decodeTransactReply(
  operations: readonly Operation[],
  reply: Json,
): OperationResult[] {
  const results = expectArray(reply, OP, 'transact result');
  results.forEach((result, operationIndex) => {
    if (!isJsonObject(result) || result['error'] === undefined) return;
    const table = operations[operationIndex]?.table;
    throw ovsdbErrorFrom(result, {
      op: OP,
      operationIndex,
      ...(table === undefined ? {} : { table }),
    });
  });
  if (results.length !== operations.length) {
    throw badValue(OP, `${results.length} results for ${operations.length} operations`);
  }
  return results.map(decodeResult);
}
