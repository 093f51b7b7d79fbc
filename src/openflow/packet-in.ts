/**
 * OFPT_PACKET_IN from the switch and OFPT_PACKET_OUT to it (OpenFlow 1.3.5 sections 7.4.1 and 7.3.7). What the packet itself
 * says is not looked at here.
 *
 * ```
 *  0        8        12        14     15    16      24               24+m   26+m
 * +--------+--------+---------+------+-----+-------+----------------+------+------+
 * | header | buffer |total_len|reason|table| cookie| match, padded  | pad  | data |
 * +--------+--------+---------+------+-----+-------+----------------+------+------+
 * ```
 */
import { Buffer } from 'node:buffer';
import { DecodeError } from '../base/error.ts';
import { encodeActions, type Action } from './action.ts';
import { OFP_NO_BUFFER, OFP_VERSION, OFPT } from './ofp13.ts';

const MATCH_OFFSET = 24;
const PACKET_OUT_SIZE = 24;

/** A packet that a flow has sent up. */
export interface PacketIn {
  /** OFPR_*. */
  readonly reason: number;
  /** Table and cookie of the flow. */
  readonly tableId: number;
  readonly cookie: bigint;
  /** Bytes that the packet had on the wire. */
  readonly totalLength: number;
  /** As much of the frame as was asked for: a view into the message. */
  readonly data: Buffer;
}

/**
 * Reads a whole OFPT_PACKET_IN.
 * @throws DecodeError when it is too short for what it says.
 */
export function decodePacketIn(message: Buffer): PacketIn {
  const fail = (offset: number): DecodeError =>
    new DecodeError('DECODE_BAD_LENGTH', 'packet_in is shorter than it says', {
      protocol: 'openflow',
      op: 'openflow.decodePacketIn',
      offset,
      bytes: message,
    });
  if (message.length < MATCH_OFFSET + 8) throw fail(message.length);
  // A match's length does not count its padding to 8 bytes; two bytes of padding follow that.
  const matchLength = message.readUInt16BE(MATCH_OFFSET + 2);
  const dataAt = MATCH_OFFSET + ((matchLength + 7) & ~7) + 2;
  if (matchLength < 4 || dataAt > message.length) throw fail(MATCH_OFFSET + 2);
  return {
    reason: message[14] ?? 0,
    tableId: message[15] ?? 0,
    cookie: message.readBigUInt64BE(16),
    totalLength: message.readUInt16BE(12),
    data: message.subarray(dataAt),
  };
}

/**
 * Encodes the OFPT_PACKET_OUT that hands a frame to the switch (xid 0), as if it had come in on `inPort`.
 * @throws OpenFlowError what `encodeActions` throws.
 */
export function encodePacketOut(
  inPort: number,
  actions: readonly Action[],
  data: Uint8Array,
): Buffer {
  const list = encodeActions(actions);
  const message = Buffer.alloc(PACKET_OUT_SIZE + list.length + data.length);
  message.writeUInt32BE(((OFP_VERSION << 24) | (OFPT.PACKET_OUT << 16) | message.length) >>> 0, 0);
  message.writeUInt32BE(OFP_NO_BUFFER, 8);
  message.writeUInt32BE(inPort, 12);
  message.writeUInt16BE(list.length, 16);
  message.set(list, PACKET_OUT_SIZE);
  message.set(data, PACKET_OUT_SIZE + list.length);
  return message;
}
