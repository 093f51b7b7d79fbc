/**
 * What `action: reject` answers: a TCP RST (RFC 9293 section 3.10.7.1), or "administratively prohibited" by ICMP (RFC 1812
 * section 5.2.7.1) or ICMPv6 (RFC 4443 section 3.1). Pure: a frame in, a frame or nothing out. Never an answer to a RST, an
 * ICMP error, a multicast, or a fragment (RFC 1122 section 3.2.2): answers must not breed answers.
 */
import { Buffer } from 'node:buffer';
import { PROTOCOL, TCP_FLAG, type FrameHeader, type IpHeader, type TcpHeader } from './frame.ts';

const GROUP_BIT = 0x010000000000n;
const ICMP_ERRORS: ReadonlySet<number> = new Set([3, 4, 5, 11, 12]);
const ICMPV6_ERROR_MAX = 127;
const UNREACHABLE_PROHIBITED = { 4: { type: 3, code: 13 }, 6: { type: 1, code: 1 } } as const;
const HOP_LIMIT = 64;
const ETHERNET_SIZE = 14;
const IPV4_SIZE = 20;
const IPV6_SIZE = 40;
const TCP_SIZE = 20;
const ICMP_SIZE = 8;

/** The answer to a frame whose header is `header`; undefined when there must be none. */
export function rejectAnswer(frame: Uint8Array, header: FrameHeader): Uint8Array | undefined {
  const { ip, tcp } = header;
  if (ip === undefined || !mayAnswer(header, ip)) return undefined;
  if (ip.protocol === PROTOCOL.tcp) {
    // Cut short: whom the RST is for is not known.
    return tcp === undefined ? undefined : wrap(header, ip, PROTOCOL.tcp, resetOf(header, ip, tcp));
  }
  const protocol = ip.family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
  const quote = frame.subarray(ip.at, Math.min(frame.length, ip.endAt));
  const { type, code } = UNREACHABLE_PROHIBITED[ip.family];
  const icmp = Buffer.alloc(ICMP_SIZE + quote.length);
  icmp[0] = type;
  icmp[1] = code;
  icmp.set(quote, ICMP_SIZE);
  return wrap(header, ip, protocol, icmp);
}

function mayAnswer({ ethDst, ethSrc, tcp, icmp }: FrameHeader, ip: IpHeader): boolean {
  if (((ethDst | ethSrc) & GROUP_BIT) !== 0n || ip.fragment !== 'no') return false;
  if (!isUnicast(ip.family, ip.dst) || !isUnicast(ip.family, ip.src)) return false;
  if (tcp !== undefined && (tcp.flags & TCP_FLAG.rst) !== 0) return false;
  const isIcmp = ip.protocol === (ip.family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6);
  if (!isIcmp) return true;
  if (icmp === undefined) return false;
  return ip.family === 4 ? !ICMP_ERRORS.has(icmp.type) : icmp.type > ICMPV6_ERROR_MAX;
}

/** False for "nobody", multicast, and IPv4's class E with its broadcast. */
function isUnicast(family: 4 | 6, address: bigint): boolean {
  if (address === 0n) return false;
  return family === 4 ? address >> 28n < 0xen : address >> 120n !== 0xffn;
}

function resetOf(
  { ports }: FrameHeader,
  { payloadAt, endAt }: IpHeader,
  { flags, seq, ack, length }: TcpHeader,
): Buffer {
  const reset = Buffer.alloc(TCP_SIZE);
  reset.writeUInt16BE(ports?.dst ?? 0, 0);
  reset.writeUInt16BE(ports?.src ?? 0, 2);
  reset[12] = (TCP_SIZE / 4) << 4;
  if ((flags & TCP_FLAG.ack) !== 0) {
    reset.writeUInt32BE(ack, 4);
    reset[13] = TCP_FLAG.rst;
    return reset;
  }
  const controls = ((flags & TCP_FLAG.syn) !== 0 ? 1 : 0) + ((flags & TCP_FLAG.fin) !== 0 ? 1 : 0);
  const segment = Math.max(0, endAt - payloadAt - length) + controls;
  reset.writeUInt32BE((seq + segment) >>> 0, 8);
  reset[13] = TCP_FLAG.rst | TCP_FLAG.ack;
  return reset;
}

/** Puts addresses, the other way round, and checksums around a message. */
function wrap(header: FrameHeader, ip: IpHeader, protocol: number, message: Buffer): Uint8Array {
  const ipSize = ip.family === 4 ? IPV4_SIZE : IPV6_SIZE;
  const frame = Buffer.alloc(ETHERNET_SIZE + ipSize + message.length);
  frame.writeUIntBE(Number(header.ethSrc), 0, 6);
  frame.writeUIntBE(Number(header.ethDst), 6, 6);
  frame.writeUInt16BE(header.ethType, 12);
  const at = ETHERNET_SIZE;
  if (ip.family === 4) {
    frame[at] = 0x45;
    frame.writeUInt16BE(IPV4_SIZE + message.length, at + 2);
    // Don't fragment, as hosts send such.
    frame.writeUInt16BE(0x4000, at + 6);
    frame[at + 8] = HOP_LIMIT;
    frame[at + 9] = protocol;
    frame.writeUInt32BE(Number(ip.dst), at + 12);
    frame.writeUInt32BE(Number(ip.src), at + 16);
    frame.writeUInt16BE(checksum(frame.subarray(at, at + IPV4_SIZE)), at + 10);
  } else {
    frame[at] = 0x60;
    frame.writeUInt16BE(message.length, at + 4);
    frame[at + 6] = protocol;
    frame[at + 7] = HOP_LIMIT;
    writeWide(frame, at + 8, ip.dst);
    writeWide(frame, at + 24, ip.src);
  }
  message.copy(frame, at + ipSize);
  const checksumAt = at + ipSize + (protocol === PROTOCOL.tcp ? 16 : 2);
  const pseudo =
    protocol === PROTOCOL.icmp ? Buffer.alloc(0) : pseudoHeader(ip, protocol, message.length);
  frame.writeUInt16BE(checksum(Buffer.concat([pseudo, message])), checksumAt);
  return frame;
}

function writeWide(out: Buffer, at: number, address: bigint): void {
  out.writeBigUInt64BE(address >> 64n, at);
  out.writeBigUInt64BE(address & 0xffff_ffff_ffff_ffffn, at + 8);
}

/** What TCP and ICMPv6 checksum beside themselves (RFC 9293 section 3.1, RFC 8200 section 8.1), addresses as in the answer. */
function pseudoHeader(ip: IpHeader, protocol: number, length: number): Buffer {
  if (ip.family === 4) {
    const pseudo = Buffer.alloc(12);
    pseudo.writeUInt32BE(Number(ip.dst), 0);
    pseudo.writeUInt32BE(Number(ip.src), 4);
    pseudo[9] = protocol;
    pseudo.writeUInt16BE(length, 10);
    return pseudo;
  }
  const pseudo = Buffer.alloc(40);
  writeWide(pseudo, 0, ip.dst);
  writeWide(pseudo, 16, ip.src);
  pseudo.writeUInt32BE(length, 32);
  pseudo[39] = protocol;
  return pseudo;
}

/** The Internet checksum (RFC 1071). */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at + 1 < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  if (bytes.length % 2 === 1) sum += (bytes[bytes.length - 1] ?? 0) * 256;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}
