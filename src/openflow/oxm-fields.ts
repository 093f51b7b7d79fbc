/**
 * The registry of match fields: one row per field, in the order in which Open vSwitch writes and dumps them (`nx_put_raw` in
 * its `lib/nx-match.c`), so that a row's place is its rank in an encoded match. OpenFlow 1.3.5 section 7.2.3.7 for the
 * OXM_OF_* fields, OVS `include/openvswitch/meta-flow.h` for the rest. Encoding and decoding are in `oxm.ts`.
 */
import { OXM_CLASS } from './ofp13.ts';

/** Numbers of the registers that Open vSwitch has. */
type RegisterNumber = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 | 13 | 14 | 15;

/** Names of the fields that this product matches or sets. */
export type FieldName =
  | `reg${RegisterNumber}`
  | ('inPort' | 'metadata' | 'ethDst' | 'ethSrc' | 'ethType' | 'vlanVid')
  | ('ipDscp' | 'ipProto' | 'ipv4Src' | 'ipv4Dst' | 'ipFrag')
  | ('tcpSrc' | 'tcpDst' | 'tcpFlags' | 'udpSrc' | 'udpDst' | 'sctpSrc' | 'sctpDst')
  | ('icmpv4Type' | 'icmpv4Code' | 'arpOp' | 'arpSpa' | 'arpTpa' | 'arpSha' | 'arpTha')
  | ('ipv6Src' | 'ipv6Dst' | 'icmpv6Type' | 'icmpv6Code')
  | ('ipv6NdTarget' | 'ipv6NdSll' | 'ipv6NdTll')
  | ('tunnelId' | 'tunIpv4Src' | 'tunIpv4Dst')
  | ('conjId' | 'ctState' | 'ctZone' | 'ctMark' | 'pktMark');

/** Up to 48 bits as a number; wider fields are decoded as bigint and accepted as either. */
export type OxmValue = number | bigint;

/** How a value is printed. */
export type FieldKind = 'mac' | 'ipv4' | 'ipv6' | 'decimal' | 'hex' | 'port';

/** What else a match must contain, exactly, for a field to mean anything. */
export interface Prerequisite {
  readonly field: FieldName;
  /** Accepted values. */
  readonly values: readonly number[];
  /** True when the other field may also be absent. */
  readonly optional: boolean;
}

/** One row of the registry. */
export interface OxmField {
  readonly name: FieldName;
  /** OXM class of the field in matches and in OFPAT_SET_FIELD. */
  readonly oxmClass: number;
  /** Number of the field within its class. */
  readonly number: number;
  /** Significant bits of the value. */
  readonly bits: number;
  /** Bytes of the value on the wire. */
  readonly sizeBytes: number;
  /** True when a part of the bits may be matched. */
  readonly maskable: boolean;
  /** True when an action may change it. */
  readonly writable: boolean;
  readonly prerequisites: readonly Prerequisite[];
  /** The name in `ovs-ofctl`'s set_field. */
  readonly ovsName: string;
  /** The name in `ovs-ofctl`'s matches. */
  readonly matchName: string;
  /** The name in `load`, `move` and `output:`, as NXM_NX_REG0. */
  readonly nxmName: string;
  readonly kind: FieldKind;
  /** OXM header of an unmasked field: class, number, length. */
  readonly header: number;
  /** The header that Nicira actions carry: NXM where there is one, else OXM. */
  readonly nxmHeader: number;
  /** Bits that Nicira actions see: 16 of inPort, else all. */
  readonly nxmBits: number;
  /** True for flags, which the switch dumps with a mask even when all of them are matched. */
  readonly alwaysMasked: boolean;
  /** Place in an encoded match, from 0. */
  readonly rank: number;
}

const ETH_IPV4 = 0x0800;
const ETH_ARP = 0x0806;
const ETH_RARP = 0x8035;
const ETH_IPV6 = 0x86dd;

const needs = (field: FieldName, ...values: number[]): Prerequisite => ({
  field,
  values,
  optional: false,
});

const IPV4 = [needs('ethType', ETH_IPV4)];
const IPV6 = [needs('ethType', ETH_IPV6)];
const IP = [needs('ethType', ETH_IPV4, ETH_IPV6)];
const ARP = [needs('ethType', ETH_ARP, ETH_RARP)];
// A later fragment carries no L4 header: the switch refuses ports beside it. Values 0 and 1 are "no" and "first".
const L4: Prerequisite = { field: 'ipFrag', values: [0, 1], optional: true };
const TCP = [...IP, needs('ipProto', 6), L4];
const UDP = [...IP, needs('ipProto', 17), L4];
const SCTP = [...IP, needs('ipProto', 132), L4];
const ICMPV4 = [...IPV4, needs('ipProto', 1), L4];
const ICMPV6 = [...IPV6, needs('ipProto', 58), L4];
// With another code than 0 the switch drops the nd fields from the match without a word.
const ND_CODE: Prerequisite = { field: 'icmpv6Code', values: [0], optional: true };
const ND = [...ICMPV6, needs('icmpv6Type', 135, 136), ND_CODE];
const NS = [...ICMPV6, needs('icmpv6Type', 135), ND_CODE];
const NA = [...ICMPV6, needs('icmpv6Type', 136), ND_CODE];
const NONE: readonly Prerequisite[] = [];

type Row = Omit<OxmField, 'rank'>;

/** Class, number and bytes of the value as an unsigned OXM header without mask (OpenFlow 1.3.5 section 7.2.3.2). */
function headerOf(oxmClass: number, number: number, sizeBytes: number): number {
  const experimenterBytes = oxmClass === OXM_CLASS.EXPERIMENTER ? 4 : 0;
  return oxmClass * 0x10000 + number * 0x200 + sizeBytes + experimenterBytes;
}

/** `flags`: m maskable, w writable, f always masked. */
function row(
  name: FieldName,
  [oxmClass, number]: readonly [number, number],
  [nxmClass, nxmNumber, nxmName]: readonly [number, number, string],
  [bits, sizeBytes, flags]: readonly [number, number, string],
  kind: FieldKind,
  [matchName, ovsName]: readonly [string, string],
  prerequisites: readonly Prerequisite[] = NONE,
): Row {
  // NXM_OF_IN_PORT is the one field whose NXM form is narrower than its OXM form.
  const nxmSize = name === 'inPort' ? 2 : sizeBytes;
  return {
    name,
    oxmClass,
    number,
    bits,
    sizeBytes,
    maskable: flags.includes('m'),
    writable: flags.includes('w'),
    alwaysMasked: flags.includes('f'),
    prerequisites,
    ovsName,
    matchName,
    nxmName,
    kind,
    header: headerOf(oxmClass, number, sizeBytes),
    nxmHeader: headerOf(nxmClass, nxmNumber, nxmSize),
    nxmBits: Math.min(bits, 8 * nxmSize),
  };
}

const OF = OXM_CLASS.OPENFLOW_BASIC;
const N0 = OXM_CLASS.NXM_0;
const N1 = OXM_CLASS.NXM_1;

const REGISTERS: readonly FieldName[] = [
  ...(['reg0', 'reg1', 'reg2', 'reg3', 'reg4', 'reg5', 'reg6', 'reg7'] as const),
  ...(['reg8', 'reg9', 'reg10', 'reg11', 'reg12', 'reg13', 'reg14', 'reg15'] as const),
];

/** A field that only Nicira's class 1 has: one number for both forms. */
function nx(
  name: FieldName,
  number: number,
  nxmName: string,
  width: readonly [number, number, string],
  kind: FieldKind,
  ovsName: string,
  prerequisites?: readonly Prerequisite[],
): Row {
  return row(
    name,
    [N1, number],
    [N1, number, nxmName],
    width,
    kind,
    [ovsName, ovsName],
    prerequisites,
  );
}

// prettier-ignore
const ROWS: readonly Row[] = [
  nx('conjId', 37, 'NXM_NX_CONJ_ID', [32, 4, ''], 'decimal', 'conj_id'),
  row('inPort', [OF, 0], [N0, 0, 'NXM_OF_IN_PORT'], [32, 4, 'w'], 'port', ['in_port', 'in_port']),
  row('ethSrc', [OF, 4], [N0, 2, 'NXM_OF_ETH_SRC'], [48, 6, 'mw'], 'mac', ['dl_src', 'eth_src']),
  row('ethDst', [OF, 3], [N0, 1, 'NXM_OF_ETH_DST'], [48, 6, 'mw'], 'mac', ['dl_dst', 'eth_dst']),
  row('ethType', [OF, 5], [N0, 3, 'NXM_OF_ETH_TYPE'], [16, 2, ''], 'hex', ['dl_type', 'eth_type']),
  row('vlanVid', [OF, 6], [OF, 6, 'OXM_OF_VLAN_VID'], [13, 2, 'mw'], 'decimal', ['vlan_vid', 'vlan_vid']),
  row('ipv4Src', [OF, 11], [N0, 7, 'NXM_OF_IP_SRC'], [32, 4, 'mw'], 'ipv4', ['nw_src', 'ip_src'], IPV4),
  row('ipv4Dst', [OF, 12], [N0, 8, 'NXM_OF_IP_DST'], [32, 4, 'mw'], 'ipv4', ['nw_dst', 'ip_dst'], IPV4),
  row('ipv6Src', [OF, 26], [N1, 19, 'NXM_NX_IPV6_SRC'], [128, 16, 'mw'], 'ipv6', ['ipv6_src', 'ipv6_src'], IPV6),
  row('ipv6Dst', [OF, 27], [N1, 20, 'NXM_NX_IPV6_DST'], [128, 16, 'mw'], 'ipv6', ['ipv6_dst', 'ipv6_dst'], IPV6),
  nx('ipFrag', 26, 'NXM_NX_IP_FRAG', [2, 1, 'm'], 'decimal', 'nw_frag', IP),
  row('ipDscp', [OF, 8], [OF, 8, 'OXM_OF_IP_DSCP'], [6, 1, 'w'], 'decimal', ['nw_tos', 'ip_dscp'], IP),
  row('ipProto', [OF, 10], [N0, 6, 'NXM_OF_IP_PROTO'], [8, 1, ''], 'decimal', ['nw_proto', 'nw_proto'], IP),
  row('tcpSrc', [OF, 13], [N0, 9, 'NXM_OF_TCP_SRC'], [16, 2, 'mw'], 'decimal', ['tp_src', 'tcp_src'], TCP),
  row('tcpDst', [OF, 14], [N0, 10, 'NXM_OF_TCP_DST'], [16, 2, 'mw'], 'decimal', ['tp_dst', 'tcp_dst'], TCP),
  row('tcpFlags', [OXM_CLASS.EXPERIMENTER, 42], [N1, 34, 'NXM_NX_TCP_FLAGS'], [12, 2, 'mf'], 'hex', ['tcp_flags', 'tcp_flags'], TCP),
  row('udpSrc', [OF, 15], [N0, 11, 'NXM_OF_UDP_SRC'], [16, 2, 'mw'], 'decimal', ['tp_src', 'udp_src'], UDP),
  row('udpDst', [OF, 16], [N0, 12, 'NXM_OF_UDP_DST'], [16, 2, 'mw'], 'decimal', ['tp_dst', 'udp_dst'], UDP),
  row('sctpSrc', [OF, 17], [OF, 17, 'OXM_OF_SCTP_SRC'], [16, 2, 'mw'], 'decimal', ['tp_src', 'sctp_src'], SCTP),
  row('sctpDst', [OF, 18], [OF, 18, 'OXM_OF_SCTP_DST'], [16, 2, 'mw'], 'decimal', ['tp_dst', 'sctp_dst'], SCTP),
  row('icmpv4Type', [OF, 19], [N0, 13, 'NXM_OF_ICMP_TYPE'], [8, 1, 'w'], 'decimal', ['icmp_type', 'icmp_type'], ICMPV4),
  row('icmpv4Code', [OF, 20], [N0, 14, 'NXM_OF_ICMP_CODE'], [8, 1, 'w'], 'decimal', ['icmp_code', 'icmp_code'], ICMPV4),
  row('icmpv6Type', [OF, 29], [N1, 21, 'NXM_NX_ICMPV6_TYPE'], [8, 1, 'w'], 'decimal', ['icmp_type', 'icmpv6_type'], ICMPV6),
  row('icmpv6Code', [OF, 30], [N1, 22, 'NXM_NX_ICMPV6_CODE'], [8, 1, 'w'], 'decimal', ['icmp_code', 'icmpv6_code'], ICMPV6),
  row('ipv6NdTarget', [OF, 31], [N1, 23, 'NXM_NX_ND_TARGET'], [128, 16, 'mw'], 'ipv6', ['nd_target', 'nd_target'], ND),
  row('ipv6NdSll', [OF, 32], [N1, 24, 'NXM_NX_ND_SLL'], [48, 6, 'mw'], 'mac', ['nd_sll', 'nd_sll'], NS),
  row('ipv6NdTll', [OF, 33], [N1, 25, 'NXM_NX_ND_TLL'], [48, 6, 'mw'], 'mac', ['nd_tll', 'nd_tll'], NA),
  // The switch keeps 8 bits of arp_op and would silently match 256 as 0.
  row('arpOp', [OF, 21], [N0, 15, 'NXM_OF_ARP_OP'], [8, 2, 'w'], 'decimal', ['arp_op', 'arp_op'], ARP),
  row('arpSpa', [OF, 22], [N0, 16, 'NXM_OF_ARP_SPA'], [32, 4, 'mw'], 'ipv4', ['arp_spa', 'arp_spa'], ARP),
  row('arpTpa', [OF, 23], [N0, 17, 'NXM_OF_ARP_TPA'], [32, 4, 'mw'], 'ipv4', ['arp_tpa', 'arp_tpa'], ARP),
  row('arpSha', [OF, 24], [N1, 17, 'NXM_NX_ARP_SHA'], [48, 6, 'mw'], 'mac', ['arp_sha', 'arp_sha'], ARP),
  row('arpTha', [OF, 25], [N1, 18, 'NXM_NX_ARP_THA'], [48, 6, 'mw'], 'mac', ['arp_tha', 'arp_tha'], ARP),
  row('tunnelId', [OF, 38], [N1, 16, 'NXM_NX_TUN_ID'], [64, 8, 'mw'], 'hex', ['tun_id', 'tun_id']),
  nx('tunIpv4Src', 31, 'NXM_NX_TUN_IPV4_SRC', [32, 4, 'mw'], 'ipv4', 'tun_src'),
  nx('tunIpv4Dst', 32, 'NXM_NX_TUN_IPV4_DST', [32, 4, 'mw'], 'ipv4', 'tun_dst'),
  ...REGISTERS.map((name, n) => nx(name, n, `NXM_NX_REG${n}`, [32, 4, 'mw'], 'hex', name)),
  nx('pktMark', 33, 'NXM_NX_PKT_MARK', [32, 4, 'mw'], 'hex', 'pkt_mark'),
  nx('ctState', 105, 'NXM_NX_CT_STATE', [8, 4, 'mf'], 'hex', 'ct_state'),
  nx('ctZone', 106, 'NXM_NX_CT_ZONE', [16, 2, ''], 'decimal', 'ct_zone'),
  nx('ctMark', 107, 'NXM_NX_CT_MARK', [32, 4, 'mw'], 'hex', 'ct_mark'),
  row('metadata', [OF, 2], [OF, 2, 'OXM_OF_METADATA'], [64, 8, 'mw'], 'hex', ['metadata', 'metadata']),
];

/** All fields, in the order of an encoded match. */
export const OXM_FIELDS: readonly OxmField[] = ROWS.map((fields, rank) => ({ ...fields, rank }));

const BY_NAME: ReadonlyMap<string, OxmField> = new Map(
  OXM_FIELDS.map((field) => [field.name, field]),
);

/** Class and number without the mask bit and the length. */
const identityOf = (header: number): number => Math.floor(header / 0x200);

const BY_HEADER: ReadonlyMap<number, OxmField> = new Map(
  OXM_FIELDS.flatMap((field) => [
    [identityOf(field.nxmHeader), field] as const,
    [identityOf(field.header), field] as const,
  ]),
);

/** The row of a field, or undefined for a name that is none (possible only where types were cheated). */
export function fieldByName(name: string): OxmField | undefined {
  return BY_NAME.get(name);
}

/** The row of the field that an OXM or NXM header names, masked or not; undefined for a field that is not in the registry. */
export function fieldByHeader(header: number): OxmField | undefined {
  return BY_HEADER.get(identityOf(header));
}
