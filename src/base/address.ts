/**
 * MAC addresses, IP addresses and prefixes as plain numbers that an encoder can write and a compiler can compare.
 * Text parsing of IP is ipaddr.js; nothing here resolves names or touches the network.
 */
import ipaddr from 'ipaddr.js';

/** 4 or 6. */
export type IpFamily = 4 | 6;

/** An IP prefix with the host bits cleared. A single address has the full length (32 or 128). */
export interface IpPrefix {
  readonly family: IpFamily;
  /** The address as an unsigned number of 32 or 128 bits. */
  readonly value: bigint;
  /** Length in bits. */
  readonly length: number;
}

const WIDTH: Record<IpFamily, number> = { 4: 32, 6: 128 };
const QUAD = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

/** Parses `02:00:0a:01:02:05` into 48 bits; undefined when it is no MAC address. */
export function parseMac(text: string): bigint | undefined {
  return MAC.test(text) ? BigInt(`0x${text.replaceAll(':', '')}`) : undefined;
}

/** 48 bits as lower-case text with colons, as OVS prints it. */
export function formatMac(mac: bigint): string {
  return mac
    .toString(16)
    .padStart(12, '0')
    .replace(/(..)(?!$)/g, '$1:');
}

/** True when the group bit is set: such a MAC is no source and no endpoint. */
export function isMulticastMac(mac: bigint): boolean {
  return (mac & 0x010000000000n) !== 0n;
}

const MASKS: Record<IpFamily, readonly bigint[]> = {
  4: masksOf(WIDTH[4]),
  6: masksOf(WIDTH[6]),
};

/** Masks by length, from 0 on. */
function masksOf(width: number): bigint[] {
  return Array.from({ length: width + 1 }, (_, length) => {
    const ones = (1n << BigInt(length)) - 1n;
    return ones << BigInt(width - length);
  });
}

function fromBytes(bytes: readonly number[]): bigint {
  return bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

/** The 32 bits of a dotted quad, without leading zeros; undefined for any other text. */
function parseQuad(text: string): number | undefined {
  const parts = QUAD.exec(text);
  if (parts === null) return undefined;
  let value = 0;
  for (let part = 1; part <= 4; part++) {
    const byte = Number(parts[part]);
    if (byte > 255) return undefined;
    value = value * 256 + byte;
  }
  return value;
}

/**
 * Parses one address, IPv4 in the four-part decimal form only (ipaddr.js alone would read `10.1` and `0x0a000001`).
 * An IPv4-mapped IPv6 address stays IPv6: it must not match IPv4 packets by the back door.
 */
export function parseIp(text: string): IpPrefix | undefined {
  const value = parseQuad(text);
  if (value !== undefined) return { family: 4, value: BigInt(value), length: 32 };
  if (!text.includes(':') || text.includes('%') || !ipaddr.IPv6.isValid(text)) return undefined;
  return { family: 6, value: fromBytes(ipaddr.IPv6.parse(text).toByteArray()), length: 128 };
}

/** Parses `10.1.0.0/16`, `fd00::/8` or a bare address. Host bits are cleared: `10.1.0.5/16` is `10.1.0.0/16`. */
export function parsePrefix(text: string): IpPrefix | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return parseIp(text);
  const address = parseIp(text.slice(0, slash));
  const lengthText = text.slice(slash + 1);
  if (address === undefined || !/^\d{1,3}$/.test(lengthText)) return undefined;
  const length = Number(lengthText);
  if (length > WIDTH[address.family]) return undefined;
  return {
    family: address.family,
    length,
    value: address.value & prefixMask(address.family, length),
  };
}

/** The mask of a prefix as a number: 24 of family 4 gives 0xffffff00. */
export function prefixMask(family: IpFamily, length: number): bigint {
  return MASKS[family][length] ?? 0n;
}

/** True when the prefix is one address. */
export function isSingleAddress(prefix: IpPrefix): boolean {
  return prefix.length === WIDTH[prefix.family];
}

/** True when `outer` holds every address of `inner`. */
export function prefixContains(outer: IpPrefix, inner: IpPrefix): boolean {
  return (
    outer.family === inner.family &&
    outer.length <= inner.length &&
    (inner.value & prefixMask(outer.family, outer.length)) === outer.value
  );
}

/** An address as text: dotted quad, or the shortest IPv6 form (RFC 5952). */
export function formatIp(family: IpFamily, value: bigint): string {
  const bytes: number[] = [];
  for (let shift = WIDTH[family] - 8; shift >= 0; shift -= 8) {
    bytes.push(Number((value >> BigInt(shift)) & 0xffn));
  }
  return family === 4 ? bytes.join('.') : new ipaddr.IPv6(bytes).toRFC5952String();
}

/** A prefix as text; a single address has no length. */
export function formatPrefix(prefix: IpPrefix): string {
  const address = formatIp(prefix.family, prefix.value);
  return isSingleAddress(prefix) ? address : `${address}/${prefix.length}`;
}
