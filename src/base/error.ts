/**
 * The error classes that every layer shares. Each error has a stable `code` (listed in README.md), the operation that
 * failed, whether a retry can help, and plain details that go into a log line as they are.
 */

/** What every error of this product carries beside its message. */
export interface ErrorOptionsOf<Code extends string> {
  /** Stable machine-readable code, such as `CONFIG_INVALID`. */
  readonly code: Code;
  /** What was being done, as `module.verb`, such as `ovsdb.transact`. */
  readonly op: string;
  /** True when the same call may succeed later without anybody changing anything. */
  readonly retryable: boolean;
  /** Values worth logging. Never secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** The error that led to this one. */
  readonly cause?: unknown;
}

/** Base of all errors that this product throws. */
export abstract class BaseError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly op: string;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(message: string, options: ErrorOptionsOf<Code>) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = options.code;
    this.op = options.op;
    this.retryable = options.retryable;
    this.details = options.details ?? {};
  }

  /** The form that goes into a log line or a JSON answer. */
  toJSON(): Record<string, unknown> {
    return {
      name: this.name,
      code: this.code,
      op: this.op,
      message: this.message,
      retryable: this.retryable,
      ...(Object.keys(this.details).length > 0 ? { details: this.details } : {}),
      ...(this.cause === undefined ? {} : { cause: errorMessage(this.cause) }),
    };
  }
}

/** True for every error of this product, whatever its codes are: `instanceof` alone would leave the codes untyped. */
export function isBaseError(thrown: unknown): thrown is BaseError {
  return thrown instanceof BaseError;
}

/** Codes of {@link DecodeError}. */
export type DecodeErrorCode =
  | 'DECODE_SHORT'
  | 'DECODE_BAD_LENGTH'
  | 'DECODE_UNKNOWN_TYPE'
  | 'DECODE_BAD_VALUE'
  | 'DECODE_TOO_LARGE';

/** Bytes from a peer that are not what the protocol allows. The connection that they came from is of no further use. */
export class DecodeError extends BaseError<DecodeErrorCode> {
  /** `openflow`, `ovsdb` or `netlink`. */
  readonly protocol: string;
  /** Offset in bytes of the offending byte within the message. */
  readonly offset: number;

  constructor(
    code: DecodeErrorCode,
    message: string,
    where: { protocol: string; op: string; offset: number; bytes?: Uint8Array; cause?: unknown },
  ) {
    const start = Math.max(0, where.offset - 32);
    const hexWindow =
      where.bytes === undefined
        ? {}
        : { window: Buffer.from(where.bytes.subarray(start, start + 64)).toString('hex') };
    super(message, {
      code,
      op: where.op,
      retryable: true,
      details: { protocol: where.protocol, offset: where.offset, ...hexWindow },
      cause: where.cause,
    });
    this.protocol = where.protocol;
    this.offset = where.offset;
  }
}

/** Codes of {@link ConnectionError}. */
export type ConnectionErrorCode =
  | 'CONN_REFUSED'
  | 'CONN_CLOSED'
  | 'CONN_TIMEOUT'
  | 'CONN_PROBE_LOST'
  | 'CONN_VERSION'
  | 'CONN_OVERLOAD';

/** A local socket could not be opened, was closed, or its peer stopped answering. */
export class ConnectionError extends BaseError<ConnectionErrorCode> {
  /** The socket's path, as configured. */
  readonly endpoint: string;

  constructor(
    code: ConnectionErrorCode,
    message: string,
    where: { op: string; endpoint: string; cause?: unknown; details?: Record<string, unknown> },
  ) {
    super(message, {
      code,
      op: where.op,
      retryable: true,
      details: { endpoint: where.endpoint, ...where.details },
      cause: where.cause,
    });
    this.endpoint = where.endpoint;
  }
}

/** One thing that is wrong in a document, with the place where it stands. */
export interface Problem {
  /** Path of the field, such as `peers[0].vtep`. Empty for the document itself. */
  readonly path: string;
  /** What is wrong, what was seen and what is accepted. */
  readonly message: string;
  /** Line in the file, from 1, where it is known. */
  readonly line?: number;
}

/** A configuration that cannot be used: it lists every problem, not only the first. */
export class ConfigError extends BaseError<'CONFIG_INVALID'> {
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[], cause?: unknown) {
    super(problems.map((problem) => formatProblem(file, problem)).join('\n'), {
      code: 'CONFIG_INVALID',
      op: 'config.read',
      retryable: false,
      details: { file },
      cause,
    });
    this.problems = problems;
  }
}

/** `file:line: path: message`, with the parts that are known. */
export function formatProblem(file: string, problem: Problem): string {
  const place = problem.line === undefined ? file : `${file}:${problem.line}`;
  return problem.path === ''
    ? `${place}: ${problem.message}`
    : `${place}: ${problem.path}: ${problem.message}`;
}

/** Any thrown value as one line of text. */
export function errorMessage(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** Any thrown value as an Error, so that `cause` is never a bare string. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
