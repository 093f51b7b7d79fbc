/**
 * The packets of a datapath flow as a region that rules can be compared with: its match with its masks, and the network that
 * its way through the tables showed. Pure. What it cannot read it leaves open, so that a comparison says "may", never "not".
 */
import { parseIp, parseMac } from '../../base/address.ts';
import { parseDatapathKey, parseKeyFields } from '../../ovsdb/datapath-flow.ts';
import type { FieldName } from '../../openflow/oxm-fields.ts';
import type { MaskedValue, Region } from './region.ts';

/** Reads a value of one kind as bits; undefined when it is none. */
type ReadBits = (text: string) => bigint | undefined;

const ipBits: ReadBits = (text) => parseIp(text)?.value;
const macBits: ReadBits = parseMac;
const numberBits: ReadBits = (text) =>
  /^(0x[0-9a-f]{1,16}|\d{1,19})$/i.test(text) ? BigInt(text) : undefined;

/** Part of the key, its field, ours, how it is read, and how many bits it has. */
type FieldRow = readonly [part: string, field: string, name: FieldName, ReadBits, bits: bigint];

const FIELDS: readonly FieldRow[] = [
  ['eth', 'src', 'ethSrc', macBits, 48n],
  ['eth', 'dst', 'ethDst', macBits, 48n],
  ['ipv4', 'src', 'ipv4Src', ipBits, 32n],
  ['ipv4', 'dst', 'ipv4Dst', ipBits, 32n],
  ['ipv4', 'proto', 'ipProto', numberBits, 8n],
  ['ipv6', 'src', 'ipv6Src', ipBits, 128n],
  ['ipv6', 'dst', 'ipv6Dst', ipBits, 128n],
  ['ipv6', 'proto', 'ipProto', numberBits, 8n],
  ['tcp', 'src', 'tcpSrc', numberBits, 16n],
  ['tcp', 'dst', 'tcpDst', numberBits, 16n],
  ['udp', 'src', 'udpSrc', numberBits, 16n],
  ['udp', 'dst', 'udpDst', numberBits, 16n],
  ['sctp', 'src', 'sctpSrc', numberBits, 16n],
  ['sctp', 'dst', 'sctpDst', numberBits, 16n],
  ['icmp', 'type', 'icmpv4Type', numberBits, 8n],
  ['icmp', 'code', 'icmpv4Code', numberBits, 8n],
  ['icmpv6', 'type', 'icmpv6Type', numberBits, 8n],
  ['icmpv6', 'code', 'icmpv6Code', numberBits, 8n],
];
const ETH_TYPE_BITS = 16n;
const METADATA_MASK = (1n << 64n) - 1n;

function allOnes(bits: bigint): bigint {
  return (1n << bits) - 1n;
}

/** `value` or `value/mask`. */
function masked(text: string | undefined, read: ReadBits, bits: bigint): MaskedValue | undefined {
  if (text === undefined) return undefined;
  const [valueText = '', maskText] = text.split('/');
  const value = read(valueText);
  const mask = maskText === undefined ? allOnes(bits) : (read(maskText) ?? numberBits(maskText));
  return value === undefined || mask === undefined ? undefined : { value, mask };
}

/** The region of a datapath key in a network. */
export function megaflowRegion(key: string, vni: number | undefined): Region {
  const region = new Map<FieldName, MaskedValue>();
  const parts = parseDatapathKey(key);
  const ethType = masked(parts?.get('eth_type'), numberBits, ETH_TYPE_BITS);
  if (ethType !== undefined) region.set('ethType', ethType);
  for (const [part, field, name, read, bits] of FIELDS) {
    const text = parts?.get(part);
    if (text === undefined) continue;
    const value = masked(parseKeyFields(text).get(field), read, bits);
    if (value !== undefined) region.set(name, value);
  }
  if (vni !== undefined) region.set('metadata', { value: BigInt(vni), mask: METADATA_MASK });
  return region;
}
