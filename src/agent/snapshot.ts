/**
 * One immutable snapshot out of what the sources say: configuration, objects, ports, tunnel. Pure. It also lists what it
 * had to leave out, and why; the compiler sees only what is allowed.
 */
import { formatIp, formatMac } from '../base/address.ts';
import type { AgentConfig } from './config.ts';
import type { Network, RemoteEndpoint, Snapshot, Tracking, Tunnel } from './flow/model.ts';
import { ruleInputs } from './rules/rule-inputs.ts';
import { rulesAt } from './rules/expiry.ts';
import { attachments, type PortFacts } from './overlay/attachments.ts';
import { findPeers, type IgnoredReason, type Peer } from './overlay/endpoint-peers.ts';
import { EndpointMoves } from './overlay/endpoint-moves.ts';
import type { NetworkView } from './rules/ownership.ts';
import { buildRuleSet, type RuleSet } from './rules/rule-set.ts';
import type { SourceProblem, SourceSnapshot } from './sources/source.ts';

/** What a snapshot is made from. */
export interface SnapshotInputs {
  readonly config: AgentConfig;
  readonly source: SourceSnapshot;
  readonly ports: readonly PortFacts[];
  readonly tunnel: Tunnel | undefined;
  /** Zones of the connection tracker by VNI; used for networks with `conntrack: on`. */
  readonly tracking: ReadonlyMap<number, Tracking>;
  /** Wall clock in milliseconds since the epoch: rules expire. */
  readonly nowMs: number;
  /** Remembers which endpoints moved; without it none is ever frozen. */
  readonly moves?: EndpointMoves;
  /** Clock for `moves` in milliseconds, one that never jumps. */
  readonly monotonicMs?: number;
}

/** A snapshot with what was left out of it. */
export interface BuiltSnapshot {
  readonly snapshot: Snapshot;
  readonly problems: readonly SourceProblem[];
  /** Endpoints that other DPUs claim and that are left out here. */
  readonly ignoredEndpoints: Readonly<Record<IgnoredReason, number>>;
  /** To be handed in again: rules that did not change keep their verdicts. */
  readonly ruleSet: RuleSet;
  /** When the next rule expires, in milliseconds since the epoch. */
  readonly nextExpiryMs: number | undefined;
}

/** Builds the snapshot. `previous` is the rule set of the one before. */
export function makeSnapshot(inputs: SnapshotInputs, previous?: RuleSet): BuiltSnapshot {
  const { config, source } = inputs;
  const problems: SourceProblem[] = [];
  const ruleSet = buildRuleSet(source.objects, config, previous);
  const fileOf = (object: string): string => source.objects.get(object)?.origin ?? object;
  for (const { object, reason, message } of ruleSet.networkProblems) {
    problems.push({ file: fileOf(object), path: 'spec', object, message: `${reason}: ${message}` });
  }
  const networks: Network[] = [];
  for (const view of ruleSet.networks.byVni.values()) {
    const missing = unsupported(view);
    if (missing !== undefined) {
      problems.push({
        file: fileOf(view.origin),
        path: `spec.${missing}`,
        object: view.origin,
        message: 'is not available in this release; the network works without it',
      });
    }
    const tracking = view.conntrack === 'on' ? inputs.tracking.get(view.vni) : undefined;
    const learning = view.remoteLearning === 'on' ? config.learning : undefined;
    networks.push({
      ...view,
      ...(tracking === undefined ? {} : { tracking }),
      ...(learning === undefined ? {} : { learning }),
    });
  }
  networks.sort((a, b) => a.vni - b.vni);
  const knownVnis = new Set<number>(networks.map(({ vni }) => vni));
  const attached = attachments(inputs.ports, config.ports, knownVnis);
  for (const { port, message } of attached.problems) {
    problems.push({ file: `ovs:${config.ovs.bridge}`, path: port, message });
  }
  const found = findPeers(config, source.objects, inputs.tunnel);
  const { peers } = found;
  problems.push(...found.problems);
  const { rules, nextExpiryMs } = rulesAt(
    ruleInputs(ruleSet.rules.values(), attached.legs, networks),
    inputs.nowMs,
  );
  const { moves = new EndpointMoves(), monotonicMs = 0 } = inputs;
  const claimed = remoteEndpoints(peers, knownVnis, problems);
  const fileOfPeer = new Map(peers.map(({ vtep, file }) => [vtep, file]));
  const settled = moves.settle(attached.endpoints, claimed, monotonicMs);
  for (const { mac, vtep, port, message } of settled.problems) {
    problems.push(
      vtep === undefined
        ? { file: `ovs:${config.ovs.bridge}`, path: port ?? '', message }
        : peerProblem(vtep, mac, message, fileOfPeer.get(vtep) ?? 'configuration'),
    );
  }
  return {
    snapshot: {
      tunnel: inputs.tunnel,
      peers: [...new Set(peers.map(({ vtep }) => vtep))].sort((a, b) => a - b),
      networks,
      locals: settled.locals,
      remotes: settled.remotes,
      legs: attached.legs,
      rules,
    },
    problems,
    ignoredEndpoints: {
      ...found.ignored,
      claim: settled.problems.filter(({ vtep }) => vtep !== undefined).length,
    },
    ruleSet,
    nextExpiryMs,
  };
}

/** The first field of a network that this release does not act on. */
function unsupported(network: NetworkView): string | undefined {
  return network.dhcp === 'allow' ? 'dhcp' : undefined;
}

/** The endpoints of the peers, as far as their networks are known here. */
function remoteEndpoints(
  peers: readonly Peer[],
  knownVnis: ReadonlySet<number>,
  problems: SourceProblem[],
): RemoteEndpoint[] {
  const remotes: RemoteEndpoint[] = [];
  for (const { vtep, endpoints, file } of peers) {
    for (const endpoint of endpoints) {
      const { vni, mac } = endpoint;
      if (knownVnis.has(vni)) remotes.push(endpoint);
      else problems.push(peerProblem(vtep, mac, unknownNetwork(vni), file));
    }
  }
  return remotes.sort((a, b) => a.vni - b.vni || (a.mac < b.mac ? -1 : 1));
}

function unknownNetwork(vni: number): string {
  return `VNI ${vni} is no network that is configured here`;
}

function peerProblem(vtep: number, mac: bigint, message: string, file: string): SourceProblem {
  return { file, path: `peers ${formatIp(4, BigInt(vtep))} ${formatMac(mac)}`, message };
}
