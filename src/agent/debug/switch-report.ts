/**
 * `/diff`, `/groups` and `/drops`: the switch as it is now, by a fresh dump, against what is desired and by what it drops.
 * Reads only; lists are bounded, totals are not.
 */
import { encodedFlowFromDump, instructionsOf, matchOf } from '../../openflow/flow.ts';
import type { EncodedFlow } from '../../openflow/flow.ts';
import {
  decodeFlowStats,
  encodeFlowStatsRequest,
  type FlowStats,
} from '../../openflow/flow-stats.ts';
import { formatGroup, formatInstructions, formatMatch } from '../../openflow/format.ts';
import { decodeGroupDesc, type GroupDesc } from '../../openflow/group-mod.ts';
import type { OpenFlowConnection } from '../../openflow/client.ts';
import { OFPMP } from '../../openflow/ofp13.ts';
import { isOwnCookie } from '../flow/cookie.ts';
import { DROP_REASONS, dropReasonOf, type DropReason } from '../flow/drop-reason.ts';
import { isOwnGroup } from '../flow/group-id.ts';
import { isLearnedFlow } from '../flow/tables/learned.ts';
import { visitOwnFlows } from '../reconcile/switch-dump.ts';
import type { AgentView } from './agent-view.ts';
import { ruleDropReason, type Count } from './counters.ts';
import type { DebugAnswer } from './debug-server.ts';
import { flowOwners, ownerOf } from './flow-names.ts';
import { checkParameters, numberParameter } from './query.ts';

const UNAVAILABLE = 503;
const ROWS_DEFAULT = 1000;
const ROWS_MAX = 100_000;

function withSwitch(
  agent: AgentView,
  answer: (connection: OpenFlowConnection) => Promise<unknown>,
): Promise<DebugAnswer> | DebugAnswer {
  const connection = agent.session.current;
  if (connection === undefined) {
    return { status: UNAVAILABLE, body: { error: 'no OpenFlow connection to the bridge' } };
  }
  return answer(connection).then((body) => ({ body }));
}

/** One flow that is not as desired, or is somebody else's. */
interface DiffRow {
  /** `missing`, `extra` (ours, not desired), `differs`, `foreign`. */
  readonly kind: 'missing' | 'extra' | 'differs' | 'foreign';
  readonly table: number;
  readonly priority: number;
  readonly cookie: bigint;
  readonly match: string;
  /** In the switch; empty when missing. */
  readonly actions: string;
  /** As desired; empty when extra or foreign. */
  readonly desired: string;
  readonly owner: string;
}

/** Answers `/diff`. */
export function diffAnswer(
  agent: AgentView,
  query: URLSearchParams,
): Promise<DebugAnswer> | DebugAnswer {
  checkParameters(query, ['limit']);
  const limit = numberParameter(query, 'limit', 1, ROWS_MAX) ?? ROWS_DEFAULT;
  return withSwitch(agent, (connection) => diffWithSwitch(agent, connection, limit));
}

async function diffWithSwitch(
  agent: AgentView,
  connection: OpenFlowConnection,
  limit: number,
): Promise<unknown> {
  const totals = { missing: 0, extra: 0, differs: 0, foreign: 0, equal: 0 };
  const rows: DiffRow[] = [];
  const note = (kind: DiffRow['kind'], row: () => Omit<DiffRow, 'kind'>): void => {
    totals[kind]++;
    if (rows.length < limit) rows.push({ kind, ...row() });
  };
  const snapshot = agent.built?.snapshot;
  const seen = new Set<string>();
  const visit = (stats: FlowStats): void => {
    const { tableId, priority, cookie, match, instructions } = stats;
    if (isLearnedFlow(stats) && agent.desired.isLearner(cookie)) return;
    const have = encodedFlowFromDump(tableId, priority, cookie, match, instructions);
    const want = agent.desired.flow(have);
    const owner = agent.desired.ownerOf(have) ?? '';
    if (!isOwnCookie(cookie)) {
      const place =
        want === undefined ? '' : `stands where ${ownerOf(owner, snapshot).name} should`;
      note('foreign', () => rowOf(have, undefined, place));
      return;
    }
    seen.add(have.key);
    if (want === undefined) note('extra', () => rowOf(have, undefined, ''));
    else if (want.sameActions(have)) totals.equal++;
    else note('differs', () => rowOf(have, want, ownerOf(owner, snapshot).name));
  };
  const body = encodeFlowStatsRequest({});
  await connection.multipart(OFPMP.FLOW, body, (part) => decodeFlowStats(part, visit));
  for (const [key, { flow, owner }] of agent.desired.flows()) {
    if (!seen.has(key)) {
      note('missing', () => ({ ...rowOf(flow, flow, ownerOf(owner, snapshot).name), actions: '' }));
    }
  }
  return { ...totals, groups: await groupRows(agent, connection, true), rows };
}

function rowOf(
  flow: EncodedFlow,
  want: EncodedFlow | undefined,
  owner: string,
): Omit<DiffRow, 'kind'> {
  return {
    table: flow.tableId,
    priority: flow.priority,
    cookie: flow.cookie,
    match: formatMatch(matchOf(flow)),
    actions: formatInstructions(instructionsOf(flow)),
    desired: want === undefined ? '' : formatInstructions(instructionsOf(want)),
    owner,
  };
}

/** Answers `/groups`. */
export function groupsAnswer(
  agent: AgentView,
  query: URLSearchParams,
): Promise<DebugAnswer> | DebugAnswer {
  checkParameters(query, []);
  return withSwitch(agent, (connection) => groupRows(agent, connection, false));
}

/** One group of the switch, or one that should be there. */
interface GroupRow {
  readonly group: number;
  readonly state: 'installed' | 'missing' | 'differs' | 'extra' | 'foreign';
  /** Type and buckets in the words of ovs-ofctl. */
  readonly text: string;
}

async function groupRows(
  agent: AgentView,
  connection: OpenFlowConnection,
  onlyDifferent: boolean,
): Promise<GroupRow[]> {
  const rows: GroupRow[] = [];
  const seen = new Set<number>();
  const add = (group: GroupDesc, state: GroupRow['state']): void => {
    if (onlyDifferent && state === 'installed') return;
    rows.push({ group: group.groupId, state, text: formatGroup(group) });
  };
  await connection.multipart(OFPMP.GROUP_DESC, new Uint8Array(0), (part) =>
    decodeGroupDesc(part, (group) => {
      seen.add(group.groupId);
      const want = agent.desired.group(group.groupId);
      if (want !== undefined) {
        const isSame = Buffer.compare(want.buckets, group.buckets) === 0;
        add(group, isSame ? 'installed' : 'differs');
      } else add(group, isOwnGroup(group.groupId) ? 'extra' : 'foreign');
    }),
  );
  for (const group of agent.desired.groups()) if (!seen.has(group.groupId)) add(group, 'missing');
  return rows.sort((a, b) => a.group - b.group);
}

/** Answers `/drops`: reasons and rules by the packets that they dropped, as the flows in the switch count them. */
export function dropsAnswer(
  agent: AgentView,
  query: URLSearchParams,
): Promise<DebugAnswer> | DebugAnswer {
  checkParameters(query, []);
  return withSwitch(agent, (connection) => dropRows(agent, connection));
}

/** A count that grows. */
interface Sum {
  packets: number;
  bytes: number;
}

/** What dropped packets. */
interface DropRow extends Sum {
  readonly reason: DropReason;
  readonly meaning: string;
  /** The denying rule; empty for a reason of the pipeline. */
  readonly rule: string;
}

async function dropRows(agent: AgentView, connection: OpenFlowConnection): Promise<DropRow[]> {
  const rows = new Map<bigint, DropRow>();
  const denied = new Map<bigint, Sum & { readonly reason: DropReason }>();
  const count = (row: Sum, { packets, bytes }: Count): void => {
    row.packets += packets;
    row.bytes += bytes;
  };
  await visitOwnFlows(connection, (stats) => {
    const reason = dropReasonOf(stats.cookie);
    if (reason !== undefined) {
      const known = rows.get(stats.cookie);
      const row = known ?? {
        reason,
        meaning: DROP_REASONS[reason],
        rule: '',
        packets: 0,
        bytes: 0,
      };
      rows.set(stats.cookie, row);
      count(row, stats);
      return;
    }
    const refused = ruleDropReason(stats);
    if (refused === undefined) return;
    const row = denied.get(stats.cookie) ?? { reason: refused, packets: 0, bytes: 0 };
    denied.set(stats.cookie, row);
    count(row, stats);
  });
  const owners = flowOwners(denied.keys(), agent.desired, agent.built?.snapshot);
  for (const [cookie, counts] of denied) {
    const rule = owners.get(cookie)?.name ?? '';
    rows.set(cookie, { meaning: DROP_REASONS[counts.reason], rule, ...counts });
  }
  return [...rows.values()].sort((a, b) => b.packets - a.packets || (a.reason < b.reason ? -1 : 1));
}

/** Packets by cookie of our flows in some tables, for those who rank by traffic. */
export async function packetsByCookie(
  connection: OpenFlowConnection,
  tables: ReadonlySet<number>,
): Promise<Map<bigint, number>> {
  const packets = new Map<bigint, number>();
  await visitOwnFlows(connection, (stats) => {
    if (!tables.has(stats.tableId)) return;
    packets.set(stats.cookie, (packets.get(stats.cookie) ?? 0) + stats.packets);
  });
  return packets;
}
