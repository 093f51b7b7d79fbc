/**
 * The OXM TLV: writes and reads one field of a match or of OFPAT_SET_FIELD (OpenFlow 1.3.5 section 7.2.3.2).
 *
 * ```
 *  0               15 16      22 23 24      31
 * +------------------+----------+--+----------+------------------+--------------+
 * |    oxm_class     |oxm_field |HM|  length  | value            | mask (if HM) |
 * +------------------+----------+--+----------+------------------+--------------+
 * ```
 * In class 0xffff four bytes of experimenter id stand before the value, and the length counts them. What may stand together
 * in a match is decided in `match.ts`.
 */
import { OFPORT_MAX } from '../base/brand.ts';
import { DecodeError } from '../base/error.ts';
import { OpenFlowError } from './errors.ts';
import { OFPP, ONF_VENDOR_ID, OXM_CLASS } from './ofp13.ts';
import { fieldByHeader } from './oxm-fields.ts';
import type { OxmField, OxmValue } from './oxm-fields.ts';

const TWO_32 = 0x1_0000_0000;
const HAS_MASK = 0x100;
const SAFE_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/** The largest value of a field, as a number (fields up to 48 bits) or bigint. */
export function allOnes(field: OxmField): OxmValue {
  return field.bits <= 48 ? 2 ** field.bits - 1 : (1n << BigInt(field.bits)) - 1n;
}

const ONES: readonly (number | undefined)[] = Array.from(
  { length: 54 },
  (_, bits) => 2 ** bits - 1,
);

/** True for the number of an interface and for the reserved ones: the switch refuses what is between. */
export function isPort(port: number): boolean {
  return (
    Number.isInteger(port) &&
    port >= 0 &&
    (port <= OFPORT_MAX || (port >= OFPP.MAX && port <= OFPP.ANY))
  );
}

/** True when `value` is one that the field may have: a whole number from 0 on of its bits, and a port where it is one. */
export function fits(field: OxmField, value: OxmValue): boolean {
  return fitsBits(field, value) && (field.kind !== 'port' || isPort(Number(value)));
}

/** True when `value` is a whole number from 0 on of the field's bits, as a mask must be. */
function fitsBits(field: OxmField, value: OxmValue): boolean {
  if (typeof value === 'number') {
    return Number.isSafeInteger(value) && value >= 0 && value <= (ONES[field.bits] ?? Infinity);
  }
  return value >= 0n && value >> BigInt(field.bits) === 0n;
}

/** True when `mask` has every bit of the field. Both must fit. */
export function isAllOnes(field: OxmField, mask: OxmValue): boolean {
  return typeof mask === 'number'
    ? mask === ONES[field.bits]
    : mask === (1n << BigInt(field.bits)) - 1n;
}

/** True when `value` has a bit that `mask` does not have. */
export function exceedsMask(value: OxmValue, mask: OxmValue): boolean {
  if (value < TWO_32 && mask < TWO_32) return (Number(value) & ~Number(mask)) !== 0;
  return (BigInt(value) & ~BigInt(mask)) !== 0n;
}

/**
 * Checks value and mask of one field, and returns the mask that has to be encoded: undefined for all ones.
 * @throws OpenFlowError `OFP_${prefix}_RANGE` or `OFP_${prefix}_MASK`, naming the field.
 */
export function checkedMask(
  field: OxmField,
  value: OxmValue,
  mask: OxmValue | undefined,
  prefix: 'MATCH' | 'ACTION',
): OxmValue | undefined {
  if (!fits(field, value)) {
    refuse(
      prefix,
      'RANGE',
      field,
      `value ${value} is no ${field.kind === 'port' ? 'port' : `number of ${field.bits} bits`}`,
    );
  }
  if (mask === undefined) return undefined;
  if (!fitsBits(field, mask)) {
    refuse(prefix, 'RANGE', field, `mask ${mask} is not a number of ${field.bits} bits`);
  }
  if (exceedsMask(value, mask)) {
    refuse(prefix, 'MASK', field, `value ${value} has bits outside its mask ${mask}`);
  }
  return isAllOnes(field, mask) ? undefined : mask;
}

/** Throws the error of an encoder that refuses a field. */
export function refuse(
  prefix: 'MATCH' | 'ACTION',
  what: string,
  field: { readonly name: string },
  why: string,
): never {
  throw new OpenFlowError(`${field.name}: ${why}`, {
    code: `OFP_${prefix}_${what}`,
    op: prefix === 'MATCH' ? 'openflow.encodeMatch' : 'openflow.encodeActions',
    retryable: false,
    details: { field: field.name },
  });
}

/** The same value as a number where that is exact: arithmetic on bigint allocates. */
export function narrow(value: OxmValue): OxmValue {
  return typeof value === 'bigint' && value >= 0n && value <= SAFE_MAX ? Number(value) : value;
}

/**
 * Writes 32 bits big-endian and returns the offset behind them. By hand: these lines run some twenty times per flow, and the
 * Buffer's own writes check what is checked already.
 */
export function writeWord(out: Buffer, at: number, value: number): number {
  out[at] = value >>> 24;
  out[at + 1] = value >>> 16;
  out[at + 2] = value >>> 8;
  out[at + 3] = value;
  return at + 4;
}

/** Writes `value` big-endian into `size` bytes and returns the offset behind them. The value must fit. */
export function writeValue(out: Buffer, at: number, value: OxmValue, size: number): number {
  if (typeof value === 'bigint') {
    if (size > 8) {
      out.writeBigUInt64BE(value >> 64n, at);
      out.writeBigUInt64BE(value & 0xffffffffffffffffn, at + 8);
      return at + 16;
    }
    if (size === 8) return out.writeBigUInt64BE(value, at);
    return writeValue(out, at, Number(value), size);
  }
  switch (size) {
    case 1:
      out[at] = value;
      return at + 1;
    case 2:
      out[at] = value >>> 8;
      out[at + 1] = value & 0xff;
      return at + 2;
    case 4:
      return writeWord(out, at, value);
    case 6:
      return out.writeUIntBE(value, at, 6);
    case 8:
      return writeWord(out, writeWord(out, at, Math.floor(value / TWO_32)), value >>> 0);
    default:
      out.fill(0, at, at + size - 8);
      return writeValue(out, at + size - 8, value, 8);
  }
}

/** Reads `size` big-endian bytes: a number up to 6, else a bigint. The bytes must be there. */
export function readValue(bytes: Buffer, at: number, size: number): OxmValue {
  if (size <= 6) return bytes.readUIntBE(at, size);
  let value = 0n;
  for (let end = at + size; at < end; at += 8) value = (value << 64n) | bytes.readBigUInt64BE(at);
  return value;
}

/** Writes one TLV and returns the offset behind it. Value and mask must have been checked. */
export function writeOxm(
  out: Buffer,
  at: number,
  field: OxmField,
  value: OxmValue,
  mask: OxmValue | undefined,
): number {
  const size = field.sizeBytes;
  at = writeWord(out, at, mask === undefined ? field.header : field.header + HAS_MASK + size);
  if (field.oxmClass === OXM_CLASS.EXPERIMENTER) at = out.writeUInt32BE(ONF_VENDOR_ID, at);
  at = writeValue(out, at, value, size);
  return mask === undefined ? at : writeValue(out, at, mask, size);
}

/** The OXM header at `at`, unsigned. The four bytes must be there. */
export function headerAt(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  return high * 0x10000 + (((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0));
}

/** One TLV as read: `field` is undefined when the registry does not have it. */
export interface OxmEntry {
  readonly field: OxmField | undefined;
  readonly value: OxmValue;
  /** As on the wire, all ones included. */
  readonly mask: OxmValue | undefined;
  /** Offset behind the TLV. */
  readonly end: number;
}

function badOxm(message: string, bytes: Buffer, offset: number): DecodeError {
  return new DecodeError('DECODE_BAD_LENGTH', message, {
    protocol: 'openflow',
    op: 'openflow.decodeMatch',
    offset,
    bytes,
  });
}

/**
 * Reads one TLV at `at`, which must end at or before `end`.
 * @throws DecodeError when its length passes `end`, or is not the length of its field.
 */
export function readOxm(bytes: Buffer, at: number, end: number): OxmEntry {
  if (end - at < 4) throw badOxm('an oxm is cut short', bytes, at);
  const header = headerAt(bytes, at);
  const length = header & 0xff;
  const next = at + 4 + length;
  if (next > end) throw badOxm('an oxm passes the end of its match', bytes, at);
  const masked = (header & HAS_MASK) !== 0;
  const field = fieldByHeader(header);
  const skip = header >>> 16 === OXM_CLASS.EXPERIMENTER ? 4 : 0;
  if (skip > 0 && length < skip)
    throw badOxm('an experimenter oxm has no experimenter id', bytes, at);
  const foreign = skip > 0 && bytes.readUInt32BE(at + 4) !== ONF_VENDOR_ID;
  if (field === undefined || foreign)
    return { field: undefined, value: 0, mask: undefined, end: next };
  // inPort alone has two widths: see the registry.
  const size = header >>> 9 === field.nxmHeader >>> 9 ? field.nxmHeader & 0xff : field.sizeBytes;
  const base = at + 4 + skip;
  if (next - base !== (masked ? 2 * size : size))
    throw badOxm(`an oxm of ${field.name} has a wrong length`, bytes, at);
  return {
    field,
    value: readValue(bytes, base, size),
    mask: masked ? readValue(bytes, base + size, size) : undefined,
    end: next,
  };
}
