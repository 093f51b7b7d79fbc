/**
 * Tables 40 Forward and 42 UnknownUnicast: (VNI, eth_dst) to an output port. A packet from the tunnel never returns to
 * the tunnel. No NORMAL: it has one FDB for all tenants.
 */
import type { FlowList } from '../flow-list.ts';
import type { LocalEndpoint, Network, RemoteEndpoint, Tunnel } from '../model.ts';
import { TABLE } from '../pipeline.ts';
import {
  matchOutbound,
  matchReturned,
  matchSource,
  matchVni,
  setDestination,
  setOutputPort,
} from '../registers.ts';

const GROUP_BIT = 0x010000000000n;

/** What holds for every network, and the misses. */
export function forwardBase(list: FlowList): void {
  list.goto(
    TABLE.forward,
    50,
    [{ field: 'ethDst', value: GROUP_BIT, mask: GROUP_BIT }],
    TABLE.floodGuard,
  );
  list.drop(TABLE.forward, 40, [matchSource('tunnel')], 'NotLocal');
  list.drop(TABLE.forward, 40, [matchReturned('remote')], 'NotLocal');
  list.goto(TABLE.forward, 0, [], TABLE.unknownUnicast);
  list.drop(TABLE.unknownUnicast, 0, [], 'UnknownUnicast');
}

/** To an endpoint on this DPU: through its ingress policy. */
export function forwardLocal(list: FlowList, endpoint: LocalEndpoint): void {
  list.add(
    TABLE.forward,
    100,
    [matchVni(endpoint.vni), { field: 'ethDst', value: endpoint.mac }],
    [setOutputPort(endpoint.ofport), setDestination('local')],
    TABLE.ingressEntry,
  );
}

/** To an endpoint behind another VTEP: its ingress policy acts there. */
export function forwardRemote(list: FlowList, tunnel: Tunnel, endpoint: RemoteEndpoint): void {
  list.add(
    TABLE.forward,
    90,
    [matchVni(endpoint.vni), matchOutbound(), { field: 'ethDst', value: endpoint.mac }],
    [
      { type: 'setField', field: 'tunIpv4Dst', value: endpoint.vtep },
      setOutputPort(tunnel.ofport),
      setDestination('tunnel'),
    ],
    TABLE.commit,
  );
}

/** A network that floods what it does not know. */
export function forwardNetwork(list: FlowList, network: Network): void {
  if (network.unknownUnicast !== 'flood') return;
  list.goto(TABLE.unknownUnicast, 10, [matchVni(network.vni)], TABLE.flood);
}
