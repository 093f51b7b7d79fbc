/**
 * Tables 0 Classify and 1 Network: where a packet comes from, and which tenant it belongs to. From here on the VNI stands
 * in metadata and is never rewritten: isolation by construction.
 */
import type { LocalEndpoint, Network, Tunnel } from '../model.ts';
import type { FlowList } from '../flow-list.ts';
import { TABLE } from '../pipeline.ts';
import { setSource, setVni } from '../registers.ts';

/** The misses of both tables. */
export function classifyBase(list: FlowList, tunnel: Tunnel | undefined): void {
  list.drop(TABLE.classify, 0, [], 'UnknownPort');
  list.drop(TABLE.network, 0, [], 'UnknownVni');
  if (tunnel !== undefined) {
    list.drop(TABLE.classify, 10, [{ field: 'inPort', value: tunnel.ofport }], 'UnknownPeer');
  }
}

/** A known peer may send to us, and to nobody else, through the tunnel. */
export function classifyPeer(list: FlowList, tunnel: Tunnel, peer: number): void {
  list.add(
    TABLE.classify,
    100,
    [
      { field: 'inPort', value: tunnel.ofport },
      { field: 'tunIpv4Src', value: peer },
      { field: 'tunIpv4Dst', value: tunnel.ip },
    ],
    [setSource('tunnel')],
    TABLE.network,
  );
}

/** A port of ours belongs to one tenant. */
export function classifyLocal(list: FlowList, endpoint: LocalEndpoint): void {
  list.add(
    TABLE.classify,
    100,
    [{ field: 'inPort', value: endpoint.ofport }],
    [setVni(endpoint.vni), setSource('local')],
    TABLE.spoofGuard,
  );
}

/** A VNI that is configured here is accepted from the tunnel. */
export function classifyNetwork(list: FlowList, network: Network): void {
  list.add(
    TABLE.network,
    100,
    [{ field: 'tunnelId', value: network.vni }],
    [setVni(network.vni)],
    TABLE.remoteGuard,
  );
}
