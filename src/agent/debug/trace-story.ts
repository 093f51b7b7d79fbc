/**
 * The story of a traced packet by names: which flow of whom it met in which table, what was decided by which rule, where
 * each copy of it ended. Pure. It reads meaning from tables, cookies and the few actions that set a tunnel; whatever else
 * stands in a flow is told in the words of Open vSwitch.
 */
import { formatIp } from '../../base/address.ts';
import type { TracedAction, TracedPass, TracedStep } from '../../ovsdb/ofproto-trace.ts';
import { TABLE } from '../flow/pipeline.ts';
import { EGRESS_CHAIN, INGRESS_CHAIN, TIER_CHAINS } from '../flow/tables/tiers.ts';
import type { FlowOwner } from './flow-names.ts';

/** One step of the story. */
export interface StoryStep {
  /** `first` or the headline of a recirculation, by its place in `passes`. */
  readonly pass: number;
  /** Number of the copy, such as `2` or `2.1`; empty for the packet itself. */
  readonly copy: string;
  readonly bridge: string;
  readonly table: number | null;
  /** Name of the table; for other steps what they are. */
  readonly name: string;
  readonly match: string | null;
  readonly priority: number | null;
  readonly cookie: bigint | null;
  readonly owner: FlowOwner | null;
  readonly actions: readonly string[];
  /** What Open vSwitch remarks on the actions. */
  readonly remarks: readonly string[];
}

/** A rule, or a network's default action, that decided. */
export interface Decision {
  readonly direction: 'egress' | 'ingress';
  /** `platform`, `admin`, ... */
  readonly tier: string;
  /** `namespace/name/rule`, or `default of NETWORK`. */
  readonly by: string;
  readonly rule: string | null;
  /** A rule on trial (enforcement: DryRun): it noted what it would do and decided nothing. */
  readonly trial: boolean;
  readonly copy: string;
}

/** Where a copy of the packet ended. */
export type End =
  | {
      readonly kind: 'output';
      readonly copy: string;
      readonly ofport: number | null;
      readonly port: string;
      /** Endpoints of that port. */
      readonly endpoints: readonly string[];
      /** Set when the port is the tunnel. */
      readonly vtep?: string;
      readonly vni?: number;
    }
  | {
      readonly kind: 'denied';
      readonly copy: string;
      readonly direction: string;
      readonly by: string;
    }
  | {
      readonly kind: 'dropped';
      readonly copy: string;
      readonly reason: string;
      readonly meaning: string;
    }
  /** Open vSwitch does not send a packet back where it came from. */
  | {
      readonly kind: 'skipped';
      readonly copy: string;
      readonly port: string;
      readonly meaning: string;
    };

/** What a trace says. */
export interface Story {
  readonly verdict: 'allowed' | 'denied' | 'dropped';
  /** The verdict in one sentence. */
  readonly summary: string;
  readonly decisions: readonly Decision[];
  readonly ends: readonly End[];
  readonly steps: readonly StoryStep[];
  readonly datapathActions: readonly string[];
  /** Recirculations and remarks on the whole. */
  readonly notes: readonly string[];
}

/** What names things. */
export interface StoryNames {
  readonly bridge: string;
  readonly tunnelOfport: number | undefined;
  owner(cookie: bigint): FlowOwner;
  port(ofport: number): { readonly name: string; readonly endpoints: readonly string[] };
}

const TABLE_NAMES: ReadonlyMap<number, string> = new Map(
  Object.values(TABLE).map(({ id, name }) => [id, name]),
);
const TIER_NAMES = ['platform', 'admin', 'tenant', 'policy', 'isolation', 'baseline'];

/** Tells the story of a trace. */
export function tellStory(passes: readonly TracedPass[], names: StoryNames): Story {
  const teller = new Teller(names);
  passes.forEach((pass, index) => teller.tell(pass, index));
  const { steps, decisions, ends, notes } = teller;
  const kinds = new Set(ends.map(({ kind }) => kind));
  const verdict = kinds.has('output') ? 'allowed' : kinds.has('denied') ? 'denied' : 'dropped';
  return {
    verdict,
    summary: summaryOf(verdict, ends),
    decisions,
    ends,
    steps,
    datapathActions: passes.map(({ datapathActions }) => datapathActions),
    notes,
  };
}

/** The tunnel metadata that a copy carries. */
interface TunnelState {
  vtep?: string;
  vni?: number;
}

class Teller {
  readonly steps: StoryStep[] = [];
  readonly decisions: Decision[] = [];
  readonly ends: End[] = [];
  readonly notes: string[] = [];
  readonly #names: StoryNames;
  #tunnels = new Map<string, TunnelState>();

  constructor(names: StoryNames) {
    this.#names = names;
  }

  tell(pass: TracedPass, index: number): void {
    this.#tunnels = new Map([['', tunnelOf(pass.flow)]]);
    if (pass.title !== undefined) this.notes.push(pass.title);
    const before = this.ends.length;
    for (const step of pass.steps) this.#step(step, index);
    const failure = pass.notes.find((note) => note.startsWith('Translation failed'));
    if (failure !== undefined) {
      // Then nothing of this pass is sent, whatever its steps say.
      this.ends.splice(before);
      this.ends.push({ kind: 'dropped', copy: '', reason: 'TranslationFailed', meaning: failure });
    }
    this.notes.push(...pass.notes);
  }

  #step(step: TracedStep, pass: number): void {
    const copy = step.copy.join('.');
    const isOurs = step.bridge === this.#names.bridge;
    const owner = step.cookie === undefined || !isOurs ? undefined : this.#names.owner(step.cookie);
    this.steps.push({
      pass,
      copy,
      bridge: step.bridge,
      table: step.table ?? null,
      name: stepName(step, isOurs),
      match: step.match ?? null,
      priority: step.priority ?? null,
      cookie: step.cookie ?? null,
      owner: owner ?? null,
      actions: step.actions.map(({ text }) => text).filter((text) => text !== ''),
      remarks: step.actions.flatMap(({ details, warnings }) => [...details, ...warnings]),
    });
    // Beyond our bridge the underlay begins: where our packet goes is decided by then.
    if (!isOurs) return;
    if (owner !== undefined) this.#decide(step, owner, copy);
    const tunnel = this.#tunnelAt(step.copy);
    for (const action of step.actions) {
      noteTunnel(tunnel, action);
      this.#output(action, copy, tunnel);
    }
    if (step.kind === 'table') this.#dropped(step, owner, copy);
  }

  /** The state of a copy begins as that of what it was copied from. */
  #tunnelAt(copy: readonly number[]): TunnelState {
    const key = copy.join('.');
    let state = this.#tunnels.get(key);
    if (state === undefined) {
      state = { ...(copy.length === 0 ? {} : this.#tunnelAt(copy.slice(0, -1))) };
      this.#tunnels.set(key, state);
    }
    return state;
  }

  #decide(step: TracedStep, owner: FlowOwner, copy: string): void {
    for (const chain of TIER_CHAINS) {
      const tier = chain.tiers.findIndex(({ id }) => id === step.table);
      if (tier < 0 || !isDecision(step, owner)) continue;
      this.decisions.push({
        direction: chain.direction,
        tier: TIER_NAMES[tier] ?? '',
        by: deciderName(owner),
        rule: owner.kind === 'rule' ? owner.name : null,
        trial: step.actions.some(({ text }) => /->(reg4|NXM_NX_REG4\[\])$/.test(text)),
        copy,
      });
    }
  }

  #output(action: TracedAction, copy: string, tunnel: TunnelState): void {
    const target = outputOf(action);
    if (target === undefined) return;
    const { name, endpoints } =
      typeof target === 'number' ? this.#names.port(target) : { name: target, endpoints: [] };
    const [warning] = action.warnings;
    if (warning === 'skipping output to input port') {
      this.ends.push({ kind: 'skipped', copy, port: name, meaning: 'the packet came from there' });
    } else if (warning !== undefined) {
      this.ends.push({ kind: 'dropped', copy, reason: 'Output', meaning: `${name}: ${warning}` });
    } else {
      const isTunnel = target === this.#names.tunnelOfport;
      this.ends.push({
        kind: 'output',
        copy,
        ofport: typeof target === 'number' ? target : null,
        port: name,
        endpoints,
        ...(isTunnel ? tunnel : {}),
      });
    }
  }

  #dropped(step: TracedStep, owner: FlowOwner | undefined, copy: string): void {
    const isDrop = step.actions.every(({ text }) => text === 'drop');
    const table = `table ${step.table ?? ''}`;
    if (owner?.kind === 'drop') {
      const by = this.decisions.findLast(({ trial }) => !trial)?.by;
      if (owner.name === 'DefaultDeny' && by !== undefined) {
        this.ends.push({ kind: 'denied', copy, direction: directionOf(step), by });
      } else {
        this.ends.push({ kind: 'dropped', copy, reason: owner.name, meaning: owner.meaning });
      }
    } else if (owner?.kind === 'rule' && isVerdict(step) && !goesOn(step)) {
      this.ends.push({ kind: 'denied', copy, direction: directionOf(step), by: owner.name });
    } else if (isDrop && step.match === undefined) {
      const meaning = `no flow of ${table} matches: are our flows in the switch?`;
      this.ends.push({ kind: 'dropped', copy, reason: 'NoMatch', meaning });
    } else if (isDrop && owner !== undefined) {
      const meaning = `by a flow of ${table} from ${owner.name}`;
      this.ends.push({ kind: 'dropped', copy, reason: owner.kind, meaning });
    }
  }
}

function stepName(step: TracedStep, isOurs: boolean): string {
  if (step.kind === 'bucket') return `copy ${step.copy.join('.')}`;
  if (step.kind === 'resume') return isOurs ? 'goes on' : step.bridge;
  return (isOurs ? TABLE_NAMES.get(step.table ?? -1) : step.bridge) ?? `table ${step.table ?? ''}`;
}

function isVerdict({ table }: TracedStep): boolean {
  return table === EGRESS_CHAIN.verdict.id || table === INGRESS_CHAIN.verdict.id;
}

function directionOf({ table }: TracedStep): 'egress' | 'ingress' {
  return (table ?? 0) <= EGRESS_CHAIN.verdict.id ? 'egress' : 'ingress';
}

function goesOn({ actions }: TracedStep): boolean {
  return actions.some(({ text }) => /^(goto_table|resubmit|output|group|ct)\b/.test(text));
}

/** A rule, or a network's default action; the way from tier to tier is neither. */
function isDecision({ priority }: TracedStep, owner: FlowOwner): boolean {
  return owner.kind === 'rule' || (owner.kind === 'part' && (priority ?? 0) > 0);
}

function deciderName(owner: FlowOwner): string {
  return owner.kind === 'rule'
    ? owner.name
    : `the default action of ${owner.name.replace('/', ' ')}`;
}

/** The port that an action sends to: its number, or a name such as `IN_PORT`; undefined for other actions. */
function outputOf({ text, details }: TracedAction): number | string | undefined {
  const resolved = details
    .map((detail) => /^output port is (\d+)$/.exec(detail)?.[1])
    .find(Boolean);
  if (resolved !== undefined) return Number(resolved);
  const direct = /^output:(\d+)$/.exec(text)?.[1];
  if (direct !== undefined) return Number(direct);
  if (/^(IN_PORT|LOCAL|NORMAL|FLOOD|ALL)$/.test(text)) return text;
  return /^CONTROLLER\b|^controller\(/.test(text) ? 'the controller' : undefined;
}

/** What an action does to the tunnel metadata of its copy. */
function noteTunnel(tunnel: TunnelState, { text, details }: TracedAction): void {
  const set =
    /^(?:set_field|load):([^-]+)->(tun_dst|tun_id|NXM_NX_TUN_IPV4_DST|NXM_NX_TUN_ID)\b/.exec(text);
  if (set !== null) {
    const [, value = '', field = ''] = set;
    if (/dst$/i.test(field)) tunnel.vtep = dotted(value);
    else tunnel.vni = Number(value);
  }
  for (const detail of details) {
    const now = /^NXM_NX_TUN_ID\[[^\]]*\] is now (0x[0-9a-f]+|\d+)$/.exec(detail)?.[1];
    if (now !== undefined) tunnel.vni = Number(now);
  }
}

function dotted(value: string): string {
  return /^0x[0-9a-f]{1,8}$/.test(value) ? formatIp(4, BigInt(value)) : value;
}

function tunnelOf(flow: string): TunnelState {
  const vni = /(?:^|,)tun_id=(0x[0-9a-f]+|\d+)/.exec(flow)?.[1];
  return vni === undefined ? {} : { vni: Number(vni) };
}

function summaryOf(verdict: Story['verdict'], ends: readonly End[]): string {
  const said = ends.filter(({ kind }) => kind !== 'skipped').map(endText);
  const [only] = said;
  if (only === undefined) return 'nothing comes out: no flow sends it anywhere';
  if (said.length === 1) return only;
  const outputs = ends.filter(({ kind }) => kind === 'output').length;
  return verdict === 'allowed'
    ? `${outputs} of ${said.length} copies go out: ${said.slice(0, 8).join('; ')}`
    : said.slice(0, 8).join('; ');
}

/** An end as a sentence. */
function endText(end: End): string {
  switch (end.kind) {
    case 'output': {
      if (end.vtep !== undefined) return `to VTEP ${end.vtep} with VNI ${end.vni ?? '?'}`;
      const who = end.endpoints.length === 0 ? '' : ` (${end.endpoints.join(', ')})`;
      return `to port ${end.port}${who}`;
    }
    case 'denied':
      return `denied at ${end.direction} by ${end.by}`;
    case 'dropped':
      return `dropped as ${end.reason}: ${end.meaning}`;
    case 'skipped':
      return `not sent back to ${end.port}`;
  }
}
