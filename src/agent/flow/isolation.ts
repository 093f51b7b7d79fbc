/**
 * What must hold of every flow so that no tenant can reach, or change anything for, another. The compiler is written so that
 * it does; this looks at what came out, before any of it is sent, and refuses what does not, with a packet to show for it.
 * Pure, and asked about what changed alone.
 *
 * - A packet enters a network by a port or tunnel VNI of that network only, and never changes it.
 * - A flow of a rule acts on the packets of the network that the rule may speak for, in the tables of policy.
 * - Whatever sends a packet to a port, or chooses one, matches the network that the port stands in.
 * - The connections of a network are in its own zone, and a flow only marks them.
 * - On the wire a packet has the VNI of its network.
 */
import type { EncodedFlow } from '../../openflow/flow.ts';
import { matchOf } from '../../openflow/flow.ts';
import { formatMatch } from '../../openflow/format.ts';
import { BUCKET_HEADER_SIZE, type EncodedGroup } from '../../openflow/group-mod.ts';
import { bufferOver } from '../../openflow/match.ts';
import { OFPP } from '../../openflow/ofp13.ts';
import { isPipelineCookie } from './cookie.ts';
import { FlowFacts } from './flow-facts.ts';
import { groupSubject } from './group-id.ts';
import { TABLE } from './pipeline.ts';
import { TIER_CHAINS } from './tables/tiers.ts';

/** Which network a port stands in. */
export interface PortNetworks {
  /** ofport of the tunnel, which is in all of them. */
  readonly tunnel: number | undefined;
  /** VNI of an endpoint's port or a device's leg. */
  vniOf(ofport: number): number | undefined;
  /** Zone of the connection tracker that a network has. */
  zoneOf(vni: number): number | undefined;
}

/** A flow or group that would let two networks meet. */
export interface IsolationFault {
  /** What it does, as the end of "the flow …". */
  readonly what: string;
  /** A packet that would be where it must not be, or meet what is not meant for it. */
  readonly witness: string;
}

/** A fault for people: it is one of the agent, whatever the rule says. */
export function faultText({ what, witness }: IsolationFault): string {
  return `a flow ${what}, so it is not programmed: a fault of the agent, please report it; a packet to show it: ${witness}`;
}

const POLICY_TABLES: ReadonlySet<number> = new Set(
  TIER_CHAINS.flatMap(({ tiers, verdict }) => [...tiers, verdict].map(({ id }) => id)),
);

/** Where rules have flows: policy, and the way past a device that is missing. */
const RULE_TABLES: ReadonlySet<number> = new Set([...POLICY_TABLES, TABLE.divert.id]);

/** Of the flow or bucket that is being looked at: none is made for each. */
const facts = new FlowFacts();

/** What is wrong with a flow of a rule that may speak for network `vni` alone, with its zone; undefined when nothing is. */
export function ruleFlowFault(
  flow: EncodedFlow,
  vni: number,
  zone?: number,
): IsolationFault | undefined {
  facts.readFlow(flow);
  const what =
    facts.strange ??
    (facts.vni === vni
      ? undefined
      : `acts on packets of ${vniText(facts.vni)}, not of VNI ${vni}`) ??
    (RULE_TABLES.has(facts.tableId) ? undefined : `stands in table ${facts.tableId}`) ??
    (facts.setsVni === undefined ? undefined : `puts packets into VNI ${facts.setsVni}`) ??
    zoneFault(vni, zone) ??
    (facts.ports.length + facts.groups.length + facts.tunnelIds.length === 0
      ? undefined
      : 'sends packets itself');
  return what === undefined ? undefined : { what, witness: witnessOf(flow) };
}

/** What is wrong with a flow of the pipeline itself; undefined when nothing is. */
export function pipelineFlowFault(
  flow: EncodedFlow,
  networks: PortNetworks,
): IsolationFault | undefined {
  facts.readFlow(flow);
  const what = facts.strange ?? entryFault(networks) ?? sendFault(facts.vni, networks);
  if (what !== undefined) return { what, witness: witnessOf(flow) };
  const isOfAll = facts.vni === undefined && !isPipelineCookie(flow.cookie) && facts.priority > 0;
  return isOfAll && POLICY_TABLES.has(facts.tableId)
    ? { what: 'takes part in the policy of every network', witness: witnessOf(flow) }
    : undefined;
}

/** What is wrong with a group; undefined when nothing is. */
export function groupFault(
  group: EncodedGroup,
  networks: PortNetworks,
): IsolationFault | undefined {
  const bytes = bufferOver(group.buckets);
  for (let at = 0; at < bytes.length; at += bytes.readUInt16BE(at)) {
    const end = at + bytes.readUInt16BE(at);
    facts.readActions(bytes.subarray(at + BUCKET_HEADER_SIZE, end));
    const what =
      facts.strange ??
      (facts.setsVni === undefined ? undefined : `puts packets into VNI ${facts.setsVni}`) ??
      sendFault(networkOfGroup(group.groupId, networks), networks);
    if (what !== undefined)
      return { what, witness: `any packet that group ${group.groupId} copies` };
  }
  return undefined;
}

/** A packet enters a network by a port or VNI that is that network's. */
function entryFault(networks: PortNetworks): string | undefined {
  const { setsVni, inPort, tunnelId, tableId } = facts;
  if (setsVni === undefined) return undefined;
  const byPort =
    tableId === TABLE.classify.id && inPort !== undefined && networks.vniOf(inPort) === setsVni;
  const byTunnel = tableId === TABLE.network.id && tunnelId === setsVni;
  return byPort || byTunnel ? undefined : `puts packets of others into VNI ${setsVni}`;
}

/** What the flow or bucket that was read last sends of network `vni` to where that network is not. */
function sendFault(vni: number | undefined, networks: PortNetworks): string | undefined {
  const foreignId = facts.tunnelIds.find((id) => id !== vni);
  if (foreignId !== undefined) return `sends packets of ${vniText(vni)} as VNI ${foreignId}`;
  const zone = zoneFault(vni, vni === undefined ? undefined : networks.zoneOf(vni));
  if (zone !== undefined) return zone;
  const port = facts.ports.find((ofport) => !mayReach(ofport, vni, networks));
  if (port !== undefined) return `sends packets of ${vniText(vni)} to port ${port}`;
  const group = facts.groups.find(
    (id) => vni === undefined || networkOfGroup(id, networks) !== vni,
  );
  return group === undefined ? undefined : `sends packets of ${vniText(vni)} to group ${group}`;
}

/** The zone that is asked is the network's own. */
function zoneFault(vni: number | undefined, own: number | undefined): string | undefined {
  if (facts.zones.length === 0) return undefined;
  const foreign = facts.zones.find((zone) => zone !== own);
  return foreign === undefined
    ? undefined
    : `looks for connections of ${vniText(vni)} in zone ${foreign}`;
}

function mayReach(ofport: number, vni: number | undefined, networks: PortNetworks): boolean {
  if (ofport === OFPP.CONTROLLER) return true;
  if (ofport === OFPP.IN_PORT) {
    return facts.inPort !== undefined && facts.inPort !== networks.tunnel;
  }
  if (ofport === networks.tunnel) return vni !== undefined || facts.movesVniToTunnel;
  return vni !== undefined && networks.vniOf(ofport) === vni;
}

function networkOfGroup(groupId: number, networks: PortNetworks): number | undefined {
  const subject = groupSubject(groupId);
  if (subject === undefined) return undefined;
  return 'vni' in subject ? subject.vni : networks.vniOf(subject.ofport);
}

function vniText(vni: number | undefined): string {
  return vni === undefined ? 'every VNI' : `VNI ${vni}`;
}

function witnessOf(flow: EncodedFlow): string {
  return formatMatch(matchOf(flow)) || 'any packet';
}
