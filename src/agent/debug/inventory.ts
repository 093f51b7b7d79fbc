/**
 * `/ports`, `/peers` and `/networks`: what the agent knows of the world around its flows. Reads only.
 */
import { formatIp, formatMac, formatPrefix } from '../../base/address.ts';
import { makeCookie, hashName } from '../flow/cookie.ts';
import { TABLE } from '../flow/pipeline.ts';
import type { AgentView } from './agent-view.ts';
import { packetsByCookie } from './switch-report.ts';
import { partiesOf, partyName } from './trace-endpoint.ts';

/** Answers `/ports`: every port of the bridge, and whose it is. */
export function portsOf(agent: AgentView): unknown[] {
  const { bridge, built } = agent;
  const { ports, tunnel } = bridge;
  const parties = built === undefined ? [] : partiesOf(built.snapshot, ports);
  const problems = new Map(
    (built?.problems ?? [])
      .filter(({ file }) => file.startsWith('ovs:'))
      .map(({ path, message }) => [path, message]),
  );
  const rows = ports.flatMap((port): unknown[] => {
    const base = {
      port: port.name,
      ofport: port.ofport ?? null,
      ifaceId: port.externalIds.get('iface-id') ?? null,
      problem: problems.get(port.name) ?? null,
    };
    const endpoints = parties.filter((party) => party.port?.name === port.name);
    if (endpoints.length === 0) return [{ ...base, kind: 'other', vni: null, mac: null, ips: [] }];
    return endpoints.map(({ vni, mac, ips }) => ({
      ...base,
      kind: 'endpoint',
      vni,
      mac: formatMac(mac),
      ips: ips.map(formatPrefix),
    }));
  });
  const vtep0 = {
    port: 'vtep0',
    ofport: tunnel?.ofport ?? null,
    ifaceId: null,
    problem: bridge.tunnelProblem ?? null,
    kind: 'tunnel',
    vni: null,
    mac: null,
    ips: tunnel === undefined ? [] : [formatIp(4, BigInt(tunnel.ip))],
  };
  return [vtep0, ...rows];
}

/** Answers `/peers`: the other VTEPs, the endpoints behind each, and how much came from it. */
export async function peersOf(agent: AgentView): Promise<unknown[]> {
  const snapshot = agent.built?.snapshot;
  if (snapshot === undefined) return [];
  const connection = agent.session.current;
  const packets =
    connection === undefined
      ? undefined
      : await packetsByCookie(connection, new Set([TABLE.classify.id]));
  const byVtep = Map.groupBy(snapshot.remotes, ({ vtep }) => vtep);
  return snapshot.peers.map((peer) => {
    const vtep = formatIp(4, BigInt(peer));
    const remotes = byVtep.get(peer) ?? [];
    return {
      vtep,
      // Null while the switch cannot be asked.
      packetsFrom: packets?.get(makeCookie('peer', hashName(`peer/${vtep}`))) ?? null,
      vnis: [...new Set(remotes.map(({ vni }) => vni))],
      endpoints: remotes.map(({ vni, mac, ips }) => ({
        vni,
        mac: formatMac(mac),
        ips: ips.map(formatPrefix),
      })),
    };
  });
}

/** Answers `/networks`: each tenant network with its defaults and who is in it. */
export function networksOf(agent: AgentView): unknown[] {
  const { built } = agent;
  if (built === undefined) return [];
  const { snapshot, ruleSet } = built;
  const parties = partiesOf(snapshot, agent.bridge.ports);
  const rules = new Map<number, number>();
  for (const { verdicts } of snapshot.rules) {
    for (const { vni } of verdicts)
      if (vni !== undefined) rules.set(vni, (rules.get(vni) ?? 0) + 1);
  }
  return [...ruleSet.networks.byVni.values()]
    .sort((a, b) => a.vni - b.vni)
    .map((network) => ({
      vni: network.vni,
      name: network.name,
      origin: network.origin,
      namespaces: network.namespaces,
      subnets: network.subnets.map(formatPrefix),
      ingress: network.defaultAction.ingress,
      egress: network.defaultAction.egress,
      unknownUnicast: network.unknownUnicast,
      conntrack: network.conntrack,
      remoteLearning: network.remoteLearning,
      rules: rules.get(network.vni) ?? 0,
      local: parties
        .filter(({ vni, port }) => vni === network.vni && port !== undefined)
        .map(partyName),
      remote: parties
        .filter(({ vni, vtep }) => vni === network.vni && vtep !== undefined)
        .map(partyName),
    }));
}
