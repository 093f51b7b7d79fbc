/**
 * The answers of the debug socket: what the agent knows, as JSON for people and `dpuctl`. Reads only.
 */
import { formatIp } from '../../base/address.ts';
import { VERSION } from '../../base/version.ts';
import { formatInstructions, formatMatch } from '../../openflow/format.ts';
import { isLearnedCookie } from '../flow/cookie.ts';
import { dropReasonOf } from '../flow/drop-reason.ts';
import { lendDumpedFlow } from '../../openflow/flow.ts';
import { visitOwnFlows } from '../reconcile/switch-dump.ts';
import { sourcePlace } from '../sources/choice.ts';
import type { AgentView } from './agent-view.ts';
import type { DebugAnswer, DebugRoute } from './debug-server.ts';
import { explainAnswer, ruleAnswer } from './explain.ts';
import { networksOf, peersOf, portsOf } from './inventory.ts';
import { checkParameters, numberParameter } from './query.ts';
import { diffAnswer, dropsAnswer, groupsAnswer } from './switch-report.ts';
import { doctorAnswer } from '../doctor/doctor-answer.ts';
import { verdictOf } from '../offload/evidence.ts';
import { offloadAnswer, whatIfAnswer } from './offload.ts';
import { bundleAnswer } from './support-bundle.ts';
import { traceAnswer } from './trace.ts';

const UNAVAILABLE = 503;
const BAD_REQUEST = 400;

/** The routes of the debug socket. */
export function debugRoutes(agent: AgentView): Map<string, DebugRoute> {
  const routes = new Map<string, DebugRoute>([
    ['/healthz', () => ({ body: 'ok\n' })],
    ['/readyz', () => readyAnswer(agent)],
    ['/status', async () => ({ body: await statusOf(agent) })],
    ['/rules', async () => ({ body: await rulesOf(agent) })],
    ['/flows', (query) => flowsAnswer(agent, query)],
    ['/offload', (query) => offloadAnswer(agent, query)],
    ['/offload/what-if', (query) => whatIfAnswer(agent, query)],
    ['/doctor', (query) => doctorAnswer(agent, query)],
    ['/trace', (query) => traceAnswer(agent, query)],
    ['/rule', (query) => ruleAnswer(agent, query)],
    ['/explain', (query) => explainAnswer(agent, query)],
    ['/diff', (query) => diffAnswer(agent, query)],
    ['/drops', (query) => dropsAnswer(agent, query)],
    ['/groups', (query) => groupsAnswer(agent, query)],
    ['/ports', () => ({ body: portsOf(agent) })],
    ['/peers', async () => ({ body: await peersOf(agent) })],
    ['/networks', () => ({ body: networksOf(agent) })],
    ['/events', (query) => eventsAnswer(agent, query)],
    [
      '/metrics',
      async () => ({
        contentType: agent.metrics.registry.contentType,
        body: await agent.metrics.registry.metrics(),
      }),
    ],
  ]);
  routes.set('/support-bundle', () => bundleAnswer(agent, routes));
  return routes;
}

function readyAnswer(agent: AgentView): DebugAnswer {
  const reasons = agent.notReady;
  return reasons.length === 0
    ? { body: 'ready\n' }
    : { status: UNAVAILABLE, body: { ready: false, reasons } };
}

async function statusOf(agent: AgentView): Promise<unknown> {
  const rules = await agent.ruleCounts();
  const { config, bridge, source, built } = agent;
  const tunnel = bridge.tunnel;
  const connection = agent.session.current;
  return {
    version: VERSION,
    node: config.node,
    ready: agent.notReady.length === 0,
    notReady: agent.notReady,
    startedAt: agent.startedAt.toISOString(),
    uptimeSeconds: Math.round((Date.now() - agent.startedAt.getTime()) / 1000),
    bridge: {
      name: config.ovs.bridge,
      datapathType: bridge.datapathType ?? config.ovs.datapathType,
      datapathId: connection?.features.datapathId ?? null,
    },
    vtep:
      tunnel === undefined
        ? { ip: null, ofport: null, problem: bridge.tunnelProblem ?? null }
        : {
            ip: formatIp(4, BigInt(tunnel.ip)),
            ofport: tunnel.ofport,
            problem: bridge.tunnelProblem ?? null,
          },
    ovsdb: { connected: bridge.connected, lock: bridge.lockHeld },
    openflow: { connected: connection !== undefined },
    source: {
      kind: config.rules.source,
      path: sourcePlace(config),
      revision: source.snapshot.revision,
      objects: source.snapshot.objects.size,
      staleSince: source.staleSince ?? null,
    },
    rules: { total: rules.programmed + rules.pending + rules.refused, ...rules },
    flows: agent.flowCounts(),
    lastSync: agent.reconciler.lastSync ?? null,
    endpoints: {
      local: built?.snapshot.locals.length ?? 0,
      remote: built?.snapshot.remotes.length ?? 0,
    },
    pausedUntil: agent.interventions.pausedUntil ?? null,
    problems: [
      ...agent.interventions.problems,
      ...source.snapshot.problems,
      ...(built?.problems ?? []),
      ...bridge.problems,
      ...agent.desired.faults,
      ...agent.flowRestore.problems,
      ...agent.zones.problems,
    ],
  };
}

async function rulesOf(agent: AgentView): Promise<unknown[]> {
  const counters = await agent.counters.read();
  const evidence = agent.offload.latest;
  return agent.ruleStatuses().map(({ cookie, ...row }) => ({
    ...row,
    packets: counters?.rules.get(cookie)?.packets ?? 0,
    bytes: counters?.rules.get(cookie)?.bytes ?? 0,
    rateLimited: counters?.limited.get(cookie) ?? 0,
    offload: verdictOf(evidence?.rules.get(cookie)),
  }));
}

async function flowsAnswer(agent: AgentView, query: URLSearchParams): Promise<DebugAnswer> {
  const connection = agent.session.current;
  if (connection === undefined)
    return { status: UNAVAILABLE, body: { error: 'no OpenFlow connection to the bridge' } };
  const tableText = query.get('table');
  const table = tableText === null ? undefined : Number(tableText);
  if (table !== undefined && !(Number.isInteger(table) && table >= 0 && table <= 253)) {
    return { status: BAD_REQUEST, body: { error: `table is ${tableText}; accepted: 0..253` } };
  }
  const rule = query.get('rule');
  const rows: unknown[] = [];
  await visitOwnFlows(
    connection,
    (stats) => {
      const owner = agent.desired.ownerOf(lendDumpedFlow(stats));
      if (rule !== null && !isUnder(owner, `DPURule/${rule}`)) return;
      rows.push({
        table: stats.tableId,
        priority: stats.priority,
        cookie: stats.cookie,
        match: formatMatch(stats.match),
        actions: formatInstructions(stats.instructions),
        rule: ownerText(owner, stats.cookie),
        packets: stats.packets,
        bytes: stats.bytes,
      });
    },
    table,
  );
  return { body: rows };
}

/** Events after the one with the id `after`; all that are kept without it. */
function eventsAnswer(agent: AgentView, query: URLSearchParams): DebugAnswer {
  checkParameters(query, ['after']);
  const after = numberParameter(query, 'after', 0, Number.MAX_SAFE_INTEGER) ?? 0;
  return { body: agent.events.filter(({ id }) => id > after) };
}

function isUnder(owner: string | undefined, prefix: string): boolean {
  return owner !== undefined && (owner === prefix || owner.startsWith(`${prefix}/`));
}

/** A rule by its name without the kind; a drop of the pipeline by its reason; else the unit that the flow is part of. */
function ownerText(owner: string | undefined, cookie: bigint): string {
  const reason = dropReasonOf(cookie);
  if (reason !== undefined) return `drop/${reason}`;
  if (isLearnedCookie(cookie)) return owner ?? 'learned';
  return owner?.replace(/^DPURule\//, '') ?? '';
}
