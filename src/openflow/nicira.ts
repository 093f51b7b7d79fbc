/**
 * Layouts of the Nicira extension actions (OVS `lib/ofp-actions.c`, NXAST_*), one writer and one reader each. Every one
 * begins with the same ten bytes:
 *
 * ```
 *  0      2      4                 8          10
 * +------+------+-----------------+----------+---------------------------------+
 * |0xffff|length| vendor 0x2320   | subtype  | fields, padded to 8 bytes       |
 * +------+------+-----------------+----------+---------------------------------+
 * ```
 * Readers return undefined for what this product does not express: the caller keeps such an action as bytes. What an action
 * means, and nesting, is in `action.ts`.
 */
import { Buffer } from 'node:buffer';
import { NXAST, NX_VENDOR_ID, OFPAT, OFPP } from './ofp13.ts';
import { fieldByHeader } from './oxm-fields.ts';
import type { OxmField, OxmValue } from './oxm-fields.ts';

/** Size in bytes of the head of NXAST_CLONE, before the nested actions. */
export const NX_CLONE_SIZE = 16;
/** Size in bytes of the head of NXAST_CT, before the nested actions. */
export const NX_CT_SIZE = 24;

/** Writes the ten bytes that every Nicira action begins with, and clears the rest of `size`. */
export function writeNxHeader(out: Buffer, at: number, subtype: number, size: number): void {
  out.writeUInt32BE(OFPAT.EXPERIMENTER * 0x10000 + size, at);
  out.writeUInt32BE(NX_VENDOR_ID, at + 4);
  out.writeUInt32BE(subtype * 0x10000, at + 8);
  for (let pad = at + 12; pad < at + size; pad += 4) out.writeUInt32BE(0, pad);
}

/** A run of bits within a field. */
export interface Subfield {
  readonly field: OxmField;
  /** Lowest bit, from 0. */
  readonly start: number;
  readonly bits: number;
}

/** First bit in the upper 10 bits, bits less one in the lower 6: how load and output pack a {@link Subfield}. */
const packRange = (start: number, bits: number): number => (start << 6) | (bits - 1);

function subfield(header: number, start: number, bits: number): Subfield | undefined {
  const field = fieldByHeader(header);
  // Only the very header that we would write: a masked or an OXM form would not survive being encoded again.
  if (field === undefined || field.nxmHeader !== header) return undefined;
  return bits > 0 && start + bits <= field.nxmBits ? { field, start, bits } : undefined;
}

/** NXAST_REG_LOAD: the low `bits` of value into the field from bit `start` on. At most 64 bits. */
export function writeRegLoad(out: Buffer, at: number, to: Subfield, value: OxmValue): number {
  writeNxHeader(out, at, NXAST.REG_LOAD, 24);
  out.writeUInt16BE(packRange(to.start, to.bits), at + 10);
  out.writeUInt32BE(to.field.nxmHeader, at + 12);
  if (typeof value === 'bigint') out.writeBigUInt64BE(value, at + 16);
  else {
    out.writeUInt32BE(Math.floor(value / 0x1_0000_0000), at + 16);
    out.writeUInt32BE(value >>> 0, at + 20);
  }
  return at + 24;
}

/** Reads NXAST_REG_LOAD; the value is not shifted. */
export function readRegLoad(
  bytes: Buffer,
  at: number,
  size: number,
): { to: Subfield; value: bigint } | undefined {
  if (size !== 24) return undefined;
  const range = bytes.readUInt16BE(at + 10);
  const to = subfield(bytes.readUInt32BE(at + 12), range >>> 6, (range & 0x3f) + 1);
  const value = bytes.readBigUInt64BE(at + 16);
  if (to === undefined || value >> BigInt(to.bits) !== 0n) return undefined;
  return { to, value };
}

/** NXAST_REG_MOVE: bits of one field into another. */
export function writeRegMove(out: Buffer, at: number, from: Subfield, to: Subfield): number {
  writeNxHeader(out, at, NXAST.REG_MOVE, 24);
  out.writeUInt16BE(from.bits, at + 10);
  out.writeUInt16BE(from.start, at + 12);
  out.writeUInt16BE(to.start, at + 14);
  out.writeUInt32BE(from.field.nxmHeader, at + 16);
  out.writeUInt32BE(to.field.nxmHeader, at + 20);
  return at + 24;
}

/** Reads NXAST_REG_MOVE. */
export function readRegMove(
  bytes: Buffer,
  at: number,
  size: number,
): { from: Subfield; to: Subfield } | undefined {
  if (size !== 24) return undefined;
  const bits = bytes.readUInt16BE(at + 10);
  const from = subfield(bytes.readUInt32BE(at + 16), bytes.readUInt16BE(at + 12), bits);
  const to = subfield(bytes.readUInt32BE(at + 20), bytes.readUInt16BE(at + 14), bits);
  return from === undefined || to === undefined ? undefined : { from, to };
}

/** NXAST_OUTPUT_REG: output to the port whose number stands in a field. */
export function writeOutputReg(out: Buffer, at: number, port: Subfield): number {
  writeNxHeader(out, at, NXAST.OUTPUT_REG, 24);
  out.writeUInt16BE(packRange(port.start, port.bits), at + 10);
  out.writeUInt32BE(port.field.nxmHeader, at + 12);
  out.writeUInt16BE(0xffff, at + 16);
  return at + 24;
}

/** Reads NXAST_OUTPUT_REG with the max_len that ovs-ofctl sends. */
export function readOutputReg(bytes: Buffer, at: number, size: number): Subfield | undefined {
  if (size !== 24 || bytes.readUInt16BE(at + 16) !== 0xffff) return undefined;
  const range = bytes.readUInt16BE(at + 10);
  return subfield(bytes.readUInt32BE(at + 12), range >>> 6, (range & 0x3f) + 1);
}

/** Port numbers in Nicira actions have 16 bits: 0xfffffff8 (IN_PORT) is 0xfff8 there. */
const narrowPort = (port: number): number => port & 0xffff;
const widePort = (port: number): number => (port >= 0xff00 ? port + 0xffff0000 : port);

/** NXAST_RESUBMIT_TABLE; table 255 is the present one. */
export function writeResubmit(out: Buffer, at: number, table: number, port?: number): number {
  writeNxHeader(out, at, NXAST.RESUBMIT_TABLE, 16);
  out.writeUInt16BE(narrowPort(port ?? OFPP.IN_PORT), at + 10);
  out[at + 12] = table;
  return at + 16;
}

/** Reads NXAST_RESUBMIT_TABLE; the port is undefined when it stays as it is. */
export function readResubmit(
  bytes: Buffer,
  at: number,
  size: number,
): { table: number; port: number | undefined } | undefined {
  if (size !== 16) return undefined;
  const port = widePort(bytes.readUInt16BE(at + 10));
  return { table: bytes[at + 12] ?? 0, port: port === OFPP.IN_PORT ? undefined : port };
}

/** NXAST_CONJUNCTION; the clause counts from 0. */
export function writeConjunction(
  out: Buffer,
  at: number,
  id: number,
  clause: number,
  clauses: number,
): number {
  writeNxHeader(out, at, NXAST.CONJUNCTION, 16);
  out[at + 10] = clause;
  out[at + 11] = clauses;
  out.writeUInt32BE(id, at + 12);
  return at + 16;
}

/** NXAST_CONTROLLER: to the connections that gave this controller id. */
export function writeController(
  out: Buffer,
  at: number,
  maxLen: number,
  controllerId: number,
  reason: number,
): number {
  writeNxHeader(out, at, NXAST.CONTROLLER, 16);
  out.writeUInt16BE(maxLen, at + 10);
  out.writeUInt16BE(controllerId, at + 12);
  out[at + 14] = reason;
  return at + 16;
}

/** What NXAST_CONTROLLER2 says, as far as this product expresses it. */
export interface MeteredController {
  readonly maxLen: number;
  readonly controllerId: number;
  readonly reason: number;
  readonly meterId: number;
}

const NXAC2PT = { MAX_LEN: 0, CONTROLLER_ID: 1, REASON: 2, METER_ID: 5 } as const;
const MAX_LEN_DEFAULT = 0xffff;
const REASON_DEFAULT = 1;

/**
 * NXAST_CONTROLLER2 with a meter that limits the packet-ins and not the packet. Its properties are (type, length, value)
 * padded to 8 bytes, in the order of their types; those at their default are left out, as Open vSwitch does.
 */
export function writeMeteredController(out: Buffer, at: number, action: MeteredController): number {
  const { maxLen, controllerId, reason, meterId } = action;
  const properties: number[][] = [];
  if (maxLen !== MAX_LEN_DEFAULT) properties.push([NXAC2PT.MAX_LEN, 8, maxLen * 0x10000]);
  properties.push([NXAC2PT.CONTROLLER_ID, 8, controllerId * 0x10000]);
  if (reason !== REASON_DEFAULT) properties.push([NXAC2PT.REASON, 5, reason * 0x1000000]);
  properties.push([NXAC2PT.METER_ID, 8, meterId]);
  writeNxHeader(out, at, NXAST.CONTROLLER2, 16 + 8 * properties.length);
  let end = at + 16;
  for (const [type = 0, size = 0, value = 0] of properties) {
    out.writeUInt32BE(type * 0x10000 + size, end);
    end = out.writeUInt32BE(value, end + 4);
  }
  return end;
}

/** Reads NXAST_CONTROLLER2; undefined in any other form than {@link writeMeteredController} writes. */
export function readMeteredController(
  bytes: Buffer,
  at: number,
  size: number,
): MeteredController | undefined {
  const values = new Map<number, number>();
  for (let end = at + 16; end + 8 <= at + size; end += 8) {
    values.set(bytes.readUInt16BE(end), bytes.readUInt32BE(end + 4));
  }
  const meterId = values.get(NXAC2PT.METER_ID);
  if (meterId === undefined) return undefined;
  const action = {
    maxLen: (values.get(NXAC2PT.MAX_LEN) ?? MAX_LEN_DEFAULT * 0x10000) >>> 16,
    controllerId: (values.get(NXAC2PT.CONTROLLER_ID) ?? 0) >>> 16,
    reason: (values.get(NXAC2PT.REASON) ?? REASON_DEFAULT * 0x1000000) >>> 24,
    meterId,
  };
  const again = Buffer.alloc(48);
  const length = writeMeteredController(again, 0, action);
  return again.subarray(0, length).equals(bytes.subarray(at, at + size)) ? action : undefined;
}

/** The fields of NXAST_CT that this product uses. */
export interface CtHead {
  readonly commit: boolean;
  readonly zone: number;
  /** Table to recirculate to; 0xff: none. */
  readonly table: number;
}

/** Writes the head of NXAST_CT as if nothing were nested; the caller corrects the length. */
export function writeCtHead(out: Buffer, at: number, head: CtHead): number {
  writeNxHeader(out, at, NXAST.CT, NX_CT_SIZE);
  out.writeUInt16BE(head.commit ? 1 : 0, at + 10);
  out.writeUInt16BE(head.zone, at + 16);
  out[at + 18] = head.table;
  return at + NX_CT_SIZE;
}

/** Reads the head of NXAST_CT; undefined with force, a zone from a field, or an ALG. */
export function readCtHead(bytes: Buffer, at: number, size: number): CtHead | undefined {
  if (size < NX_CT_SIZE) return undefined;
  const flags = bytes.readUInt16BE(at + 10);
  const plain =
    flags <= 1 && bytes.readUInt32BE(at + 12) === 0 && bytes.readUInt16BE(at + 22) === 0;
  if (!plain) return undefined;
  return { commit: flags === 1, zone: bytes.readUInt16BE(at + 16), table: bytes[at + 18] ?? 0xff };
}
