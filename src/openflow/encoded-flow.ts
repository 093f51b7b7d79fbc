/**
 * A flow as few bytes: what tells it from others, packed into memory that many flows share. The OFPT_FLOW_MOD that adds it
 * (OpenFlow 1.3.5 section 7.3.4.1) is put together only when it is sent. Encoding and decoding are in `flow.ts`.
 *
 * The record, in words of 32 bits; match and instructions are bytes as on the wire, padded with zeros:
 * ```
 *  0             1            2 31        16 15      0   3 31   16 15        0   4
 * +-------------+------------+--------------+----------+----------+-----------+-------+--------------+
 * | cookie high | cookie low | instructions |  match   | table_id | priority  | match | instructions |
 * +-------------+------------+-- length ----+- length -+----------+-----------+-------+--------------+
 * ```
 */
import { Buffer } from 'node:buffer';
import { OFPFC, OFPG, OFPMT_OXM, OFPP, OFPT, OFP_NO_BUFFER, OFP_VERSION } from './ofp13.ts';

/** Offset of the ofp_match in a flow_mod, and in an entry of a flow-stats reply. */
export const MATCH_OFFSET = 48;
/** Bytes of an ofp_match before its fields: type and length. */
export const MATCH_HEADER_SIZE = 4;
/** Words of a record before the match. */
const HEAD_WORDS = 4;
const HEAD_BYTES = 4 * HEAD_WORDS;
/** Flows of one chunk live and die together, so a chunk is small: about a hundred flows. */
const CHUNK_BYTES = 8192;

/** `length` with padding to a multiple of 8. */
export function padded(length: number): number {
  return (length + 7) & ~7;
}

/** Offset of the instructions in a flow_mod or a flow-stats entry whose match fields have `matchLength` bytes. */
export function instructionsOffset(matchLength: number): number {
  return MATCH_OFFSET + padded(MATCH_HEADER_SIZE + matchLength);
}

function wordsOf(bytes: number): number {
  return (bytes + 3) >>> 2;
}

/** Memory seen as bytes and as words. */
class Chunk {
  readonly bytes: Buffer;
  readonly words: Int32Array;
  constructor(size: number) {
    const memory = new ArrayBuffer(size);
    this.bytes = Buffer.from(memory);
    this.words = new Int32Array(memory);
  }
}

let chunk = new Chunk(CHUNK_BYTES);
let chunkUsed = 0;

/** Takes `words` words of the present chunk, or of a new one. */
function take(words: number): number {
  if (chunkUsed + words > chunk.words.length) {
    chunk = new Chunk(Math.max(CHUNK_BYTES, 4 * words));
    chunkUsed = 0;
  }
  const at = chunkUsed;
  chunkUsed += words;
  return at;
}

/** Another one in each process: who chooses matches must not be able to choose collisions. */
const HASH_SEED = Math.floor(Math.random() * 0x1_0000_0000) | 0;

/** Hash of table, priority and match: the words of the record from `at + 3` on. */
function hashKey(words: Int32Array, at: number, end: number): number {
  let hash = HASH_SEED;
  for (let index = at + HEAD_WORDS - 1; index < end; index++) {
    hash = Math.imul(hash ^ (words[index] ?? 0), 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  hash = Math.imul(hash ^ (hash >>> 13), 0x85ebca6b);
  return hash ^ (hash >>> 16);
}

/** The part of every flow_mod that is the same: no cookie mask, no timeouts, no buffer, any out_port and out_group. */
const FIXED = Buffer.alloc(MATCH_OFFSET);
FIXED.writeUInt32BE(OFP_NO_BUFFER, 32);
FIXED.writeUInt32BE(OFPP.ANY, 36);
FIXED.writeUInt32BE(OFPG.ANY, 40);

/** A flow as bytes. Immutable, but for the one that a {@link FlowScratch} lends. */
export class EncodedFlow {
  #chunk: Chunk;
  #at: number;
  /** Of {@link key}: equal keys have equal hashes. Holds for this process only. */
  hash: number;

  /** @internal Made by {@link FlowScratch} only. */
  constructor(owner: Chunk, at: number, hash: number) {
    this.#chunk = owner;
    this.#at = at;
    this.hash = hash;
  }

  get tableId(): number {
    return this.#word(3) >>> 16;
  }

  get priority(): number {
    return this.#word(3) & 0xffff;
  }

  get cookie(): bigint {
    return (BigInt(this.cookieHigh) << 32n) | BigInt(this.#word(1) >>> 0);
  }

  /** Upper 32 bits of the cookie, for who looks at many. */
  get cookieHigh(): number {
    return this.#word(0) >>> 0;
  }

  /** Bytes of the match's fields. */
  get matchLength(): number {
    return this.#word(2) & 0xffff;
  }

  /** Bytes of the flow_mod. */
  get length(): number {
    return instructionsOffset(this.matchLength) + this.instructionsLength;
  }

  /** The match fields: a view, not a copy. */
  get match(): Uint8Array {
    const start = this.matchStart;
    return this.#chunk.bytes.subarray(start, start + this.matchLength);
  }

  /** The instructions: a view, not a copy. */
  get instructions(): Uint8Array {
    const start = this.instructionsStart;
    return this.#chunk.bytes.subarray(start, start + this.instructionsLength);
  }

  /** The memory that the flow is in, with those of others, for who reads many flows and wants no view of each. */
  get memory(): Buffer {
    return this.#chunk.bytes;
  }

  /** Offset of the match fields in {@link memory}. */
  get matchStart(): number {
    return 4 * this.#at + HEAD_BYTES;
  }

  /** Offset of the instructions in {@link memory}. */
  get instructionsStart(): number {
    return 4 * (this.#at + this.#instructionsWord);
  }

  /** Bytes of the instructions. */
  get instructionsLength(): number {
    return this.#word(2) >>> 16;
  }

  /** Identity of the flow in the switch: table, priority and match, as a latin1 string. Made anew each time. */
  get key(): string {
    const head = this.#word(3);
    const start = this.matchStart;
    return (
      String.fromCharCode(head >>> 16, (head >>> 8) & 0xff, head & 0xff) +
      this.#chunk.bytes.toString('latin1', start, start + this.matchLength)
    );
  }

  /** Complete OFPT_FLOW_MOD with command ADD and xid 0, in memory of its own. */
  get message(): Uint8Array {
    const out = Buffer.allocUnsafe(this.length);
    this.writeMessage(out, 0);
    return out;
  }

  /** Writes the {@link message} at `at` and returns the offset behind it: {@link length} bytes. */
  writeMessage(out: Buffer, at: number): number {
    const start = this.writeHead(out, at, this.length, OFPFC.ADD);
    out.writeInt32BE(this.#word(0), at + 8);
    out.writeInt32BE(this.#word(1), at + 12);
    const from = this.instructionsStart;
    const length = this.instructionsLength;
    copyBytes(this.#chunk.bytes, from, out, start, length);
    return start + length;
  }

  /** Writes a flow_mod up to its instructions, with cookie and xid 0, and returns the offset behind that. */
  writeHead(out: Buffer, at: number, size: number, command: number): number {
    const { tableId, priority, matchLength } = this;
    const matchStart = at + MATCH_OFFSET + MATCH_HEADER_SIZE;
    const end = at + instructionsOffset(matchLength);
    copyBytes(FIXED, 0, out, at, MATCH_OFFSET);
    out.writeUInt32BE(((OFP_VERSION << 24) | (OFPT.FLOW_MOD << 16) | size) >>> 0, at);
    out.writeUInt32BE(((tableId << 24) | (command << 16)) >>> 0, at + 24);
    out.writeUInt32BE(priority, at + 28);
    out.writeUInt32BE(OFPMT_OXM * 0x10000 + MATCH_HEADER_SIZE + matchLength, at + MATCH_OFFSET);
    copyBytes(this.#chunk.bytes, this.matchStart, out, matchStart, matchLength);
    for (let pad = matchStart + matchLength; pad < end; pad++) out[pad] = 0;
    return end;
  }

  /** True when both are one flow to the switch: equal in table, priority and match. */
  sameKey(other: EncodedFlow): boolean {
    if (this.matchLength !== other.matchLength) return false;
    return this.#equal(other, 3, this.#instructionsWord);
  }

  /** True when two flows of one key do the same under the same cookie. */
  sameActions(other: EncodedFlow): boolean {
    if (this === other) return true;
    // The lengths of both parts are one word.
    if (!this.#equal(other, 0, 3)) return false;
    const start = this.#instructionsWord;
    return this.#equal(other, start, start + wordsOf(this.instructionsLength));
  }

  /** The same flow in memory of its own. */
  copy(): EncodedFlow {
    const words = this.#instructionsWord + wordsOf(this.instructionsLength);
    const at = take(words);
    const from = this.#chunk.words;
    const to = chunk.words;
    for (let index = 0; index < words; index++) to[at + index] = from[this.#at + index] ?? 0;
    return new EncodedFlow(chunk, at, this.hash);
  }

  get #instructionsWord(): number {
    return HEAD_WORDS + wordsOf(this.matchLength);
  }

  #word(index: number): number {
    return this.#chunk.words[this.#at + index] ?? 0;
  }

  #equal(other: EncodedFlow, from: number, to: number): boolean {
    const mine = this.#chunk.words;
    const theirs = other.#chunk.words;
    for (let index = from; index < to; index++) {
      if (mine[this.#at + index] !== theirs[other.#at + index]) return false;
    }
    return true;
  }
}

/** Few bytes: a loop is faster than the call of a copy. */
function copyBytes(from: Buffer, start: number, to: Buffer, at: number, length: number): void {
  for (let index = 0; index < length; index++) to[at + index] = from[start + index] ?? 0;
}

/**
 * Where a flow is put together. {@link finish} lends a flow that is valid until the next one is begun: whoever keeps it,
 * copies it.
 */
export class FlowScratch {
  /** Match and instructions are written here, from {@link matchStart} on. */
  readonly bytes: Buffer;
  /** Offset of the match's fields. */
  readonly matchStart = HEAD_BYTES;
  readonly #chunk: Chunk;
  readonly #flow: EncodedFlow;

  /** `size` bytes are there for match and instructions together. */
  constructor(size: number) {
    this.#chunk = new Chunk((HEAD_BYTES + size + 15) & ~7);
    this.bytes = this.#chunk.bytes;
    this.#flow = new EncodedFlow(this.#chunk, 0, 0);
  }

  /** Ends the match at `matchEnd` and returns the offset where the instructions begin. */
  endMatch(matchEnd: number): number {
    const start = (matchEnd + 3) & ~3;
    for (let pad = matchEnd; pad < start; pad++) this.bytes[pad] = 0;
    return start;
  }

  /** Completes the flow whose match ends at `matchEnd`, and whose instructions end at `end`. Lends it. */
  finish(
    tableId: number,
    priority: number,
    cookieHigh: number,
    cookieLow: number,
    matchEnd: number,
    end: number,
  ): EncodedFlow {
    const { words } = this.#chunk;
    const start = (matchEnd + 3) & ~3;
    for (let pad = end; (pad & 3) !== 0; pad++) this.bytes[pad] = 0;
    words[0] = cookieHigh;
    words[1] = cookieLow;
    words[2] = ((end - start) << 16) | (matchEnd - HEAD_BYTES);
    words[3] = (tableId << 16) | priority;
    this.#flow.hash = hashKey(words, 0, start >>> 2);
    return this.#flow;
  }
}
