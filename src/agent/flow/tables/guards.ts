/**
 * Tables 5 SpoofGuard and 6 RemoteGuard: an endpoint speaks with its own addresses only, and a peer does not speak for
 * endpoints that stand elsewhere.
 */
import type { Match, MatchField } from '../../../openflow/match.ts';
import { ETH_TYPE, ethType, icmpv6, IP_PROTO, type FlowList } from '../flow-list.ts';
import type { LocalEndpoint, RemoteEndpoint } from '../model.ts';
import { TABLE } from '../pipeline.ts';
import { matchVni } from '../registers.ts';

const GROUP_BIT = 0x010000000000n;
const VLAN_PRESENT = 0x1000;
const ICMPV6_NEIGHBOUR_SOLICITATION = 135;
const ICMPV6_ROUTER_ADVERTISEMENT = 134;
const ICMPV6_MLDV2_REPORT = 143;
const LINK_LOCAL = { value: 0xfe80n << 112n, mask: 0xffc0n << 112n };
const DHCP_SERVER_PORT = 67;
const DHCPV6_SERVER_PORT = 547;

/** What no endpoint may send, and the misses. Source checks of IPv6 let link-local addresses and address detection pass. */
export function guardBase(list: FlowList): void {
  const udpFrom = (family: number, port: number): Match => [
    ethType(family),
    { field: 'ipProto', value: IP_PROTO.udp },
    { field: 'udpSrc', value: port },
  ];
  list.drop(
    TABLE.spoofGuard,
    140,
    [{ field: 'vlanVid', value: VLAN_PRESENT, mask: VLAN_PRESENT }],
    'VlanTagged',
  );
  list.drop(
    TABLE.spoofGuard,
    130,
    [{ field: 'ethSrc', value: GROUP_BIT, mask: GROUP_BIT }],
    'MulticastSource',
  );
  list.drop(TABLE.spoofGuard, 120, icmpv6(ICMPV6_ROUTER_ADVERTISEMENT), 'RouterAdvertisement');
  list.drop(TABLE.spoofGuard, 120, udpFrom(ETH_TYPE.ipv4, DHCP_SERVER_PORT), 'DhcpServer');
  list.drop(TABLE.spoofGuard, 120, udpFrom(ETH_TYPE.ipv6, DHCPV6_SERVER_PORT), 'DhcpServer');
  list.drop(TABLE.spoofGuard, 0, [], 'SpoofedSource');
  list.goto(TABLE.remoteGuard, 0, [], TABLE.neighbour);
}

/** What a local endpoint may send as its own, and that nobody may send it from afar. */
export function guardLocal(list: FlowList, endpoint: LocalEndpoint): void {
  const own: MatchField[] = [
    { field: 'inPort', value: endpoint.ofport },
    { field: 'ethSrc', value: endpoint.mac },
  ];
  const admit = (priority: number, match: Match): void =>
    list.goto(TABLE.spoofGuard, priority, [...own, ...match], TABLE.neighbour);
  const arpFrom = (spa: bigint): Match => [
    ethType(ETH_TYPE.arp),
    { field: 'arpSpa', value: spa },
    { field: 'arpSha', value: endpoint.mac },
  ];
  for (const ip of endpoint.ips) {
    if (ip.family === 4) {
      admit(100, [ethType(ETH_TYPE.ipv4), { field: 'ipv4Src', value: ip.value }]);
      admit(100, arpFrom(ip.value));
    } else {
      admit(100, [ethType(ETH_TYPE.ipv6), { field: 'ipv6Src', value: ip.value }]);
    }
  }
  // An address probe (RFC 5227 section 2.1.1) has no sender address yet.
  admit(100, arpFrom(0n));
  admit(100, [ethType(ETH_TYPE.ipv6), { field: 'ipv6Src', ...LINK_LOCAL }]);
  for (const type of [ICMPV6_NEIGHBOUR_SOLICITATION, ICMPV6_MLDV2_REPORT]) {
    admit(110, [...icmpv6(type), { field: 'ipv6Src', value: 0n }]);
  }
  list.drop(
    TABLE.remoteGuard,
    120,
    [matchVni(endpoint.vni), { field: 'ethSrc', value: endpoint.mac }],
    'RemoteSpoof',
  );
}

/** A remote endpoint speaks from its own VTEP only. */
export function guardRemote(list: FlowList, endpoint: RemoteEndpoint): void {
  const from: Match = [matchVni(endpoint.vni), { field: 'ethSrc', value: endpoint.mac }];
  list.goto(
    TABLE.remoteGuard,
    110,
    [...from, { field: 'tunIpv4Src', value: endpoint.vtep }],
    TABLE.neighbour,
  );
  list.drop(TABLE.remoteGuard, 100, from, 'RemoteSpoof');
}
