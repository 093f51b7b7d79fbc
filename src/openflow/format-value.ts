/**
 * Values of fields as text, in ovs-ofctl's words: addresses with masks, flags, ports. `format.ts` puts them together.
 */
import { formatIp, formatMac } from '../base/address.ts';
import { OFPP } from './ofp13.ts';
import type { OxmField, OxmValue } from './oxm-fields.ts';

/** As C prints `%#x`: 0 has no prefix. */
export function hex(value: OxmValue): string {
  return BigInt(value) === 0n ? '0' : `0x${value.toString(16)}`;
}

const PORT_NAMES: ReadonlyMap<number, string> = new Map([
  [OFPP.IN_PORT, 'IN_PORT'],
  [OFPP.TABLE, 'TABLE'],
  [OFPP.NORMAL, 'NORMAL'],
  [OFPP.FLOOD, 'FLOOD'],
  [OFPP.ALL, 'ALL'],
  [OFPP.CONTROLLER, 'CONTROLLER'],
  [OFPP.LOCAL, 'LOCAL'],
  [OFPP.ANY, 'ANY'],
]);

/** The name of a reserved port, or undefined. */
export function reservedPort(port: number): string | undefined {
  return PORT_NAMES.get(port);
}

/** A port number; reserved ones by name, or in 16 bits as OVS keeps them. */
export function formatPort(port: number): string {
  return PORT_NAMES.get(port) ?? String(port >= OFPP.MAX ? port & 0xffff : port);
}

/** The length of a prefix mask, or undefined for a mask that is none. */
function prefixLength(mask: bigint, width: number): number | undefined {
  const hostBits = BigInt.asUintN(width, ~mask);
  if ((hostBits & (hostBits + 1n)) !== 0n) return undefined;
  return width - (hostBits === 0n ? 0 : hostBits.toString(2).length);
}

/** IPv6 as glibc's inet_ntop prints it: it shortens a run of at least two zero words, and knows embedded IPv4. */
function formatIpv6(value: bigint): string {
  const high = value >> 32n;
  const low = value & 0xffffffffn;
  if (high === 0xffffn) return `::ffff:${formatIp(4, low)}`;
  if (high === 0n && low > 0xffffn) return `::${formatIp(4, low)}`;
  return formatIp(6, value);
}

function formatAddress(value: bigint, mask: bigint | undefined, width: 32 | 128): string {
  const text = (address: bigint): string =>
    width === 32 ? formatIp(4, address) : formatIpv6(address);
  if (mask === undefined) return text(value);
  const length = prefixLength(mask, width);
  return `${text(value)}/${length ?? text(mask)}`;
}

/** A value with its mask, in the manner of its field. */
export function formatValue(field: OxmField, value: OxmValue, mask?: OxmValue): string {
  const wide = BigInt(value);
  const wideMask = mask === undefined ? undefined : BigInt(mask);
  switch (field.kind) {
    case 'mac':
      return formatMac(wide) + (wideMask === undefined ? '' : `/${formatMac(wideMask)}`);
    case 'ipv4':
      return formatAddress(wide, wideMask, 32);
    case 'ipv6':
      return formatAddress(wide, wideMask, 128);
    case 'port':
      return formatPort(Number(value));
    case 'decimal':
      return mask === undefined ? String(value) : `0x${value.toString(16)}/0x${mask.toString(16)}`;
    case 'hex':
      return hex(value) + (mask === undefined ? '' : `/${hex(mask)}`);
  }
}

/** Names of ct_state bits, from bit 0. */
export const CT_STATE_FLAGS = ['new', 'est', 'rel', 'rpl', 'inv', 'trk', 'snat', 'dnat'] as const;
/** Names of tcp_flags bits, from bit 0. */
export const TCP_FLAGS = [
  ...(['fin', 'syn', 'rst', 'psh', 'ack', 'urg'] as const),
  ...(['ece', 'cwr', 'ns', '[200]', '[400]', '[800]'] as const),
] as const;

/** `+est-rpl` with a mask, `est|rpl` without. */
export function formatFlags(names: readonly string[], value: number, mask?: number): string {
  if (mask === undefined) {
    return names.filter((_, bit) => value & (1 << bit)).join('|') || '0';
  }
  return names
    .map((name, bit) => (mask & (1 << bit) ? (value & (1 << bit) ? '+' : '-') + name : ''))
    .join('');
}
