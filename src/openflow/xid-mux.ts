/**
 * Which request an answer belongs to (the xid of OpenFlow 1.3.5 section 7.1.1). Holds what waits, and nothing that nobody
 * asked for: an answer without a request is dropped. Does no I/O.
 */
import { Buffer } from 'node:buffer';
import { makeDeferred, type Deferred } from '../base/deferred.ts';
import { DecodeError, toError } from '../base/error.ts';
import { decodeError, typeName } from './error-msg.ts';
import type { OpenFlowError } from './errors.ts';
import { messageType, messageXid } from './header.ts';
import { OFPT } from './ofp13.ts';

/** How the answer to a request is read. */
export interface Expectation {
  /** For the errors, such as `openflow.barrier`. */
  readonly op: string;
  /** OFPT_* that answers it. */
  readonly replyType: number;
  /** For each message of the reply: a dump that goes on takes as long as it takes. */
  readonly timeoutMs: number;
  /** Makes the error when nothing came in time. */
  onTimeout(): Error;
  /** Reads a message of the reply; returns true when it was the last. Without it one message is the reply. */
  onReply?(message: Buffer): boolean;
}

interface Pending extends Expectation {
  readonly deferred: Deferred<Buffer>;
}

/** Errors for a block of xids that have no reply of their own. */
export interface Watch {
  readonly firstXid: number;
  readonly count: number;
  /** For the errors, as in {@link Expectation}. */
  readonly op: string;
  onError(offset: number, error: OpenFlowError): void;
}

const XID_MAX = 0xffff_ffff;

/** The requests in flight of one connection. */
export class XidMux {
  readonly #pending = new Map<number, Pending>();
  readonly #watches = new Set<Watch>();
  #nextXid = 1;

  /** Number of requests that wait. */
  get waiting(): number {
    return this.#pending.size;
  }

  /** The first of `count` xids in a row. Xid 0 is never among them: it marks what nobody asked for. */
  take(count = 1): number {
    if (this.#nextXid + count > XID_MAX) this.#nextXid = 1;
    const first = this.#nextXid;
    this.#nextXid += count;
    return first;
  }

  /** The last message of the reply to `xid`, in memory of its own; rejects with what the switch refused it with. */
  expect(xid: number, expectation: Expectation): Promise<Buffer> {
    const deferred = makeDeferred<Buffer>(expectation.timeoutMs, () => {
      this.#pending.delete(xid);
      return expectation.onTimeout();
    });
    this.#pending.set(xid, { ...expectation, deferred });
    return deferred.promise;
  }

  /** Calls `onError` for each error to one of the watch's xids, until the returned function is called. */
  watch(watch: Watch): () => void {
    this.#watches.add(watch);
    return () => void this.#watches.delete(watch);
  }

  /**
   * Takes in an answer.
   * @throws DecodeError when it cannot be an answer to its request: the stream is out of step.
   */
  receive(message: Buffer): void {
    const xid = messageXid(message);
    const pending = this.#pending.get(xid);
    if (messageType(message) === OFPT.ERROR) {
      this.#receiveError(message, xid, pending);
      return;
    }
    if (pending === undefined) return;
    try {
      if (messageType(message) !== pending.replyType) throw unexpected(message, pending);
      if (pending.onReply?.(message) ?? true)
        this.#take(xid)?.deferred.resolve(Buffer.from(message));
      else pending.deferred.renew();
    } catch (error) {
      this.fail(xid, toError(error));
      if (error instanceof DecodeError) throw error;
    }
  }

  /** Rejects one request. */
  fail(xid: number, error: Error): void {
    this.#take(xid)?.deferred.reject(error);
  }

  /** Rejects everything that waits. */
  failAll(error: Error): void {
    for (const xid of [...this.#pending.keys()]) this.fail(xid, error);
  }

  #receiveError(message: Buffer, xid: number, pending: Pending | undefined): void {
    if (pending !== undefined) {
      this.fail(xid, decodeError(message, pending.op));
      return;
    }
    for (const watch of this.#watches) {
      const offset = xid - watch.firstXid;
      if (offset < 0 || offset >= watch.count) continue;
      watch.onError(offset, decodeError(message, watch.op));
      return;
    }
  }

  #take(xid: number): Pending | undefined {
    const pending = this.#pending.get(xid);
    this.#pending.delete(xid);
    return pending;
  }
}

/** An answer of another kind than was asked for. */
function unexpected(message: Buffer, { op, replyType }: Expectation): DecodeError {
  const type = typeName(messageType(message));
  return new DecodeError('DECODE_UNKNOWN_TYPE', `answered by ${type}, not ${typeName(replyType)}`, {
    protocol: 'openflow',
    op,
    offset: 1,
    bytes: message,
  });
}
