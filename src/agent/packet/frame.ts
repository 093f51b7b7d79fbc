/**
 * The header fields of a frame: Ethernet, IPv4 (RFC 791), IPv6 (RFC 8200), TCP (RFC 9293), UDP, ICMP and ICMPv6. Pure and
 * bounded: it reads what is there and never beyond; a frame that is cut short or broken has fewer fields. No checksums, and
 * no payload.
 */
import { Buffer } from 'node:buffer';

/** Bits of the TCP flags. */
export const TCP_FLAG = { fin: 0x01, syn: 0x02, rst: 0x04, ack: 0x10 } as const;
/** IP protocol numbers that are understood. */
export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;

/** The IP header. */
export interface IpHeader {
  readonly family: 4 | 6;
  readonly src: bigint;
  readonly dst: bigint;
  readonly protocol: number;
  readonly fragment: 'no' | 'first' | 'later';
  /** Offsets in the frame: of the header, of what it carries, and of the end that it says. */
  readonly at: number;
  readonly payloadAt: number;
  readonly endAt: number;
}

/** A TCP header. */
export interface TcpHeader {
  readonly flags: number;
  readonly seq: number;
  readonly ack: number;
  /** Bytes, options included. */
  readonly length: number;
}

/** What a frame says of itself. */
export interface FrameHeader {
  /** 48 bits. */
  readonly ethDst: bigint;
  readonly ethSrc: bigint;
  readonly ethType: number;
  readonly ip?: IpHeader;
  readonly ports?: { readonly src: number; readonly dst: number };
  readonly tcp?: TcpHeader;
  readonly icmp?: { readonly type: number; readonly code: number };
}

const ETHERNET_SIZE = 14;
const ETH_TYPE = { ipv4: 0x0800, ipv6: 0x86dd } as const;
const IPV4_SIZE_MIN = 20;
const IPV6_SIZE = 40;
const TCP_SIZE_MIN = 20;
/** More extension headers than any honest packet has. */
const EXTENSIONS_MAX = 8;
const EXTENSION = { hopByHop: 0, routing: 43, fragment: 44, destination: 60 } as const;

/** Reads a frame; undefined when it is shorter than an Ethernet header. */
export function decodeFrame(frame: Uint8Array): FrameHeader | undefined {
  if (frame.length < ETHERNET_SIZE) return undefined;
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.length);
  const ethernet = {
    ethDst: BigInt(bytes.readUIntBE(0, 6)),
    ethSrc: BigInt(bytes.readUIntBE(6, 6)),
    ethType: bytes.readUInt16BE(12),
  };
  const ip = decodeIp(bytes, ethernet.ethType);
  return ip === undefined ? ethernet : { ...ethernet, ip, ...decodeTransport(bytes, ip) };
}

function decodeIp(bytes: Buffer, ethType: number): IpHeader | undefined {
  if (ethType === ETH_TYPE.ipv4) return decodeIpv4(bytes, ETHERNET_SIZE);
  return ethType === ETH_TYPE.ipv6 ? decodeIpv6(bytes, ETHERNET_SIZE) : undefined;
}

function decodeIpv4(bytes: Buffer, at: number): IpHeader | undefined {
  if (bytes.length < at + IPV4_SIZE_MIN) return undefined;
  const first = bytes[at] ?? 0;
  const size = (first & 0xf) * 4;
  const total = bytes.readUInt16BE(at + 2);
  if (first >> 4 !== 4 || size < IPV4_SIZE_MIN || total < size) return undefined;
  const fragment = bytes.readUInt16BE(at + 6);
  const more = (fragment & 0x2000) !== 0;
  return {
    family: 4,
    src: BigInt(bytes.readUInt32BE(at + 12)),
    dst: BigInt(bytes.readUInt32BE(at + 16)),
    protocol: bytes[at + 9] ?? 0,
    fragment: (fragment & 0x1fff) !== 0 ? 'later' : more ? 'first' : 'no',
    at,
    payloadAt: at + size,
    endAt: at + total,
  };
}

function wide(bytes: Buffer, at: number): bigint {
  return (bytes.readBigUInt64BE(at) << 64n) | bytes.readBigUInt64BE(at + 8);
}

function decodeIpv6(bytes: Buffer, at: number): IpHeader | undefined {
  if (bytes.length < at + IPV6_SIZE || (bytes[at] ?? 0) >> 4 !== 6) return undefined;
  let protocol = bytes[at + 6] ?? 0;
  let payloadAt = at + IPV6_SIZE;
  let fragment: IpHeader['fragment'] = 'no';
  for (let seen = 0; seen < EXTENSIONS_MAX && fragment !== 'later'; seen++) {
    const isFragment = protocol === EXTENSION.fragment;
    if (!isFragment && !isSkipped(protocol)) break;
    // Cut short inside an extension header: what it carries is not known.
    if (bytes.length < payloadAt + 8) return undefined;
    if (isFragment) {
      const field = bytes.readUInt16BE(payloadAt + 2);
      if ((field & 0xfff8) !== 0) fragment = 'later';
      else if ((field & 1) !== 0) fragment = 'first';
    }
    protocol = bytes[payloadAt] ?? 0;
    payloadAt += isFragment ? 8 : 8 * ((bytes[payloadAt + 1] ?? 0) + 1);
  }
  return {
    family: 6,
    src: wide(bytes, at + 8),
    dst: wide(bytes, at + 24),
    protocol,
    fragment,
    at,
    payloadAt,
    endAt: at + IPV6_SIZE + bytes.readUInt16BE(at + 4),
  };
}

function isSkipped(protocol: number): boolean {
  return (
    protocol === EXTENSION.hopByHop ||
    protocol === EXTENSION.routing ||
    protocol === EXTENSION.destination
  );
}

function decodeTransport(
  bytes: Buffer,
  { family, protocol, fragment, payloadAt: at, endAt }: IpHeader,
): Pick<FrameHeader, 'ports' | 'tcp' | 'icmp'> {
  if (fragment === 'later') return {};
  const end = Math.min(bytes.length, endAt);
  const isIcmp = protocol === (family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6);
  if (isIcmp && end >= at + 4) return { icmp: { type: bytes[at] ?? 0, code: bytes[at + 1] ?? 0 } };
  if ((protocol !== PROTOCOL.tcp && protocol !== PROTOCOL.udp) || end < at + 4) return {};
  const ports = { src: bytes.readUInt16BE(at), dst: bytes.readUInt16BE(at + 2) };
  if (protocol === PROTOCOL.udp || end < at + TCP_SIZE_MIN) return { ports };
  const length = ((bytes[at + 12] ?? 0) >> 4) * 4;
  if (length < TCP_SIZE_MIN) return { ports };
  return {
    ports,
    tcp: {
      flags: bytes[at + 13] ?? 0,
      seq: bytes.readUInt32BE(at + 4),
      ack: bytes.readUInt32BE(at + 8),
      length,
    },
  };
}
