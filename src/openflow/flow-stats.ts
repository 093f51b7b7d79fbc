/**
 * Flow statistics: the body of an OFPMP_FLOW request, and the entries of its reply parts (OpenFlow 1.3.5 section 7.3.5.2).
 * By hand, since a dump has 100,000 entries: numbers are read at once, the rest when it is asked for. Multipart headers and
 * reassembly are the client's.
 *
 * ```
 *  0      2     3   4        8    12       14   16   18    20  24     32      40     48          52
 * +------+-----+---+--------+----+--------+----+----+-----+---+------+-------+------+-----------+-----+--------------+
 * |length|table|pad|sec     |nsec|priority|idle|hard|flags|pad|cookie|packets|bytes |type,length| oxm | instructions |
 * +------+-----+---+--------+----+--------+----+----+-----+---+------+-------+------+-----------+-----+--------------+
 * ```
 */
import { Buffer } from 'node:buffer';
import { DecodeError } from '../base/error.ts';
import { MATCH_HEADER_SIZE, MATCH_OFFSET, instructionsOffset, padded } from './encoded-flow.ts';
import { bufferOver } from './match.ts';
import { OFPG, OFPMT_OXM, OFPP, OFPTT_ALL } from './ofp13.ts';

const TWO_32 = 0x1_0000_0000;

/** One flow of a dump. Match and instructions are views into the message that it came in. */
export interface FlowStats {
  readonly tableId: number;
  readonly priority: number;
  readonly cookie: bigint;
  /** Exact up to 2^53. */
  readonly packets: number;
  /** Exact up to 2^53. */
  readonly bytes: number;
  /** Whole seconds that the flow has been there. */
  readonly durationSec: number;
  /** Seconds; 0: none. */
  readonly idleTimeout: number;
  /** Seconds; 0: none. */
  readonly hardTimeout: number;
  /** The match's fields. */
  readonly match: Uint8Array;
  readonly instructions: Uint8Array;
}

/** Which flows to dump; absent: all. */
export interface FlowStatsFilter {
  readonly tableId?: number;
  readonly cookie?: bigint;
  /** Bits of `cookie` that count. */
  readonly cookieMask?: bigint;
}

/** Encodes the body of an OFPMP_FLOW request (struct ofp_flow_stats_request, with a match of everything). */
export function encodeFlowStatsRequest(filter: FlowStatsFilter): Uint8Array {
  const body = Buffer.alloc(40);
  body[0] = filter.tableId ?? OFPTT_ALL;
  body.writeUInt32BE(OFPP.ANY, 4);
  body.writeUInt32BE(OFPG.ANY, 8);
  body.writeBigUInt64BE(filter.cookie ?? 0n, 16);
  body.writeBigUInt64BE(filter.cookieMask ?? 0n, 24);
  body.writeUInt32BE(OFPMT_OXM * 0x10000 + MATCH_HEADER_SIZE, 32);
  return body;
}

/** An entry that reads itself: views and the bigint are made only for those who look at them. */
class FlowStatsEntry implements FlowStats {
  readonly #bytes: Buffer;
  readonly #at: number;
  readonly #size: number;
  readonly #matchLength: number;
  readonly tableId: number;
  readonly priority: number;

  constructor(bytes: Buffer, at: number, size: number, matchLength: number) {
    this.#bytes = bytes;
    this.#at = at;
    this.#size = size;
    this.#matchLength = matchLength;
    this.tableId = bytes[at + 2] ?? 0;
    this.priority = bytes.readUInt16BE(at + 12);
  }

  get cookie(): bigint {
    return this.#bytes.readBigUInt64BE(this.#at + 24);
  }

  get packets(): number {
    return this.#counter(32);
  }

  get bytes(): number {
    return this.#counter(40);
  }

  get durationSec(): number {
    return this.#bytes.readUInt32BE(this.#at + 4);
  }

  get idleTimeout(): number {
    return this.#bytes.readUInt16BE(this.#at + 14);
  }

  get hardTimeout(): number {
    return this.#bytes.readUInt16BE(this.#at + 16);
  }

  get match(): Uint8Array {
    const start = this.#at + MATCH_OFFSET + MATCH_HEADER_SIZE;
    return this.#bytes.subarray(start, start + this.#matchLength);
  }

  get instructions(): Uint8Array {
    const start = this.#at + instructionsOffset(this.#matchLength);
    return this.#bytes.subarray(start, this.#at + this.#size);
  }

  #counter(offset: number): number {
    const at = this.#at + offset;
    return this.#bytes.readUInt32BE(at) * TWO_32 + this.#bytes.readUInt32BE(at + 4);
  }
}

function bad(code: 'DECODE_SHORT' | 'DECODE_BAD_LENGTH', what: string, bytes: Buffer, at: number) {
  return new DecodeError(code, what, {
    protocol: 'openflow',
    op: 'openflow.decodeFlowStats',
    offset: at,
    bytes,
  });
}

/**
 * Calls `visit` for each entry in the body of one OFPMP_FLOW reply part. An entry refers to `body`: who keeps it, keeps the
 * whole message.
 * @throws DecodeError when an entry is cut short or a length in it cannot be; entries before it have been visited.
 */
export function decodeFlowStats(body: Uint8Array, visit: (stats: FlowStats) => void): void {
  const bytes = bufferOver(body);
  const end = bytes.length;
  for (let at = 0; at < end;) {
    if (end - at < MATCH_OFFSET + 8) {
      throw bad('DECODE_SHORT', 'a flow-stats entry is cut short', bytes, at);
    }
    const size = bytes.readUInt16BE(at);
    const matchSize = bytes.readUInt16BE(at + MATCH_OFFSET + 2);
    if (size > end - at) throw bad('DECODE_SHORT', 'a flow-stats entry is cut short', bytes, at);
    if (
      size % 8 !== 0 ||
      matchSize < MATCH_HEADER_SIZE ||
      MATCH_OFFSET + padded(matchSize) > size ||
      bytes.readUInt16BE(at + MATCH_OFFSET) !== OFPMT_OXM
    ) {
      throw bad('DECODE_BAD_LENGTH', 'a flow-stats entry has a wrong length', bytes, at);
    }
    visit(new FlowStatsEntry(bytes, at, size, matchSize - MATCH_HEADER_SIZE));
    at += size;
  }
}
