/**
 * A packet as an operator says it, made into a flow as `ofproto/trace` reads it (ovs-fields(7)): prerequisites first, the
 * names of OVS 3.1. Pure. What was not said and had to be chosen is listed.
 */
import {
  formatIp,
  formatMac,
  isMulticastMac,
  parseIp,
  parseMac,
  type IpFamily,
  type IpPrefix,
} from '../../base/address.ts';
import { OFPORT_MAX, VNI_MAX } from '../../base/brand.ts';
import type { Snapshot } from '../flow/model.ts';
import type { PortFacts } from '../overlay/attachments.ts';
import { checkParameters, numberParameter, QueryError, show } from './query.ts';
import {
  matchingParties,
  oneParty,
  partiesOf,
  partyName,
  placeOf,
  type Party,
} from './trace-endpoint.ts';

/** Parameters of `/trace`. */
export const TRACE_PARAMETERS: readonly string[] = [
  ...['from', 'to', 'vni', 'in-port', 'from-peer', 'from-ip', 'from-mac', 'to-ip', 'to-mac'],
  ...['tcp', 'udp', 'sctp', 'icmp', 'protocol', 'arp', 'sport', 'fragment', 'ct'],
];

/** One end of the packet. */
export interface PacketEnd {
  /** Name of the endpoint; null when it is none of ours. */
  readonly name: string | null;
  /** `port NAME` or `behind VTEP`; null when it is not known. */
  readonly place: string | null;
  readonly mac: string;
  /** Null in a frame without IP. */
  readonly ip: string | null;
}

/** The packet. */
export interface TracePacket {
  /** Flow for `ofproto/trace`. */
  readonly flow: string;
  /** Further arguments for `ofproto/trace`. */
  readonly options: readonly string[];
  /** Undefined when it follows from the port alone. */
  readonly vni: number | undefined;
  readonly from: PacketEnd;
  readonly to: PacketEnd;
  /** `tcp/81`, `icmp`, `protocol 47`. */
  readonly protocol: string;
  /** What was not said. */
  readonly assumed: readonly string[];
}

/** What a packet is resolved against. */
export interface TraceWorld {
  readonly snapshot: Snapshot;
  readonly ports: readonly PortFacts[];
}

const SOURCE_PORT = 40_000;
const TTL = 64;
const BROADCAST_MAC = 0xffff_ffff_ffffn;
const CT_STATES = new Map([
  ['new', 'trk,new'],
  ['established', 'trk,est'],
  ['reply', 'trk,est,rpl'],
]);

/**
 * Reads the parameters of `/trace`.
 * @throws QueryError that says what is missing or wrong, and what is accepted.
 */
export function tracePacket(query: URLSearchParams, world: TraceWorld): TracePacket {
  checkParameters(query, TRACE_PARAMETERS);
  const assumed: string[] = [];
  const parties = partiesOf(world.snapshot, world.ports);
  const said = readEnds(query, parties);
  const source = sourceOf(query, world, said);
  const fromMac = macParameter(query, 'from-mac') ?? said.from?.mac;
  if (fromMac === undefined) throw missing('from, or from-mac');
  const addresses = chooseAddresses(query, said);
  const transport = readTransport(query, addresses, assumed);
  const target = targetOf(query, said, addresses, transport.isResolution);
  const flow = [
    transport.keyword,
    ...source.fields,
    `dl_src=${formatMac(fromMac)}`,
    `dl_dst=${formatMac(target.mac)}`,
    ...addressFields(addresses, target, fromMac, transport.isResolution),
    ...transport.fields,
  ].join(',');
  const ct = query.get('ct') ?? 'new';
  const ctState = CT_STATES.get(ct);
  if (ctState === undefined) {
    throw new QueryError(`ct is ${show(ct)}; accepted: ${[...CT_STATES.keys()].join(', ')}`);
  }
  return {
    flow,
    // Each recirculation takes one; more of them than there are do no harm.
    options: query.has('ct') ? Array.from({ length: 8 }, () => ['--ct-next', ctState]).flat() : [],
    vni: source.vni ?? said.vni,
    from: endOf(said.from, fromMac, addresses.from),
    to: endOf(said.to, target.mac, addresses.to),
    protocol: transport.name,
    assumed,
  };
}

/** Who was named. */
interface Said {
  readonly vni: number | undefined;
  readonly from: Party | undefined;
  readonly to: Party | undefined;
  /** Of `to`, where it is an address and no endpoint. */
  readonly toAddress: IpPrefix | undefined;
  readonly isBroadcast: boolean;
}

function readEnds(query: URLSearchParams, parties: readonly Party[]): Said {
  const fromText = query.get('from');
  const toText = query.get('to');
  let vni = numberParameter(query, 'vni', 1, VNI_MAX);
  if (vni === undefined) {
    // A name that means one endpoint says which network the other one is in.
    const unique = (text: string | null): number | undefined => {
      const vnis = new Set(
        text === null ? [] : matchingParties(parties, text, undefined).map((party) => party.vni),
      );
      return vnis.size === 1 ? [...vnis][0] : undefined;
    };
    vni = unique(fromText) ?? unique(query.get('in-port')) ?? unique(toText);
  }
  const from =
    fromText === null
      ? onlyOn(query.get('in-port'), parties)
      : oneParty(parties, 'from', fromText, vni);
  const within = vni ?? from?.vni;
  const isBroadcast = toText === 'broadcast';
  const toAddress = toText === null ? undefined : parseIp(toText);
  const isForeign =
    toAddress !== undefined && matchingParties(parties, toText ?? '', within).length === 0;
  const to =
    toText === null || isBroadcast || isForeign
      ? undefined
      : oneParty(parties, 'to', toText, within);
  return {
    vni: within ?? to?.vni,
    from,
    to,
    toAddress: isForeign ? toAddress : undefined,
    isBroadcast,
  };
}

/** The endpoint of a port that has one only: its addresses are what the packet is from, unless others are said. */
function onlyOn(inPort: string | null, parties: readonly Party[]): Party | undefined {
  const there = parties.filter(
    ({ port }) => port !== undefined && (port.name === inPort || String(port.ofport) === inPort),
  );
  return there.length === 1 ? there[0] : undefined;
}

interface Source {
  readonly fields: readonly string[];
  readonly vni: number | undefined;
}

/** Where the packet comes in. */
function sourceOf(query: URLSearchParams, world: TraceWorld, said: Said): Source {
  const inPort = query.get('in-port');
  const peerText = query.get('from-peer');
  if (inPort !== null && peerText !== null) {
    throw new QueryError('in-port and from-peer exclude each other: a packet comes in once');
  }
  if (inPort !== null) {
    return { fields: [`in_port=${portNumber(inPort, world)}`], vni: undefined };
  }
  const { from, vni } = said;
  if (peerText === null && from?.port !== undefined) {
    return { fields: [`in_port=${from.port.ofport}`], vni: from.vni };
  }
  const peer = peerText === null ? from?.vtep : ipv4Parameter('from-peer', peerText);
  if (peer === undefined) throw missing('from, in-port or from-peer');
  const { tunnel } = world.snapshot;
  if (tunnel === undefined) {
    throw new QueryError(
      'there is no tunnel port yet, so nothing can come from a peer; see dpuctl status',
    );
  }
  if (vni === undefined) throw missing('vni: a packet from a peer carries one');
  const ip = (value: number): string => formatIp(4, BigInt(value));
  return {
    fields: [
      `in_port=${tunnel.ofport}`,
      `tun_id=${vni}`,
      `tun_src=${ip(peer)}`,
      `tun_dst=${ip(tunnel.ip)}`,
    ],
    vni,
  };
}

function portNumber(text: string, { snapshot, ports }: TraceWorld): number {
  const byName =
    ports.find(({ name }) => name === text)?.ofport ??
    (text === 'vtep0' ? snapshot.tunnel?.ofport : undefined);
  if (byName !== undefined) return byName;
  const value = /^\d{1,5}$/.test(text) ? Number(text) : NaN;
  if (value >= 1 && value <= OFPORT_MAX) return value;
  throw new QueryError(
    `in-port is ${show(text)}; accepted: the name of a port of the bridge, or its ofport 1..${OFPORT_MAX}`,
  );
}

/** The IP addresses of both ends, of one family; all undefined in a frame without IP. */
interface Addresses {
  readonly family: IpFamily;
  readonly from: IpPrefix;
  readonly to: IpPrefix;
}

function chooseAddresses(query: URLSearchParams, said: Said): Addresses {
  const fromIp = ipParameter(query, 'from-ip');
  const toIp = ipParameter(query, 'to-ip') ?? said.toAddress ?? toAsAddress(query);
  const candidates: readonly IpFamily[] = said.isBroadcast ? [4] : [4, 6];
  for (const family of candidates) {
    const of = (said: IpPrefix | undefined, party: Party | undefined): IpPrefix | undefined =>
      said === undefined
        ? party?.ips.find((ip) => ip.family === family)
        : said.family === family
          ? said
          : undefined;
    const from = of(fromIp ?? fromAsAddress(query), said.from);
    const to = said.isBroadcast
      ? ({ family: 4, value: 0xffff_ffffn, length: 32 } as const)
      : of(toIp, said.to);
    if (from !== undefined && to !== undefined) return { family, from, to };
  }
  if (fromIp === undefined && (said.from?.ips.length ?? 0) === 0) throw missing('from-ip');
  if (toIp === undefined && (said.to?.ips.length ?? 0) === 0) throw missing('to, or to-ip');
  throw new QueryError(
    'from and to have no address of one family; say them with from-ip and to-ip',
  );
}

/** An endpoint that was named by one of its addresses is meant with that one. */
function fromAsAddress(query: URLSearchParams): IpPrefix | undefined {
  return parseIp(query.get('from') ?? '');
}

function toAsAddress(query: URLSearchParams): IpPrefix | undefined {
  return parseIp(query.get('to') ?? '');
}

/** What the frame is addressed to. */
interface Target {
  readonly mac: bigint;
}

function targetOf(
  query: URLSearchParams,
  said: Said,
  { to }: Addresses,
  isResolution: boolean,
): Target {
  const toMac = macParameter(query, 'to-mac');
  if (toMac !== undefined) return { mac: toMac };
  if (said.isBroadcast || (isResolution && to.family === 4)) return { mac: BROADCAST_MAC };
  // A solicited-node address has the last 24 bits (RFC 4291 section 2.7.1); its MAC address is RFC 2464 section 7.
  if (isResolution) return { mac: 0x3333_ff00_0000n | (to.value & 0xff_ffffn) };
  if (said.to !== undefined) return { mac: said.to.mac };
  const multicast = multicastMac(to);
  if (multicast !== undefined) return { mac: multicast };
  throw new QueryError(
    `to is ${formatIp(to.family, to.value)}, which is no endpoint that this DPU knows: say with to-mac what the frame is addressed` +
      " to, a gateway's MAC address for example",
  );
}

/** MAC address of a multicast or broadcast address (RFC 1112 section 6.4, RFC 2464 section 7). */
function multicastMac({ family, value }: IpPrefix): bigint | undefined {
  if (family === 6) {
    return value >> 120n === 0xffn ? 0x3333_0000_0000n | (value & 0xffff_ffffn) : undefined;
  }
  if (value === 0xffff_ffffn) return BROADCAST_MAC;
  return value >> 28n === 0xen ? 0x0100_5e00_0000n | (value & 0x7f_ffffn) : undefined;
}

function addressFields(
  { family, from, to }: Addresses,
  { mac }: Target,
  fromMac: bigint,
  isResolution: boolean,
): string[] {
  const ip = (address: IpPrefix): string => formatIp(address.family, address.value);
  if (isResolution && family === 4) {
    return [
      `arp_op=1`,
      `arp_spa=${ip(from)}`,
      `arp_tpa=${ip(to)}`,
      `arp_sha=${formatMac(fromMac)}`,
    ];
  }
  if (isResolution) {
    const solicited = (0xff02n << 112n) | 0x1_ff00_0000n | (to.value & 0xff_ffffn);
    const target = isMulticastMac(mac) ? formatIp(6, solicited) : ip(to);
    return [`ipv6_src=${ip(from)}`, `ipv6_dst=${target}`];
  }
  return family === 4
    ? [`nw_src=${ip(from)}`, `nw_dst=${ip(to)}`, `nw_ttl=${TTL}`]
    : [`ipv6_src=${ip(from)}`, `ipv6_dst=${ip(to)}`, `nw_ttl=${TTL}`];
}

/** What is inside IP. */
interface Transport {
  readonly name: string;
  readonly keyword: string;
  readonly fields: readonly string[];
  /** An ARP request or a neighbour solicitation. */
  readonly isResolution: boolean;
}

/** A later fragment of IPv6 does not say its protocol: Open vSwitch sees that of the fragment header. */
const HIDDEN_PROTOCOL = { keyword: 'ipv6', fields: ['nw_proto=44', 'nw_frag=later'] };

function readTransport(
  query: URLSearchParams,
  { family, to }: Addresses,
  assumed: string[],
): Transport {
  const kinds = ['tcp', 'udp', 'sctp', 'icmp', 'protocol', 'arp'].filter((kind) => query.has(kind));
  if (kinds.length > 1) {
    throw new QueryError(`${kinds.join(' and ')} exclude each other: a packet has one protocol`);
  }
  const fragment = query.get('fragment');
  if (fragment !== null && fragment !== 'first' && fragment !== 'later') {
    throw new QueryError(`fragment is ${show(fragment)}; accepted: first, later`);
  }
  const frag = fragment === null ? [] : [`nw_frag=${fragment}`];
  const isHidden = fragment === 'later' && family === 6;
  const suffix = family === 6 ? '6' : '';
  const kind = kinds[0] ?? 'icmp';
  if (kinds.length === 0)
    assumed.push('an echo request: say tcp, udp, icmp, protocol or arp for another');
  const plain = { isResolution: false };
  if (kind === 'tcp' || kind === 'udp' || kind === 'sctp') {
    const port = numberParameter(query, kind, 0, 65_535) ?? 0;
    const source = numberParameter(query, 'sport', 0, 65_535);
    if (source === undefined) assumed.push(`source port ${SOURCE_PORT}`);
    // Later fragments carry no ports, so Open vSwitch refuses them there.
    const ports =
      fragment === 'later' ? [] : [`${kind}_src=${source ?? SOURCE_PORT}`, `${kind}_dst=${port}`];
    return {
      ...plain,
      name: `${kind}/${port}`,
      ...(isHidden ? HIDDEN_PROTOCOL : { keyword: kind + suffix, fields: [...frag, ...ports] }),
    };
  }
  if (query.has('sport')) throw new QueryError('sport needs tcp, udp or sctp');
  if (kind === 'protocol') {
    const number = numberParameter(query, 'protocol', 0, 255) ?? 0;
    const keyword = `ip${family === 6 ? 'v6' : ''}`;
    return {
      ...plain,
      name: `protocol ${number}`,
      ...(isHidden ? HIDDEN_PROTOCOL : { keyword, fields: [`nw_proto=${number}`, ...frag] }),
    };
  }
  if (kind === 'arp') {
    return family === 4
      ? { isResolution: true, name: 'ARP request', keyword: 'arp', fields: [] }
      : {
          isResolution: true,
          name: 'neighbour solicitation',
          keyword: 'icmp6',
          fields: ['icmpv6_type=135', 'icmpv6_code=0', `nd_target=${formatIp(6, to.value)}`],
        };
  }
  const echo = family === 4 ? ['icmp_type=8', 'icmp_code=0'] : ['icmpv6_type=128', 'icmpv6_code=0'];
  return {
    ...plain,
    name: 'icmp',
    ...(isHidden
      ? HIDDEN_PROTOCOL
      : {
          keyword: family === 4 ? 'icmp' : 'icmp6',
          fields: fragment === 'later' ? frag : [...frag, ...echo],
        }),
  };
}

function endOf(party: Party | undefined, mac: bigint, ip: IpPrefix): PacketEnd {
  return {
    name: party === undefined ? null : partyName(party),
    place: party === undefined ? null : placeOf(party),
    mac: formatMac(mac),
    ip: formatIp(ip.family, ip.value),
  };
}

function macParameter(query: URLSearchParams, name: string): bigint | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  const mac = parseMac(text);
  if (mac !== undefined) return mac;
  throw new QueryError(
    `${name} is ${show(text)}; accepted: a MAC address such as 02:00:0a:01:01:05`,
  );
}

function ipParameter(query: URLSearchParams, name: string): IpPrefix | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  const ip = parseIp(text);
  if (ip !== undefined) return ip;
  throw new QueryError(`${name} is ${show(text)}; accepted: an IP address such as 10.1.0.25`);
}

function ipv4Parameter(name: string, text: string): number {
  const ip = parseIp(text);
  if (ip?.family === 4) return Number(ip.value);
  throw new QueryError(`${name} is ${show(text)}; accepted: the IPv4 address of a VTEP`);
}

function missing(what: string): QueryError {
  return new QueryError(`the packet needs ${what}`);
}
