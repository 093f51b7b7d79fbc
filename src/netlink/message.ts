/**
 * Netlink messages: the header, several messages in one datagram, and how an answer ends (kernel
 * `include/uapi/linux/netlink.h`; RFC 3549 section 2.3). Pure: no socket, no family. Little-endian, as attribute.ts says.
 *
 * ```
 *   0          4         6          8        12       16
 *   +----------+---------+----------+--------+--------+----------+-----+
 *   | len:32   | type:16 | flags:16 | seq:32 | pid:32 | payload  | pad |   len counts header and payload
 *   +----------+---------+----------+--------+--------+----------+-----+
 * ```
 */
import { DecodeError } from '../base/error.ts';
import { align4, attributesByType, readText, readU32 } from './attribute.ts';
import { ENOBUFS, NetlinkError, type ExtAck, type NetlinkErrorPlace } from './errors.ts';

/** Bytes of struct nlmsghdr. */
const NLMSG_HEADER_SIZE = 16;

/** Message types that every family shares. */
export const NLMSG = { NOOP: 1, ERROR: 2, DONE: 3, OVERRUN: 4 } as const;

/** Flags of a message. */
export const NLM_F = {
  REQUEST: 0x1,
  MULTI: 0x2,
  ACK: 0x4,
  /** The tables changed while they were dumped: the answer may miss entries. */
  DUMP_INTR: 0x10,
  /** NLMSG_ERROR only: the copy of the request is its header alone. */
  CAPPED: 0x100,
  /** NLMSG_ERROR and NLMSG_DONE only: extended acknowledgement attributes follow. */
  ACK_TLVS: 0x200,
  DUMP: 0x300,
} as const;

/** NLMSGERR_ATTR_*: the attributes of an extended acknowledgement. */
const EXT_ACK = { MSG: 1, OFFS: 2, MISS_TYPE: 5 } as const;

/** Entries of one answer: more than the links or addresses of any host that OVS can serve. */
const ANSWER_MESSAGES_MAX = 131_072;
/** Payload bytes of one answer. */
const ANSWER_SIZE_MAX = 64 * 1024 * 1024;

/** One message, without its length. */
export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  /** Sequence number: an answer carries its request's. */
  readonly seq: number;
  /** Port id of the socket that asked; 0 lets the kernel fill it in. */
  readonly pid: number;
  readonly payload: Buffer;
}

/** What a caller asks; number, port id, NLM_F_REQUEST and NLM_F_ACK are the socket's business. */
export type NetlinkRequest = Pick<NetlinkMessage, 'type' | 'flags' | 'payload'>;

/** Writes one message with its padding. */
export function encodeMessage(message: NetlinkMessage): Buffer {
  const size = NLMSG_HEADER_SIZE + message.payload.length;
  const bytes = Buffer.alloc(align4(size));
  bytes.writeUInt32LE(size, 0);
  bytes.writeUInt16LE(message.type, 4);
  bytes.writeUInt16LE(message.flags, 6);
  bytes.writeUInt32LE(message.seq, 8);
  bytes.writeUInt32LE(message.pid, 12);
  bytes.set(message.payload, NLMSG_HEADER_SIZE);
  return bytes;
}

/**
 * Reads every message of one datagram. Payloads are views of it.
 * @throws DecodeError when a message is shorter than its header or longer than the datagram (which also means: truncated).
 */
export function decodeMessages(datagram: Buffer): NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  let offset = 0;
  while (offset < datagram.length) {
    const left = datagram.length - offset;
    const where = { protocol: 'netlink', op: 'netlink.message', offset, bytes: datagram };
    if (left < NLMSG_HEADER_SIZE) {
      throw new DecodeError('DECODE_SHORT', `${left} bytes left, a header has 16`, where);
    }
    const size = datagram.readUInt32LE(offset);
    if (size < NLMSG_HEADER_SIZE || size > left) {
      throw new DecodeError(
        'DECODE_BAD_LENGTH',
        `message of ${size} bytes, ${left} are left`,
        where,
      );
    }
    messages.push({
      type: datagram.readUInt16LE(offset + 4),
      flags: datagram.readUInt16LE(offset + 6),
      seq: datagram.readUInt32LE(offset + 8),
      pid: datagram.readUInt32LE(offset + 12),
      payload: datagram.subarray(offset + NLMSG_HEADER_SIZE, offset + size),
    });
    offset += align4(size);
  }
  return messages;
}

/** Collects the answer to one request: the entries, and the message that ends it. */
export class Answer {
  /** The entries so far. */
  readonly messages: NetlinkMessage[] = [];
  readonly #place: NetlinkErrorPlace;
  #sizeBytes = 0;
  #interrupted = false;
  #ended = false;

  constructor(place: NetlinkErrorPlace) {
    this.#place = place;
  }

  /** True when the tables changed while they were dumped: the dump has to be asked for again. */
  get interrupted(): boolean {
    return this.#interrupted;
  }

  /** True when the kernel has said its last word, good or bad. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Takes the next message; true when it ends the answer.
   * @throws NetlinkError with what the kernel refused; `NL_ENOBUFS` when it lost messages.
   * @throws DecodeError when the ending is malformed, or the answer longer than any real one.
   */
  push(message: NetlinkMessage): boolean {
    const { type, flags, payload } = message;
    if (type === NLMSG.OVERRUN) throw new NetlinkError(this.#place, ENOBUFS);
    if (type !== NLMSG.ERROR) this.#interrupted ||= (flags & NLM_F.DUMP_INTR) !== 0;
    if (type === NLMSG.ERROR || type === NLMSG.DONE) {
      const error = decodeEnding(message, this.#place);
      this.#ended = true;
      if (error !== undefined) throw error;
      return true;
    }
    if (type === NLMSG.NOOP) return false;
    this.#sizeBytes += payload.length;
    if (this.messages.length >= ANSWER_MESSAGES_MAX || this.#sizeBytes > ANSWER_SIZE_MAX) {
      throw new DecodeError('DECODE_TOO_LARGE', `answer after ${this.messages.length} messages`, {
        protocol: 'netlink',
        op: this.#place.op,
        offset: 0,
      });
    }
    this.messages.push(message);
    return false;
  }
}

/**
 * What NLMSG_ERROR or NLMSG_DONE says; undefined when it says 0 (an acknowledgement).
 *
 * ```
 *   0          4                20
 *   +----------+----------------+------------------------+------------------------+
 *   | -errno   | header of the  | rest of the request,   | NLMSGERR_ATTR_*, with  |   NLMSG_ERROR
 *   |          | request        | unless CAPPED          | ACK_TLVS               |
 *   +----------+----------------+------------------------+------------------------+
 *   | -errno   | NLMSGERR_ATTR_*, with ACK_TLVS                                   |   NLMSG_DONE
 *   +----------+------------------------------------------------------------------+
 * ```
 * @throws DecodeError when the bytes are not that.
 */
export function decodeEnding(
  message: NetlinkMessage,
  place: NetlinkErrorPlace,
): NetlinkError | undefined {
  const { payload, type } = message;
  // Only a DONE may come bare: the kernel writes its number since 2.6.
  if (type === NLMSG.DONE && payload.length === 0) return undefined;
  const where = { protocol: 'netlink', op: place.op, offset: 0, bytes: payload };
  if (payload.length < 4) {
    throw new DecodeError('DECODE_SHORT', `ending of ${payload.length} bytes`, where);
  }
  const number = payload.readInt32LE(0);
  if (number > 0) throw new DecodeError('DECODE_BAD_VALUE', `errno ${-number}`, where);
  if (number === 0) return undefined;
  return new NetlinkError(place, -number, decodeExtAck(message, place.op));
}

/**
 * The extended acknowledgement at the end of NLMSG_ERROR or NLMSG_DONE; empty without NLM_F_ACK_TLVS. The kernel sends it
 * only to sockets with NETLINK_EXT_ACK, which node-netlink cannot set: other transports can.
 * @throws DecodeError when its attributes are malformed.
 */
function decodeExtAck(message: NetlinkMessage, op: string): ExtAck {
  if ((message.flags & NLM_F.ACK_TLVS) === 0) return {};
  const { payload } = message;
  let start = 4;
  if (message.type === NLMSG.ERROR) {
    if (payload.length < 4 + NLMSG_HEADER_SIZE) {
      const where = { protocol: 'netlink', op, offset: 4, bytes: payload };
      throw new DecodeError('DECODE_SHORT', 'the copy of the request is cut off', where);
    }
    const copied = (message.flags & NLM_F.CAPPED) === 0 ? payload.readUInt32LE(4) : 16;
    if (copied < NLMSG_HEADER_SIZE || copied > payload.length - 4) {
      const where = { protocol: 'netlink', op, offset: 4, bytes: payload };
      throw new DecodeError('DECODE_BAD_LENGTH', `copy of a request of ${copied} bytes`, where);
    }
    start += align4(copied);
  }
  const attributes = attributesByType(payload.subarray(start), op);
  const text = attributes.get(EXT_ACK.MSG);
  const offset = attributes.get(EXT_ACK.OFFS);
  const missing = attributes.get(EXT_ACK.MISS_TYPE);
  return {
    ...(text === undefined ? {} : { message: readText(text) }),
    ...(offset === undefined ? {} : { offset: readU32(offset, op) }),
    ...(missing === undefined ? {} : { missingType: readU32(missing, op) }),
  };
}
