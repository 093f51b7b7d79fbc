/**
 * Table 70 Commit: what a network with connection tracking remembers of the connections that it lets through. Commit and
 * output stand in one pass: goto table 80 after ct(commit) saves a recirculation.
 */
import type { Action } from '../../../openflow/action.ts';
import { encodeFlow, type EncodedFlow } from '../../../openflow/flow.ts';
import type { Match, MatchField } from '../../../openflow/match.ts';
import { CT, ctMarkOf, ctState, MARK } from '../connection-mark.ts';
import { ethType, IP_PROTO, type FlowList } from '../flow-list.ts';
import type { DeviceLeg, Network, Tracking } from '../model.ts';
import { TABLE, type PipelineTable } from '../pipeline.ts';
import {
  matchFlag,
  matchForwardRedirect,
  matchReplyLeg,
  matchSource,
  matchVni,
  VERDICT_REGISTER,
} from '../registers.ts';
import { IP_FAMILIES } from './conntrack.ts';

const BLOCK_PRIORITY = 110;
/** Of the three-way handshake only the first segment has SYN without ACK (RFC 9293 section 3.5). */
const OPENING_SEGMENT: Match = [
  { field: 'ipProto', value: IP_PROTO.tcp },
  { field: 'tcpFlags', value: 0x02, mask: 0x12 },
];
const NEW = ctState(CT.new);
const ORIGINAL = ctState(0, CT.rpl | CT.inv);
const ESTABLISHED = ctState(CT.est, CT.rpl);

const commit = (zone: number, exec: readonly Action[]): Action => ({
  type: 'ct',
  commit: true,
  zone,
  exec,
});

/**
 * One network with tracking. `defaultIds` are the ids of its default actions as rules: in the warm-up a packet in
 * mid-stream that only they admitted may be a reply, and is not committed.
 */
export function commitNetwork(
  list: FlowList,
  network: Network,
  tracking: Tracking,
  defaultIds: { readonly egress: number; readonly ingress: number },
): void {
  const { zone, warming } = tracking;
  const vni = matchVni(network.vni);
  const add = (priority: number, match: Match, exec: readonly Action[]): void => {
    for (const family of IP_FAMILIES) {
      const whole = [vni, ethType(family), ...match];
      list.add(TABLE.commit, priority, whole, [commit(zone, exec)], TABLE.output);
    }
  };
  add(130, [matchForwardRedirect(), ORIGINAL], MARK.redirect);
  // What a device returns belongs to a connection that has been marked on the way out: that stays.
  const returned = matchSource('returned');
  add(121, [returned, ESTABLISHED, ctMarkOf({ blocked: true })], MARK.unblock);
  add(120, [returned, NEW], MARK.unblock);
  list.goto(TABLE.commit, 119, [vni, returned], TABLE.output);
  add(100, [NEW], MARK.clear);
  // It is let through, and visits no device: whatever was noted before no longer holds.
  for (const part of [{ blocked: true }, { redirected: true }] as const) {
    add(90, [ESTABLISHED, ctMarkOf(part)], MARK.clear);
  }
  if (!warming) return;
  add(110, [...OPENING_SEGMENT, NEW], MARK.clear);
  list.goto(TABLE.commit, 108, [vni, matchFlag('byReverse')], TABLE.output);
  for (const egress of [0, defaultIds.egress]) {
    for (const ingress of [0, defaultIds.ingress]) {
      const decided: MatchField[] = [
        { field: VERDICT_REGISTER.egress, value: egress },
        { field: VERDICT_REGISTER.ingress, value: ingress },
      ];
      list.goto(TABLE.commit, 107, [vni, ...decided], TABLE.output);
    }
  }
}

/** A connection that is redirected as it was before needs no commit. */
export function commitLeg(list: FlowList, leg: DeviceLeg): void {
  const match = [
    matchVni(leg.vni),
    matchForwardRedirect(),
    matchReplyLeg(leg.ofport),
    ESTABLISHED,
    ctMarkOf({ leg: leg.ofport }),
  ];
  list.goto(TABLE.commit, 140, match, TABLE.output);
}

/**
 * Where a deny ends: it also marks a live connection, so that the replies, which skip policy, end too. `actions` come before.
 */
export function blockFlows(
  table: PipelineTable,
  cookie: bigint,
  decided: Match,
  zone: number,
  actions: readonly Action[] = [],
): EncodedFlow[] {
  return IP_FAMILIES.map((family) =>
    encodeFlow({
      tableId: table.id,
      priority: BLOCK_PRIORITY,
      cookie,
      match: [...decided, ethType(family), ctState(CT.est)],
      instructions: { applyActions: [...actions, commit(zone, MARK.block)] },
    }),
  );
}
