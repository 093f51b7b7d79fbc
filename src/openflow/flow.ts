/**
 * A flow, compiled once to the few bytes that the diff compares and the writer sends (`encoded-flow.ts`). The OFPT_FLOW_MOD
 * that adds it (OpenFlow 1.3.5 section 7.3.4.1) is put together only when it is sent; deleting and decoding are in `flow-mod.ts`.
 *
 * ```
 *  0       8       16          24    25      26   28   30       32     36       40        44    46  48          52
 * +-------+-------+-----------+-----+-------+----+----+--------+------+--------+---------+-----+---+-----------+-----+
 * |header |cookie |cookie_mask|table|command|idle|hard|priority|buffer|out_port|out_group|flags|pad|type,length| oxm |
 * +-------+-------+-----------+-----+-------+----+----+--------+------+--------+---------+-----+---+-----------+-----+
 *                                                              | pad to a multiple of 8 | instructions to the end     |
 * ```
 */
import { Buffer } from 'node:buffer';
import { ACTION_OVERRUN } from './action.ts';
import { FlowScratch, instructionsOffset, type EncodedFlow } from './encoded-flow.ts';
import { OpenFlowError } from './errors.ts';
import { writeInstructions } from './instruction.ts';
import type { Instructions } from './instruction.ts';
import { decodeMatch, encodeMatch, isCanonicalOrder, writeMatch } from './match.ts';
import type { Match } from './match.ts';
import { OFP_MESSAGE_MAX } from './ofp13.ts';

export type { EncodedFlow } from './encoded-flow.ts';

/** What a flow is, before encoding. */
export interface FlowSpec {
  /** 0..253. */
  readonly tableId: number;
  /** 0..65535; the highest matching one wins. */
  readonly priority: number;
  /** 64 bits. */
  readonly cookie: bigint;
  readonly match: Match;
  readonly instructions: Instructions;
}

const scratch = new FlowScratch(2 * OFP_MESSAGE_MAX + ACTION_OVERRUN);
const { bytes, matchStart } = scratch;

// Takes a cookie apart: arithmetic on bigint allocates.
const cookieBits = new DataView(new ArrayBuffer(8));

const keyScratch = Buffer.alloc(OFP_MESSAGE_MAX);

/** The {@link EncodedFlow.key} of a flow whose match fields are `oxm`, as the switch dumps them. */
export function flowKey(tableId: number, priority: number, oxm: Uint8Array): string {
  keyScratch[0] = tableId;
  keyScratch[1] = priority >>> 8;
  keyScratch[2] = priority & 0xff;
  keyScratch.set(oxm, 3);
  return keyScratch.toString('latin1', 0, 3 + oxm.length);
}

function check(what: string, value: number, max: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= max) return;
  throw new OpenFlowError(`${what} ${value} is not 0..${max}`, {
    code: 'OFP_FLOW_RANGE',
    op: 'openflow.encodeFlow',
    retryable: false,
  });
}

/** Completes the flow in `scratch`, whose match ends at `matchEnd` and whose instructions end at `end`. Lends it. */
function finish(
  tableId: number,
  priority: number,
  cookie: bigint,
  matchEnd: number,
  end: number,
): EncodedFlow {
  const size = instructionsOffset(matchEnd - matchStart) + end - ((matchEnd + 3) & ~3);
  if (size > OFP_MESSAGE_MAX) {
    throw new OpenFlowError(`a flow of ${size} bytes is longer than a message can be`, {
      code: 'OFP_FLOW_TOO_LONG',
      op: 'openflow.encodeFlow',
      retryable: false,
    });
  }
  cookieBits.setBigUint64(0, cookie);
  return scratch.finish(
    tableId,
    priority,
    cookieBits.getInt32(0),
    cookieBits.getInt32(4),
    matchEnd,
    end,
  );
}

/**
 * Encodes a flow.
 * @throws OpenFlowError `OFP_FLOW_RANGE`, `OFP_FLOW_TOO_LONG`, or what `encodeMatch` and `encodeInstructions` throw.
 */
export function encodeFlow(spec: FlowSpec): EncodedFlow {
  const { tableId, priority, cookie } = spec;
  check('table', tableId, 0xfe);
  check('priority', priority, 0xffff);
  const matchEnd = writeMatch(spec.match, bytes, matchStart);
  const end = writeInstructions(bytes, scratch.endMatch(matchEnd), spec.instructions);
  return finish(tableId, priority, cookie, matchEnd, end).copy();
}

/** The match in the form of our encoder, where it is one that our encoder can write. */
function canonicalMatch(oxm: Uint8Array): Uint8Array {
  if (isCanonicalOrder(oxm)) return oxm;
  try {
    return encodeMatch(decodeMatch(oxm));
  } catch (error) {
    // A field that we do not know, or a combination that we would not write: it is nobody's but the other's.
    if (error instanceof OpenFlowError) return oxm;
    throw error;
  }
}

/** A flow as the switch tells it. */
export interface DumpedFlow {
  readonly tableId: number;
  readonly priority: number;
  readonly cookie: bigint;
  /** The match's fields. */
  readonly match: Uint8Array;
  readonly instructions: Uint8Array;
}

/**
 * Makes the {@link EncodedFlow} of a dumped flow, for comparing with our own. The match is brought into our order of fields;
 * instructions stay as they are. The flow is lent: it is valid until the next one is encoded or dumped, and whoever keeps
 * it, copies it.
 * @throws DecodeError when a match that has to be reordered is malformed; OpenFlowError `OFP_FLOW_TOO_LONG`.
 */
export function lendDumpedFlow(dumped: DumpedFlow): EncodedFlow {
  const { tableId, priority, cookie, instructions } = dumped;
  const match = canonicalMatch(dumped.match);
  bytes.set(match, matchStart);
  const matchEnd = matchStart + match.length;
  const start = scratch.endMatch(matchEnd);
  bytes.set(instructions, start);
  return finish(tableId, priority, cookie, matchEnd, start + instructions.length);
}

/** As {@link lendDumpedFlow}, in memory of its own. */
export function encodedFlowFromDump(
  tableId: number,
  priority: number,
  cookie: bigint,
  match: Uint8Array,
  instructions: Uint8Array,
): EncodedFlow {
  return lendDumpedFlow({ tableId, priority, cookie, match, instructions }).copy();
}

/** The match fields of a flow: a view, not a copy. */
export function matchOf(flow: EncodedFlow): Uint8Array {
  return flow.match;
}

/** The instructions of a flow: a view, not a copy. */
export function instructionsOf(flow: EncodedFlow): Uint8Array {
  return flow.instructions;
}

/** True when two flows of one key do the same under the same cookie. */
export function sameActions(a: EncodedFlow, b: EncodedFlow): boolean {
  return a.sameActions(b);
}
