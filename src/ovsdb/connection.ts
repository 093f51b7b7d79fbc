/**
 * One Unix-socket connection to an OVSDB server: bytes in, JSON values out (RFC 7047 section 4). It connects once and
 * ends once; session.ts decides when to try again.
 */
import { connect, type Socket } from 'node:net';
import { BaseError, ConnectionError, toError } from '../base/error.ts';
import { JsonFramer, type FramerLimits } from './json-framer.ts';
import type { Json } from './json-value.ts';

/** Bounds of one connection. */
export interface ConnectionLimits extends FramerLimits {
  /** Most bytes waiting to be written before a send is refused. Default 64 MiB. */
  readonly maxQueuedBytes?: number;
}

/** What the owner of a connection is told. */
export interface ConnectionHandlers {
  onConnect(): void;
  /** Bytes came: the peer lives. */
  onActivity(): void;
  /** One complete JSON value. A BaseError thrown here ends the connection with it. */
  onMessage(value: Json): void;
  /** The end, exactly once unless the owner called {@link Connection.destroy}. */
  onClose(error: Error): void;
}

const REFUSED = new Set(['ENOENT', 'ECONNREFUSED', 'EACCES', 'ENOTSOCK', 'EPERM', 'EPROTOTYPE']);

function errno(thrown: unknown): string {
  return thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
}

/** The one place that maps errno of a Unix socket to our codes. */
export function connectionErrorFrom(thrown: unknown, endpoint: string, op: string): Error {
  if (thrown instanceof BaseError) return thrown;
  const code = errno(thrown);
  const details = code === '' ? {} : { errno: code };
  const where = { op, endpoint, cause: thrown, details };
  return REFUSED.has(code)
    ? new ConnectionError('CONN_REFUSED', `cannot connect to ${endpoint}: ${code}`, where)
    : new ConnectionError('CONN_CLOSED', `connection to ${endpoint} was closed`, where);
}

/** An open or opening connection. */
export class Connection {
  readonly #path: string;
  readonly #handlers: ConnectionHandlers;
  readonly #framer: JsonFramer;
  readonly #maxQueuedBytes: number;
  readonly #socket: Socket;
  #ended = false;

  constructor(path: string, handlers: ConnectionHandlers, limits: ConnectionLimits = {}) {
    this.#path = path;
    this.#handlers = handlers;
    this.#framer = new JsonFramer(limits);
    this.#maxQueuedBytes = limits.maxQueuedBytes ?? 64 << 20;
    this.#socket = connect({ path });
    this.#socket.on('connect', () => handlers.onConnect());
    this.#socket.on('data', (chunk) => this.#receive(chunk));
    this.#socket.on('error', (error) => this.#end(error));
    this.#socket.on('close', () => this.#end(undefined));
  }

  /**
   * Queues one JSON text.
   * @throws ConnectionError `CONN_CLOSED` after the end, `CONN_OVERLOAD` when the peer does not read what it was sent.
   */
  send(text: string): void {
    const where = { op: 'ovsdb.send', endpoint: this.#path };
    if (this.#ended) throw new ConnectionError('CONN_CLOSED', 'connection is closed', where);
    if (this.#socket.writableLength > this.#maxQueuedBytes) {
      throw new ConnectionError('CONN_OVERLOAD', 'the peer does not read', where);
    }
    this.#socket.write(text);
  }

  /** Closes at once; no handler is called any more. */
  destroy(): void {
    this.#ended = true;
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    if (this.#ended) return;
    this.#handlers.onActivity();
    try {
      for (const value of this.#framer.push(chunk)) {
        // A handler may have closed the connection over an earlier value of the same chunk.
        if (this.#ended) return;
        this.#handlers.onMessage(value);
      }
    } catch (thrown) {
      if (!(thrown instanceof BaseError)) throw thrown;
      this.#end(thrown);
    }
  }

  #end(thrown: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#socket.destroy();
    const cause = thrown ?? toError('end of stream');
    this.#handlers.onClose(connectionErrorFrom(cause, this.#path, 'ovsdb.connect'));
  }
}
