/**
 * The header of every OpenFlow message (OpenFlow 1.3.5 section 7.1.1).
 *
 * ```
 *  0         1       2          4          8
 * +---------+-------+----------+----------+
 * | version | type  |  length  |   xid    |
 * +---------+-------+----------+----------+
 * ```
 */
import { Buffer } from 'node:buffer';
import { OFP_HEADER_SIZE, OFP_VERSION } from './ofp13.ts';

/** Offset of the type. */
export const TYPE_OFFSET = 1;
/** Offset of the length, 16 bits. */
export const LENGTH_OFFSET = 2;
/** Offset of the transaction id, 32 bits. */
export const XID_OFFSET = 4;

/** Type of a whole message. */
export function messageType(message: Buffer): number {
  return message.readUInt8(TYPE_OFFSET);
}

/** Transaction id of a whole message. */
export function messageXid(message: Buffer): number {
  return message.readUInt32BE(XID_OFFSET);
}

/** What follows the header of a whole message. */
export function messageBody(message: Buffer): Buffer {
  return message.subarray(OFP_HEADER_SIZE);
}

/** A message of OpenFlow 1.3 around `body`. */
export function encodeMessage(
  type: number,
  xid: number,
  body: Uint8Array = new Uint8Array(0),
): Buffer {
  const message = Buffer.allocUnsafe(OFP_HEADER_SIZE + body.length);
  writeHeader(message, 0, type, message.length, xid);
  message.set(body, OFP_HEADER_SIZE);
  return message;
}

/** Writes a header at `at`. */
export function writeHeader(
  out: Buffer,
  at: number,
  type: number,
  length: number,
  xid: number,
): void {
  out.writeUInt8(OFP_VERSION, at);
  out.writeUInt8(type, at + TYPE_OFFSET);
  out.writeUInt16BE(length, at + LENGTH_OFFSET);
  out.writeUInt32BE(xid >>> 0, at + XID_OFFSET);
}
