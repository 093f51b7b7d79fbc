/**
 * An executable model of the data plane: what happens to one packet, by the words of the API and of docs/pipeline.md. Slow
 * and plain on purpose. It shares no code with the compiler (addresses are read by ipaddr.js here), knows no table,
 * register or conjunction, and decides a packet by walking through all rules.
 */
import ipaddr from 'ipaddr.js';
import type { DpuRule, RuleEntry, RuleMatch } from '../../src/api/dpu-rule.ts';

/** An endpoint on this DPU (`port`) or behind a peer (`vtep`). */
export interface ModelEndpoint {
  readonly vni: number;
  readonly mac: string;
  readonly ips: readonly string[];
  readonly port?: number;
  readonly vtep?: string;
}

export interface ModelNetwork {
  readonly vni: number;
  readonly name: string;
  readonly subnets: readonly string[];
  readonly defaultAction: { readonly ingress: 'allow' | 'deny'; readonly egress: 'allow' | 'deny' };
  readonly unknownUnicast: 'drop' | 'flood';
}

/** A whole configuration of one DPU. Every entry of a rule acts in `vni`. */
export interface World {
  readonly vtep: string;
  readonly peers: readonly string[];
  readonly networks: readonly ModelNetwork[];
  readonly endpoints: readonly ModelEndpoint[];
  readonly rules: readonly { readonly object: DpuRule; readonly vni: number }[];
}

/** A packet as it comes in. Addresses are text, so that two worlds of arithmetic cannot agree by accident. */
export interface Packet {
  readonly from:
    | { readonly port: number }
    | { readonly peer: string; readonly to: string; readonly vni: number };
  readonly ethSrc: string;
  readonly ethDst: string;
  readonly type: 'ipv4' | 'ipv6' | 'arp';
  readonly src: string;
  readonly dst: string;
  /** IP protocol as it can be read: 44 for a later fragment of IPv6. 1 and 2 for an ARP request and reply. */
  readonly protocol: number;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly icmpType: number;
  readonly icmpCode: number;
  readonly dscp: number;
  readonly tcpFlags: number;
  readonly fragment: 'no' | 'first' | 'later';
}

/**
 * Who decided in one direction. Rules of one rank that all match give one verdict: any of them may have counted it. Nobody,
 * where a later fragment met a default that denies.
 */
export interface Decision {
  readonly verdict: 'allow' | 'deny';
  readonly by: readonly string[];
}

/** What the model says of a packet. */
export interface Outcome {
  /** `port N` and `vtep IP vni N`, sorted. */
  readonly outputs: readonly string[];
  /** Why nothing was decided by policy, where the packet ended before it. */
  readonly drop?: string;
  readonly egress?: Decision;
  /** One for each local receiver that policy was asked about. */
  readonly ingress: readonly Decision[];
}

/** Name of a network's default in {@link Decision.by}. */
export const DEFAULT = 'default';

const TIER_ORDER = ['platform', 'admin', 'tenant', 'policy', 'isolation', 'baseline'];
const CAUTION = ['deny', 'reject', 'redirect', 'pass', 'allow'];
const FLAGS = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr', 'ns'];
const [ICMP, TCP, UDP, ICMPV6, SCTP] = [1, 6, 17, 58, 132] as const;
const PROTOCOLS: Readonly<Record<string, number>> = { ICMP, TCP, UDP, ICMPv6: ICMPV6, SCTP };

function sameAddress(one: string, other: string): boolean {
  return ipaddr.parse(one).toNormalizedString() === ipaddr.parse(other).toNormalizedString();
}

/** Whether `address` is in a prefix (or is the address) that a user wrote; families never mix. */
function isIn(address: string, prefix: string): boolean {
  const [base = '', length] = prefix.split('/');
  const [parsed, network] = [ipaddr.parse(address), ipaddr.parse(base)];
  if (parsed.kind() !== network.kind()) return false;
  return parsed.match(network, length === undefined ? network.toByteArray().length * 8 : +length);
}

function sideMatches(
  address: string,
  one: string | undefined,
  many: readonly string[] | undefined,
  excluded: readonly string[] | undefined,
): boolean {
  const included = one === undefined ? many : [one];
  if (included?.some((prefix) => isIn(address, prefix)) === false) return false;
  return excluded?.some((prefix) => isIn(address, prefix)) !== true;
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

/** Whether a packet is what a match describes. `action` matters for later fragments alone. */
function matches(match: RuleMatch, packet: Packet, action: string): boolean {
  const family = packet.type === 'ipv4' ? 0x0800 : 0x86dd;
  if (match.etherType !== undefined && match.etherType !== family) return false;
  if (match.srcMAC !== undefined && match.srcMAC.toLowerCase() !== packet.ethSrc) return false;
  if (match.dstMAC !== undefined && match.dstMAC.toLowerCase() !== packet.ethDst) return false;
  if (!sideMatches(packet.src, match.srcIP, match.srcIPs, match.notSrcIPs)) return false;
  if (!sideMatches(packet.dst, match.dstIP, match.dstIPs, match.notDstIPs)) return false;
  if (match.dscp !== undefined && match.dscp !== packet.dscp) return false;
  const { srcPort, srcPorts, dstPort, dstPorts } = match;
  const hasPorts = namesPorts(match);
  // A later fragment has no transport header: the first one is judged, an allow lets the others follow it.
  const follows = packet.fragment === 'later' && action === 'allow';
  // With IPv6 it does not say its protocol either.
  if (follows && packet.type === 'ipv6' && match.protocol !== 'ICMP') return true;
  if (!protocolMatches(match, packet, hasPorts)) return false;
  if (hasPorts || match.icmpType !== undefined || match.tcpFlags !== undefined) {
    if (packet.fragment === 'later') return follows;
  }
  if (hasPorts && !portMatches(packet.srcPort, srcPort, srcPorts)) return false;
  if (hasPorts && !portMatches(packet.dstPort, dstPort, dstPorts)) return false;
  if (match.icmpType !== undefined && match.icmpType !== packet.icmpType) return false;
  if (match.icmpCode !== undefined && match.icmpCode !== packet.icmpCode) return false;
  return match.tcpFlags === undefined || flagsMatch(packet.tcpFlags, match.tcpFlags);
}

function protocolMatches(match: RuleMatch, packet: Packet, hasPorts: boolean): boolean {
  if (match.protocol === undefined) {
    if (match.tcpFlags !== undefined) return packet.protocol === TCP;
    return !hasPorts || packet.protocol === TCP || packet.protocol === UDP;
  }
  const wanted = PROTOCOLS[String(match.protocol)] ?? Number(match.protocol);
  if (wanted === ICMP && packet.type !== 'ipv4') return false;
  if (wanted === ICMPV6 && packet.type !== 'ipv6') return false;
  return wanted === packet.protocol;
}

/** Whether a packet answers what `match` allows: sides swapped; TCP with ACK, of ICMP echo replies only; DSCP is free. */
function answers(match: RuleMatch, packet: Packet): boolean {
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
  if (!matches(swapped, asked, 'allow')) return false;
  if (packet.fragment === 'later') return true;
  if (isIcmp && packet.icmpType !== (match.icmpType === 8 ? 0 : 129)) return false;
  // Without protocol, ports and flags nothing says that it is TCP: any protocol may answer.
  const saysTcp = swapped.protocol !== undefined || namesPorts(match);
  return packet.protocol !== TCP || !saysTcp || flagsMatch(packet.tcpFlags, '+ack');
}

function namesPorts({ srcPort, srcPorts, dstPort, dstPorts }: RuleMatch): boolean {
  return [srcPort, srcPorts, dstPort, dstPorts].some((ports) => ports !== undefined);
}

function isEnforced(entry: RuleEntry, direction: 'egress' | 'ingress'): boolean {
  return entry.direction === 'Both' || entry.direction.toLowerCase() === direction;
}

interface Hit {
  readonly name: string;
  readonly tier: number;
  readonly priority: number;
  readonly caution: number;
  readonly action: string;
}

function hitsOf(world: World, vni: number, packet: Packet, direction: 'egress' | 'ingress'): Hit[] {
  const other = direction === 'egress' ? 'ingress' : 'egress';
  return world.rules.flatMap(({ object, vni: ruleVni }) => {
    const { metadata, spec } = object;
    if (ruleVni !== vni || spec.enforcement !== 'Enforce') return [];
    return spec.rules
      .filter(
        (entry) =>
          (isEnforced(entry, direction) && matches(entry.match, packet, entry.action)) ||
          (entry.reverse && isEnforced(entry, other) && answers(entry.match, packet)),
      )
      .map((entry) => ({
        name: `DPURule/${metadata.namespace}/${metadata.name}/${entry.name}`,
        tier: TIER_ORDER.indexOf(spec.tier),
        priority: entry.priority ?? spec.priority,
        caution: CAUTION.indexOf(entry.action),
        action: entry.action,
      }));
  });
}

/** What policy says at one endpoint. */
function decide(
  world: World,
  network: ModelNetwork,
  packet: Packet,
  direction: 'egress' | 'ingress',
): Decision {
  const hits = hitsOf(world, network.vni, packet, direction);
  for (const tier of TIER_ORDER.keys()) {
    const inTier = hits.filter((hit) => hit.tier === tier);
    const rankOf = (hit: Hit): number => hit.priority * 10 + hit.caution;
    const best = Math.min(...inTier.map(rankOf));
    const winners = inTier.filter((hit) => rankOf(hit) === best);
    const [first] = winners;
    if (first === undefined || first.action === 'pass') continue;
    const by = winners.map(({ name }) => name).sort();
    return { verdict: first.action === 'allow' ? 'allow' : 'deny', by };
  }
  const verdict = network.defaultAction[direction];
  // Dropped under a name of its own, which no verdict counts: nobody has judged the first fragment by this default.
  if (verdict === 'deny' && packet.fragment === 'later') return { verdict, by: [] };
  return { verdict, by: [DEFAULT] };
}

const isMulticastMac = (mac: string): boolean => (parseInt(mac.slice(0, 2), 16) & 1) === 1;

function isDiscovery(packet: Packet): boolean {
  if (packet.type === 'arp') return true;
  const { type, protocol, icmpType, fragment } = packet;
  const readable = type === 'ipv6' && protocol === ICMPV6 && fragment !== 'later';
  return readable && icmpType >= 133 && icmpType <= 137;
}

/** Why a local port may not send this. */
function spoofReason(world: World, port: number, packet: Packet): string | undefined {
  if (isMulticastMac(packet.ethSrc)) return 'MulticastSource';
  const readable = packet.fragment !== 'later';
  if (isDiscovery(packet) && packet.type === 'ipv6' && packet.icmpType === 134) {
    return 'RouterAdvertisement';
  }
  if (readable && packet.protocol === UDP && packet.type !== 'arp') {
    if (packet.srcPort === (packet.type === 'ipv4' ? 67 : 547)) return 'DhcpServer';
  }
  const own = world.endpoints.filter(
    (endpoint) => endpoint.port === port && endpoint.mac === packet.ethSrc,
  );
  const admitted = own.some(({ ips }) => {
    if (ips.some((ip) => sameAddress(ip, packet.src))) return true;
    if (packet.type === 'arp') return packet.src === '0.0.0.0';
    if (packet.type !== 'ipv6') return false;
    if (isIn(packet.src, 'fe80::/10')) return true;
    const solicits = packet.protocol === ICMPV6 && [135, 143].includes(packet.icmpType);
    return packet.src === '::' && solicits && readable;
  });
  return admitted ? undefined : 'SpoofedSource';
}

/** Why a packet from the tunnel is not let in. */
function tunnelReason(world: World, packet: Packet): string | undefined {
  const { from } = packet;
  if (!('peer' in from)) return undefined;
  if (!world.peers.includes(from.peer) || from.to !== world.vtep) return 'UnknownPeer';
  if (!world.networks.some(({ vni }) => vni === from.vni)) return 'UnknownVni';
  const speakers = world.endpoints.filter(
    ({ vni, mac }) => vni === from.vni && mac === packet.ethSrc,
  );
  const here = speakers.some(({ port }) => port !== undefined);
  const elsewhere = speakers.length > 0 && !speakers.some(({ vtep }) => vtep === from.peer);
  return here || elsewhere ? 'RemoteSpoof' : undefined;
}

/** Whether the packet asks for a known address: then it goes to whoever has it. */
function askedEndpoint(world: World, vni: number, packet: Packet): ModelEndpoint | undefined {
  const asks =
    packet.type === 'arp'
      ? packet.protocol === 1
      : isDiscovery(packet) && packet.icmpType === 135 && packet.type === 'ipv6';
  if (!asks) return undefined;
  return world.endpoints.find(
    (endpoint) => endpoint.vni === vni && endpoint.ips.some((ip) => sameAddress(ip, packet.dst)),
  );
}

/** An IP packet for one receiver, inside a frame for many. */
function isUnicastInMulticast(network: ModelNetwork, packet: Packet): boolean {
  if (packet.type === 'arp') return false;
  if (packet.type === 'ipv6') return !isIn(packet.dst, 'ff00::/8');
  if (isIn(packet.dst, '224.0.0.0/4') || packet.dst === '255.255.255.255') return false;
  return !network.subnets.some(
    (subnet) =>
      !subnet.includes(':') &&
      Number(subnet.split('/')[1] ?? 32) <= 30 &&
      ipaddr.IPv4.broadcastAddressFromCIDR(subnet).toString() === packet.dst,
  );
}

/** Runs one packet through a world. */
export function evaluate(world: World, packet: Packet): Outcome {
  const { from } = packet;
  const dropped = (drop: string, egress?: Decision): Outcome => ({
    outputs: [],
    drop,
    ingress: [],
    ...(egress === undefined ? {} : { egress }),
  });
  const isLocal = 'port' in from;
  const at = isLocal
    ? world.endpoints.find((endpoint) => endpoint.port === from.port)?.vni
    : from.vni;
  if (at === undefined) return dropped('UnknownPort');
  const refused = isLocal ? spoofReason(world, from.port, packet) : tunnelReason(world, packet);
  if (refused !== undefined) return dropped(refused);
  const network = world.networks.find(({ vni }) => vni === at);
  if (network === undefined) return dropped('UnknownVni');
  const unfiltered = isDiscovery(packet);
  const sent = unfiltered || !isLocal ? undefined : decide(world, network, packet, 'egress');
  const egress = sent === undefined ? {} : { egress: sent };
  if (sent?.verdict === 'deny') {
    return { outputs: [], ingress: [], ...egress };
  }

  const ethDst = askedEndpoint(world, at, packet)?.mac ?? packet.ethDst;
  const inbound = { ...packet, ethDst };
  const members = world.endpoints.filter(({ vni }) => vni === at);
  const deliver = (ports: readonly number[]): Pick<Outcome, 'outputs' | 'ingress'> => {
    const ingress = unfiltered ? [] : ports.map(() => decide(world, network, inbound, 'ingress'));
    const reached = ports.filter((_, index) => ingress[index]?.verdict !== 'deny');
    const others = reached.filter((port) => !isLocal || port !== from.port);
    return { outputs: others.map((port) => `port ${port}`), ingress };
  };
  const flood = (): Outcome => {
    const ports = [...new Set(members.flatMap(({ port }) => port ?? []))];
    const { outputs, ingress } = deliver(ports);
    const away = isLocal ? world.peers.map((peer) => `vtep ${peer} vni ${at}`) : [];
    return { outputs: [...outputs, ...away].sort(), ingress, ...egress };
  };

  const here = members.find(({ mac, port }) => mac === ethDst && port !== undefined);
  if (here?.port !== undefined) return { ...deliver([here.port]), ...egress };
  const there = members.find(({ mac, vtep }) => mac === ethDst && vtep !== undefined);
  if (there !== undefined && isLocal) {
    return { outputs: [`vtep ${there.vtep ?? ''} vni ${at}`], ingress: [], ...egress };
  }
  if (isMulticastMac(ethDst)) {
    if (isUnicastInMulticast(network, packet)) return dropped('UnicastInMulticast', sent);
    return flood();
  }
  if (!isLocal) return dropped('NotLocal');
  return network.unknownUnicast === 'flood' ? flood() : dropped('UnknownUnicast', sent);
}
