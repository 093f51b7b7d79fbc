/**
 * NXAST_LEARN and NXAST_LEARN2 (OVS `lib/learn.c`, `include/openflow/nicira-ext.h`): a flow that the switch itself adds to
 * a table, made from the packet at hand. The second one has a limit: most flows of the same table and cookie. Flags, the
 * timeouts after FIN, results and `output:` are not expressed: such an action stays bytes.
 *
 * ```
 *  0            10     12     14         16       24      26      27    28        32       36       40
 * +------------+------+------+----------+--------+-------+-------+-----+---------+--------+--------+------------+
 * | NX header  | idle | hard | priority | cookie | flags | table | pad | fin 2x2 | limit  | result | specs, pad |
 * +------------+------+------+----------+--------+-------+-------+-----+---------+--------+--------+------------+
 *                                                                                 \-- LEARN2 only --/
 * spec   15 14  13   12..11       10         0
 *       +------+-----+-----+------------------+---------------------------------+---------------------+
 *       |  0   | src | dst | number of bits   | src: header, first bit; or value| dst: header, bit    |
 *       +------+-----+-----+------------------+---------------------------------+---------------------+
 * ```
 */
import { Buffer } from 'node:buffer';
import { writeNxHeader, type Subfield } from './nicira.ts';
import { NXAST } from './ofp13.ts';
import { fieldByHeader, type FieldName } from './oxm-fields.ts';

const LEARN_SIZE = 32;
const LEARN2_SIZE = 40;
const IMMEDIATE = 0x2000;
const TO_LOAD = 0x0800;
/** The destination is a port, which has no field: not expressed. */
const TO_OUTPUT = 0x1000;
const BITS_MASK = 0x07ff;
const RESERVED = 0xc000;
const VALUE_BITS_MAX = 64;

/** One field of a learned flow: it matches, or writes (`load`), as many bits as `to` says. */
export interface LearnSpec {
  readonly use: 'match' | 'load';
  readonly to: { readonly field: FieldName; readonly start: number; readonly bits: number };
  /** Bits of the packet that is learned from; for `load` also a constant of at most 64 bits. */
  readonly from: { readonly field: FieldName; readonly start: number } | bigint;
}

/** Adds a flow to `table`, made from the packet. Timeouts in seconds; `limit`: most flows of the table and cookie. */
export interface LearnAction {
  readonly type: 'learn';
  readonly table: number;
  readonly priority: number;
  readonly cookie: bigint;
  readonly idleTimeout?: number;
  readonly hardTimeout?: number;
  readonly limit?: number;
  readonly specs: readonly LearnSpec[];
}

/** One field of the learned flow, bits resolved. */
export interface LearnPart {
  /** `match`: the learned flow matches it; `load`: it writes it. */
  readonly use: 'match' | 'load';
  readonly to: Subfield;
  /** Bits of the packet, as many as in `to`, or a constant of at most 64 bits. */
  readonly from: Omit<Subfield, 'bits'> | bigint;
}

/** The action, fields resolved. */
export interface LearnFields {
  readonly table: number;
  readonly priority: number;
  readonly cookie: bigint;
  /** Seconds; 0: none. */
  readonly idleTimeout: number;
  /** Seconds; 0: none. */
  readonly hardTimeout: number;
  /** 0: none. */
  readonly limit: number;
  readonly parts: readonly LearnPart[];
}

/** Writes the action and returns the offset behind it. */
export function writeLearn(out: Buffer, at: number, learn: LearnFields): number {
  const head = learn.limit === 0 ? LEARN_SIZE : LEARN2_SIZE;
  writeNxHeader(out, at, learn.limit === 0 ? NXAST.LEARN : NXAST.LEARN2, head);
  out.writeUInt16BE(learn.idleTimeout, at + 10);
  out.writeUInt16BE(learn.hardTimeout, at + 12);
  out.writeUInt16BE(learn.priority, at + 14);
  out.writeBigUInt64BE(learn.cookie, at + 16);
  out[at + 26] = learn.table;
  if (learn.limit !== 0) out.writeUInt32BE(learn.limit, at + 32);
  let end = at + head;
  for (const part of learn.parts) end = writePart(out, end, part);
  const padded = at + ((end - at + 7) & ~7);
  out.fill(0, end, padded);
  out.writeUInt16BE(Math.min(padded - at, 0xffff), at + 2);
  return padded;
}

function writePart(out: Buffer, at: number, { use, to, from }: LearnPart): number {
  const isValue = typeof from === 'bigint';
  let end = out.writeUInt16BE(
    (isValue ? IMMEDIATE : 0) | (use === 'load' ? TO_LOAD : 0) | to.bits,
    at,
  );
  if (isValue) {
    for (let words = Math.ceil(to.bits / 16); words > 0; words--) {
      const word = (from >> BigInt(16 * (words - 1))) & 0xffffn;
      end = out.writeUInt16BE(Number(word), end);
    }
  } else {
    end = out.writeUInt32BE(from.field.nxmHeader, end);
    end = out.writeUInt16BE(from.start, end);
  }
  end = out.writeUInt32BE(to.field.nxmHeader, end);
  return out.writeUInt16BE(to.start, end);
}

/** Reads the action of `size` bytes; undefined in any other form than {@link writeLearn} writes. */
export function readLearn(bytes: Buffer, at: number, size: number): LearnFields | undefined {
  const hasLimit = bytes.readUInt16BE(at + 8) === NXAST.LEARN2;
  const head = hasLimit ? LEARN2_SIZE : LEARN_SIZE;
  if (size < head) return undefined;
  const parts = readParts(bytes.subarray(at + head, at + size));
  if (parts === undefined) return undefined;
  const learn = {
    idleTimeout: bytes.readUInt16BE(at + 10),
    hardTimeout: bytes.readUInt16BE(at + 12),
    priority: bytes.readUInt16BE(at + 14),
    cookie: bytes.readBigUInt64BE(at + 16),
    table: bytes.readUInt8(at + 26),
    limit: hasLimit ? bytes.readUInt32BE(at + 32) : 0,
    parts,
  };
  // As long as it was read from, so it fits; flags and what else is not expressed come out as zeros and differ.
  const again = Buffer.alloc(size + 8);
  const length = writeLearn(again, 0, learn);
  return again.subarray(0, length).equals(bytes.subarray(at, at + size)) ? learn : undefined;
}

/** As {@link readLearn}, in the form of an action. */
export function readLearnAction(bytes: Buffer, at: number, size: number): LearnAction | undefined {
  const learn = readLearn(bytes, at, size);
  if (learn === undefined) return undefined;
  const { table, priority, cookie, idleTimeout, hardTimeout, limit } = learn;
  return {
    type: 'learn',
    table,
    priority,
    cookie,
    ...(idleTimeout === 0 ? {} : { idleTimeout }),
    ...(hardTimeout === 0 ? {} : { hardTimeout }),
    ...(limit === 0 ? {} : { limit }),
    specs: learn.parts.map(({ use, to, from }) => ({
      use,
      to: { field: to.field.name, start: to.start, bits: to.bits },
      from: typeof from === 'bigint' ? from : { field: from.field.name, start: from.start },
    })),
  };
}

/** The specs up to the first zero or the end; undefined when there is one that is not expressed. */
function readParts(bytes: Buffer): LearnPart[] | undefined {
  const parts: LearnPart[] = [];
  for (let at = 0; bytes.length - at >= 2;) {
    const spec = bytes.readUInt16BE(at);
    if (spec === 0) break;
    const bits = spec & BITS_MASK;
    if ((spec & (RESERVED | TO_OUTPUT)) !== 0 || bits === 0) return undefined;
    const isValue = (spec & IMMEDIATE) !== 0;
    const fromSize = isValue ? 2 * Math.ceil(bits / 16) : 6;
    at += 2;
    if (bytes.length - at < fromSize + 6 || (isValue && bits > VALUE_BITS_MAX)) return undefined;
    const from = isValue ? readValue(bytes, at, bits) : readBits(bytes, at, bits);
    const to = readBits(bytes, at + fromSize, bits);
    if (from === undefined || to === undefined) return undefined;
    const use = (spec & TO_LOAD) === 0 ? 'match' : 'load';
    // A constant to match is not expressed, and a field that cannot be written is not loaded.
    if (use === 'match' ? isValue : !to.field.writable) return undefined;
    parts.push({
      use,
      to,
      from: typeof from === 'bigint' ? from : { field: from.field, start: from.start },
    });
    at += fromSize + 6;
  }
  return parts;
}

function readBits(bytes: Buffer, at: number, bits: number): Subfield | undefined {
  const header = bytes.readUInt32BE(at);
  const start = bytes.readUInt16BE(at + 4);
  const field = fieldByHeader(header);
  if (field === undefined || field.nxmHeader !== header) return undefined;
  return start + bits <= field.nxmBits ? { field, start, bits } : undefined;
}

function readValue(bytes: Buffer, at: number, bits: number): bigint | undefined {
  let value = 0n;
  for (let word = 0; word < Math.ceil(bits / 16); word++) {
    value = (value << 16n) | BigInt(bytes.readUInt16BE(at + 2 * word));
  }
  return value >> BigInt(bits) === 0n ? value : undefined;
}
