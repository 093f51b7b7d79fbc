/**
 * What a match of a rule means, for the executable model: by the words of the API, packet by packet. Shares no code with the
 * compiler; a group is a list that is walked through.
 */
import ipaddr from 'ipaddr.js';
import type { RuleMatch } from '../../src/api/dpu-rule.ts';
import type { Packet } from './evaluator.ts';

/** A DPUGroup with the entries of its slices. */
export interface ModelGroup {
  readonly name: string;
  readonly cidrs: readonly string[];
  readonly except: readonly string[];
  readonly entries: readonly {
    readonly ip: string;
    readonly vni: number;
    readonly ports?: Readonly<Record<string, readonly ['TCP' | 'UDP' | 'SCTP', number]>>;
  }[];
}

/** Where a match stands: the network that its rule speaks for, and the groups of its namespace. */
export interface Scope {
  readonly vni: number;
  readonly groups: readonly ModelGroup[];
}

const FLAGS = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr', 'ns'];
const [ICMP, TCP, UDP, ICMPV6, SCTP] = [1, 6, 17, 58, 132] as const;
const PROTOCOLS: Readonly<Record<string, number>> = { ICMP, TCP, UDP, ICMPv6: ICMPV6, SCTP };

/** Whether two texts name one address. */
export function sameAddress(one: string, other: string): boolean {
  return ipaddr.parse(one).toNormalizedString() === ipaddr.parse(other).toNormalizedString();
}

/** Whether `address` is in a prefix (or is the address) that a user wrote; families never mix. */
export function isIn(address: string, prefix: string): boolean {
  const [base = '', length] = prefix.split('/');
  const [parsed, network] = [ipaddr.parse(address), ipaddr.parse(base)];
  if (parsed.kind() !== network.kind()) return false;
  return parsed.match(network, length === undefined ? network.toByteArray().length * 8 : +length);
}

const isInAny = (address: string, prefixes: readonly string[]): boolean =>
  prefixes.some((prefix) => isIn(address, prefix));

/** The endpoints of a group in the network of the rule. */
function membersOf(scope: Scope, name: string): ModelGroup['entries'] {
  const group = scope.groups.find((each) => each.name === name);
  return group?.entries.filter(({ vni }) => vni === scope.vni) ?? [];
}

function isInGroup(scope: Scope, address: string, name: string): boolean {
  const group = scope.groups.find((each) => each.name === name);
  if (group === undefined) return false;
  if (isInAny(address, group.cidrs) && !isInAny(address, group.except)) return true;
  return membersOf(scope, name).some(({ ip }) => sameAddress(ip, address));
}

interface Side {
  readonly one: string | undefined;
  readonly many: readonly string[] | undefined;
  readonly group: string | undefined;
  readonly excluded: readonly string[] | undefined;
}

function sideMatches(scope: Scope, address: string, side: Side): boolean {
  const { one, many, group, excluded } = side;
  if (excluded !== undefined && isInAny(address, excluded)) return false;
  if (group !== undefined) return isInGroup(scope, address, group);
  const included = one === undefined ? many : [one];
  return included === undefined || isInAny(address, included);
}

function portMatches(
  port: number,
  one: number | string | undefined,
  many: readonly (number | string)[] | undefined,
): boolean {
  const ranges = one === undefined ? many : [one];
  if (ranges === undefined) return true;
  return ranges.some((range) => {
    const [first = NaN, last = first] = String(range).split('-').map(Number);
    return first <= port && port <= last;
  });
}

function flagsMatch(flags: number, wanted: string): boolean {
  return [...wanted.matchAll(/([+-])([a-z]+)/g)].every(([, sign, name]) => {
    const isSet = ((flags >> FLAGS.indexOf(name ?? '')) & 1) === 1;
    return isSet === (sign === '+');
  });
}

/** What the named port stands for on the packet's destination; undefined when the match has no named port. */
function namedPorts(
  scope: Scope,
  { dstPortName, dstGroup = '' }: RuleMatch,
  packet: Packet,
): { protocol: number; port: number }[] | undefined {
  if (dstPortName === undefined) return undefined;
  return membersOf(scope, dstGroup)
    .filter(({ ip }) => sameAddress(ip, packet.dst))
    .flatMap(({ ports = {} }) => {
      const found = Object.hasOwn(ports, dstPortName) ? ports[dstPortName] : undefined;
      return found === undefined ? [] : [{ protocol: PROTOCOLS[found[0]] ?? 0, port: found[1] }];
    });
}

/** The protocols that a match is about; undefined for any. */
function protocolsOf(match: RuleMatch): readonly number[] | undefined {
  if (match.protocol !== undefined) {
    return [PROTOCOLS[String(match.protocol)] ?? Number(match.protocol)];
  }
  if (match.tcpFlags !== undefined) return [TCP];
  return namesPorts(match) ? [TCP, UDP] : undefined;
}

interface Choice {
  readonly protocol: number | undefined;
  readonly port: number | undefined;
}

/** Whether a packet is what a match describes. `action` matters for later fragments alone. */
export function matches(scope: Scope, match: RuleMatch, packet: Packet, action: string): boolean {
  const family = packet.type === 'ipv4' ? 0x0800 : 0x86dd;
  if (match.etherType !== undefined && match.etherType !== family) return false;
  if (match.srcMAC !== undefined && match.srcMAC.toLowerCase() !== packet.ethSrc) return false;
  if (match.dstMAC !== undefined && match.dstMAC.toLowerCase() !== packet.ethDst) return false;
  const source: Side = {
    ...{ one: match.srcIP, many: match.srcIPs, group: match.srcGroup, excluded: match.notSrcIPs },
  };
  const destination: Side = {
    ...{ one: match.dstIP, many: match.dstIPs, group: match.dstGroup, excluded: match.notDstIPs },
  };
  if (!sideMatches(scope, packet.src, source)) return false;
  if (!sideMatches(scope, packet.dst, destination)) return false;
  if (match.dscp !== undefined && match.dscp !== packet.dscp) return false;

  const foreign = packet.type === 'ipv4' ? ICMPV6 : ICMP;
  const named = namedPorts(scope, match, packet);
  const own =
    match.dstPortName === undefined ? protocolsOf(match) : protocolsOf(withoutPorts(match));
  // Each choice of protocol (undefined: any) with the port that a name stands for.
  const choices = (own ?? named?.map(({ protocol }) => protocol) ?? [undefined])
    .filter((protocol) => protocol !== foreign)
    .flatMap((protocol): Choice[] =>
      named === undefined
        ? [{ protocol, port: undefined }]
        : named.filter((each) => each.protocol === protocol),
    );
  const isRead = ({ protocol }: Choice): boolean =>
    protocol === undefined || protocol === packet.protocol;
  const readsHeader =
    namesPorts(match) || match.icmpType !== undefined || match.tcpFlags !== undefined;
  if (packet.fragment === 'later') {
    // It has no transport header, and with IPv6 does not say its protocol: the first one is judged, and what lets that go on
    // lets the others follow it.
    const follows = action === 'allow' || action === 'redirect';
    if (choices.some(isRead) && !readsHeader) return true;
    return follows && choices.some((choice) => packet.type === 'ipv6' || isRead(choice));
  }
  if (
    !choices.some((choice) => isRead(choice) && (choice.port ?? packet.dstPort) === packet.dstPort)
  )
    return false;
  const { srcPort, srcPorts, dstPort, dstPorts } = match;
  if (!portMatches(packet.srcPort, srcPort, srcPorts)) return false;
  if (!portMatches(packet.dstPort, dstPort, dstPorts)) return false;
  if (match.icmpType !== undefined && match.icmpType !== packet.icmpType) return false;
  if (match.icmpCode !== undefined && match.icmpCode !== packet.icmpCode) return false;
  return match.tcpFlags === undefined || flagsMatch(packet.tcpFlags, match.tcpFlags);
}

/** Whether a packet answers what `match` allows: sides swapped; TCP with ACK, of ICMP echo replies only; DSCP is free. */
export function answers(scope: Scope, match: RuleMatch, packet: Packet): boolean {
  const isIcmp = match.icmpType !== undefined;
  if (isIcmp && match.icmpType !== 8 && match.icmpType !== 128) return false;
  const asked: Packet = {
    ...packet,
    ...{ ethSrc: packet.ethDst, ethDst: packet.ethSrc, src: packet.dst, dst: packet.src },
    ...{ srcPort: packet.dstPort, dstPort: packet.srcPort },
  };
  const swapped: RuleMatch = { ...match };
  if (match.tcpFlags !== undefined) swapped.protocol ??= 'TCP';
  for (const own of ['dscp', 'tcpFlags', 'icmpType', 'icmpCode'] as const) delete swapped[own];
  if (!matches(scope, swapped, asked, 'allow')) return false;
  if (packet.fragment === 'later') return true;
  if (isIcmp && packet.icmpType !== (match.icmpType === 8 ? 0 : 129)) return false;
  // Without protocol, ports and flags nothing says that it is TCP: any protocol may answer.
  const saysTcp = swapped.protocol !== undefined || namesPorts(match);
  return packet.protocol !== TCP || !saysTcp || flagsMatch(packet.tcpFlags, '+ack');
}

function namesPorts({ srcPort, srcPorts, dstPort, dstPorts, dstPortName }: RuleMatch): boolean {
  return [srcPort, srcPorts, dstPort, dstPorts, dstPortName].some((ports) => ports !== undefined);
}

/** With a named port the endpoint says the protocol, not the presence of ports. */
function withoutPorts(match: RuleMatch): RuleMatch {
  const rest: RuleMatch = { ...match };
  for (const port of ['srcPort', 'srcPorts', 'dstPortName'] as const) delete rest[port];
  return rest;
}
