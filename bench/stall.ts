/**
 * Workload `stall`: how long the event loop is held at a time while the reconciler brings many flows into the switch, audits
 * them, and changes one rule in a hundred. Echo replies, the debug socket and the flow monitor wait for so long at most.
 * Times are CPU times of the main thread: what others do on the machine does not count.
 */
import { DesiredState } from '../src/agent/flow/desired.ts';
import type { Snapshot } from '../src/agent/flow/model.ts';
import { Reconciler } from '../src/agent/reconcile/reconciler.ts';
import { silentLogger } from '../src/base/logger.ts';
import { BenchSwitch } from './bench-switch.ts';
import { changeOnePercent, makeRules, snapshotOf } from './rule-load.ts';
import { collectGarbage } from './sample.ts';
import { sizesOf, sizeText } from './sized-workload.ts';
import type { BenchContext, Comparison, Measured, Row, Target, Workload } from './workload.ts';

/** The longest time that the event loop may be held. Milliseconds. */
const LIMIT_MS = 20;

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** Looks at each turn of the event loop until it is stopped. */
class TurnWatch {
  #lastMs = cpuMs();
  #longestMs = 0;
  #stopped = false;

  constructor() {
    const turn = (): void => {
      const nowMs = cpuMs();
      this.#longestMs = Math.max(this.#longestMs, nowMs - this.#lastMs);
      this.#lastMs = nowMs;
      if (!this.#stopped) setImmediate(turn);
    };
    setImmediate(turn);
  }

  /** Ends with the present turn. @returns the longest one, in milliseconds of CPU time. */
  async stop(): Promise<number> {
    this.#stopped = true;
    await new Promise((resolve) => setImmediate(resolve));
    return this.#longestMs;
  }
}

/** The longest turn of each kind of pass at one size. */
async function longestTurns(
  context: BenchContext,
  bench: BenchSwitch,
  flowCount: number,
): Promise<Row[]> {
  const rules = makeRules(flowCount);
  const before = snapshotOf(rules);
  const after = snapshotOf(changeOnePercent(rules));
  let snapshot: Snapshot = before;
  await bench.empty();
  const connection = await bench.connect();
  const reconciler = new Reconciler({
    desired: new DesiredState(),
    snapshot: () => snapshot,
    connection: () => connection,
    mayWrite: () => true,
    logger: silentLogger,
    observer: {
      stage: () => {},
      committed: () => {},
      bundle: () => {},
      driftRepaired: () => {},
      compileDiverged: () => {},
      eventToCommit: () => {},
    },
    auditMs: 3_600_000,
  });
  context.defer(() => reconciler.close());
  const measure = async (start: () => void): Promise<number> => {
    collectGarbage();
    const synced = new Promise((resolve) => reconciler.once('synced', resolve));
    const watch = new TurnWatch();
    start();
    await synced;
    return watch.stop();
  };
  const first = await measure(() => reconciler.start());
  const audits: number[] = [];
  const changes: number[] = [];
  for (let round = 0; round < (context.quick ? 1 : 5); round++) {
    audits.push(await measure(() => reconciler.audit()));
    snapshot = snapshot === before ? after : before;
    changes.push(await measure(() => reconciler.poke()));
  }
  await reconciler.close();
  connection.close();
  return [
    { subject: 'first sync', unit: 'ms', samples: [first] },
    { subject: 'audit: full compile, dump, full diff', unit: 'ms', samples: audits },
    { subject: 'change of 1 % of the rules', unit: 'ms', samples: changes },
  ];
}

/** The workload. */
export const stall: Workload = {
  id: 'stall',
  title: 'How long the event loop is held at a time',
  async run(context: BenchContext): Promise<Measured> {
    const bench = await BenchSwitch.start(context);
    const comparisons: Comparison[] = [];
    const targets: Target[] = [];
    for (const flowCount of sizesOf(context)) {
      const size = sizeText(flowCount);
      context.say(size);
      const rows = await longestTurns(context, bench, flowCount);
      comparisons.push({ title: `longest turn, ${size}`, rows });
      for (const { subject, samples } of rows) {
        targets.push({
          what: `longest turn of the event loop, ${subject}, ${size}`,
          bound: 'at most',
          limit: LIMIT_MS,
          measured: Math.max(...samples),
          unit: 'ms',
        });
      }
    }
    return { comparisons, targets };
  },
};
