/**
 * Netlink attributes: type, length, value, padded to four bytes (kernel `include/uapi/linux/netlink.h`, struct nlattr; for
 * rtnetlink also called rtattr). Pure and bounded: reading allocates nothing but views of the given bytes, and nesting is
 * followed only where a caller asks for it. Numbers are in host order, which is little-endian on x86-64 and arm64.
 *
 * ```
 *   0        2         4                    nla_len
 *   +--------+---------+--------------------+---------+
 *   | len:16 | type:16 | value              | 0..3 pad|   len counts the four header bytes, not the padding
 *   +--------+---------+--------------------+---------+
 *              |  |
 *              |  +- 0x4000 value in network order
 *              +---- 0x8000 value is a list of attributes
 * ```
 */
import { DecodeError } from '../base/error.ts';

/** Bytes of struct nlattr. */
const NLA_HEADER_SIZE = 4;
/** Flag in the type: the value is a list of attributes. */
const NLA_F_NESTED = 0x8000;
/** The bits of the type field that are the type itself; the other two are flags. */
const NLA_TYPE_MASK = 0x3fff;

const LENGTH_MAX = 0xffff;

/** One attribute. The value is a view of the bytes that it was read from. */
export interface Attribute {
  /** Type without its two flag bits. */
  readonly type: number;
  readonly value: Buffer;
}

/** `size` in bytes rounded up to four, as NLMSG_ALIGN and NLA_ALIGN do. */
export function align4(size: number): number {
  return (size + 3) & ~3;
}

/**
 * Reads a list of attributes, in order.
 * @param op What is being decoded, for the error.
 * @throws DecodeError when an attribute is shorter than its header or longer than what is left.
 */
export function* decodeAttributes(bytes: Buffer, op: string): Generator<Attribute, void, void> {
  let offset = 0;
  while (offset < bytes.length) {
    const left = bytes.length - offset;
    const where = { protocol: 'netlink', op, offset, bytes };
    if (left < NLA_HEADER_SIZE) {
      throw new DecodeError('DECODE_SHORT', `${left} bytes left, an attribute has 4`, where);
    }
    const size = bytes.readUInt16LE(offset);
    if (size < NLA_HEADER_SIZE || size > left) {
      throw new DecodeError(
        'DECODE_BAD_LENGTH',
        `attribute of ${size} bytes, ${left} are left`,
        where,
      );
    }
    yield {
      type: bytes.readUInt16LE(offset + 2) & NLA_TYPE_MASK,
      value: bytes.subarray(offset + NLA_HEADER_SIZE, offset + size),
    };
    offset += align4(size);
  }
}

/**
 * The attributes of a list by type. The last one wins, as in the kernel's nla_parse.
 * @throws DecodeError as {@link decodeAttributes} does.
 */
export function attributesByType(bytes: Buffer, op: string): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (const { type, value } of decodeAttributes(bytes, op)) found.set(type, value);
  return found;
}

/**
 * Writes one attribute with its padding.
 * @param type May carry {@link NLA_F_NESTED}.
 * @throws RangeError when the value does not fit into the 16-bit length: values come from our own code only.
 */
export function encodeAttribute(type: number, value: Uint8Array): Buffer {
  const size = NLA_HEADER_SIZE + value.length;
  if (size > LENGTH_MAX) throw new RangeError(`attribute of ${size} bytes`);
  const bytes = Buffer.alloc(align4(size));
  bytes.writeUInt16LE(size, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(value, NLA_HEADER_SIZE);
  return bytes;
}

/** Writes an attribute whose value is a list of attributes, each already encoded. */
export function encodeNested(type: number, children: readonly Buffer[]): Buffer {
  return encodeAttribute(type | NLA_F_NESTED, Buffer.concat(children));
}

/**
 * Reads a 32-bit unsigned value.
 * @throws DecodeError when the value has another size.
 */
export function readU32(value: Buffer, op: string): number {
  if (value.length !== 4) {
    const where = { protocol: 'netlink', op, offset: 0, bytes: value };
    throw new DecodeError('DECODE_BAD_LENGTH', `number of ${value.length} bytes, not 4`, where);
  }
  return value.readUInt32LE(0);
}

/** Reads text up to its first zero byte; a missing zero byte is accepted, as the kernel does. */
export function readText(value: Buffer): string {
  const end = value.indexOf(0);
  return value.toString('utf8', 0, end < 0 ? value.length : end);
}
