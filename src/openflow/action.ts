/**
 * Actions of a flow or a group bucket, to bytes and back (OpenFlow 1.3.5 section 7.2.5; the Nicira layouts are in
 * `nicira.ts`). The encoder writes what the switch's own dump returns, so that bytes can be compared. Whether an action suits
 * the match of its flow is left to the switch.
 */
import { Buffer } from 'node:buffer';
import { DecodeError } from '../base/error.ts';
import { OpenFlowError } from './errors.ts';
import { readLearnAction, writeLearn } from './learn.ts';
import type { LearnAction, LearnPart, LearnSpec } from './learn.ts';
import { bufferOver } from './match.ts';
import * as nicira from './nicira.ts';
import type { Subfield } from './nicira.ts';
import { NXAST, NX_VENDOR_ID, OFPAT, OFPP, OFPR, OFP_MESSAGE_MAX } from './ofp13.ts';
import { fieldByName } from './oxm-fields.ts';
import type { FieldName, OxmField, OxmValue } from './oxm-fields.ts';
import { checkedMask, fits, isPort, readOxm, refuse, writeValue, writeWord } from './oxm.ts';

/** One action. */
export type Action =
  /** OFPAT_OUTPUT. `maxLen` (bytes of the packet in the packet-in) counts for port CONTROLLER only; default 65535. */
  | { readonly type: 'output'; readonly port: number; readonly maxLen?: number }
  /** Output to the port whose number stands in a field; default: the whole field. */
  | {
      readonly type: 'outputField';
      readonly field: FieldName;
      readonly start?: number;
      readonly bits?: number;
    }
  | { readonly type: 'group'; readonly groupId: number }
  /**
   * Sets a field. With a mask, one NXAST_REG_LOAD for each run of bits, as ovs-ofctl does on OpenFlow 1.3. `load` asks for
   * NXAST_REG_LOAD although the whole field is set: others' flows may have it.
   */
  | {
      readonly type: 'setField';
      readonly field: FieldName;
      readonly value: OxmValue;
      readonly mask?: OxmValue;
      readonly load?: true;
    }
  | {
      readonly type: 'move';
      readonly from: { readonly field: FieldName; readonly start: number; readonly bits: number };
      readonly to: { readonly field: FieldName; readonly start: number };
    }
  /** Looks the packet up in a table (255: the present one), and comes back. */
  | { readonly type: 'resubmit'; readonly table: number; readonly port?: number }
  /** `clause` counts from 0. */
  | {
      readonly type: 'conjunction';
      readonly id: number;
      readonly clause: number;
      readonly clauses: number;
    }
  /** Works on a copy of the packet. */
  | { readonly type: 'clone'; readonly actions: readonly Action[] }
  /** Connection tracking; default zone 0, no recirculation. `exec` may set ctMark. */
  | {
      readonly type: 'ct';
      readonly commit?: boolean;
      readonly zone?: number;
      readonly table?: number;
      readonly exec?: readonly Action[];
    }
  /**
   * Packet-in to the connections with this controller id; `reason` is an OFPR_* number, default 1 (action). A meter limits
   * the packet-ins alone: the packet itself goes on.
   */
  | {
      readonly type: 'controller';
      readonly maxLen: number;
      readonly controllerId: number;
      readonly reason?: number;
      readonly meterId?: number;
    }
  | LearnAction
  /** The bytes of an action that this product does not express; from decoding, and encoded as they are. */
  | { readonly type: 'unknown'; readonly bytes: Uint8Array };

/** Bytes that an encoder of actions may write beyond the longest message before it notices. */
export const ACTION_OVERRUN = 0x10100;
/** Fields of one learned flow. */
const SPECS_MAX = 256;
/** Nesting of clone and ct that is decoded; what is deeper stays `unknown`. */
const DEPTH_MAX = 16;

function fieldOf(name: FieldName): OxmField {
  return fieldByName(name) ?? refuse('ACTION', 'UNKNOWN', { name }, 'no such field');
}

function subfieldOf(name: FieldName, start: number, bits: number | undefined): Subfield {
  const field = fieldOf(name);
  const count = bits ?? field.nxmBits - start;
  if (!(Number.isInteger(start) && Number.isInteger(count) && start >= 0 && count > 0)) {
    refuse('ACTION', 'RANGE', field, `${start} and ${count} are no bits`);
  }
  if (start + count > field.nxmBits) {
    refuse('ACTION', 'RANGE', field, `has no bits ${start} to ${start + count - 1}`);
  }
  return { field, start, bits: count };
}

function inRange(what: string, value: number, max: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= max) return value;
  return refuse('ACTION', 'RANGE', { name: what }, `${value} is not 0..${max}`);
}

function checkPort(port: number): number {
  return isPort(port) ? port : refuse('ACTION', 'RANGE', { name: 'port' }, `${port} is no port`);
}

function writable(field: OxmField): void {
  if (!field.writable) refuse('ACTION', 'READ_ONLY', field, 'cannot be set');
}

/** One NXAST_REG_LOAD for each run of ones of the mask, from the lowest; no run is longer than 64 bits. */
function writeLoads(
  out: Buffer,
  at: number,
  field: OxmField,
  value: OxmValue,
  mask: OxmValue,
): number {
  if (typeof mask === 'number' && typeof value === 'number' && mask <= 0xffffffff) {
    for (let rest = mask, start = 0; rest !== 0;) {
      const zeros = 31 - Math.clz32(rest & -rest);
      start += zeros;
      rest >>>= zeros;
      const bits = rest === 0xffffffff ? 32 : 31 - Math.clz32(~rest & -~rest);
      const run = bits === 32 ? value : (value >>> start) & (2 ** bits - 1);
      at = nicira.writeRegLoad(out, at, { field, start, bits }, run);
      start += bits;
      rest = bits === 32 ? 0 : rest >>> bits;
    }
    return at;
  }
  const wide = BigInt(value);
  const wideMask = BigInt(mask);
  for (let start = 0; start < field.bits;) {
    let bits = 0;
    while (bits < 64 && (wideMask >> BigInt(start + bits)) & 1n) bits++;
    if (bits > 0) {
      const run = BigInt.asUintN(bits, wide >> BigInt(start));
      at = nicira.writeRegLoad(out, at, { field, start, bits }, run);
    }
    start += Math.max(bits, 1);
  }
  return at;
}

function writeSetField(
  out: Buffer,
  at: number,
  action: Action & { readonly type: 'setField' },
): number {
  const field = fieldOf(action.field);
  const { value } = action;
  writable(field);
  const mask = checkedMask(field, value, action.mask, 'ACTION');
  if (mask !== undefined) return writeLoads(out, at, field, value, mask);
  if (field.nxmBits < field.bits) inRange(field.name, Number(value), 0xffff);
  if (action.load === true && field.nxmBits <= 64) {
    return nicira.writeRegLoad(out, at, { field, start: 0, bits: field.nxmBits }, value);
  }
  const header = field.nxmBits < field.bits ? field.nxmHeader : field.header;
  const size = (4 + 4 + (header & 0xff) + 7) & ~7;
  writeWord(out, at, OFPAT.SET_FIELD * 0x10000 + size);
  writeWord(out, at + 4, header);
  const end = writeValue(out, at + 8, value, header & 0xff);
  for (let pad = end; pad < at + size; pad++) out[pad] = 0;
  return at + size;
}

function writeNested(
  out: Buffer,
  start: number,
  head: number,
  actions: readonly Action[] | undefined,
): number {
  const end = actions === undefined ? head : writeActions(out, head, actions);
  out.writeUInt16BE(Math.min(end - start, 0xffff), start + 2);
  return end;
}

function writeControllerAction(
  out: Buffer,
  at: number,
  action: Action & { readonly type: 'controller' },
): number {
  const maxLen = inRange('maxLen', action.maxLen, 0xffff);
  const controllerId = inRange('controllerId', action.controllerId, 0xffff);
  const reason = inRange('reason', action.reason ?? OFPR.ACTION, 0xff);
  if (action.meterId === undefined) {
    return nicira.writeController(out, at, maxLen, controllerId, reason);
  }
  const meterId = inRange('meterId', action.meterId, 0xffffffff);
  return nicira.writeMeteredController(out, at, { maxLen, controllerId, reason, meterId });
}

function learnPart({ use, to, from }: LearnSpec): LearnPart {
  const target = subfieldOf(to.field, to.start, to.bits);
  if (use === 'load') writable(target.field);
  if (typeof from !== 'bigint') {
    return { use, to: target, from: subfieldOf(from.field, from.start, to.bits) };
  }
  if (use === 'match' || to.bits > 64 || from < 0n || from >> BigInt(to.bits) !== 0n) {
    refuse('ACTION', 'RANGE', target.field, `cannot learn the constant ${from}`);
  }
  return { use, to: target, from };
}

function writeLearnAction(out: Buffer, at: number, action: LearnAction): number {
  const { cookie, specs } = action;
  if (cookie < 0n || cookie >> 64n !== 0n) {
    refuse('ACTION', 'RANGE', { name: 'cookie' }, `${cookie} is no cookie`);
  }
  inRange('number of specs', specs.length, SPECS_MAX);
  return writeLearn(out, at, {
    table: inRange('table', action.table, 0xfe),
    priority: inRange('priority', action.priority, 0xffff),
    cookie,
    idleTimeout: inRange('idleTimeout', action.idleTimeout ?? 0, 0xffff),
    hardTimeout: inRange('hardTimeout', action.hardTimeout ?? 0, 0xffff),
    limit: inRange('limit', action.limit ?? 0, 0xffffffff),
    parts: specs.map(learnPart),
  });
}

function writeAction(out: Buffer, at: number, action: Action): number {
  switch (action.type) {
    case 'output': {
      const port = checkPort(action.port);
      const maxLen = port === OFPP.CONTROLLER ? (action.maxLen ?? 0xffff) : 0;
      out.writeUInt32BE(OFPAT.OUTPUT * 0x10000 + 16, at);
      out.writeUInt32BE(port, at + 4);
      out.writeUInt32BE(inRange('maxLen', maxLen, 0xffff) * 0x10000, at + 8);
      return out.writeUInt32BE(0, at + 12);
    }
    case 'outputField':
      return nicira.writeOutputReg(
        out,
        at,
        subfieldOf(action.field, action.start ?? 0, action.bits),
      );
    case 'group':
      out.writeUInt32BE(OFPAT.GROUP * 0x10000 + 8, at);
      return out.writeUInt32BE(inRange('groupId', action.groupId, 0xffffffff), at + 4);
    case 'setField':
      return writeSetField(out, at, action);
    case 'move': {
      const to = subfieldOf(action.to.field, action.to.start, action.from.bits);
      writable(to.field);
      const { field, start, bits } = action.from;
      return nicira.writeRegMove(out, at, subfieldOf(field, start, bits), to);
    }
    case 'resubmit':
      inRange('table', action.table, 0xff);
      if (action.port !== undefined) checkPort(action.port);
      return nicira.writeResubmit(out, at, action.table, action.port);
    case 'conjunction': {
      const clauses = inRange('clauses', action.clauses, 64);
      if (clauses < 2) refuse('ACTION', 'RANGE', { name: 'clauses' }, `${clauses} is not 2..64`);
      const clause = inRange('clause', action.clause, clauses - 1);
      const id = inRange('conjunction id', action.id, 0xffffffff);
      return nicira.writeConjunction(out, at, id, clause, clauses);
    }
    case 'clone':
      nicira.writeNxHeader(out, at, NXAST.CLONE, nicira.NX_CLONE_SIZE);
      return writeNested(out, at, at + nicira.NX_CLONE_SIZE, action.actions);
    case 'ct': {
      const head = nicira.writeCtHead(out, at, {
        commit: action.commit === true,
        zone: inRange('zone', action.zone ?? 0, 0xffff),
        table: inRange('table', action.table ?? 0xff, 0xff),
      });
      return writeNested(out, at, head, action.exec);
    }
    case 'controller':
      return writeControllerAction(out, at, action);
    case 'learn':
      return writeLearnAction(out, at, action);
    case 'unknown':
      out.set(action.bytes, at);
      return at + action.bytes.length;
  }
}

/**
 * Writes actions at `at` and returns the offset behind them. There must be {@link ACTION_OVERRUN} bytes beyond the longest
 * message.
 * @throws OpenFlowError as {@link encodeActions}.
 */
export function writeActions(out: Buffer, at: number, actions: readonly Action[]): number {
  for (const action of actions) {
    at = writeAction(out, at, action);
    if (at > OFP_MESSAGE_MAX) {
      throw new OpenFlowError('the actions are longer than a message can be', {
        code: 'OFP_ACTION_TOO_LONG',
        op: 'openflow.encodeActions',
        retryable: false,
      });
    }
  }
  return at;
}

const scratch = Buffer.alloc(OFP_MESSAGE_MAX + ACTION_OVERRUN);

/**
 * Encodes actions as the switch dumps them.
 * @throws OpenFlowError `OFP_ACTION_RANGE`, `OFP_ACTION_MASK`, `OFP_ACTION_READ_ONLY`, `OFP_ACTION_UNKNOWN` or
 * `OFP_ACTION_TOO_LONG`.
 */
export function encodeActions(actions: readonly Action[]): Uint8Array {
  return Buffer.from(scratch.subarray(0, writeActions(scratch, 0, actions)));
}

function bad(message: string, bytes: Buffer, offset: number): DecodeError {
  return new DecodeError('DECODE_BAD_LENGTH', message, {
    protocol: 'openflow',
    op: 'openflow.decodeActions',
    offset,
    bytes,
  });
}

function readSetField(bytes: Buffer, at: number, size: number): Action | undefined {
  const { field, value, mask, end } = readOxm(bytes, at + 4, at + size);
  if (field === undefined || mask !== undefined || !field.writable) return undefined;
  if (!fits(field, value)) return undefined;
  const header = field.nxmBits < field.bits ? field.nxmHeader : field.header;
  const canonical = bytes.readUInt32BE(at + 4) === header && ((end - at + 7) & ~7) === size;
  return canonical ? { type: 'setField', field: field.name, value } : undefined;
}

function readRegLoad(bytes: Buffer, at: number, size: number): Action | undefined {
  const load = nicira.readRegLoad(bytes, at, size);
  if (load === undefined || !load.to.field.writable) return undefined;
  const { field, start, bits } = load.to;
  const narrow = (value: bigint): OxmValue => (field.bits <= 48 ? Number(value) : value);
  const value = narrow(load.value << BigInt(start));
  if (!fits(field, value)) return undefined;
  if (bits === field.nxmBits) return { type: 'setField', field: field.name, value, load: true };
  const mask = narrow(((1n << BigInt(bits)) - 1n) << BigInt(start));
  return { type: 'setField', field: field.name, value, mask };
}

function readRegMove(bytes: Buffer, at: number, size: number): Action | undefined {
  const move = nicira.readRegMove(bytes, at, size);
  if (move === undefined || !move.to.field.writable) return undefined;
  const { from, to } = move;
  return {
    type: 'move',
    from: { field: from.field.name, start: from.start, bits: from.bits },
    to: { field: to.field.name, start: to.start },
  };
}

function readOutputField(bytes: Buffer, at: number, size: number): Action | undefined {
  const port = nicira.readOutputReg(bytes, at, size);
  if (port === undefined) return undefined;
  const { field, start, bits } = port;
  if (start === 0 && bits === field.nxmBits) return { type: 'outputField', field: field.name };
  return { type: 'outputField', field: field.name, start, bits };
}

function readCt(bytes: Buffer, at: number, size: number, depth: number): Action | undefined {
  const head = nicira.readCtHead(bytes, at, size);
  if (head === undefined) return undefined;
  const exec = readActions(bytes, at + nicira.NX_CT_SIZE, at + size, depth + 1);
  return {
    type: 'ct',
    ...(head.commit ? { commit: true } : {}),
    ...(head.zone === 0 ? {} : { zone: head.zone }),
    ...(head.table === 0xff ? {} : { table: head.table }),
    ...(exec.length === 0 ? {} : { exec }),
  };
}

/** One Nicira action; undefined when it has to stay bytes. */
function readNicira(bytes: Buffer, at: number, size: number, depth: number): Action | undefined {
  if (size < 16 || bytes.readUInt32BE(at + 4) !== NX_VENDOR_ID) return undefined;
  switch (bytes.readUInt16BE(at + 8)) {
    case NXAST.REG_LOAD:
      return readRegLoad(bytes, at, size);
    case NXAST.REG_MOVE:
      return readRegMove(bytes, at, size);
    case NXAST.OUTPUT_REG:
      return readOutputField(bytes, at, size);
    case NXAST.RESUBMIT_TABLE: {
      const resubmit = nicira.readResubmit(bytes, at, size);
      if (resubmit === undefined) return undefined;
      const { table, port } = resubmit;
      return { type: 'resubmit', table, ...(port === undefined ? {} : { port }) };
    }
    case NXAST.CONJUNCTION: {
      const clause = bytes[at + 10] ?? 0;
      const clauses = bytes[at + 11] ?? 0;
      if (size !== 16 || clauses < 2 || clauses > 64 || clause >= clauses) return undefined;
      return { type: 'conjunction', id: bytes.readUInt32BE(at + 12), clause, clauses };
    }
    case NXAST.CONTROLLER: {
      if (size !== 16) return undefined;
      const reason = bytes[at + 14] ?? OFPR.ACTION;
      return {
        type: 'controller',
        maxLen: bytes.readUInt16BE(at + 10),
        controllerId: bytes.readUInt16BE(at + 12),
        ...(reason === OFPR.ACTION ? {} : { reason }),
      };
    }
    case NXAST.CONTROLLER2: {
      const metered = nicira.readMeteredController(bytes, at, size);
      if (metered === undefined) return undefined;
      const { reason, ...rest } = metered;
      return { type: 'controller', ...rest, ...(reason === OFPR.ACTION ? {} : { reason }) };
    }
    case NXAST.CLONE:
      return {
        type: 'clone',
        actions: readActions(bytes, at + nicira.NX_CLONE_SIZE, at + size, depth + 1),
      };
    case NXAST.LEARN:
    case NXAST.LEARN2:
      return readLearnAction(bytes, at, size);
    case NXAST.CT:
      return readCt(bytes, at, size, depth);
    default:
      return undefined;
  }
}

function readAction(bytes: Buffer, at: number, size: number, depth: number): Action | undefined {
  switch (bytes.readUInt16BE(at)) {
    case OFPAT.OUTPUT: {
      if (size !== 16) return undefined;
      const port = bytes.readUInt32BE(at + 4);
      if (!isPort(port)) return undefined;
      if (port !== OFPP.CONTROLLER) return { type: 'output', port };
      return { type: 'output', port, maxLen: bytes.readUInt16BE(at + 8) };
    }
    case OFPAT.GROUP:
      return size === 8 ? { type: 'group', groupId: bytes.readUInt32BE(at + 4) } : undefined;
    case OFPAT.SET_FIELD:
      return readSetField(bytes, at, size);
    case OFPAT.EXPERIMENTER:
      return depth < DEPTH_MAX ? readNicira(bytes, at, size, depth) : undefined;
    default:
      return undefined;
  }
}

function readActions(bytes: Buffer, at: number, end: number, depth: number): Action[] {
  const actions: Action[] = [];
  while (at < end) {
    const size = end - at < 8 ? 0 : bytes.readUInt16BE(at + 2);
    if (size < 8 || size % 8 !== 0 || at + size > end) {
      throw bad('an action has a wrong length', bytes, at);
    }
    const action = readAction(bytes, at, size, depth);
    actions.push(action ?? { type: 'unknown', bytes: bytes.subarray(at, at + size) });
    at += size;
  }
  return actions;
}

/**
 * Decodes a list of actions. What this product does not express becomes `unknown`, with its bytes.
 * @throws DecodeError on a length that cannot be.
 */
export function decodeActions(bytes: Uint8Array): Action[] {
  return readActions(bufferOver(bytes), 0, bytes.length, 0);
}
