/**
 * Looks at the datapath: one dump, read in slices, each flow attributed to the rules that made it. One look at a time; who asks
 * again within some seconds gets the same answer, and who does not want to wait the last one.
 */
import { errorMessage } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';
import { datapathFlowSteps, type DatapathFlow } from '../../ovsdb/datapath-flow.ts';
import { parseOfprotoTrace } from '../../ovsdb/ofproto-trace.ts';
import { unixctl } from '../../ovsdb/unixctl.ts';
import type { Steps } from '../flow/steps.ts';
import { inSlices } from '../reconcile/slices.ts';
import { Attribution, type FlowWay } from './attribution.ts';
import { addFlow, emptyCounts, type PlaceCounts } from './evidence.ts';

/** What one look found, without the flows. */
export interface Evidence {
  readonly at: string;
  /** All flows of the datapath, those of other bridges too. */
  readonly places: PlaceCounts;
  /** By cookie of the rule entry. A flow counts for each entry that it met. */
  readonly rules: ReadonlyMap<bigint, PlaceCounts>;
  /** Flows whose rules are not known yet: the next look asks for more. */
  readonly unattributed: { readonly flows: number; readonly packets: number };
  /** Lines of the dump that could not be read. */
  readonly unread: number;
  readonly milliseconds: number;
}

/** A flow of the datapath and its way through the tables. */
export interface AttributedFlow {
  readonly flow: DatapathFlow;
  /** Undefined when it is not known yet. */
  readonly way: FlowWay | undefined;
}

/** A look with the flows themselves. */
export interface Look extends Evidence {
  readonly flows: readonly AttributedFlow[];
}

/** What the reader needs of the agent. */
export interface OffloadSources {
  /** Control socket of ovs-vswitchd. @throws ConnectionError when there is none. */
  control(): Promise<string>;
  /** Name of the bridge. */
  readonly bridge: string;
  /** datapath_type of the bridge; undefined while there is no bridge. */
  datapathType(): string | undefined;
  readonly logger: Logger;
}

const FRESH_MS = 2000;
/** Who only wants the last answer makes a new one at most this often: a dump costs ovs-vswitchd time. */
const BACKGROUND_MS = 60_000;
const TIMEOUT_MS = 10_000;
const STEP_FLOWS = 64;

/** Reads evidence. */
export class OffloadReader {
  readonly #sources: OffloadSources;
  readonly #attribution: Attribution;
  #last: Evidence | undefined;
  #lastMs = -Infinity;
  #tried = -Infinity;
  #running: Promise<Look> | undefined;

  constructor(sources: OffloadSources) {
    this.#sources = sources;
    this.#attribution = new Attribution(sources.bridge);
  }

  /** What the last look found; a new one is begun when that is old. Undefined before the first. */
  get latest(): Evidence | undefined {
    const nowMs = performance.now();
    if (this.#running === undefined && nowMs - this.#tried > BACKGROUND_MS) {
      this.look().catch((error: unknown) => {
        this.#sources.logger.debug({ reason: errorMessage(error) }, 'no evidence of offload');
      });
    }
    return this.#last;
  }

  /** Our flows in the switch have changed. */
  forget(): void {
    this.#attribution.forget();
  }

  /** What a fresh look finds, or one of the last seconds. @throws ConnectionError, OvsdbError, DecodeError. */
  async read(): Promise<Evidence> {
    if (this.#last !== undefined && performance.now() - this.#lastMs < FRESH_MS) return this.#last;
    return this.look();
  }

  /** A look with its flows; shared by those who ask meanwhile. @throws ConnectionError, OvsdbError, DecodeError. */
  look(): Promise<Look> {
    this.#running ??= this.#look().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #look(): Promise<Look> {
    const startMs = performance.now();
    this.#tried = startMs;
    const type = this.#sources.datapathType() ?? 'system';
    const control = await this.#sources.control();
    const ask = (command: string, args: readonly string[]): Promise<string> =>
      unixctl(control, command, args, TIMEOUT_MS);
    const text = await ask('dpctl/dump-flows', ['-m', `${type}@ovs-${type}`]);
    const { flows, unread } = await inSlices(datapathFlowSteps(text));
    await this.#attribution.learn(flows, async (key) =>
      parseOfprotoTrace(await ask('ofproto/trace', [`ovs-${type}`, key])),
    );
    const { flows: attributed, ...sums } = await inSlices(sumSteps(flows, this.#attribution));
    const evidence: Evidence = {
      at: new Date().toISOString(),
      ...sums,
      unread,
      milliseconds: Math.round(performance.now() - startMs),
    };
    this.#last = evidence;
    this.#lastMs = performance.now();
    return { ...evidence, flows: attributed };
  }
}

/** Adds up a dump. Pure. */
export function* sumSteps(
  flows: readonly DatapathFlow[],
  ways: { wayOf(key: string): FlowWay | undefined },
): Steps<Pick<Look, 'places' | 'rules' | 'unattributed' | 'flows'>> {
  const places = emptyCounts();
  const rules = new Map<bigint, PlaceCounts>();
  const attributed: AttributedFlow[] = [];
  const unattributed = { flows: 0, packets: 0 };
  for (const [index, flow] of flows.entries()) {
    if (index % STEP_FLOWS === 0) yield;
    const way = ways.wayOf(flow.key);
    attributed.push({ flow, way });
    addFlow(places, flow);
    if (way === undefined) {
      unattributed.flows++;
      unattributed.packets += flow.packets;
    }
    for (const cookie of way?.rules ?? []) {
      const counts = rules.get(cookie) ?? emptyCounts();
      rules.set(cookie, counts);
      addFlow(counts, flow);
    }
  }
  return { places, rules, unattributed, flows: attributed };
}
