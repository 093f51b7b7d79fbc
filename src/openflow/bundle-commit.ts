/**
 * One bundle in two phases. ATOMIC alone does not do it: an error at ADD time does not keep Open vSwitch from committing
 * the rest. So: OPEN, an ADD each, CLOSE, which also acts as a barrier; the errors are read; COMMIT only when there are
 * none. Errors of both phases carry the xid of the message that they are about.
 *
 * ```
 *   OPEN, ADD..., CLOSE  --->  replies, errors by xid  --none-->  COMMIT  --->  reply | error by xid, rolled back
 *                                                      --some-->  DISCARD
 * ```
 */
import type { Buffer } from 'node:buffer';
import { ConnectionError, DecodeError, isBaseError, toError } from '../base/error.ts';
import {
  BUNDLE_MESSAGE_MAX,
  bundleControlType,
  encodeBundle,
  encodeBundleControl,
  type BundleId,
  type BundleMessage,
} from './bundle.ts';
import { OpenFlowError } from './errors.ts';
import { OFPBCT, OFPT } from './ofp13.ts';
import type { Vconn } from './vconn.ts';
import type { XidMux } from './xid-mux.ts';

/** A message of a bundle that the switch refused. */
export interface RefusedMessage {
  /** Position in the list that was given. */
  readonly index: number;
  readonly error: OpenFlowError;
}

/** What became of a bundle. */
export type BundleOutcome =
  | { readonly committed: true }
  | { readonly committed: false; readonly refused: readonly RefusedMessage[] };

/** Messages of one bundle whose errors are kept; the bundle is refused as a whole all the same. */
export const REFUSED_MAX = 1000;

/** Operation of all errors of a bundle. */
const OP = 'openflow.bundle';

/** One run through both phases. */
export class BundleCommit {
  readonly #vconn: Vconn;
  readonly #mux: XidMux;
  readonly #bundle: BundleId;
  readonly #timeoutMs: number;
  readonly #refused = new Map<number, OpenFlowError>();
  /** What is wrong with the bundle itself: it idled out, for one. */
  #broken: OpenFlowError | undefined;
  #committing = false;

  constructor(vconn: Vconn, mux: XidMux, bundle: BundleId, timeoutMs: number) {
    this.#vconn = vconn;
    this.#mux = mux;
    this.#bundle = bundle;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Applies all messages or none. `onCommitted` is called when the reply to COMMIT is read.
   * @throws ConnectionError when the connection goes (`details.outcomeUnknown` tells whether COMMIT was under way);
   * OpenFlowError when the bundle fails as a whole.
   */
  async run(messages: readonly BundleMessage[], onCommitted?: () => void): Promise<BundleOutcome> {
    const tooLong = messages.findIndex((message) => message.length > BUNDLE_MESSAGE_MAX);
    if (tooLong >= 0) {
      return { committed: false, refused: [{ index: tooLong, error: tooLongError() }] };
    }
    const { closed } = this.#vconn;
    if (closed !== undefined) return this.#explain(closed);
    const openXid = this.#mux.take(messages.length + 2);
    const unwatch = this.#mux.watch({
      firstXid: openXid,
      count: messages.length + 2,
      op: OP,
      onError: (offset, error) => this.#note(offset - 1, messages.length, error),
    });
    try {
      await this.#fill(messages, openXid);
      if (this.#refused.size > 0) return await this.#discard();
      if (this.#vconn.closed !== undefined) throw this.#vconn.closed;
      this.#committing = true;
      await this.#control(OFPBCT.COMMIT_REQUEST, onCommitted);
      return { committed: true };
    } catch (error) {
      return this.#explain(error);
    } finally {
      unwatch();
    }
  }

  /** The first phase. The switch has judged every message when the reply to CLOSE is here. */
  async #fill(messages: readonly BundleMessage[], openXid: number): Promise<void> {
    const replies = Promise.allSettled([
      this.#expect(openXid, OFPBCT.OPEN_REQUEST),
      this.#expect(openXid + messages.length + 1, OFPBCT.CLOSE_REQUEST),
    ]);
    for (const chunk of encodeBundle(this.#bundle, messages, openXid)) {
      if (!this.#vconn.send(chunk)) await this.#vconn.drained(this.#timeoutMs);
    }
    const failed = (await replies).find((result) => result.status === 'rejected');
    if (failed === undefined) return;
    if (failed.reason instanceof OpenFlowError) await this.#discard();
    throw toError(failed.reason);
  }

  async #discard(): Promise<BundleOutcome> {
    try {
      await this.#control(OFPBCT.DISCARD_REQUEST);
    } catch (error) {
      // A bundle that is gone already is as good as discarded.
      if (!(error instanceof OpenFlowError)) throw error;
    }
    return this.#outcome();
  }

  async #control(type: number, onReply?: () => void): Promise<void> {
    const xid = this.#mux.take();
    this.#vconn.send(encodeBundleControl(this.#bundle, xid, type));
    await this.#expect(xid, type, onReply);
  }

  #expect(xid: number, type: number, onReply?: () => void): Promise<Buffer> {
    return this.#mux.expect(xid, {
      op: OP,
      replyType: OFPT.EXPERIMENTER,
      timeoutMs: this.#timeoutMs,
      onTimeout: () => {
        const message = `no answer to a bundle request within ${this.#timeoutMs} ms`;
        const error = new ConnectionError('CONN_TIMEOUT', message, {
          op: OP,
          endpoint: this.#vconn.endpoint,
        });
        // Nobody can tell what the switch will do with the bundle: only a new connection is sure to be without it.
        this.#vconn.close(error);
        return error;
      },
      onReply: (message) => {
        if (bundleControlType(message) === type + 1) {
          onReply?.();
          return true;
        }
        throw new DecodeError('DECODE_BAD_VALUE', `no answer to bundle request ${type}`, {
          protocol: 'openflow',
          op: OP,
          offset: 20,
          bytes: message,
        });
      },
    });
  }

  #note(index: number, count: number, error: OpenFlowError): void {
    if (index < 0 || index >= count) this.#broken ??= error;
    else if (this.#refused.size < REFUSED_MAX && !this.#refused.has(index)) {
      this.#refused.set(index, error);
    }
  }

  #outcome(): BundleOutcome {
    const refused = [...this.#refused].map(([index, error]) => ({ index, error }));
    return { committed: false, refused };
  }

  /** Turns what went wrong into the outcome where messages are to blame, else into the error to throw. */
  #explain(error: unknown): BundleOutcome {
    // A commit that fails is rolled back; the error of the message comes before that of the commit.
    if (error instanceof OpenFlowError && this.#refused.size > 0) return this.#outcome();
    if (error instanceof OpenFlowError) throw this.#broken ?? error;
    if (!isBaseError(error)) throw error;
    const code = error instanceof ConnectionError ? error.code : 'CONN_CLOSED';
    throw new ConnectionError(code, `bundle under way: ${error.message}`, {
      op: OP,
      endpoint: this.#vconn.endpoint,
      cause: error,
      details: { outcomeUnknown: this.#committing },
    });
  }
}

function tooLongError(): OpenFlowError {
  return new OpenFlowError(
    `message is longer than the ${BUNDLE_MESSAGE_MAX} bytes that fit into a bundle`,
    { code: 'OFP_MESSAGE_TOO_LONG', op: OP, retryable: false },
  );
}
