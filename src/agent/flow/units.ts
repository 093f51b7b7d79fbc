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
import type { LocalEndpoint, Network, Snapshot } from './model.ts';
import { TABLE } from './pipeline.ts';
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
import { neighbourBase, neighbourEndpoint } from './tables/neighbour.ts';
import { outputBase, outputSharedPort } from './tables/output.ts';
import { tierBase, tierDefault, TIER_CHAINS } from './tables/tiers.ts';

/** What a unit compiles to. */
export interface UnitOutput {
  readonly flows: readonly EncodedFlow[];
  readonly groups: readonly EncodedGroup[];
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
  }
  const deviceVnis = new Set(snapshot.legs.map(({ vni }) => vni));
  for (const leg of snapshot.legs) {
    const name = `leg/${leg.vni}/${leg.port}`;
    const base = unit(name, `${leg.ofport} ${tunnelText}`, 'device', (list) =>
      deviceLeg(list, leg),
    );
    units.push({ ...base, compile: () => ({ ...base.compile(), groups: legGroups(leg, tunnel) }) });
  }
  const sharedPorts = Map.groupBy(snapshot.locals, (endpoint) => endpoint.ofport);
  for (const endpoint of snapshot.locals) {
    const shared = (sharedPorts.get(endpoint.ofport)?.length ?? 0) > 1;
    units.push(localUnit(endpoint, shared, deviceVnis.has(endpoint.vni)));
  }
  if (tunnel !== undefined) {
    for (const endpoint of snapshot.remotes) {
      const name = `remote/${endpoint.vni}/${formatMac(endpoint.mac)}`;
      const hasDevice = deviceVnis.has(endpoint.vni);
      const signature = `${tunnelText} ${endpoint.vtep} ${hasDevice} ${endpoint.ips.map(formatPrefix).join()}`;
      units.push(
        unit(name, signature, 'endpoint', (list) => {
          guardRemote(list, endpoint);
          neighbourEndpoint(list, endpoint);
          forwardRemote(list, tunnel, endpoint);
          if (hasDevice) returnedRemote(list, endpoint, TABLE.entry);
        }),
      );
    }
  }
  const networks = portNetworks(snapshot);
  return units.map((each) => ({ ...each, compile: () => isolated(each.compile(), networks) }));
}

function portNetworks({ tunnel, locals, legs }: Snapshot): PortNetworks {
  const byPort = new Map<number, Vni>();
  for (const { ofport, vni } of [...locals, ...legs]) byPort.set(ofport, vni);
  return { tunnel: tunnel?.ofport, vniOf: (ofport) => byPort.get(ofport) };
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
  return faults.length === 0 ? output : { flows, groups, faults };
}

function networkUnit(
  snapshot: Snapshot,
  network: Network,
  locals: readonly LocalEndpoint[],
  tunnelText: string,
  idOf: (name: string) => bigint,
): Unit {
  const { defaultAction, subnets, unknownUnicast } = network;
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
  });
  return {
    ...base,
    compile: () => ({
      ...base.compile(),
      groups: floodGroups(network, snapshot.tunnel, snapshot.peers, locals),
    }),
  };
}

function localUnit(endpoint: LocalEndpoint, shared: boolean, hasDevice: boolean): Unit {
  const name = `local/${endpoint.vni}/${formatMac(endpoint.mac)}/${endpoint.port}`;
  const signature = `${endpoint.ofport} ${shared} ${hasDevice} ${endpoint.ips.map(formatPrefix).join()}`;
  return unit(name, signature, 'endpoint', (list) => {
    classifyLocal(list, endpoint);
    guardLocal(list, endpoint);
    neighbourEndpoint(list, endpoint);
    forwardLocal(list, endpoint);
    if (shared) outputSharedPort(list, endpoint);
    if (hasDevice) returnedLocal(list, endpoint, TABLE.entry);
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
