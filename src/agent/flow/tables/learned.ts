/**
 * Learned forwarding, in networks that ask for it: for peers of which only the VTEP is known. Table 6 RemoteGuard has a flow
 * for each (peer, VNI) by which the switch itself writes (VNI, MAC) -> VTEP into table 41 Learned; table 40 Forward looks
 * there for what it does not know, and 42 sends what was found. Nothing else writes table 41: its flows come and go without
 * the agent. Local and declared MACs are never learned, since their flows in table 6 come first.
 */
import { formatIp } from '../../../base/address.ts';
import type { EncodedFlow } from '../../../openflow/flow.ts';
import type { Action } from '../../../openflow/action.ts';
import { hashName, isLearnedCookie, makeCookie } from '../cookie.ts';
import { FlowList } from '../flow-list.ts';
import type { Learning, Network, Tunnel } from '../model.ts';
import { TABLE } from '../pipeline.ts';
import {
  learnDestination,
  matchDestination,
  matchOutbound,
  matchSource,
  matchVni,
} from '../registers.ts';

const GROUP_BIT = 0x010000000000n;
/** Of the flows in table 41. */
const LEARNED_PRIORITY = 10;

/**
 * The cookie of a learn flow and of all that it learns: the switch counts its limit by it, and it is how they are deleted.
 * The tunnel's ofport is in it, since that stands in learned flows.
 */
export function learnerCookie(tunnel: Tunnel, network: Network, peer: number): bigint {
  const name = `learn/${network.vni}/${formatIp(4, BigInt(peer))}/${tunnel.ofport}`;
  return makeCookie('learned', hashName(name));
}

/** True for a flow of the switch that a learn flow has written. */
export function isLearnedFlow(flow: {
  readonly tableId: number;
  readonly cookie: bigint;
}): boolean {
  return flow.tableId === TABLE.learned.id && isLearnedCookie(flow.cookie);
}

/** Learns the sources behind one peer. A multicast source is not one. */
export function learnFrom(
  tunnel: Tunnel,
  network: Network,
  learning: Learning,
  peer: number,
): readonly EncodedFlow[] {
  const cookie = learnerCookie(tunnel, network, peer);
  const list = new FlowList(cookie);
  list.add(
    TABLE.remoteGuard,
    50,
    [
      matchVni(network.vni),
      matchSource('tunnel'),
      { field: 'tunIpv4Src', value: peer },
      { field: 'ethSrc', value: 0n, mask: GROUP_BIT },
    ],
    [learnAction(tunnel, learning, cookie)],
    TABLE.neighbour,
  );
  return list.flows;
}

function learnAction(tunnel: Tunnel, learning: Learning, cookie: bigint): Action {
  return {
    type: 'learn',
    table: TABLE.learned.id,
    priority: LEARNED_PRIORITY,
    cookie,
    hardTimeout: learning.ageSeconds,
    limit: learning.limit,
    specs: [
      {
        use: 'match',
        to: { field: 'metadata', start: 0, bits: 64 },
        from: { field: 'metadata', start: 0 },
      },
      {
        use: 'match',
        to: { field: 'ethDst', start: 0, bits: 48 },
        from: { field: 'ethSrc', start: 0 },
      },
      {
        use: 'load',
        to: { field: 'tunIpv4Dst', start: 0, bits: 32 },
        from: { field: 'tunIpv4Src', start: 0 },
      },
      { use: 'load', to: { field: 'reg1', start: 0, bits: 32 }, from: BigInt(tunnel.ofport) },
      learnDestination('tunnel'),
    ],
  };
}

/** Looks where learned flows are, and sends what one of them has found. */
export function forwardLearned(list: FlowList, network: Network): void {
  const vni = matchVni(network.vni);
  list.add(
    TABLE.forward,
    30,
    [vni, matchOutbound()],
    [{ type: 'resubmit', table: TABLE.learned.id }],
    TABLE.unknownUnicast,
  );
  list.goto(TABLE.unknownUnicast, 20, [vni, matchDestination('tunnel')], TABLE.commit);
}
