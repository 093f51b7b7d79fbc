/**
 * Errors that an OVSDB server reports (RFC 7047 sections 3.1, 4.1.3 and 5.2, and those that ovsdb-server adds). Faults of
 * the socket are ConnectionError, faults of the bytes DecodeError: both live in base/error.ts.
 */
import { BaseError } from '../base/error.ts';
import { isJsonObject, type Json } from './json-value.ts';

/** The server's error strings, with our code for each. */
const CODE_BY_TEXT = new Map([
  ['aborted', 'OVSDB_ABORTED'],
  ['canceled', 'OVSDB_CANCELED'],
  ['cluster error', 'OVSDB_CLUSTER_ERROR'],
  ['constraint violation', 'OVSDB_CONSTRAINT_VIOLATION'],
  ['domain error', 'OVSDB_DOMAIN_ERROR'],
  ['duplicate uuid', 'OVSDB_DUPLICATE_UUID'],
  ['duplicate uuid-name', 'OVSDB_DUPLICATE_UUID_NAME'],
  ['I/O error', 'OVSDB_IO_ERROR'],
  ['not allowed', 'OVSDB_NOT_ALLOWED'],
  ['not leader', 'OVSDB_NOT_LEADER'],
  ['not owner', 'OVSDB_NOT_OWNER'],
  ['not supported', 'OVSDB_NOT_SUPPORTED'],
  ['permission error', 'OVSDB_PERMISSION_ERROR'],
  ['range error', 'OVSDB_RANGE_ERROR'],
  ['referential integrity violation', 'OVSDB_REFERENTIAL_INTEGRITY_VIOLATION'],
  ['resources exhausted', 'OVSDB_RESOURCES_EXHAUSTED'],
  ['syntax error', 'OVSDB_SYNTAX_ERROR'],
  ['timed out', 'OVSDB_TIMED_OUT'],
  ['unknown column', 'OVSDB_UNKNOWN_COLUMN'],
  ['unknown database', 'OVSDB_UNKNOWN_DATABASE'],
  ['unknown lock', 'OVSDB_UNKNOWN_LOCK'],
  ['unknown method', 'OVSDB_UNKNOWN_METHOD'],
  ['unknown monitor', 'OVSDB_UNKNOWN_MONITOR'],
  ['unknown table', 'OVSDB_UNKNOWN_TABLE'],
] as const);

/** Codes of {@link OvsdbError}. `OVSDB_UNIXCTL_FAILED` is a command that a daemon's control socket refused. */
export type OvsdbErrorCode =
  | (typeof CODE_BY_TEXT extends Map<string, infer Code> ? Code : never)
  | 'OVSDB_UNIXCTL_FAILED'
  | 'OVSDB_UNKNOWN';

/** Those after which the same call may succeed: the peer's state passes, or somebody else held something. */
const RETRYABLE: ReadonlySet<OvsdbErrorCode> = new Set<OvsdbErrorCode>([
  'OVSDB_CANCELED',
  'OVSDB_CLUSTER_ERROR',
  'OVSDB_IO_ERROR',
  'OVSDB_NOT_LEADER',
  'OVSDB_NOT_OWNER',
  'OVSDB_RESOURCES_EXHAUSTED',
  'OVSDB_TIMED_OUT',
]);

/** Where in a request the error arose. */
export interface OvsdbErrorPlace {
  /** What was being done, such as `ovsdb.transact`. */
  readonly op: string;
  /** Index of the operation in its transaction; the number of operations when the commit itself failed. */
  readonly operationIndex?: number;
  /** Table of that operation. */
  readonly table?: string;
}

/** The server refused a request or one operation of a transaction. */
export class OvsdbError extends BaseError<OvsdbErrorCode> {
  /** Index of the failed operation; undefined when the whole request failed. */
  readonly operationIndex: number | undefined;
  /** Table of the failed operation. */
  readonly table: string | undefined;

  constructor(code: OvsdbErrorCode, message: string, place: OvsdbErrorPlace) {
    const { op, operationIndex, table } = place;
    super(message, {
      code,
      op,
      retryable: RETRYABLE.has(code),
      details: {
        ...(operationIndex === undefined ? {} : { operationIndex }),
        ...(table === undefined ? {} : { table }),
      },
    });
    this.operationIndex = operationIndex;
    this.table = table;
  }
}

function codeOf(text: string): OvsdbErrorCode {
  const known: ReadonlyMap<string, OvsdbErrorCode> = CODE_BY_TEXT;
  return known.get(text) ?? 'OVSDB_UNKNOWN';
}

/** Makes the error from what the server sent: a string, or an object `{error, details?}`. Never throws. */
export function ovsdbErrorFrom(error: Json | undefined, place: OvsdbErrorPlace): OvsdbError {
  const text = isJsonObject(error) ? error['error'] : error;
  const details = isJsonObject(error) ? error['details'] : undefined;
  if (typeof text !== 'string') {
    return new OvsdbError('OVSDB_UNKNOWN', JSON.stringify(error).slice(0, 500), place);
  }
  const message = typeof details === 'string' ? `${text}: ${details}` : text;
  return new OvsdbError(codeOf(text), message.slice(0, 2000), place);
}
