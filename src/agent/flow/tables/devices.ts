/**
 * The devices that packets are redirected to, by their legs: what comes back (tables 0 Classify and 6 RemoteGuard), and
 * what goes out (table 60 Divert), by groups that watch over the legs and so need no agent when one goes down. Which
 * packets are redirected is said by the rules (`redirect.ts`).
 *
 * On its way out a packet has bit `redirected`, and in reg5 its leg and a second one that must be up too, since what goes
 * into a device with two legs has to come out of the other. reg5 = 0: the device is missing or down.
 *
 * A copy for a mirror has bit `copy`, and its port in reg7. It goes out right here, once to each port.
 */
import type { Bucket, EncodedGroup } from '../../../openflow/group-mod.ts';
import { encodeGroup } from '../../../openflow/group-mod.ts';
import { OFPP } from '../../../openflow/ofp13.ts';
import type { Action } from '../../../openflow/action.ts';
import { ETH_TYPE, ethType, type FlowList } from '../flow-list.ts';
import { GROUP_TAG_UNIT, LEG_GROUP_TAG } from '../group-id.ts';
import type { DeviceLeg, LocalEndpoint, RemoteEndpoint, Tunnel } from '../model.ts';
import { TABLE, type PipelineTable } from '../pipeline.ts';
import {
  clearLegToCheck,
  matchCopyDone,
  matchCopyPort,
  matchFlag,
  matchLegs,
  matchLegToCheck,
  matchSource,
  matchVni,
  setCopyDone,
  setFlag,
  setLegs,
  setOutputPort,
  setSource,
  setVni,
} from '../registers.ts';

/** What holds for every network. */
export function deviceBase(list: FlowList): void {
  list.drop(TABLE.remoteGuard, 125, [matchSource('returned')], 'UnknownReturned');
  // Reached with reg5 = 0, or with a leg that is not of this network.
  list.drop(TABLE.divert, 100, [matchFlag('redirected')], 'RedirectDown');
  // Never on to the packet's own way: that is not decided here.
  list.drop(TABLE.divert, 140, [matchFlag('copy')], 'MirrorDown');
}

/** One leg, in both directions. */
export function deviceLeg(list: FlowList, leg: DeviceLeg): void {
  const from = { field: 'inPort', value: leg.ofport } as const;
  for (const family of [ETH_TYPE.ipv4, ETH_TYPE.ipv6]) {
    list.add(
      TABLE.classify,
      100,
      [from, { field: 'vlanVid', value: 0 }, ethType(family)],
      [setVni(leg.vni), setSource('returned')],
      TABLE.remoteGuard,
    );
  }
  list.drop(TABLE.classify, 90, [from], 'DeviceFrame');
  const redirected = [matchVni(leg.vni), matchFlag('redirected')];
  list.add(
    TABLE.divert,
    130,
    [...redirected, matchLegToCheck(leg.ofport)],
    [{ type: 'group', groupId: legGroupId(leg, 'check') }],
  );
  list.add(
    TABLE.divert,
    120,
    [...redirected, matchLegs({ toCheck: 0, out: leg.ofport })],
    [{ type: 'group', groupId: legGroupId(leg, 'send') }],
  );
  const copy = [matchVni(leg.vni), matchFlag('copy')];
  list.add(TABLE.divert, 151, [...copy, matchCopyDone(leg.ofport)], []);
  list.add(
    TABLE.divert,
    150,
    [...copy, matchCopyPort(leg.ofport)],
    [{ type: 'output', port: leg.ofport }, setCopyDone(leg.ofport)],
  );
}

/** The fast-failover groups of one leg. What happens when it is down is said by table 60, at reg5 = 0. */
export function legGroups(leg: DeviceLeg, tunnel: Tunnel | undefined): EncodedGroup[] {
  // Every bucket has to watch a port. The tunnel port is always up (it is virtual); without one there is the bridge's own.
  const others: readonly number[] = [...(tunnel === undefined ? [] : [tunnel.ofport]), OFPP.LOCAL];
  const again: Action = { type: 'resubmit', table: TABLE.divert.id };
  const down: readonly Bucket[] = others.map((watchPort) => ({
    watchPort,
    actions: [setLegs({ toCheck: 0, out: 0 }), again],
  }));
  const group = (stage: 'check' | 'send', actions: readonly Action[]): EncodedGroup =>
    encodeGroup({
      groupId: legGroupId(leg, stage),
      type: 'ff',
      buckets: [{ watchPort: leg.ofport, actions }, ...down],
    });
  return [
    group('check', [clearLegToCheck(), again]),
    group('send', [setOutputPort(leg.ofport), { type: 'resubmit', table: TABLE.commit.id }]),
  ];
}

function legGroupId(leg: DeviceLeg, stage: 'check' | 'send'): number {
  return LEG_GROUP_TAG * GROUP_TAG_UNIT + leg.ofport * 2 + (stage === 'send' ? 1 : 0);
}

/** A local endpoint of a network that has a device: what the device returns of its packets, and where that goes on. */
export function returnedLocal(
  list: FlowList,
  endpoint: LocalEndpoint,
  shared: boolean,
  to: PipelineTable,
): void {
  const own = [
    matchVni(endpoint.vni),
    matchSource('returned'),
    { field: 'ethSrc', value: endpoint.mac } as const,
  ];
  list.goto(TABLE.remoteGuard, 130, own, to);
  // Others who stand behind the same port get it as they would without a device.
  if (shared) return;
  // A flooded packet is not sent to the port that it came in by: that is the device's now, no longer the endpoint's.
  list.drop(TABLE.output, 130, [...own, { field: 'reg1', value: endpoint.ofport }], 'OwnFlood');
}

/** A remote endpoint of a network that has a device: its packets stay on this DPU. */
export function returnedRemote(list: FlowList, endpoint: RemoteEndpoint, to: PipelineTable): void {
  list.add(
    TABLE.remoteGuard,
    130,
    [matchVni(endpoint.vni), matchSource('returned'), { field: 'ethSrc', value: endpoint.mac }],
    [setFlag('fromTunnel')],
    to,
  );
}
