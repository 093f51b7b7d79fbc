/**
 * Tables 45 FloodGuard and 46 Flood: broadcast and multicast of one VNI, a copy per receiver by a group. Local copies run
 * through ingress policy inside their bucket; copies from the tunnel stay local.
 */
import { prefixMask, type IpPrefix } from '../../../base/address.ts';
import type { Vni } from '../../../base/brand.ts';
import { encodeGroup, type Bucket, type EncodedGroup } from '../../../openflow/group-mod.ts';
import { ETH_TYPE, ethType, type FlowList } from '../flow-list.ts';
import type { LocalEndpoint, Network, Tunnel } from '../model.ts';
import { TABLE } from '../pipeline.ts';
import {
  matchOutbound,
  matchReturned,
  matchSource,
  matchVni,
  setDestination,
  setOutputPort,
} from '../registers.ts';
import { FLOOD_GROUP_TAG, GROUP_TAG_UNIT } from '../group-id.ts';

const IPV4_MULTICAST = { value: 0xe0000000, mask: 0xf0000000 };
const IPV4_BROADCAST = 0xffffffff;
const IPV6_MULTICAST = { value: 0xffn << 120n, mask: 0xffn << 120n };

/**
 * Group numbers follow from the VNI: they need no memory and survive a restart. The tag is that of `group-id.ts`.
 *
 * ```
 *  31      25 24                      1  0
 * +----------+-------------------------+---+
 * | tag 0x5a |           VNI           | t |   t = 1: for packets from the tunnel (local copies only)
 * +----------+-------------------------+---+
 * ```
 */
export function floodGroupId(vni: Vni, source: 'local' | 'tunnel'): number {
  return FLOOD_GROUP_TAG * GROUP_TAG_UNIT + vni * 2 + (source === 'tunnel' ? 1 : 0);
}

/** What holds for every network: a unicast IP destination in a multicast frame is dropped. */
export function floodBase(list: FlowList): void {
  const pass = [
    [ethType(ETH_TYPE.ipv4), { field: 'ipv4Dst', ...IPV4_MULTICAST } as const],
    [ethType(ETH_TYPE.ipv4), { field: 'ipv4Dst', value: IPV4_BROADCAST } as const],
    [ethType(ETH_TYPE.ipv6), { field: 'ipv6Dst', ...IPV6_MULTICAST } as const],
  ];
  for (const match of pass) list.goto(TABLE.floodGuard, 150, match, TABLE.flood);
  list.drop(TABLE.floodGuard, 100, [ethType(ETH_TYPE.ipv4)], 'UnicastInMulticast');
  list.drop(TABLE.floodGuard, 100, [ethType(ETH_TYPE.ipv6)], 'UnicastInMulticast');
  list.goto(TABLE.floodGuard, 0, [], TABLE.flood);
  list.drop(TABLE.flood, 0, [], 'UnknownVni');
}

/** The flows of one network. */
export function floodNetwork(list: FlowList, network: Network): void {
  for (const subnet of network.subnets) {
    const broadcast = directedBroadcast(subnet);
    if (broadcast === undefined) continue;
    list.goto(
      TABLE.floodGuard,
      150,
      [matchVni(network.vni), ethType(ETH_TYPE.ipv4), { field: 'ipv4Dst', value: broadcast }],
      TABLE.flood,
    );
  }
  const sources = [
    [matchOutbound(), 'local'],
    [matchSource('tunnel'), 'tunnel'],
    [matchReturned('remote'), 'tunnel'],
  ] as const;
  for (const [from, source] of sources) {
    list.add(
      TABLE.flood,
      100,
      [matchVni(network.vni), from],
      [{ type: 'group', groupId: floodGroupId(network.vni, source) }],
    );
  }
}

/** The two groups of one network. `peers` are IPv4 addresses; `locals` are the endpoints of this VNI. */
export function floodGroups(
  network: Network,
  tunnel: Tunnel | undefined,
  peers: readonly number[],
  locals: readonly LocalEndpoint[],
): EncodedGroup[] {
  const ports = [...new Set(locals.map((endpoint) => endpoint.ofport))].sort((a, b) => a - b);
  // The copy for the sender's own port is dropped by OVS: it does not output to the port that a packet came from.
  const localBuckets: Bucket[] = ports.map((ofport) => ({
    actions: [
      setOutputPort(ofport),
      setDestination('local'),
      { type: 'resubmit', table: TABLE.ingressEntry.id },
    ],
  }));
  const peerBuckets: Bucket[] =
    tunnel === undefined
      ? []
      : peers.map((peer) => ({
          actions: [
            { type: 'setField', field: 'tunIpv4Dst', value: peer },
            { type: 'setField', field: 'tunnelId', value: network.vni },
            { type: 'output', port: tunnel.ofport },
          ],
        }));
  return [
    encodeGroup({
      groupId: floodGroupId(network.vni, 'local'),
      type: 'all',
      buckets: [...localBuckets, ...peerBuckets],
    }),
    encodeGroup({
      groupId: floodGroupId(network.vni, 'tunnel'),
      type: 'all',
      buckets: localBuckets,
    }),
  ];
}

/** The last address of an IPv4 subnet that has one to spare. */
function directedBroadcast(subnet: IpPrefix): bigint | undefined {
  if (subnet.family !== 4 || subnet.length > 30) return undefined;
  return subnet.value | (prefixMask(4, 32) ^ prefixMask(4, subnet.length));
}
