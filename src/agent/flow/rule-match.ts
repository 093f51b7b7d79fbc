/**
 * The match of a DPURule entry in OpenFlow's fields: by address family, the fields that are common, and the choices of
 * source, destination and ports. `rule-flows.ts` makes plain flows or a conjunction of them.
 */
import {
  isSingleAddress,
  parseMac,
  parsePrefix,
  prefixMask,
  type IpFamily,
  type IpPrefix,
} from '../../base/address.ts';
import { ALL_ADDRESSES, subtractPrefixes, widestPrefixes } from '../../base/prefix-set.ts';
import type { RuleMatch } from '../../api/dpu-rule.ts';
import { protocolNumber } from '../../api/field.ts';
import { parsePortRange } from '../../api/port-range.ts';
import type { FieldName } from '../../openflow/oxm-fields.ts';
import type { EncodedFlow } from '../../openflow/flow.ts';
import { decodeMatch, type Match, type MatchField } from '../../openflow/match.ts';
import { ETH_TYPE, ethType, IP_PROTO } from './flow-list.ts';
import { maskedPorts } from './port-range.ts';

/** One choice of protocol and ports. */
export interface TransportChoice {
  readonly match: Match;
  /**
   * The same for later fragments, which carry no transport header and with IPv6 do not say the protocol; only where the
   * match reads that.
   */
  readonly fragmentMatch?: Match;
}

/**
 * The match of a rule for one address family: a packet matches when it has all common fields and one choice of each
 * dimension. The choice "anything" is an empty match.
 */
export interface RuleDimensions {
  readonly common: Match;
  readonly sources: readonly Match[];
  readonly destinations: readonly Match[];
  readonly transports: readonly TransportChoice[];
  /** True for what only an allow needs: later fragments, where the ports are not in `transports`. */
  readonly fragmentsOnly?: boolean;
}

/** A match that this release cannot express: the field that is in the way, and why. */
export class UnsupportedMatch {
  readonly field: string;
  readonly why: string;
  constructor(field: string, why: string) {
    this.field = field;
    this.why = why;
  }
}

/** Most choices of one entry, over all dimensions: about as many flows does it become, per direction and protocol. */
export const CHOICES_MAX = 4096;

/** The same for an entry that names groups: these hold the pods of whole namespaces. */
const GROUP_CHOICES_MAX = 32_768;

/** Addresses that groups give, in place of those that the match names. */
export interface SideAddresses {
  readonly source?: readonly IpPrefix[] | undefined;
  readonly destination?: readonly IpPrefix[] | undefined;
}

const PORT_FIELDS: ReadonlyMap<
  number,
  { readonly source: FieldName; readonly destination: FieldName }
> = new Map([
  [IP_PROTO.tcp, { source: 'tcpSrc', destination: 'tcpDst' } as const],
  [IP_PROTO.udp, { source: 'udpSrc', destination: 'udpDst' } as const],
  [IP_PROTO.sctp, { source: 'sctpSrc', destination: 'sctpDst' } as const],
]);
/** Bits of TCP flags by name (RFC 9293 section 3.1). */
const TCP_FLAGS: ReadonlyMap<string, number> = new Map(
  ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr', 'ns'].map((name, bit) => [
    name,
    1 << bit,
  ]),
);
/** ICMP and ICMPv6 echo request -> echo reply (RFC 792; RFC 4443 section 4). */
const ECHO_REPLIES: ReadonlyMap<number, number> = new Map([
  [8, 0],
  [128, 129],
]);
const ACK: MatchField = { field: 'tcpFlags', value: 0x10, mask: 0x10 };
const FRAGMENT_LATER: MatchField = { field: 'ipFrag', value: 3, mask: 3 };
/** What Open vSwitch sees as the protocol of a later fragment of IPv6 (RFC 8200 section 4.5): it reads no further header. */
const IPV6_FRAGMENT: MatchField = { field: 'ipProto', value: 44 };
const FRAGMENT_NOT_LATER: MatchField = { field: 'ipFrag', value: 0, mask: 2 };

/**
 * The match of the replies to what `match` matches: addresses, ports and MACs change sides. The answer to an ICMP echo
 * request is an echo reply; other ICMP types have none. DSCP is the sender's own choice and is left out.
 */
function replyMatch(match: RuleMatch): RuleMatch | undefined {
  const { srcIP, srcIPs, notSrcIPs, dstIP, dstIPs, notDstIPs } = match;
  const { srcPort, srcPorts, dstPort, dstPorts, srcMAC, dstMAC, protocol, etherType } = match;
  const icmpType = match.icmpType === undefined ? undefined : ECHO_REPLIES.get(match.icmpType);
  if (match.icmpType !== undefined && icmpType === undefined) return undefined;
  const swapped = {
    ...{ srcIP: dstIP, srcIPs: dstIPs, notSrcIPs: notDstIPs },
    ...{ dstIP: srcIP, dstIPs: srcIPs, notDstIPs: notSrcIPs },
    ...{ srcPort: dstPort, srcPorts: dstPorts, dstPort: srcPort, dstPorts: srcPorts },
    ...{ srcMAC: dstMAC, dstMAC: srcMAC, protocol, etherType, icmpType },
    // A TCP segment that answers carries ACK: without it the other side could open connections of its own.
    tcpFlags: match.tcpFlags === undefined ? undefined : '+ack',
  };
  const given = Object.entries(swapped).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given);
}

/**
 * A match by address family; an {@link UnsupportedMatch} when it cannot be expressed, nothing when no packet can match.
 * With `reply` only TCP segments that carry ACK match.
 */
export function ruleDimensions(
  match: RuleMatch,
  sides: SideAddresses = {},
  reply = false,
): RuleDimensions[] | UnsupportedMatch {
  if (match.etherType !== undefined && etherTypeFamily(match) === undefined) {
    return new UnsupportedMatch(
      'match.etherType',
      'only IPv4 (0x0800) and IPv6 (0x86dd) pass through policy',
    );
  }
  const protocols = protocolsOf(match);
  const sources = prefixesOf(match.srcIP, match.srcIPs, match.notSrcIPs, sides.source);
  const destinations = prefixesOf(match.dstIP, match.dstIPs, match.notDstIPs, sides.destination);
  const sourcePorts = portsOf(match.srcPort, match.srcPorts);
  const destinationPorts = portsOf(match.dstPort, match.dstPorts);
  const portPairs = (sourcePorts?.length ?? 1) * (destinationPorts?.length ?? 1);
  const choices = (sources?.length ?? 1) + (destinations?.length ?? 1) + portPairs;
  const grouped = sides.source !== undefined || sides.destination !== undefined;
  const most = grouped ? GROUP_CHOICES_MAX : CHOICES_MAX;
  if (choices > most) {
    const why = `has ${choices} choices of addresses and ports, more than ${most}; use fewer or shorter lists`;
    return new UnsupportedMatch('match', why);
  }
  const fixed = fixedFields(match);
  return familiesOf(match, protocols, sources, destinations)
    .map((family) => ({
      common: [
        ...fixed.ethernet,
        ...(family === undefined ? [] : [ethType(family === 4 ? ETH_TYPE.ipv4 : ETH_TYPE.ipv6)]),
        ...fixed.ip,
      ],
      sources: ofFamily(sources, family).map((prefix) =>
        addressField(family === 6 ? 'ipv6Src' : 'ipv4Src', prefix),
      ),
      destinations: ofFamily(destinations, family).map((prefix) =>
        addressField(family === 6 ? 'ipv6Dst' : 'ipv4Dst', prefix),
      ),
      transports: ofProtocolFamily(protocols, family).flatMap((protocol) =>
        transportChoices(protocol, family, sourcePorts, destinationPorts, [
          ...fixed.transport,
          ...(reply && protocol === IP_PROTO.tcp && match.tcpFlags === undefined ? [ACK] : []),
        ]),
      ),
    }))
    .filter(
      ({ sources: some, destinations: others, transports }) =>
        some.length > 0 && others.length > 0 && transports.length > 0,
    );
}

/** The {@link RuleDimensions} of the replies to what `match` matches; none when it has none. */
export function replyDimensions(match: RuleMatch, sides: SideAddresses = {}): RuleDimensions[] {
  const reply = replyMatch(match);
  const swapped = { source: sides.destination, destination: sides.source };
  const dimensions = reply === undefined ? [] : ruleDimensions(reply, swapped, true);
  return dimensions instanceof UnsupportedMatch ? [] : dimensions;
}

/** True for the flow that lets later fragments follow a first one that was judged by its ports. */
export function matchesLaterFragments(flow: EncodedFlow): boolean {
  const { field, value } = FRAGMENT_LATER;
  return decodeMatch(flow.match).some((each) => each.field === field && each.value === value);
}

/** The choices of ports for one protocol; `fixed` are the other fields of the transport header. */
function transportChoices(
  protocol: number | undefined,
  family: IpFamily | undefined,
  sourcePorts: readonly PortMatch[] | undefined,
  destinationPorts: readonly PortMatch[] | undefined,
  fixed: readonly MatchField[],
): TransportChoice[] {
  const ipProto: Match = protocol === undefined ? [] : [{ field: 'ipProto', value: protocol }];
  const fields = protocol === undefined ? undefined : PORT_FIELDS.get(protocol);
  const fragmentMatch = [...(family === 6 ? [IPV6_FRAGMENT] : ipProto), FRAGMENT_LATER];
  const choices: TransportChoice[] = [];
  for (const source of (fields && sourcePorts) ?? [undefined]) {
    for (const destination of (fields && destinationPorts) ?? [undefined]) {
      const header = [
        ...portField(fields?.source, source),
        ...portField(fields?.destination, destination),
        ...fixed,
      ];
      if (header.length === 0) {
        const hidesProtocol = family === 6 && protocol !== undefined;
        return [hidesProtocol ? { match: ipProto, fragmentMatch } : { match: ipProto }];
      }
      // A later fragment carries no transport header and reads as one of zeros.
      const readsAsLater = header.every(({ value }) => value === 0);
      choices.push({
        match: [...ipProto, ...(readsAsLater ? [FRAGMENT_NOT_LATER] : []), ...header],
        fragmentMatch,
      });
    }
  }
  return choices;
}

interface PortMatch {
  readonly value: number;
  readonly mask: number;
}

function portField(field: FieldName | undefined, port: PortMatch | undefined): MatchField[] {
  return field === undefined || port === undefined
    ? []
    : [{ field, value: port.value, mask: port.mask }];
}

function addressField(field: FieldName, prefix: IpPrefix | undefined): MatchField[] {
  if (prefix === undefined || prefix.length === 0) return [];
  if (isSingleAddress(prefix)) return [{ field, value: prefix.value }];
  return [{ field, value: prefix.value, mask: prefixMask(prefix.family, prefix.length) }];
}

/**
 * The addresses that a side names, exclusions taken out; undefined when it names none. No prefix contains another: "any
 * address" beside a narrower one would be a choice without a field, and two such dimensions one clause.
 */
export function prefixesOf(
  one: string | undefined,
  many: readonly string[] | undefined,
  excluded: readonly string[] | undefined,
  group: readonly IpPrefix[] | undefined,
): readonly IpPrefix[] | undefined {
  const named = (one === undefined ? many : [one])?.map(parsePrefix).filter(isPrefix);
  const included = group ?? (named && widestPrefixes(named));
  if (excluded === undefined) return included;
  return subtractPrefixes(included ?? ALL_ADDRESSES, excluded.map(parsePrefix).filter(isPrefix));
}

function isPrefix(prefix: IpPrefix | undefined): prefix is IpPrefix {
  return prefix !== undefined;
}

function portsOf(
  one: number | string | undefined,
  many: readonly (number | string)[] | undefined,
): PortMatch[] | undefined {
  const ranges = one === undefined ? many : [one];
  return ranges
    ?.map(parsePortRange)
    .filter((range) => range !== undefined)
    .flatMap(({ first, last }) => maskedPorts(first, last));
}

/** Protocol numbers that the match allows; undefined for any. A bare port means TCP and UDP. */
export function protocolsOf(match: RuleMatch): number[] | undefined {
  if (match.protocol !== undefined) {
    const number = protocolNumber(match.protocol);
    return number === undefined ? [] : [number];
  }
  if (match.tcpFlags !== undefined) return [IP_PROTO.tcp];
  const hasPorts = [match.srcPort, match.srcPorts, match.dstPort, match.dstPorts].some(
    (ports) => ports !== undefined,
  );
  return hasPorts ? [IP_PROTO.tcp, IP_PROTO.udp] : undefined;
}

/** The address families of a match; `undefined` as a family stands for a match that needs none. */
function familiesOf(
  match: RuleMatch,
  protocols: readonly number[] | undefined,
  sources: readonly IpPrefix[] | undefined,
  destinations: readonly IpPrefix[] | undefined,
): (IpFamily | undefined)[] {
  const both: IpFamily[] = [4, 6];
  const present = (prefixes: readonly IpPrefix[] | undefined): IpFamily[] =>
    prefixes === undefined
      ? both
      : both.filter((family) => prefixes.some((prefix) => prefix.family === family));
  const etherType = etherTypeFamily(match);
  const families = present(sources)
    .filter((family) => present(destinations).includes(family))
    .filter((family) => etherType === undefined || family === etherType);
  const needsFamily =
    sources !== undefined ||
    destinations !== undefined ||
    protocols !== undefined ||
    match.dscp !== undefined;
  return needsFamily || etherType !== undefined ? families : [undefined];
}

/** The family that an EtherType names; undefined when it names none. */
export function etherTypeFamily(match: RuleMatch): IpFamily | undefined {
  if (match.etherType === ETH_TYPE.ipv4) return 4;
  return match.etherType === ETH_TYPE.ipv6 ? 6 : undefined;
}

function ofFamily(
  prefixes: readonly IpPrefix[] | undefined,
  family: IpFamily | undefined,
): (IpPrefix | undefined)[] {
  return prefixes === undefined
    ? [undefined]
    : prefixes.filter((prefix) => prefix.family === family);
}

/** ICMP is a protocol of IPv4 only, ICMPv6 of IPv6 only. */
function ofProtocolFamily(
  protocols: readonly number[] | undefined,
  family: IpFamily | undefined,
): (number | undefined)[] {
  if (protocols === undefined) return [undefined];
  return protocols.filter(
    (protocol) =>
      !(protocol === IP_PROTO.icmp && family === 6) &&
      !(protocol === IP_PROTO.icmpv6 && family === 4),
  );
}

/** Fields that are the same in every alternative, by the layer that their prerequisite needs. */
function fixedFields(match: RuleMatch): {
  ethernet: MatchField[];
  ip: MatchField[];
  transport: MatchField[];
} {
  const ethernet: MatchField[] = [];
  const ip: MatchField[] = [];
  const transport: MatchField[] = [];
  const sourceMac = match.srcMAC === undefined ? undefined : parseMac(match.srcMAC);
  const destinationMac = match.dstMAC === undefined ? undefined : parseMac(match.dstMAC);
  if (sourceMac !== undefined) ethernet.push({ field: 'ethSrc', value: sourceMac });
  if (destinationMac !== undefined) ethernet.push({ field: 'ethDst', value: destinationMac });
  if (match.dscp !== undefined) ip.push({ field: 'ipDscp', value: match.dscp });
  if (match.icmpType !== undefined) {
    const version = protocolNumber(match.protocol) === IP_PROTO.icmpv6 ? 'icmpv6' : 'icmpv4';
    transport.push({ field: `${version}Type`, value: match.icmpType });
    if (match.icmpCode !== undefined)
      transport.push({ field: `${version}Code`, value: match.icmpCode });
  }
  if (match.tcpFlags !== undefined) transport.push(tcpFlagsField(match.tcpFlags));
  return { ethernet, ip, transport };
}

/** `+syn-ack`: SYN set, ACK clear, the others as they like. */
function tcpFlagsField(text: string): MatchField {
  let value = 0;
  let mask = 0;
  for (const [, sign, name] of text.matchAll(/([+-])([a-z]+)/g)) {
    const bit = TCP_FLAGS.get(name ?? '') ?? 0;
    mask |= bit;
    if (sign === '+') value |= bit;
  }
  return { field: 'tcpFlags', value, mask };
}
