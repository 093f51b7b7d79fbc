/**
 * Tables 10 Neighbour and 17 Entry. ARP requests and neighbour solicitations for a known endpoint are turned into unicast
 * to that endpoint: no forged replies, no slow path, no flood. What is neither goes to policy by its source class.
 */
import type { IpPrefix } from '../../../base/address.ts';
import type { Vni } from '../../../base/brand.ts';
import { ETH_TYPE, ethType, icmpv6, ND_TYPES, type FlowList } from '../flow-list.ts';
import { TABLE } from '../pipeline.ts';
import { matchReturned, matchSource, matchVni } from '../registers.ts';

const ARP_REQUEST = 1;
const ICMPV6_NEIGHBOUR_SOLICITATION = 135;

/** What holds for every network. */
export function neighbourBase(list: FlowList): void {
  list.goto(TABLE.neighbour, 100, [ethType(ETH_TYPE.arp)], TABLE.forward);
  for (const type of ND_TYPES) list.goto(TABLE.neighbour, 100, icmpv6(type), TABLE.forward);
  list.goto(TABLE.neighbour, 50, [ethType(ETH_TYPE.ipv4)], TABLE.entry);
  list.goto(TABLE.neighbour, 50, [ethType(ETH_TYPE.ipv6)], TABLE.entry);
  list.drop(TABLE.neighbour, 0, [], 'UnknownEtherType');
  list.goto(TABLE.entry, 10, [matchSource('local')], TABLE.egressPlatform);
  // It was filtered where it left its endpoint.
  list.goto(TABLE.entry, 10, [matchSource('tunnel')], TABLE.forward);
  // From a device: it goes on where it had left the chain, by where it began.
  list.goto(TABLE.entry, 10, [matchReturned('local')], TABLE.egressPlatform);
  list.goto(TABLE.entry, 10, [matchReturned('remote')], TABLE.forward);
  list.drop(TABLE.entry, 0, [], 'UnknownClass');
}

/** Resolution of one endpoint, local or remote. */
export function neighbourEndpoint(
  list: FlowList,
  endpoint: { readonly vni: Vni; readonly mac: bigint; readonly ips: readonly IpPrefix[] },
): void {
  for (const ip of endpoint.ips) {
    const asked =
      ip.family === 4
        ? [
            ethType(ETH_TYPE.arp),
            { field: 'arpOp', value: ARP_REQUEST } as const,
            { field: 'arpTpa', value: ip.value } as const,
          ]
        : [
            ...icmpv6(ICMPV6_NEIGHBOUR_SOLICITATION),
            { field: 'ipv6NdTarget', value: ip.value } as const,
          ];
    list.add(
      TABLE.neighbour,
      110,
      [matchVni(endpoint.vni), ...asked],
      [{ type: 'setField', field: 'ethDst', value: endpoint.mac }],
      TABLE.forward,
    );
  }
}
