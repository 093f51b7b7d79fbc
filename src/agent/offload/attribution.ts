/**
 * Which rules a datapath flow is the work of. All packets of one datapath flow took one way through the tables, so
 * `ofproto/trace` of its key names the rules; the answers are kept, since keys live long. Asks at most a few hundred questions
 * in one pass, those with the most packets first: each costs ovs-vswitchd about a millisecond.
 */
import { ConnectionError, isBaseError } from '../../base/error.ts';
import type { DatapathFlow } from '../../ovsdb/datapath-flow.ts';
import type { TracedPass } from '../../ovsdb/ofproto-trace.ts';
import { isRuleCookie } from '../flow/cookie.ts';

/** Asks ofproto/trace for the way of a datapath key. */
export type TraceKey = (key: string) => Promise<readonly TracedPass[]>;

/** What a way through the tables says. */
export interface FlowWay {
  /** Cookies of the rule entries that it met in our bridge. */
  readonly rules: readonly bigint[];
  /** The network that it is in; undefined when it never came to one. */
  readonly vni: number | undefined;
}

const TRACES_MAX = 256;
const KEPT_MAX = 20_000;
/** What others change in the switch is noticed by then. */
const KEPT_MS = 300_000;

/** What a trace says of our bridge. Pure. */
export function wayOf(passes: readonly TracedPass[], bridge: string): FlowWay {
  const rules = new Set<bigint>();
  let vni: number | undefined;
  for (const { steps, finalFlow } of passes) {
    for (const step of steps) {
      if (step.bridge !== bridge || step.cookie === undefined) continue;
      if (isRuleCookie(step.cookie)) rules.add(step.cookie);
    }
    const metadata = /(?:^|,)metadata=(0x[0-9a-f]+|\d+)(?:,|$)/.exec(finalFlow)?.[1];
    if (metadata !== undefined) vni ??= Number(metadata);
  }
  return { rules: [...rules], vni };
}

/** The ways of datapath flows, as far as they are known. */
export class Attribution {
  readonly #bridge: string;
  readonly #now: () => number;
  readonly #ways = new Map<string, { readonly way: FlowWay; readonly atMs: number }>();
  #generation = 0;

  /** `now` is a monotonic clock in milliseconds. */
  constructor(bridge: string, now: () => number = () => performance.now()) {
    this.#bridge = bridge;
    this.#now = now;
  }

  /** Our flows have changed: what is known may be wrong. */
  forget(): void {
    this.#generation++;
    this.#ways.clear();
  }

  /** The way of a key; undefined when it was not asked for yet. */
  wayOf(key: string): FlowWay | undefined {
    const known = this.#ways.get(key);
    return known === undefined || this.#now() - known.atMs > KEPT_MS ? undefined : known.way;
  }

  /** Asks for the flows that are not known, the heaviest first. @returns how many are still unknown. */
  async learn(flows: readonly DatapathFlow[], trace: TraceKey): Promise<number> {
    const generation = this.#generation;
    const unknown = flows.filter(({ key }) => this.wayOf(key) === undefined);
    unknown.sort((a, b) => b.packets - a.packets);
    let asked = 0;
    for (const { key } of unknown.slice(0, TRACES_MAX)) {
      const way = await this.#ask(key, trace);
      if (generation !== this.#generation) break;
      this.#keep(key, way);
      asked++;
    }
    return unknown.length - asked;
  }

  async #ask(key: string, trace: TraceKey): Promise<FlowWay> {
    try {
      return wayOf(await trace(key), this.#bridge);
    } catch (error) {
      // It went meanwhile, or is of a bridge or recirculation that no trace can begin with: nobody's, for a while.
      if (!isBaseError(error) || error instanceof ConnectionError) throw error;
      return { rules: [], vni: undefined };
    }
  }

  #keep(key: string, way: FlowWay): void {
    this.#ways.delete(key);
    this.#ways.set(key, { way, atMs: this.#now() });
    if (this.#ways.size <= KEPT_MAX) return;
    const oldest = this.#ways.keys().next();
    if (oldest.done !== true) this.#ways.delete(oldest.value);
  }
}
