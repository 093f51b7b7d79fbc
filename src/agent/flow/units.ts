/**
 * The parts that the flow table is composed of. Each part ("unit") is a pure function of few inputs; its signature says
 * whether it must be compiled again. Rules are units too, but are kept apart, since there are many (`desired.ts`).
 */
import { formatIp, formatMac, formatPrefix } from '../../base/address.ts';
import type { Vni } from '../../base/brand.ts';
import type { EncodedFlow } from '../../openflow/flow.ts';
import type { EncodedGroup } from '../../openflow/group-mod.ts';
import { hashName, makeCookie, type CookieCategory } from './cookie.ts';
import { shadowVerdict } from './dry-run.ts';
import { FlowList } from './flow-list.ts';
import {
  groupFault,
  pipelineFlowFault,
  type IsolationFault,
  type PortNetworks,
} from './isolation.ts';
import type { Learning, LocalEndpoint, Network, Snapshot, Tunnel } from './model.ts';
import { TABLE, type PipelineTable } from './pipeline.ts';
import { commitLeg, commitNetwork } from './tables/commit.ts';
import { conntrackBase, conntrackLeg, conntrackNetwork } from './tables/conntrack.ts';
import { defaultActionName, registerId } from './rule-id.ts';
import {
  deviceBase,
  deviceLeg,
  legGroups,
  returnedLocal,
  returnedRemote,
} from './tables/devices.ts';
import { classifyBase, classifyLocal, classifyNetwork, classifyPeer } from './tables/classify.ts';
import { floodBase, floodGroups, floodNetwork } from './tables/flood.ts';
import { forwardBase, forwardLocal, forwardNetwork, forwardRemote } from './tables/forward.ts';
import { guardBase, guardLocal, guardRemote } from './tables/guards.ts';
import { forwardLearned, learnerCookie, learnFrom } from './tables/learned.ts';
import { neighbourBase, neighbourEndpoint } from './tables/neighbour.ts';
import { outputBase, outputSharedPort } from './tables/output.ts';
import { tierBase, tierDefault, TIER_CHAINS, type PolicyDirection } from './tables/tiers.ts';

/** What a unit compiles to. */
export interface UnitOutput {
  readonly flows: readonly EncodedFlow[];
  readonly groups: readonly EncodedGroup[];
  /** Cookies under which the flows learn. */
  readonly learners?: readonly bigint[];
  /** What was left out because it would let networks meet; only where something was. */
  readonly faults?: readonly IsolationFault[];
}

/** A unit that may have to be compiled. */
export interface Unit {
  /** Unique and stable: where two units claim one match, the first name in sort order has it. */
  readonly name: string;
  /** Changes when, and only when, an input changes. */
  readonly signature: string;
  compile(): UnitOutput;
}

/** The units of a snapshot, rules left out. `idOf` gives the ids of the default actions. */
export function pipelineUnits(snapshot: Snapshot, idOf: (name: string) => bigint): Unit[] {
  const { tunnel } = snapshot;
  const tunnelText = tunnel === undefined ? '-' : `${tunnel.ofport}@${tunnel.ip}`;
  const units: Unit[] = [
    unit('base', tunnelText, 'pipeline', (list) => {
      classifyBase(list, tunnel);
      guardBase(list);
      neighbourBase(list);
      tierBase(list);
      shadowVerdict(list);
      forwardBase(list);
      floodBase(list);
      deviceBase(list);
      conntrackBase(list);
      outputBase(list, tunnel);
    }),
  ];
  if (tunnel !== undefined) {
    for (const peer of snapshot.peers) {
      const name = `peer/${formatIp(4, BigInt(peer))}`;
      units.push(unit(name, tunnelText, 'peer', (list) => classifyPeer(list, tunnel, peer)));
    }
  }
  const localsByVni = Map.groupBy(snapshot.locals, (endpoint) => endpoint.vni);
  for (const network of snapshot.networks) {
    const locals = localsByVni.get(network.vni) ?? [];
    units.push(networkUnit(snapshot, network, locals, tunnelText, idOf));
    if (tunnel === undefined || network.learning === undefined) continue;
    units.push(learnUnit(tunnel, network, network.learning, snapshot.peers));
  }
  const tracked = new Set(snapshot.networks.filter((each) => each.tracking).map(({ vni }) => vni));
  // Where what a device returns goes on, by VNI.
  const returnTables = new Map<number, PipelineTable>(
    snapshot.legs.map(({ vni }) => [vni, tracked.has(vni) ? TABLE.conntrack : TABLE.entry]),
  );
  for (const leg of snapshot.legs) {
    const name = `leg/${leg.vni}/${leg.port}`;
    const isTracked = tracked.has(leg.vni);
    const base = unit(name, `${leg.ofport} ${isTracked} ${tunnelText}`, 'device', (list) => {
      deviceLeg(list, leg);
      if (!isTracked) return;
      conntrackLeg(list, leg);
      commitLeg(list, leg);
    });
    units.push({ ...base, compile: () => ({ ...base.compile(), groups: legGroups(leg, tunnel) }) });
  }
  const sharedPorts = Map.groupBy(snapshot.locals, (endpoint) => endpoint.ofport);
  for (const endpoint of snapshot.locals) {
    const shared = (sharedPorts.get(endpoint.ofport)?.length ?? 0) > 1;
    units.push(localUnit(endpoint, shared, returnTables.get(endpoint.vni)));
  }
  if (tunnel !== undefined) {
    for (const endpoint of snapshot.remotes) {
      const name = `remote/${endpoint.vni}/${formatMac(endpoint.mac)}`;
      const returnTable = returnTables.get(endpoint.vni);
      const signature = `${tunnelText} ${endpoint.vtep} ${returnTable?.id} ${endpoint.ips.map(formatPrefix).join()}`;
      units.push(
        unit(name, signature, 'endpoint', (list) => {
          guardRemote(list, endpoint);
          neighbourEndpoint(list, endpoint);
          forwardRemote(list, tunnel, endpoint);
          if (returnTable !== undefined) returnedRemote(list, endpoint, returnTable);
        }),
      );
    }
  }
  const networks = portNetworks(snapshot);
  return units.map((each) => ({ ...each, compile: () => isolated(each.compile(), networks) }));
}

function portNetworks({ tunnel, locals, legs, networks }: Snapshot): PortNetworks {
  const byPort = new Map<number, Vni>();
  for (const { ofport, vni } of [...locals, ...legs]) byPort.set(ofport, vni);
  const zones = new Map<number, number | undefined>(
    networks.map(({ vni, tracking }) => [vni, tracking?.zone]),
  );
  return {
    tunnel: tunnel?.ofport,
    vniOf: (ofport) => byPort.get(ofport),
    zoneOf: (vni) => zones.get(vni),
  };
}

/** What was compiled, without what would let networks meet. */
export function isolated(output: UnitOutput, networks: PortNetworks): UnitOutput {
  const faults: IsolationFault[] = [];
  const isSound = (fault: IsolationFault | undefined): boolean => {
    if (fault !== undefined) faults.push(fault);
    return fault === undefined;
  };
  const flows = output.flows.filter((flow) => isSound(pipelineFlowFault(flow, networks)));
  const groups = output.groups.filter((group) => isSound(groupFault(group, networks)));
  return faults.length === 0 ? output : { ...output, flows, groups, faults };
}

function networkUnit(
  snapshot: Snapshot,
  network: Network,
  locals: readonly LocalEndpoint[],
  tunnelText: string,
  idOf: (name: string) => bigint,
): Unit {
  const { defaultAction, subnets, unknownUnicast, tracking } = network;
  const defaults = TIER_CHAINS.map((chain) => ({
    chain,
    id: registerId(idOf(defaultActionName(network.name, chain.direction))),
  }));
  const signature = [
    tunnelText,
    network.name,
    defaultAction.ingress,
    defaultAction.egress,
    unknownUnicast,
    tracking === undefined ? '-' : `${tracking.zone}/${tracking.warming}`,
    subnets.map(formatPrefix).join(),
    snapshot.peers.join(),
    locals.map(({ ofport }) => ofport).join(),
    defaults.map(({ id }) => id).join(),
  ].join(' ');
  const base = unit(`network/${network.vni}`, signature, 'network', (list) => {
    classifyNetwork(list, network);
    forwardNetwork(list, network);
    floodNetwork(list, network);
    for (const { chain, id } of defaults) tierDefault(list, network, chain, id);
    if (tracking === undefined) return;
    const idBy = (direction: PolicyDirection): number =>
      registerId(idOf(defaultActionName(network.name, direction)));
    conntrackNetwork(list, network, tracking);
    commitNetwork(list, network, tracking, { egress: idBy('egress'), ingress: idBy('ingress') });
  });
  return {
    ...base,
    compile: () => ({
      ...base.compile(),
      groups: floodGroups(network, snapshot.tunnel, snapshot.peers, locals),
    }),
  };
}

function learnUnit(
  tunnel: Tunnel,
  network: Network,
  learning: Learning,
  peers: readonly number[],
): Unit {
  const { limit, ageSeconds } = learning;
  const signature = `${tunnel.ofport} ${limit} ${ageSeconds} ${peers.join()}`;
  const base = unit(`learn/${network.vni}`, signature, 'network', (list) => {
    forwardLearned(list, network);
    for (const peer of peers) list.addAll(learnFrom(tunnel, network, learning, peer));
  });
  return {
    ...base,
    compile: () => ({
      ...base.compile(),
      learners: peers.map((peer) => learnerCookie(tunnel, network, peer)),
    }),
  };
}

function localUnit(
  endpoint: LocalEndpoint,
  shared: boolean,
  returnTable: PipelineTable | undefined,
): Unit {
  const name = `local/${endpoint.vni}/${formatMac(endpoint.mac)}/${endpoint.port}`;
  const signature = `${endpoint.ofport} ${shared} ${returnTable?.id} ${endpoint.ips.map(formatPrefix).join()}`;
  return unit(name, signature, 'endpoint', (list) => {
    classifyLocal(list, endpoint);
    guardLocal(list, endpoint);
    neighbourEndpoint(list, endpoint);
    forwardLocal(list, endpoint);
    if (shared) outputSharedPort(list, endpoint);
    if (returnTable !== undefined) returnedLocal(list, endpoint, shared, returnTable);
  });
}

function unit(
  name: string,
  signature: string,
  category: CookieCategory,
  fill: (list: FlowList) => void,
): Unit {
  return {
    name,
    signature,
    compile: () => {
      const list = new FlowList(makeCookie(category, hashName(name)));
      fill(list);
      return { flows: list.flows, groups: [] };
    },
  };
}
