/**
 * ONF bundles as OpenFlow 1.3 carries them (extension 230): control messages, the wrapping of a message, and the writing
 * of many. Two-phase use is in `client.ts`.
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
import { encodeMessage, writeHeader, XID_OFFSET } from './header.ts';
import { OFP_HEADER_SIZE, OFP_MESSAGE_MAX, OFPBF, OFPT, ONF_ET, ONF_VENDOR_ID } from './ofp13.ts';

/** Bytes of an add before the message that it carries. */
export const BUNDLE_ADD_HEADER_SIZE = 24;
/** Largest message that fits into a bundle. */
export const BUNDLE_MESSAGE_MAX = OFP_MESSAGE_MAX - BUNDLE_ADD_HEADER_SIZE;
/** Writes of this size cost the switch and us the least per message. */
const CHUNK_BYTES = 64 * 1024;

/** How a bundle behaves. */
export interface BundleOptions {
  /** All or nothing for packets. Default true. */
  readonly atomic?: boolean;
  /** In the order given. Default true. */
  readonly ordered?: boolean;
}

/** The flags of a bundle; they must be equal in all its messages. */
export function bundleFlags({ atomic = true, ordered = true }: BundleOptions): number {
  return (atomic ? OFPBF.ATOMIC : 0) | (ordered ? OFPBF.ORDERED : 0);
}

/** A control message: one of OFPBCT. */
export function encodeBundleControl(
  xid: number,
  bundleId: number,
  type: number,
  flags: number,
): Buffer {
  const body = Buffer.alloc(BUNDLE_ADD_HEADER_SIZE - OFP_HEADER_SIZE);
  body.writeUInt32BE(ONF_VENDOR_ID, 0);
  body.writeUInt32BE(ONF_ET.BUNDLE_CONTROL, 4);
  body.writeUInt32BE(bundleId, 8);
  body.writeUInt16BE(type, 12);
  body.writeUInt16BE(flags, 14);
  return encodeMessage(OFPT.EXPERIMENTER, xid, body);
}

/** The type (OFPBCT) of a control reply; undefined when the message is none. */
export function bundleControlType(message: Buffer): number | undefined {
  if (message.length < BUNDLE_ADD_HEADER_SIZE) return undefined;
  const isControl =
    message.readUInt32BE(8) === ONF_VENDOR_ID && message.readUInt32BE(12) === ONF_ET.BUNDLE_CONTROL;
  return isControl ? message.readUInt16BE(20) : undefined;
}

/**
 * The add messages of a bundle, in chunks of about 64 KiB. Message i gets xid `firstXid + i`, outside and inside: the
 * switch demands that both are equal, and answers errors with it.
 */
export function* encodeBundleAdds(
  messages: readonly Uint8Array[],
  bundleId: number,
  flags: number,
  firstXid: number,
): Generator<Buffer, void, void> {
  let chunk = Buffer.allocUnsafe(CHUNK_BYTES + OFP_MESSAGE_MAX);
  let used = 0;
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i];
    if (message === undefined) continue;
    const xid = (firstXid + i) >>> 0;
    writeHeader(chunk, used, OFPT.EXPERIMENTER, BUNDLE_ADD_HEADER_SIZE + message.length, xid);
    chunk.writeUInt32BE(ONF_VENDOR_ID, used + 8);
    chunk.writeUInt32BE(ONF_ET.BUNDLE_ADD_MESSAGE, used + 12);
    chunk.writeUInt32BE(bundleId, used + 16);
    chunk.writeUInt32BE(flags, used + 20);
    chunk.set(message, used + BUNDLE_ADD_HEADER_SIZE);
    chunk.writeUInt32BE(xid, used + BUNDLE_ADD_HEADER_SIZE + XID_OFFSET);
    used += BUNDLE_ADD_HEADER_SIZE + message.length;
    if (used >= CHUNK_BYTES) {
      yield chunk.subarray(0, used);
      // The socket keeps what it was given until the switch has read it: the next chunk is a new one.
      chunk = Buffer.allocUnsafe(CHUNK_BYTES + OFP_MESSAGE_MAX);
      used = 0;
    }
  }
  if (used > 0) yield chunk.subarray(0, used);
}
