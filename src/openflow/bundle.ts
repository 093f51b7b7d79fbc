/**
 * ONF bundles as OpenFlow 1.3 carries them (extension 230): control messages, the wrapping of a message, and all bytes of
 * a bundle's first phase. When they are sent, and what the answers mean, is in `bundle-commit.ts`.
 *
 * ```
 *  0        8              12        16          20     22      24
 * +--------+--------------+---------+-----------+------+-------+-------------------+
 * | header | experimenter | exp_type| bundle_id | type | flags |                   |   control: ends at 24
 * +--------+--------------+---------+-----------+------+-------+-------------------+
 * | header | experimenter | exp_type| bundle_id | pad  | flags | inner message ... |   add
 * +--------+--------------+---------+-----------+------+-------+-------------------+
 * ```
 */
import { Buffer } from 'node:buffer';
import { EncodedFlow } from './encoded-flow.ts';
import { writeHeader, XID_OFFSET } from './header.ts';
import { OFP_MESSAGE_MAX, OFPBCT, OFPBF, OFPT, ONF_ET, ONF_VENDOR_ID } from './ofp13.ts';

/** Bytes of a control message, and of an add before the message that it carries. */
const BUNDLE_HEADER_SIZE = 24;
/** Largest message that fits into a bundle. */
export const BUNDLE_MESSAGE_MAX = OFP_MESSAGE_MAX - BUNDLE_HEADER_SIZE;
/** Writes of this size cost the switch and us the least per message. */
const CHUNK_BYTES = 64 * 1024;

/** How a bundle behaves. */
export interface BundleOptions {
  /** All or nothing for packets. Default true. */
  readonly atomic?: boolean;
  /** In the order given. Default true. */
  readonly ordered?: boolean;
  /**
   * Called when the reply to COMMIT is read and before anything that comes after it: whoever follows the switch by flow
   * updates needs to know their order.
   */
  readonly onCommitted?: () => void;
}

/** What a bundle carries: a whole message, or a flow to add, whose message is put together where it is sent. */
export type BundleMessage = Uint8Array | EncodedFlow;

/** The flags of a bundle; they must be equal in all its messages. */
export function bundleFlags({ atomic = true, ordered = true }: BundleOptions): number {
  return (atomic ? OFPBF.ATOMIC : 0) | (ordered ? OFPBF.ORDERED : 0);
}

/** What all messages of a bundle have in common. */
export interface BundleId {
  readonly bundleId: number;
  /** OFPBF_* bits. */
  readonly flags: number;
}

function writeBundleHeader(
  out: Buffer,
  at: number,
  { bundleId }: BundleId,
  message: { length: number; xid: number; expType: number },
): void {
  writeHeader(out, at, OFPT.EXPERIMENTER, message.length, message.xid);
  out.writeUInt32BE(ONF_VENDOR_ID, at + 8);
  out.writeUInt32BE(message.expType, at + 12);
  out.writeUInt32BE(bundleId, at + 16);
}

function writeControl(out: Buffer, at: number, bundle: BundleId, xid: number, type: number): void {
  const length = BUNDLE_HEADER_SIZE;
  writeBundleHeader(out, at, bundle, { length, xid, expType: ONF_ET.BUNDLE_CONTROL });
  out.writeUInt16BE(type, at + 20);
  out.writeUInt16BE(bundle.flags, at + 22);
}

/** A control message: one of OFPBCT. */
export function encodeBundleControl(bundle: BundleId, xid: number, type: number): Buffer {
  const out = Buffer.allocUnsafe(BUNDLE_HEADER_SIZE);
  writeControl(out, 0, bundle, xid, type);
  return out;
}

/** The type (OFPBCT) of a control reply; undefined when the message is none. */
export function bundleControlType(message: Buffer): number | undefined {
  if (message.length < BUNDLE_HEADER_SIZE) return undefined;
  const isControl =
    message.readUInt32BE(8) === ONF_VENDOR_ID && message.readUInt32BE(12) === ONF_ET.BUNDLE_CONTROL;
  return isControl ? message.readUInt16BE(20) : undefined;
}

/**
 * OPEN, an add for each message, CLOSE, in chunks of about 64 KiB. OPEN gets `firstXid`, message i gets
 * `firstXid + 1 + i`, outside and inside (the switch demands that both are equal, and answers errors with it), CLOSE the
 * next one. `messages` are whole, at most {@link BUNDLE_MESSAGE_MAX} bytes each, and are not changed.
 */
export function* encodeBundle(
  bundle: BundleId,
  messages: readonly BundleMessage[],
  firstXid: number,
): Generator<Buffer, void, void> {
  const chunkMax = CHUNK_BYTES + OFP_MESSAGE_MAX;
  let left = 2 * BUNDLE_HEADER_SIZE;
  for (const message of messages) left += BUNDLE_HEADER_SIZE + message.length;
  let chunk = Buffer.allocUnsafe(Math.min(left, chunkMax));
  writeControl(chunk, 0, bundle, firstXid, OFPBCT.OPEN_REQUEST);
  let used = BUNDLE_HEADER_SIZE;
  let xid = firstXid;
  for (const message of messages) {
    xid++;
    const length = BUNDLE_HEADER_SIZE + message.length;
    writeBundleHeader(chunk, used, bundle, { length, xid, expType: ONF_ET.BUNDLE_ADD_MESSAGE });
    chunk.writeUInt32BE(bundle.flags, used + 20);
    if (message instanceof EncodedFlow) message.writeMessage(chunk, used + BUNDLE_HEADER_SIZE);
    else chunk.set(message, used + BUNDLE_HEADER_SIZE);
    chunk.writeUInt32BE(xid, used + BUNDLE_HEADER_SIZE + XID_OFFSET);
    used += length;
    if (used >= CHUNK_BYTES) {
      yield chunk.subarray(0, used);
      // The socket keeps what it was given until the switch has read it: the next chunk is a new one.
      left -= used;
      chunk = Buffer.allocUnsafe(Math.min(left, chunkMax));
      used = 0;
    }
  }
  writeControl(chunk, used, bundle, xid + 1, OFPBCT.CLOSE_REQUEST);
  yield chunk.subarray(0, used + BUNDLE_HEADER_SIZE);
}
