/**
 * `/offload` and `/offload/what-if`: by rule, why packets of it would stay in software (lint) and where they were handled
 * (evidence); and what a rule that is not applied yet would take out of the hardware. Reads only.
 */
import { parseRuleFile } from '../sources/rule-file.ts';
import { hashName } from '../flow/cookie.ts';
import type { Snapshot } from '../flow/model.ts';
import { compileRule } from '../flow/rule-flows.ts';
import { ruleEntryName } from '../flow/rule-id.ts';
import type { Steps } from '../flow/steps.ts';
import {
  hardwareShare,
  verdictOf,
  type OffloadVerdict,
  type PlaceCounts,
} from '../offload/evidence.ts';
import { lintEntry, type LintContext, type LintPort } from '../offload/lint.ts';
import type { Evidence } from '../offload/offload-reader.ts';
import { datapathKind, lintPorts, readLinks } from '../offload/port-backing.ts';
import { DATAPATH_KINDS, type DatapathKind, type Reason } from '../offload/reason.ts';
import { whatIfSteps, type Candidate } from '../offload/what-if.ts';
import { inSlices } from '../reconcile/slices.ts';
import { makeSnapshot } from '../snapshot.ts';
import type { SourceObject } from '../sources/source.ts';
import type { AgentView } from './agent-view.ts';
import type { DebugAnswer } from './debug-server.ts';
import { checkParameters, QueryError, show } from './query.ts';

/** One rule entry. */
interface OffloadRow {
  readonly namespace: string;
  readonly name: string;
  readonly rule: string;
  readonly verdict: OffloadVerdict;
  /** Share of its packets that hardware alone has handled, 0..1; null without packets. */
  readonly share: number | null;
  /** Flows and packets by place; null when no flow of it was seen. */
  readonly places: PlaceCounts | null;
  readonly reasons: readonly Reason[];
}

const UNAVAILABLE = 503;
const OBJECTS_MAX = 100;
const NOT_READ = { status: UNAVAILABLE, body: { error: 'the rules have not been read yet' } };

/** Answers `/offload`. */
export async function offloadAnswer(
  agent: AgentView,
  query: URLSearchParams,
): Promise<DebugAnswer> {
  checkParameters(query, ['assume']);
  const snapshot = agent.built?.snapshot;
  if (snapshot === undefined) return NOT_READ;
  const kind = kindOf(agent, query);
  const [links, evidence] = [await readLinks(), await agent.offload.read()];
  const contexts = new Contexts(snapshot, kind, lintPorts(agent.bridge.ports, links));
  const rows = await inSlices(rowSteps(agent, contexts, evidence));
  const { at, places, unattributed, unread, milliseconds } = evidence;
  const looked = { at, places, unattributed, unread, milliseconds };
  return { body: { datapath: kind, assumed: query.has('assume'), ...looked, rules: rows } };
}

function kindOf(agent: AgentView, query: URLSearchParams): DatapathKind {
  const assume = query.get('assume');
  if (assume === null) return datapathKind(agent.bridge.datapathType, agent.bridge.openVSwitch);
  const kind = DATAPATH_KINDS.find((one) => one === assume);
  if (kind !== undefined) return kind;
  throw new QueryError(`assume is ${show(assume)}; accepted: ${DATAPATH_KINDS.join(', ')}`);
}

/** What the lint has to know of each network, made once. */
class Contexts {
  readonly #snapshot: Snapshot;
  readonly #kind: DatapathKind;
  readonly #ports: readonly LintPort[];
  readonly #byVni = new Map<number, LintContext>();
  readonly #vnis: ReadonlyMap<string, number>;

  constructor(snapshot: Snapshot, kind: DatapathKind, ports: readonly LintPort[]) {
    this.#snapshot = snapshot;
    this.#kind = kind;
    this.#ports = ports;
    this.#vnis = new Map(
      snapshot.rules.flatMap(({ object, verdicts }) =>
        object.spec.rules.flatMap((entry, index) => {
          const vni = verdicts[index]?.vni;
          const { namespace, name } = object.metadata;
          return vni === undefined
            ? []
            : [[ruleEntryName(namespace, name, entry.name), Number(vni)] as const];
        }),
      ),
    );
  }

  /** Of the network that an entry acts in. */
  ofEntry(key: string): LintContext {
    return this.ofVni(this.#vnis.get(key) ?? 0);
  }

  /** Of a network. */
  ofVni(vni: number): LintContext {
    const known = this.#byVni.get(vni);
    if (known !== undefined) return known;
    const { networks, locals, peers } = this.#snapshot;
    const endpoints = new Set(
      locals.filter((local) => local.vni === vni).map(({ ofport }) => Number(ofport)),
    );
    const tracking = networks.find((network) => network.vni === vni)?.tracking;
    const context = {
      datapath: this.#kind,
      tracked: tracking !== undefined,
      ports: this.#ports,
      endpoints,
      // A flooded packet goes to everybody but the one that it comes from.
      flood: { remote: peers.length, local: Math.max(0, endpoints.size - 1) },
    };
    this.#byVni.set(vni, context);
    return context;
  }
}

function* rowSteps(agent: AgentView, contexts: Contexts, evidence: Evidence): Steps<OffloadRow[]> {
  const rows: OffloadRow[] = [];
  for (const entry of agent.desired.entries()) {
    const { namespace, name, rule, key, cookie } = entry;
    const places = evidence.rules.get(cookie);
    rows.push({
      ...{ namespace, name, rule, verdict: verdictOf(places) },
      share: hardwareShare(places) ?? null,
      places: places ?? null,
      reasons: lintEntry(entry, contexts.ofEntry(key)),
    });
    yield;
  }
  return rows.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
}

function nameOf({ namespace, name, rule }: OffloadRow): string {
  return `${namespace}/${name}/${rule}`;
}

/** Answers `/offload/what-if`: `rule` is a DPURule as YAML or JSON. */
export async function whatIfAnswer(agent: AgentView, query: URLSearchParams): Promise<DebugAnswer> {
  checkParameters(query, ['rule', 'assume']);
  const { built } = agent;
  if (built === undefined) return NOT_READ;
  const kind = kindOf(agent, query);
  const candidates = await candidatesOf(agent, built, kind, query.get('rule') ?? '');
  const look = await agent.offload.look();
  const found = await inSlices(whatIfSteps(candidates, look.flows));
  const entries = candidates.map(({ entry, context }) => ({
    rule: `${entry.namespace}/${entry.name}/${entry.rule}`,
    refusal: entry.refusal?.message ?? null,
    reasons: lintEntry(entry, context),
  }));
  const { at, unattributed } = look;
  return {
    body: { datapath: kind, assumed: query.has('assume'), at, unattributed, entries, ...found },
  };
}

/** The entries of rules that are not in force, compiled as they would be. */
async function candidatesOf(
  agent: AgentView,
  built: NonNullable<AgentView['built']>,
  kind: DatapathKind,
  text: string,
): Promise<Candidate[]> {
  const { objects, problems } = await parseRuleFile('rule', Buffer.from(text), OBJECTS_MAX);
  const [problem] = problems;
  if (problem !== undefined) {
    throw new QueryError(
      `rule: ${problem.path === '' ? '' : `${problem.path}: `}${problem.message}`,
    );
  }
  const wrong = objects.find(({ object }) => object.kind !== 'DPURule');
  if (wrong !== undefined || objects.length === 0) {
    throw new QueryError(
      `rule holds ${wrong?.key ?? 'nothing'}; accepted: objects of kind DPURule`,
    );
  }
  const added = objects.map(({ key, object }): [string, SourceObject] => [
    key,
    { object, origin: 'what-if' },
  ]);
  const { source, bridge, config } = agent;
  const { networks, tunnel } = built.snapshot;
  const tracking = networks.flatMap((network) =>
    network.tracking === undefined ? [] : [[network.vni, network.tracking] as const],
  );
  const { snapshot } = makeSnapshot(
    {
      config,
      source: {
        ...source.snapshot,
        objects: new Map([...source.snapshot.objects, ...added]),
      },
      ports: bridge.ports,
      tunnel,
      tracking: new Map(tracking),
      nowMs: Date.now(),
    },
    built.ruleSet,
  );
  const contexts = new Contexts(snapshot, kind, lintPorts(bridge.ports, await readLinks()));
  const wanted = new Set(objects.map(({ object }) => object));
  return snapshot.rules
    .filter(({ object }) => wanted.has(object))
    .flatMap(({ object, verdicts }) =>
      compileRule(object, verdicts, hashName, () => 1).map((entry) => ({
        entry,
        context: contexts.ofEntry(entry.key),
      })),
    );
}

/** Entries by verdict, as the last look saw them; for metrics. */
export function offloadCounts(agent: AgentView): Record<OffloadVerdict, number> {
  const evidence = agent.offload.latest;
  const counts = { full: 0, partial: 0, none: 0, notObserved: 0 };
  for (const { cookie } of agent.desired.entries())
    counts[verdictOf(evidence?.rules.get(cookie))]++;
  return counts;
}
