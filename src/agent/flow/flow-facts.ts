/**
 * What a flow_mod or a bucket does that could let tenants meet: which network it matches, where it sends to, what it writes
 * into the fields that keep networks apart. One walk over the bytes, into an object that is used again for the next flow.
 * It judges nothing (`isolation.ts`).
 */
import { Buffer } from 'node:buffer';
import type { EncodedFlow } from '../../openflow/flow.ts';
import { bufferOver } from '../../openflow/match.ts';
import { readLearn } from '../../openflow/learn.ts';
import { NX_CT_SIZE } from '../../openflow/nicira.ts';
import { NX_VENDOR_ID, NXAST, OFPAT, OFPIT } from '../../openflow/ofp13.ts';
import { headerAt } from '../../openflow/oxm.ts';
import { fieldByHeader, fieldByName, type FieldName } from '../../openflow/oxm-fields.ts';

import { TABLE } from './pipeline.ts';

const OXM_HEADER_SIZE = 4;
const VNI_MAX = 0xffffff;
const HAS_MASK = 0x100;
const ACTION_HEADER_SIZE = 4;
const INSTRUCTION_ACTIONS_OFFSET = 8;

/** The two headers of a field, OXM and NXM. */
class Headers {
  readonly #oxm: number;
  readonly #nxm: number;
  constructor(name: FieldName) {
    const field = fieldByName(name);
    this.#oxm = field?.header ?? 0;
    this.#nxm = field?.nxmHeader ?? 0;
  }
  includes(header: number): boolean {
    return header === this.#oxm || header === this.#nxm;
  }
}

const METADATA = new Headers('metadata');
const IN_PORT = new Headers('inPort');
const TUNNEL_ID = new Headers('tunnelId');
const OUTPUT_REGISTER = new Headers('reg1');
const MARK = new Headers('ctMark');

/** Nicira actions that neither send, nor write a field that keeps networks apart. */
const HARMLESS_NICIRA: ReadonlySet<number> = new Set([
  NXAST.RESUBMIT_TABLE,
  NXAST.CONJUNCTION,
  NXAST.CONTROLLER,
  NXAST.CONTROLLER2,
]);

/** The facts of the flow or bucket that was read last. */
export class FlowFacts {
  tableId = 0;
  priority = 0;
  /** The network that it matches, all 24 bits; undefined when it matches any. */
  vni: number | undefined;
  inPort: number | undefined;
  tunnelId: number | undefined;
  /** The network that it puts packets into. */
  setsVni: number | undefined;
  /** True where the VNI on the wire becomes that of the packet's network. */
  movesVniToTunnel = false;
  /** VNIs that it writes for the wire. */
  readonly tunnelIds: number[] = [];
  /** ofports that it sends to, or chooses as the output. */
  readonly ports: number[] = [];
  readonly groups: number[] = [];
  /** Zones of the connection tracker that it asks. */
  readonly zones: number[] = [];
  /** The first thing that a flow of ours never does. */
  strange: string | undefined;
  #bytes: Buffer = Buffer.alloc(0);

  /** Reads a flow, where it lies: no view of it is made. */
  readFlow(flow: EncodedFlow): this {
    this.#reset(flow.memory);
    this.tableId = flow.tableId;
    this.priority = flow.priority;
    const { matchStart, instructionsStart } = flow;
    this.#readMatch(matchStart, matchStart + flow.matchLength);
    this.#readInstructions(instructionsStart, instructionsStart + flow.instructionsLength);
    return this;
  }

  /** Reads the actions `bytes` of a bucket. */
  readActions(bytes: Uint8Array): this {
    this.#reset(bufferOver(bytes));
    this.#readActions(0, bytes.length);
    return this;
  }

  #reset(bytes: Buffer): void {
    this.#bytes = bytes;
    this.tableId = 0;
    this.priority = 0;
    this.vni = undefined;
    this.inPort = undefined;
    this.tunnelId = undefined;
    this.setsVni = undefined;
    this.movesVniToTunnel = false;
    // Most are empty already, and setting a length is a call.
    if (this.tunnelIds.length > 0) this.tunnelIds.length = 0;
    if (this.ports.length > 0) this.ports.length = 0;
    if (this.groups.length > 0) this.groups.length = 0;
    if (this.zones.length > 0) this.zones.length = 0;
    this.strange = undefined;
  }

  #readMatch(start: number, end: number): void {
    for (let at = start; at < end;) {
      const header = headerAt(this.#bytes, at);
      const value = at + OXM_HEADER_SIZE;
      if (METADATA.includes(header)) this.vni = this.#vniAt(value);
      else if (TUNNEL_ID.includes(header)) this.tunnelId = this.#vniAt(value);
      else if (IN_PORT.includes(header)) this.inPort = this.#bytes.readUInt32BE(value);
      else if ((header & HAS_MASK) !== 0 && METADATA.includes(unmasked(header))) {
        this.#note('matches a part of metadata');
      }
      at = value + (header & 0xff);
    }
  }

  #readInstructions(start: number, end: number): void {
    for (let at = start; at < end;) {
      const type = this.#bytes.readUInt16BE(at);
      const length = this.#bytes.readUInt16BE(at + 2);
      if (type === OFPIT.APPLY_ACTIONS) {
        this.#readActions(at + INSTRUCTION_ACTIONS_OFFSET, at + length);
      } else if (type !== OFPIT.GOTO_TABLE && type !== OFPIT.METER) {
        this.#note(`has an instruction of type ${type}`);
      }
      at += length;
    }
  }

  #readActions(start: number, end: number): void {
    for (let at = start; at + ACTION_HEADER_SIZE < end;) {
      const type = this.#bytes.readUInt16BE(at);
      const length = this.#bytes.readUInt16BE(at + 2);
      if (type === OFPAT.OUTPUT) this.ports.push(this.#bytes.readUInt32BE(at + 4));
      else if (type === OFPAT.GROUP) this.groups.push(this.#bytes.readUInt32BE(at + 4));
      else if (type === OFPAT.SET_FIELD) this.#readSetField(at + 4);
      else if (type === OFPAT.EXPERIMENTER) this.#readNicira(at, at + length);
      else this.#note(`has an action of type ${type}`);
      at += length;
    }
  }

  #readSetField(at: number): void {
    const header = headerAt(this.#bytes, at);
    const value = at + OXM_HEADER_SIZE;
    if (METADATA.includes(header)) this.setsVni = this.#vniAt(value);
    else if (TUNNEL_ID.includes(header)) this.tunnelIds.push(this.#vniAt(value));
    else if (OUTPUT_REGISTER.includes(header)) this.ports.push(this.#bytes.readUInt32BE(value));
    else if (IN_PORT.includes(header)) this.#note('writes in_port');
  }

  #readNicira(at: number, end: number): void {
    const subtype = this.#bytes.readUInt16BE(at + 8);
    if (this.#bytes.readUInt32BE(at + 4) !== NX_VENDOR_ID) {
      this.#note('has an action of another vendor');
    } else if (subtype === NXAST.REG_MOVE) {
      const [from, to] = [this.#bytes.readUInt32BE(at + 16), this.#bytes.readUInt32BE(at + 20)];
      if (TUNNEL_ID.includes(to) && METADATA.includes(from)) this.movesVniToTunnel = true;
      else this.#checkRegister(to);
    } else if (subtype === NXAST.REG_LOAD) {
      const bits = (this.#bytes.readUInt16BE(at + 10) & 0x3f) + 1;
      const to = this.#bytes.readUInt32BE(at + 12);
      if (OUTPUT_REGISTER.includes(to) && bits === 32) {
        this.ports.push(Number(this.#bytes.readBigUInt64BE(at + 16)));
      } else this.#checkRegister(to);
    } else if (subtype === NXAST.OUTPUT_REG) {
      if (!OUTPUT_REGISTER.includes(this.#bytes.readUInt32BE(at + 12))) {
        this.#note('sends to a port from another register than reg1');
      }
    } else if (subtype === NXAST.CT) {
      this.#readConntrack(at, end);
    } else if (subtype === NXAST.LEARN || subtype === NXAST.LEARN2) {
      this.#readLearn(at, end);
    } else if (!HARMLESS_NICIRA.has(subtype)) {
      this.#note(`has a Nicira action of subtype ${subtype}, ${end - at} bytes`);
    }
  }

  /** A learned flow is of the network of the packet that it is learned from, and chooses a constant output. */
  #readLearn(at: number, end: number): void {
    const learn = readLearn(this.#bytes, at, end - at);
    if (learn === undefined) return this.#note('learns in another way than ours');
    if (learn.table !== TABLE.learned.id) this.#note(`learns into table ${learn.table}`);
    const ofNetwork = learn.parts.some(
      ({ use, to, from }) =>
        use === 'match' &&
        to.field.name === 'metadata' &&
        to.bits === to.field.bits &&
        typeof from !== 'bigint' &&
        from.field === to.field,
    );
    if (!ofNetwork) this.#note('learns for every network');
    for (const { use, to, from } of learn.parts) {
      if (use === 'match' || to.field.name === 'tunIpv4Dst') continue;
      if (to.field.name === 'reg1' && to.bits === 32 && typeof from === 'bigint') {
        this.ports.push(Number(from));
      } else this.#checkRegister(to.field.header);
    }
  }

  /** Only the mark of a connection may be written, and only the zone that stands in the action be asked. */
  #readConntrack(at: number, end: number): void {
    if (this.#bytes.readUInt32BE(at + 12) !== 0) this.#note('takes its zone from a field');
    this.zones.push(this.#bytes.readUInt16BE(at + 16));
    for (let inner = at + NX_CT_SIZE; inner < end; inner += this.#bytes.readUInt16BE(inner + 2)) {
      const subtype = this.#bytes.readUInt16BE(inner + 8);
      const headerAt = subtype === NXAST.REG_LOAD ? 12 : 20;
      const isWrite =
        this.#bytes.readUInt16BE(inner) === OFPAT.EXPERIMENTER &&
        this.#bytes.readUInt32BE(inner + 4) === NX_VENDOR_ID &&
        (subtype === NXAST.REG_LOAD || subtype === NXAST.REG_MOVE);
      if (!isWrite || !MARK.includes(this.#bytes.readUInt32BE(inner + headerAt))) {
        this.#note('does more to a connection than to mark it');
        return;
      }
    }
  }

  /** A part of a field is written: only registers may be, and reg1 as a whole alone. */
  #checkRegister(header: number): void {
    const name = fieldByHeader(header)?.name ?? '';
    if (!name.startsWith('reg') || name === 'reg1')
      this.#note(`writes a part of ${name || 'a field'}`);
  }

  #vniAt(at: number): number {
    const value = headerAt(this.#bytes, at) * 0x1_0000_0000 + headerAt(this.#bytes, at + 4);
    if (value > VNI_MAX) this.#note('has a VNI of more than 24 bits');
    return value;
  }

  #note(strange: string): void {
    this.strange ??= strange;
  }
}

/** The header of the same field without its mask: half as long. */
function unmasked(header: number): number {
  return ((header & ~0x1ff) | ((header & 0xff) >> 1)) >>> 0;
}
