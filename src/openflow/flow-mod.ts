/**
 * OFPT_FLOW_MOD beside ADD: the deletes of a flow and of all with one cookie, and the decoder of any flow_mod (OpenFlow 1.3.5 section 7.3.4.1).
 * The layout is in `flow.ts`, the encoder of ADD in
 * `encoded-flow.ts`.
 */
import { Buffer } from 'node:buffer';
import { DecodeError } from '../base/error.ts';
import { MATCH_HEADER_SIZE, MATCH_OFFSET, instructionsOffset, padded } from './encoded-flow.ts';
import type { EncodedFlow } from './flow.ts';
import { bufferOver } from './match.ts';
import { OFPFC, OFPG, OFPMT_OXM, OFPP, OFPT, OFP_NO_BUFFER, OFP_VERSION } from './ofp13.ts';

const COOKIE_MASK_ALL = 0xffff_ffff_ffff_ffffn;

/** The fields of a flow_mod. */
export interface FlowMod {
  readonly xid: number;
  /** OFPFC_*. */
  readonly command: number;
  readonly tableId: number;
  readonly priority: number;
  readonly cookie: bigint;
  readonly cookieMask: bigint;
  /** Seconds; 0: none. */
  readonly idleTimeout: number;
  /** Seconds; 0: none. */
  readonly hardTimeout: number;
  readonly bufferId: number;
  readonly outPort: number;
  readonly outGroup: number;
  /** OFPFF_*. */
  readonly flags: number;
  /** The match's fields: a view into the message. */
  readonly match: Uint8Array;
  /** A view into the message. */
  readonly instructions: Uint8Array;
}

/**
 * Encodes the OFPT_FLOW_MOD that deletes exactly this flow (DELETE_STRICT, xid 0), whatever its cookie in the switch is.
 */
export function encodeFlowDelete(flow: EncodedFlow): Uint8Array {
  const size = instructionsOffset(flow.matchLength);
  const message = Buffer.allocUnsafe(size);
  flow.writeHead(message, 0, size, OFPFC.DELETE_STRICT);
  return message;
}

/** Encodes the OFPT_FLOW_MOD that deletes all flows of one table with this cookie (DELETE, xid 0). */
export function encodeCookieDelete(tableId: number, cookie: bigint): Uint8Array {
  const message = Buffer.alloc(instructionsOffset(0));
  message.writeUInt32BE(OFP_VERSION * 0x1000000 + OFPT.FLOW_MOD * 0x10000 + message.length, 0);
  message.writeBigUInt64BE(cookie, 8);
  message.writeBigUInt64BE(COOKIE_MASK_ALL, 16);
  message.writeUInt8(tableId, 24);
  message.writeUInt8(OFPFC.DELETE, 25);
  message.writeUInt32BE(OFP_NO_BUFFER, 32);
  message.writeUInt32BE(OFPP.ANY, 36);
  message.writeUInt32BE(OFPG.ANY, 40);
  message.writeUInt32BE(OFPMT_OXM * 0x10000 + MATCH_HEADER_SIZE, MATCH_OFFSET);
  return message;
}

function bad(message: string, bytes: Buffer, offset: number): DecodeError {
  return new DecodeError('DECODE_BAD_LENGTH', message, {
    protocol: 'openflow',
    op: 'openflow.decodeFlowMod',
    offset,
    bytes,
  });
}

/**
 * Decodes a whole flow_mod.
 * @throws DecodeError when it is none, or a length in it cannot be.
 */
export function decodeFlowMod(message: Uint8Array): FlowMod {
  const bytes = bufferOver(message);
  if (bytes.length < instructionsOffset(0)) throw bad('a flow_mod is cut short', bytes, 0);
  if (bytes[1] !== OFPT.FLOW_MOD || bytes.readUInt16BE(2) !== bytes.length) {
    throw bad('no flow_mod of this length', bytes, 0);
  }
  const matchSize = bytes.readUInt16BE(MATCH_OFFSET + 2);
  const start = MATCH_OFFSET + padded(matchSize);
  if (
    bytes.readUInt16BE(MATCH_OFFSET) !== OFPMT_OXM ||
    matchSize < MATCH_HEADER_SIZE ||
    start > bytes.length
  ) {
    throw bad('the match of a flow_mod has a wrong length', bytes, MATCH_OFFSET);
  }
  return {
    xid: bytes.readUInt32BE(4),
    cookie: bytes.readBigUInt64BE(8),
    cookieMask: bytes.readBigUInt64BE(16),
    tableId: bytes.readUInt8(24),
    command: bytes.readUInt8(25),
    idleTimeout: bytes.readUInt16BE(26),
    hardTimeout: bytes.readUInt16BE(28),
    priority: bytes.readUInt16BE(30),
    bufferId: bytes.readUInt32BE(32),
    outPort: bytes.readUInt32BE(36),
    outGroup: bytes.readUInt32BE(40),
    flags: bytes.readUInt16BE(44),
    match: message.subarray(MATCH_OFFSET + MATCH_HEADER_SIZE, MATCH_OFFSET + matchSize),
    instructions: message.subarray(start),
  };
}
