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
import { NetlinkError, type ExtAck } from './errors.ts';

/** Bytes of struct nlmsghdr. */
export const NLMSG_HEADER_SIZE = 16;

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

/** What a caller asks; sequence number and port id are the socket's business. */
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

/** True when nothing follows this message in the answer to its request. */
export function endsReply(message: NetlinkMessage): boolean {
  return message.type === NLMSG.ERROR || message.type === NLMSG.DONE;
}

/**
 * The entries of a complete answer, without the message that ended it.
 * @param op What was asked, such as `netlink.links`; errors carry it.
 * @throws NetlinkError with what the kernel refused; `NL_EINTR` for a dump that was interrupted and `NL_ENOBUFS` for one
 * that lost messages: both may be asked again.
 * @throws DecodeError when the ending itself is malformed or missing.
 */
export function finishReply(messages: readonly NetlinkMessage[], op: string): NetlinkMessage[] {
  const entries: NetlinkMessage[] = [];
  let interrupted = false;
  let ended = false;
  for (const message of messages) {
    if (message.type === NLMSG.OVERRUN) throw new NetlinkError(op, 105);
    interrupted ||= (message.flags & NLM_F.DUMP_INTR) !== 0;
    if (endsReply(message)) {
      throwErrorOf(message, op);
      ended = true;
    } else if (message.type !== NLMSG.NOOP) {
      entries.push(message);
    }
  }
  if (!ended) {
    throw new DecodeError('DECODE_SHORT', 'the answer has no end', {
      protocol: 'netlink',
      op,
      offset: 0,
    });
  }
  if (interrupted) throw new NetlinkError(op, 4);
  return entries;
}

/** Throws what an ending says; returns when it says 0 (an acknowledgement). */
function throwErrorOf(message: NetlinkMessage, op: string): void {
  const { payload, type } = message;
  if (payload.length < 4) {
    // Only a DONE may come bare: the kernel writes its number since 2.6.
    if (type === NLMSG.DONE && payload.length === 0) return;
    throw new DecodeError('DECODE_SHORT', `ending of ${payload.length} bytes`, {
      protocol: 'netlink',
      op,
      offset: 0,
      bytes: payload,
    });
  }
  const number = payload.readInt32LE(0);
  if (number === 0) return;
  // A positive number would be no errno; the kernel never sends one, and its absolute value is as good a name as any.
  throw new NetlinkError(op, Math.abs(number), decodeExtAck(message, op));
}

/**
 * The extended acknowledgement at the end of NLMSG_ERROR or NLMSG_DONE; empty without NLM_F_ACK_TLVS. The kernel sends it
 * only to sockets with NETLINK_EXT_ACK, which node-netlink cannot set: other transports can.
 * @throws DecodeError when its attributes are malformed.
 */
export function decodeExtAck(message: NetlinkMessage, op: string): ExtAck {
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
