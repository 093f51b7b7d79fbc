/**
 * Instructions of a flow, to bytes and back (OpenFlow 1.3.5 section 7.2.4), in the order in which the switch dumps them:
 * meter, apply_actions, clear_actions, write_actions, write_metadata, goto_table. This product writes the first, second and
 * last; the others are kept when somebody else's flow is decoded.
 */
import { Buffer } from 'node:buffer';
import { DecodeError } from '../base/error.ts';
import { ACTION_OVERRUN, decodeActions, writeActions } from './action.ts';
import type { Action } from './action.ts';
import { OpenFlowError } from './errors.ts';
import { bufferOver } from './match.ts';
import { OFPIT, OFP_MESSAGE_MAX } from './ofp13.ts';
import { writeWord } from './oxm.ts';

/** An instruction that this product does not write. */
export interface OtherInstruction {
  /** OFPIT_* number. */
  readonly type: number;
  /** The whole instruction with its head. */
  readonly bytes: Uint8Array;
}

/** What a flow does; nothing at all drops the packet. */
export interface Instructions {
  /** Meter that the packet has to pass first. */
  readonly meter?: number;
  readonly applyActions?: readonly Action[];
  /** Table that goes on, after the actions. */
  readonly gotoTable?: number;
  /** From decoding only, and encoded as they are. */
  readonly others?: readonly OtherInstruction[];
}

function check(what: string, value: number, max: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= max) return;
  throw new OpenFlowError(`${what} ${value} is not 0..${max}`, {
    code: 'OFP_INSTRUCTION_RANGE',
    op: 'openflow.encodeInstructions',
    retryable: false,
  });
}

/**
 * Writes instructions at `at` and returns the offset behind them. There must be {@link ACTION_OVERRUN} bytes beyond the
 * longest message.
 * @throws OpenFlowError as {@link encodeInstructions}.
 */
export function writeInstructions(out: Buffer, at: number, instructions: Instructions): number {
  const { meter, applyActions, gotoTable, others } = instructions;
  if (meter !== undefined) {
    check('meter', meter, 0xffffffff);
    writeWord(out, at, OFPIT.METER * 0x10000 + 8);
    at = writeWord(out, at + 4, meter);
  }
  if (applyActions !== undefined && applyActions.length > 0) {
    const end = writeActions(out, at + 8, applyActions);
    // Masked by nothing at all, a set_field leaves no bytes: then there is no instruction either.
    if (end > at + 8) {
      writeWord(out, at, OFPIT.APPLY_ACTIONS * 0x10000 + (end - at));
      writeWord(out, at + 4, 0);
      at = end;
    }
  }
  for (const other of others ?? []) {
    out.set(other.bytes, at);
    at += other.bytes.length;
  }
  if (gotoTable !== undefined) {
    check('table', gotoTable, 0xfe);
    writeWord(out, at, OFPIT.GOTO_TABLE * 0x10000 + 8);
    at = writeWord(out, at + 4, gotoTable * 0x1000000);
  }
  return at;
}

const scratch = Buffer.alloc(OFP_MESSAGE_MAX + ACTION_OVERRUN);

/**
 * Encodes instructions as the switch dumps them. Empty actions are left out: no instruction at all means drop.
 * @throws OpenFlowError `OFP_INSTRUCTION_RANGE`, or what `encodeActions` throws.
 */
export function encodeInstructions(instructions: Instructions): Uint8Array {
  return Buffer.from(scratch.subarray(0, writeInstructions(scratch, 0, instructions)));
}

function bad(message: string, bytes: Buffer, offset: number): DecodeError {
  return new DecodeError('DECODE_BAD_LENGTH', message, {
    protocol: 'openflow',
    op: 'openflow.decodeInstructions',
    offset,
    bytes,
  });
}

/**
 * Decodes instructions.
 * @throws DecodeError on a length that cannot be.
 */
export function decodeInstructions(instructions: Uint8Array): Instructions {
  const bytes = bufferOver(instructions);
  const result: { -readonly [Key in keyof Instructions]: Instructions[Key] } = {};
  const others: OtherInstruction[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = bytes.length - at < 8 ? 0 : bytes.readUInt16BE(at + 2);
    if (size < 8 || size % 8 !== 0 || at + size > bytes.length) {
      throw bad('an instruction has a wrong length', bytes, at);
    }
    const type = bytes.readUInt16BE(at);
    if (type === OFPIT.METER && size === 8) result.meter = bytes.readUInt32BE(at + 4);
    else if (type === OFPIT.GOTO_TABLE && size === 8) result.gotoTable = bytes[at + 4] ?? 0;
    else if (type === OFPIT.APPLY_ACTIONS) {
      result.applyActions = decodeActions(bytes.subarray(at + 8, at + size));
    } else others.push({ type, bytes: bytes.subarray(at, at + size) });
    at += size;
  }
  if (others.length > 0) result.others = others;
  return result;
}
