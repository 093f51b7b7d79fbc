/**
 * `/rule` and `/explain`: one DPURule as it was read, the state of its entries, and every flow that each of them became, with
 * its counters and whom its clauses are shared with. Reads only.
 */
import { flowKey, instructionsOf, matchOf, type EncodedFlow } from '../../openflow/flow.ts';
import { formatInstructions, formatMatch } from '../../openflow/format.ts';
import type { DpuRule } from '../../api/dpu-rule.ts';
import { TABLE } from '../flow/pipeline.ts';
import type { CompiledEntry } from '../flow/rule-flows.ts';
import { visitOwnFlows } from '../reconcile/switch-dump.ts';
import type { AgentView } from './agent-view.ts';
import type { Count } from './counters.ts';
import type { DebugAnswer } from './debug-server.ts';
import { RULE_PREFIX } from './flow-names.ts';
import { checkParameters, QueryError, show } from './query.ts';

/** What became of a flow of a rule. */
type FlowState = 'installed' | 'missing' | 'differs' | 'refused' | 'shadowed' | 'unknown';

interface ExplainedFlow extends Count {
  readonly table: number;
  readonly tableName: string;
  readonly priority: number;
  readonly cookie: bigint;
  readonly match: string;
  readonly actions: string;
  readonly state: FlowState;
  /** Why not, where there is a reason to tell. */
  readonly message: string;
  /** A clause of a conjunction: counters are those of all that share it. */
  readonly clause: boolean;
  /** Other entries with this clause. */
  readonly sharedWith: readonly string[];
}

const TABLE_NAMES: ReadonlyMap<number, string> = new Map(
  Object.values(TABLE).map(({ id, name }) => [id, name]),
);

/** Answers `/rule`: the object, where it was read, and the state of its entries. */
export async function ruleAnswer(agent: AgentView, query: URLSearchParams): Promise<DebugAnswer> {
  checkParameters(query, ['name']);
  const name = ruleName(query, 'name');
  const found = findRule(agent, name);
  if (found === undefined) throw notFound(agent, name);
  const counters = await agent.counters.read();
  const entries = statusesOf(agent, name).map(({ cookie, ...row }) => ({
    ...row,
    cookie,
    packets: counters?.rules.get(cookie)?.packets ?? 0,
    bytes: counters?.rules.get(cookie)?.bytes ?? 0,
  }));
  return { body: { ...found, entries } };
}

/** Answers `/explain`: the entries of a rule with every flow that they became. */
export async function explainAnswer(
  agent: AgentView,
  query: URLSearchParams,
): Promise<DebugAnswer> {
  checkParameters(query, ['rule']);
  const name = ruleName(query, 'rule');
  const found = findRule(agent, name);
  if (found === undefined) throw notFound(agent, name);
  const entries = [...agent.desired.entries()].filter((entry) => isNamed(entry, name));
  const keys = new Set(entries.flatMap(flowsOf).map(({ key }) => key));
  const [counts, sharers] = [await countersOf(agent, keys), sharersOf(agent, keys)];
  const statuses = new Map(statusesOf(agent, name).map((row) => [row.rule, row]));
  const body = {
    origin: found.origin,
    tier: found.object.spec.tier,
    entries: entries.map((entry) => ({
      ...statuses.get(entry.rule),
      action: found.object.spec.rules.find(({ name }) => name === entry.rule)?.action ?? '',
      flows: flowsOf(entry).map((flow) => explainFlow(agent, entry, flow, counts, sharers)),
    })),
  };
  return { body };
}

function explainFlow(
  agent: AgentView,
  entry: CompiledEntry,
  own: EncodedFlow,
  counts: ReadonlyMap<string, Count>,
  sharers: ReadonlyMap<string, readonly string[]>,
): ExplainedFlow {
  const { key } = own;
  const isClause = entry.clauses.includes(own);
  // What stands there for a clause is that of all who share it.
  const flow = isClause ? (agent.desired.flow(own) ?? own) : own;
  const owner = agent.desired.ownerOf(own);
  const isShadowed = !isClause && owner !== undefined && owner !== entry.key;
  const have = agent.reconciler.mirror?.flow(own);
  const refusal = agent.reconciler.refused.get(key);
  const state: FlowState = isShadowed
    ? 'shadowed'
    : refusal !== undefined
      ? 'refused'
      : agent.reconciler.mirror === undefined
        ? 'unknown'
        : have === undefined
          ? 'missing'
          : flow.sameActions(have)
            ? 'installed'
            : 'differs';
  return {
    table: flow.tableId,
    tableName: TABLE_NAMES.get(flow.tableId) ?? '',
    priority: flow.priority,
    cookie: flow.cookie,
    match: formatMatch(matchOf(flow)),
    actions: formatInstructions(instructionsOf(flow)),
    state,
    message: isShadowed ? `belongs to ${withoutKind(owner)}` : (refusal ?? ''),
    clause: isClause,
    sharedWith: (sharers.get(key) ?? []).filter((name) => name !== withoutKind(entry.key)),
    packets: counts.get(key)?.packets ?? 0,
    bytes: counts.get(key)?.bytes ?? 0,
  };
}

function flowsOf({ flows, clauses }: CompiledEntry): EncodedFlow[] {
  return [...flows, ...clauses];
}

/** Entries by the keys of clauses that they have. */
function sharersOf(agent: AgentView, keys: ReadonlySet<string>): Map<string, string[]> {
  const sharers = new Map<string, string[]>();
  for (const entry of agent.desired.entries()) {
    for (const { key } of entry.clauses) {
      if (!keys.has(key)) continue;
      sharers.set(key, [...(sharers.get(key) ?? []), withoutKind(entry.key)]);
    }
  }
  return sharers;
}

/** Counters of the flows with these keys; empty while the switch cannot be reached. */
async function countersOf(
  agent: AgentView,
  keys: ReadonlySet<string>,
): Promise<Map<string, Count>> {
  const counts = new Map<string, Count>();
  const connection = agent.session.current;
  if (connection === undefined) return counts;
  await visitOwnFlows(connection, ({ tableId, priority, match, packets, bytes }) => {
    const key = flowKey(tableId, priority, match);
    if (keys.has(key)) counts.set(key, { packets, bytes });
  });
  return counts;
}

/** A rule, or one entry of it. */
interface RuleName {
  readonly object: string;
  readonly entry: string | undefined;
}

function ruleName(query: URLSearchParams, parameter: string): RuleName {
  const text = query.get(parameter) ?? '';
  const parts = /^([^/]+\/[^/]+)(?:\/([^/]+))?$/.exec(text);
  if (parts !== null) return { object: parts[1] ?? '', entry: parts[2] };
  throw new QueryError(
    `${parameter} is ${show(text)}; accepted: NAMESPACE/NAME or NAMESPACE/NAME/RULE`,
  );
}

function findRule(
  agent: AgentView,
  { object }: RuleName,
): { readonly origin: string; readonly object: DpuRule } | undefined {
  for (const source of agent.source.snapshot.objects.values()) {
    const candidate = source.object;
    if (candidate.kind !== 'DPURule') continue;
    const { namespace, name } = candidate.metadata;
    if (`${namespace}/${name}` === object) return { origin: source.origin, object: candidate };
  }
  return undefined;
}

function isNamed(
  row: { readonly namespace: string; readonly name: string; readonly rule: string },
  { object, entry }: RuleName,
): boolean {
  return `${row.namespace}/${row.name}` === object && (entry === undefined || row.rule === entry);
}

function statusesOf(agent: AgentView, name: RuleName): ReturnType<AgentView['ruleStatuses']> {
  return agent.ruleStatuses((entry) => isNamed(entry, name));
}

function notFound(agent: AgentView, { object }: RuleName): QueryError {
  const { problems } = agent.source.snapshot;
  const why =
    problems.length === 0
      ? ''
      : `; ${problems.length} problems of the source (dpuctl status) may say why`;
  return new QueryError(`there is no DPURule ${show(object)}: dpuctl rules lists them${why}`);
}

function withoutKind(key: string): string {
  return key.startsWith(RULE_PREFIX) ? key.slice(RULE_PREFIX.length) : key;
}
