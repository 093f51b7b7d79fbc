/**
 * An executable model of the data plane: what happens to one packet, by the words of the API and of docs/pipeline.md. Slow
 * and plain on purpose. It shares no code with the compiler (addresses are read by ipaddr.js here), knows no table,
 * register or conjunction, and decides a packet by walking through all rules.
 */
import ipaddr from 'ipaddr.js';
import type { DpuRule, RuleEntry } from '../../src/api/dpu-rule.ts';
import { answers, isIn, matches, sameAddress, type ModelGroup, type Scope } from './match-model.ts';

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

/** A port behind which a device stands. */
export interface ModelLeg {
  readonly name: string;
  readonly port: number;
  readonly vni: number;
}

/** A whole configuration of one DPU. Every entry of a rule acts in `vni`; all groups are of the rules' namespace. */
export interface World {
  readonly vtep: string;
  readonly peers: readonly string[];
  readonly networks: readonly ModelNetwork[];
  readonly endpoints: readonly ModelEndpoint[];
  readonly legs: readonly ModelLeg[];
  readonly groups: readonly ModelGroup[];
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
  readonly verdict: 'allow' | 'deny' | 'redirect';
  readonly by: readonly string[];
  /** Redirects before it that went on without their device (`onMissing: Allow`), in order. */
  readonly passed?: readonly string[];
  /** Port that it is redirected to, or why that cannot be. */
  readonly leg?: number | 'RedirectDown' | 'RedirectMulticast';
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
const [UDP, ICMPV6] = [17, 58] as const;

interface Hit {
  readonly name: string;
  readonly tier: number;
  readonly priority: number;
  readonly entry: RuleEntry;
  readonly isReply: boolean;
}

/** Where policy is asked about a packet. */
interface Place {
  readonly direction: 'egress' | 'ingress';
  readonly network: ModelNetwork;
  /** It comes back from a device. */
  readonly isReturned: boolean;
}

/** Where an entry acts by its own match; a redirect acts once. */
function actsAt({ action, direction }: RuleEntry): readonly ('egress' | 'ingress')[] {
  if (direction === 'Ingress') return ['ingress'];
  return direction === 'Both' && action !== 'redirect' ? ['egress', 'ingress'] : ['egress'];
}

/** Where the replies to what it matches are let through or redirected: a reply goes the other way. */
function repliesAt(entry: RuleEntry): readonly ('egress' | 'ingress')[] {
  if (!entry.reverse && entry.action !== 'redirect') return [];
  const own = actsAt(entry);
  return own.length > 1 ? own : [own[0] === 'egress' ? 'ingress' : 'egress'];
}

function hitsOf(world: World, { network, direction }: Place, packet: Packet): Hit[] {
  const scope: Scope = { vni: network.vni, groups: world.groups };
  return world.rules.flatMap(({ object, vni }) => {
    const { metadata, spec } = object;
    if (vni !== network.vni || spec.enforcement !== 'Enforce') return [];
    return spec.rules.flatMap((entry): Hit[] => {
      const isMatch =
        actsAt(entry).includes(direction) && matches(scope, entry.match, packet, entry.action);
      const isReply = repliesAt(entry).includes(direction) && answers(scope, entry.match, packet);
      if (!isMatch && !isReply) return [];
      return [
        {
          name: `DPURule/${metadata.namespace}/${metadata.name}/${entry.name}`,
          tier: TIER_ORDER.indexOf(spec.tier),
          priority: entry.priority ?? spec.priority,
          entry,
          isReply: !isMatch,
        },
      ];
    });
  });
}

/** The port that a redirected packet goes out by; undefined when a leg is not there. A reply goes into the other leg. */
function legOf(world: World, vni: number, { entry, isReply }: Hit): number | undefined {
  const find = (name: string | undefined): number | undefined =>
    world.legs.find((leg) => leg.name === name && leg.vni === vni)?.port;
  const near = find(entry.redirectPort);
  const far = find(entry.returnPort ?? entry.redirectPort);
  if (near === undefined || far === undefined) return undefined;
  return isReply ? far : near;
}

/** What policy says at one place. */
function decide(world: World, place: Place, packet: Packet): Decision {
  const { direction, network, isReturned } = place;
  const isMulticast = isMulticastMac(packet.ethDst);
  const hits = hitsOf(world, place, packet).filter(
    // A reply is never a multicast; a rule that names its MAC is about one.
    ({ entry, isReply }) =>
      !(entry.action === 'redirect' && isReply && direction === 'ingress' && isMulticast),
  );
  const passed: string[] = [];
  for (const tier of TIER_ORDER.keys()) {
    const inTier = hits.filter((hit) => hit.tier === tier);
    const rankOf = ({ priority, entry }: Hit): number =>
      priority * 10 + CAUTION.indexOf(entry.action);
    const best = Math.min(...inTier.map(rankOf));
    const winners = inTier.filter((hit) => rankOf(hit) === best);
    const [first] = winners;
    if (first === undefined || first.entry.action === 'pass') continue;
    const { action, onMissing } = first.entry;
    const by = winners.map(({ name }) => name).sort();
    if (action !== 'redirect')
      return { verdict: action === 'allow' ? 'allow' : 'deny', by, passed };
    // It has been there.
    if (isReturned) continue;
    if (direction === 'ingress' && !first.isReply && isMulticast) {
      return { verdict: 'redirect', by: [], passed, leg: 'RedirectMulticast' };
    }
    const leg = legOf(world, network.vni, first);
    if (leg === undefined && onMissing === 'Allow') passed.push(first.name);
    else return { verdict: 'redirect', by, passed, leg: leg ?? 'RedirectDown' };
  }
  const verdict = network.defaultAction[direction];
  // Dropped under a name of its own, which no verdict counts: nobody has judged the first fragment by this default.
  if (verdict === 'deny' && packet.fragment === 'later') return { verdict, by: [], passed };
  return { verdict, by: [DEFAULT], passed };
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

/** Why what a device returns is not taken, or where it began. */
function returnedFrom(world: World, vni: number, packet: Packet): string | ModelEndpoint {
  if (packet.type === 'arp') return 'DeviceFrame';
  const sender = world.endpoints.find(
    (endpoint) => endpoint.vni === vni && endpoint.mac === packet.ethSrc,
  );
  return sender ?? 'UnknownReturned';
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
  const inPort = 'port' in from ? from.port : undefined;
  const leg = world.legs.find(({ port }) => port === inPort);
  const at =
    'port' in from
      ? (leg?.vni ?? world.endpoints.find(({ port }) => port === inPort)?.vni)
      : from.vni;
  if (at === undefined) return dropped('UnknownPort');
  const returned = leg === undefined ? undefined : returnedFrom(world, at, packet);
  if (typeof returned === 'string') return dropped(returned);
  const refused =
    inPort === undefined
      ? tunnelReason(world, packet)
      : returned === undefined && spoofReason(world, inPort, packet);
  if (typeof refused === 'string') return dropped(refused);
  const network = world.networks.find(({ vni }) => vni === at);
  if (network === undefined) return dropped('UnknownVni');

  /** Where it began: on this DPU, also when a device has had it, or behind the tunnel. */
  const isLocal = returned === undefined ? inPort !== undefined : returned.port !== undefined;
  const unfiltered = isDiscovery(packet);
  const place = { network, isReturned: returned !== undefined };
  // What a device returns is judged whatever it is; of the rest, who asks for an address is let through.
  const isJudged = isLocal && (!unfiltered || place.isReturned);
  const sent = isJudged ? decide(world, { ...place, direction: 'egress' }, packet) : undefined;
  const egress = sent === undefined ? {} : { egress: sent };
  if (sent?.verdict === 'deny') return { outputs: [], ingress: [], ...egress };
  if (sent?.verdict === 'redirect') {
    if (typeof sent.leg === 'string') return dropped(sent.leg, sent);
    return { outputs: [`port ${sent.leg}`], ingress: [], ...egress };
  }

  const asked = place.isReturned ? undefined : askedEndpoint(world, at, packet);
  const ethDst = asked?.mac ?? packet.ethDst;
  const inbound = { ...packet, ethDst };
  const members = world.endpoints.filter(({ vni }) => vni === at);
  /** The port that the sender stands behind. Only where others stand there too does something go back. */
  const ownPort = returned === undefined ? inPort : returned.port;
  const isShared = members.filter(({ port }) => port === ownPort).length > 1;
  const deliver = (ports: readonly number[]): Pick<Outcome, 'outputs' | 'ingress' | 'drop'> => {
    const ingress = unfiltered
      ? []
      : ports.map(() => decide(world, { ...place, direction: 'ingress' }, inbound));
    const outputs = ports.flatMap((port, index) => {
      const { verdict = 'allow', leg: to } = ingress[index] ?? {};
      if (verdict === 'redirect') return typeof to === 'number' ? [`port ${to}`] : [];
      return verdict === 'allow' && (port !== ownPort || isShared) ? [`port ${port}`] : [];
    });
    const lost = ports.length === 1 ? ingress[0]?.leg : undefined;
    return { outputs, ingress, ...(typeof lost === 'string' ? { drop: lost } : {}) };
  };
  const flood = (): Outcome => {
    const ports = [...new Set(members.flatMap(({ port }) => port ?? []))];
    const local = deliver(ports);
    const away = isLocal ? world.peers.map((peer) => `vtep ${peer} vni ${at}`) : [];
    return { ...local, outputs: [...local.outputs, ...away].sort(), ...egress };
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
