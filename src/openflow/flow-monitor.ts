/**
 * The ONF flow monitor on OpenFlow 1.3 (extension 187, as Open vSwitch 3.1 speaks it): the request, its cancellation, the
 * updates that follow, and the two notices of flow control. When they are sent is the client's business; what a change
 * means is its listener's.
 *
 * ```
 *  0        4     6         8        12    13   16
 * +--------+-----+---------+--------+-----+----+-----------+
 * |  id    |flags|match_len|out_port|table| pad| ofp_match |                                   request
 * +--------+-----+---------+--------+-----+----+-----------+
 *  0      2     4      6        8    10   12        14    15  16     24
 * +------+-----+------+--------+----+----+---------+-----+---+------+-----------+--------------+
 * |length|event|reason|priority|idle|hard|match_len|table|pad|cookie| ofp_match | instructions |  update in full
 * +------+-----+------+--------+----+----+---------+-----+---+------+-----------+--------------+
 * |length|event|     xid       |                                                                 abbreviated: ends at 8
 * +------+-----+---------------+
 * ```
 *
 * Requests and updates stand in multipart messages of type EXPERIMENTER, behind 8 bytes: ONF's id and 1870.
 */
import { Buffer } from 'node:buffer';
import { DecodeError } from '../base/error.ts';
import { MATCH_HEADER_SIZE, padded } from './encoded-flow.ts';
import { bufferOver } from './match.ts';
import {
  OFP_HEADER_SIZE,
  OFPMT_OXM,
  OFPP,
  OFPTT_ALL,
  ONF_VENDOR_ID,
  ONFFME,
  ONFFMF,
  ONFST,
  ONFT,
} from './ofp13.ts';

/** Bytes of an experimenter's header in a multipart body. */
const EXPERIMENTER_HEADER_SIZE = 8;
const REQUEST_SIZE = 16;
const ABBREV_SIZE = 8;
/** Bytes of a full update before its match. */
const FULL_SIZE = 24;

/** Which changes to be told of. */
export interface FlowMonitorRequest {
  /** Chosen by the asker, not in use by another monitor of the connection. */
  readonly id: number;
  /** Absent: all tables. */
  readonly tableId?: number;
  /** Also what is there now, as `added`. Default false. */
  readonly initial?: boolean;
  /** Updates carry instructions. Default true. */
  readonly instructions?: boolean;
  /** The connection's own changes come in full too; otherwise abbreviated to their xid. Default false. */
  readonly own?: boolean;
}

/** What happened to a flow. */
export type FlowEvent = 'added' | 'deleted' | 'modified';

/** A change of one flow. Match and instructions are views into the message that it came in. */
export interface FullFlowUpdate {
  readonly event: FlowEvent;
  readonly tableId: number;
  readonly priority: number;
  readonly cookie: bigint;
  /** OFPRR_*, why a flow was deleted; 0 for other events. */
  readonly reason: number;
  /** Seconds; 0: none. */
  readonly idleTimeout: number;
  /** Seconds; 0: none. */
  readonly hardTimeout: number;
  /** The match's fields. */
  readonly match: Uint8Array;
  /** Empty when the monitor does not ask for them. */
  readonly instructions: Uint8Array;
}

/** A change that the connection itself has made, by the message with this xid. */
export interface AbbreviatedFlowUpdate {
  readonly event: 'abbrev';
  readonly xid: number;
}

/** One update of a flow monitor. */
export type FlowUpdate = FullFlowUpdate | AbbreviatedFlowUpdate;

/**
 * The switch's flow control: while paused it holds additions and modifications back, since its updates are not read fast
 * enough; on resuming it has sent the present state of what it held back.
 */
export type FlowMonitorNotice = 'paused' | 'resumed';

const EVENTS: ReadonlyMap<number, FlowEvent> = new Map([
  [ONFFME.ADDED, 'added'],
  [ONFFME.DELETED, 'deleted'],
  [ONFFME.MODIFIED, 'modified'],
]);

/** Body of the multipart request of type EXPERIMENTER that starts a monitor. */
export function encodeFlowMonitorRequest(request: FlowMonitorRequest): Buffer {
  const { id, tableId = OFPTT_ALL, initial = false, instructions = true, own = false } = request;
  const body = Buffer.alloc(EXPERIMENTER_HEADER_SIZE + REQUEST_SIZE + padded(MATCH_HEADER_SIZE));
  body.writeUInt32BE(ONF_VENDOR_ID, 0);
  body.writeUInt32BE(ONFST.FLOW_MONITOR, 4);
  body.writeUInt32BE(id, 8);
  const flags =
    ONFFMF.ADD |
    ONFFMF.DELETE |
    ONFFMF.MODIFY |
    (initial ? ONFFMF.INITIAL : 0) |
    (instructions ? ONFFMF.ACTIONS : 0) |
    (own ? ONFFMF.OWN : 0);
  body.writeUInt16BE(flags, 12);
  body.writeUInt16BE(MATCH_HEADER_SIZE, 14);
  body.writeUInt32BE(OFPP.ANY, 16);
  body[20] = tableId;
  body.writeUInt32BE(OFPMT_OXM * 0x10000 + MATCH_HEADER_SIZE, 24);
  return body;
}

/** Body of the OFPT_EXPERIMENTER that ends the monitor `id`. */
export function encodeFlowMonitorCancel(id: number): Buffer {
  const body = Buffer.alloc(12);
  body.writeUInt32BE(ONF_VENDOR_ID, 0);
  body.writeUInt32BE(ONFT.FLOW_MONITOR_CANCEL, 4);
  body.writeUInt32BE(id, 8);
  return body;
}

/** What an OFPT_EXPERIMENTER message says of the monitors; undefined when it speaks of something else. */
export function decodeFlowMonitorNotice(message: Buffer): FlowMonitorNotice | undefined {
  if (message.length < OFP_HEADER_SIZE + EXPERIMENTER_HEADER_SIZE) return undefined;
  if (message.readUInt32BE(OFP_HEADER_SIZE) !== ONF_VENDOR_ID) return undefined;
  switch (message.readUInt32BE(OFP_HEADER_SIZE + 4)) {
    case ONFT.FLOW_MONITOR_PAUSED:
      return 'paused';
    case ONFT.FLOW_MONITOR_RESUMED:
      return 'resumed';
    default:
      return undefined;
  }
}

/** A full update that reads itself: views and the bigint are made only for those who look at them. */
class FlowUpdateEntry implements FullFlowUpdate {
  readonly #bytes: Buffer;
  readonly #at: number;
  readonly #size: number;
  readonly #matchSize: number;
  readonly event: FlowEvent;
  readonly tableId: number;
  readonly priority: number;

  constructor(event: FlowEvent, bytes: Buffer, at: number, size: number, matchSize: number) {
    this.#bytes = bytes;
    this.#at = at;
    this.#size = size;
    this.#matchSize = matchSize;
    this.event = event;
    this.priority = bytes.readUInt16BE(at + 6);
    this.tableId = bytes[at + 14] ?? 0;
  }

  get cookie(): bigint {
    return this.#bytes.readBigUInt64BE(this.#at + 16);
  }

  get reason(): number {
    return this.event === 'deleted' ? this.#bytes.readUInt16BE(this.#at + 4) : 0;
  }

  get idleTimeout(): number {
    return this.#bytes.readUInt16BE(this.#at + 8);
  }

  get hardTimeout(): number {
    return this.#bytes.readUInt16BE(this.#at + 10);
  }

  get match(): Uint8Array {
    const start = this.#at + FULL_SIZE;
    return this.#bytes.subarray(start + MATCH_HEADER_SIZE, start + this.#matchSize);
  }

  get instructions(): Uint8Array {
    const start = this.#at + FULL_SIZE + padded(this.#matchSize);
    return this.#bytes.subarray(start, this.#at + this.#size);
  }
}

type UpdateFault = 'DECODE_SHORT' | 'DECODE_BAD_LENGTH' | 'DECODE_UNKNOWN_TYPE';

function bad(code: UpdateFault, what: string, bytes: Buffer, at: number): DecodeError {
  return new DecodeError(code, what, {
    protocol: 'openflow',
    op: 'openflow.decodeFlowUpdates',
    offset: at,
    bytes,
  });
}

function readUpdate(bytes: Buffer, at: number, size: number): FlowUpdate {
  const number = bytes.readUInt16BE(at + 2);
  if (number === ONFFME.ABBREV) {
    if (size !== ABBREV_SIZE) {
      throw bad('DECODE_BAD_LENGTH', `an abbreviated flow update of ${size} bytes`, bytes, at);
    }
    return { event: 'abbrev', xid: bytes.readUInt32BE(at + 4) };
  }
  const event = EVENTS.get(number);
  if (event === undefined) {
    throw bad('DECODE_UNKNOWN_TYPE', `flow update of unknown event ${number}`, bytes, at + 2);
  }
  if (size < FULL_SIZE + padded(MATCH_HEADER_SIZE)) {
    throw bad('DECODE_BAD_LENGTH', `a full flow update of ${size} bytes`, bytes, at);
  }
  const matchSize = bytes.readUInt16BE(at + FULL_SIZE + 2);
  if (
    matchSize < MATCH_HEADER_SIZE ||
    matchSize !== bytes.readUInt16BE(at + 12) ||
    FULL_SIZE + padded(matchSize) > size ||
    bytes.readUInt16BE(at + FULL_SIZE) !== OFPMT_OXM
  ) {
    throw bad('DECODE_BAD_LENGTH', 'the match of a flow update has a wrong length', bytes, at);
  }
  return new FlowUpdateEntry(event, bytes, at, size, matchSize);
}

/** True when the body of a multipart reply of type EXPERIMENTER is a flow monitor's. */
export function isFlowMonitorReply(body: Uint8Array): boolean {
  const bytes = bufferOver(body);
  return (
    bytes.length >= EXPERIMENTER_HEADER_SIZE &&
    bytes.readUInt32BE(0) === ONF_VENDOR_ID &&
    bytes.readUInt32BE(4) === ONFST.FLOW_MONITOR
  );
}

/**
 * Calls `visit` for each update in the body of one multipart reply of a flow monitor. An update refers to `body`: who keeps
 * it, keeps the whole message.
 * @throws DecodeError when it is another experimenter's, or a length or an event in it cannot be; updates before the fault
 * have been visited.
 */
export function decodeFlowUpdates(body: Uint8Array, visit: (update: FlowUpdate) => void): void {
  const bytes = bufferOver(body);
  if (!isFlowMonitorReply(bytes)) {
    throw bad('DECODE_UNKNOWN_TYPE', 'not the reply of a flow monitor', bytes, 0);
  }
  for (let at = EXPERIMENTER_HEADER_SIZE; at < bytes.length;) {
    const left = bytes.length - at;
    const size = left < ABBREV_SIZE ? ABBREV_SIZE : bytes.readUInt16BE(at);
    if (size > left) throw bad('DECODE_SHORT', 'a flow update is cut short', bytes, at);
    if (size < ABBREV_SIZE || size % 8 !== 0) {
      throw bad('DECODE_BAD_LENGTH', `a flow update of ${size} bytes`, bytes, at);
    }
    visit(readUpdate(bytes, at, size));
    at += size;
  }
}
