/**
 * Tables 15 Conntrack and 16 ConntrackState, for networks with connection tracking: replies of a known connection skip
 * policy, everything in the original direction goes through it, so that a new deny acts on live connections too. While a
 * network warms up, tracking runs beside a policy that stays stateless (docs/pipeline.md, "Connection tracking").
 */
import type { Match, MatchField } from '../../../openflow/match.ts';
import { ETH_TYPE, ethType, type FlowList } from '../flow-list.ts';
import type { DeviceLeg, Network, Tracking } from '../model.ts';
import { TABLE } from '../pipeline.ts';
import { matchSource, matchVni, setFlag, setLegs } from '../registers.ts';
import { CT, ctMarkOf, ctState } from '../connection-mark.ts';

/** IP families: ct() needs its prerequisite in the match wherever it stands. */
export const IP_FAMILIES = [ETH_TYPE.ipv4, ETH_TYPE.ipv6] as const;

const REPLY = ctState(CT.est | CT.rpl);
const RELATED_REPLY = ctState(CT.rel | CT.rpl);
const BLOCKED: MatchField = ctMarkOf({ blocked: true });
const REDIRECTED: MatchField = ctMarkOf({ redirected: true });

/** What holds for every network that gets here. */
export function conntrackBase(list: FlowList): void {
  const state = TABLE.conntrackState;
  list.drop(TABLE.conntrack, 0, [], 'NoZone');
  list.drop(state, 120, [ctState(CT.inv)], 'InvalidState');
  for (const match of [REPLY, ctState(CT.rel)]) {
    list.drop(state, 110, [match, BLOCKED], 'BlockedConnection');
    list.add(state, 100, [match], [setFlag('skipPolicy')], TABLE.forward);
  }
  for (const match of repliesToRedirected()) list.drop(state, 104, match, 'RedirectDown');
  list.goto(state, 0, [], TABLE.entry);
}

/** One network with tracking. */
export function conntrackNetwork(list: FlowList, network: Network, tracking: Tracking): void {
  for (const family of IP_FAMILIES) {
    const match = [matchVni(network.vni), ethType(family)];
    list.goto(TABLE.neighbour, 60, match, TABLE.conntrack);
    list.add(TABLE.conntrack, 100, match, [
      { type: 'ct', zone: tracking.zone, table: TABLE.conntrackState.id },
    ]);
  }
  // Connections that began untracked look new in mid-stream, and the wrong way round when the server speaks first.
  if (tracking.warming) list.goto(TABLE.conntrackState, 200, [matchVni(network.vni)], TABLE.entry);
}

/** Replies of a redirected connection visit the device by this leg, unless they come from there. */
export function conntrackLeg(list: FlowList, leg: DeviceLeg): void {
  for (const match of repliesToRedirected(leg.ofport)) {
    list.add(
      TABLE.conntrackState,
      105,
      [matchVni(leg.vni), ...match],
      [setFlag('redirected'), setLegs({ toCheck: 0, out: leg.ofport })],
      TABLE.divert,
    );
  }
}

function repliesToRedirected(leg?: number): Match[] {
  const mark = leg === undefined ? REDIRECTED : ctMarkOf({ leg });
  return (['tunnel', 'local'] as const).flatMap((source) =>
    [REPLY, RELATED_REPLY].map((state) => [matchSource(source), state, mark]),
  );
}
