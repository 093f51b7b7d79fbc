/**
 * Workload `codec`: what the product's own work costs per flow, without a switch, and how much memory a flow takes. These
 * are absolute numbers of this machine; only the targets give them a scale. Times are CPU times of the main thread.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { diff, fullScope } from '../src/agent/flow/diff.ts';
import type { RuleInput } from '../src/agent/flow/model.ts';
import {
  encodeFlow,
  instructionsOf,
  matchOf,
  type EncodedFlow,
  type FlowSpec,
} from '../src/openflow/flow.ts';
import { decodeFlowStats } from '../src/openflow/flow-stats.ts';
import { decodeInstructions } from '../src/openflow/instruction.ts';
import { decodeMatch } from '../src/openflow/match.ts';
import { desiredOf, FLOWS_PER_RULE, makeRules, snapshotOf } from './rule-load.ts';
import { median, nanosecondsEach } from './sample.ts';
import { sizesOf, sizeText } from './sized-workload.ts';
import { flowsOf, mirrorOf, statsParts } from './stats-reply.ts';
import type { BenchContext, Comparison, Measured, Row, Target, Workload } from './workload.ts';

function specOf(flow: EncodedFlow): FlowSpec {
  const { tableId, priority, cookie } = flow;
  const instructions = decodeInstructions(instructionsOf(flow));
  return { tableId, priority, cookie, match: decodeMatch(matchOf(flow)), instructions };
}

/** What the work on tables of one size costs. */
function timesAt(rules: readonly RuleInput[], rounds: number): Row[] {
  const snapshot = snapshotOf(rules);
  const desired = desiredOf(snapshot);
  const flows = flowsOf(desired);
  const specs = flows.map(specOf);
  const parts = statsParts(flows);
  const mirror = mirrorOf(parts, desired);
  const keys = flows.filter((_, index) => index % 100 === 0);
  let seen = 0;
  const each = (subject: string, items: number, work: () => void): Row => ({
    subject,
    unit: 'ns',
    samples: nanosecondsEach(rounds, items, work),
  });
  const rows = [
    each('encode, per flow', flows.length, () => {
      for (const spec of specs) seen += encodeFlow(spec).matchLength;
    }),
    each('decode, per flow', flows.length, () => {
      for (const part of parts)
        decodeFlowStats(part, (stats) => (seen += stats.packets + stats.priority));
    }),
    each(
      'decode into a mirror, per flow',
      flows.length,
      () => (seen += mirrorOf(parts, desired).flowCount),
    ),
    each('full diff, nothing differs, per flow', flows.length, () => {
      seen += diff(desired, mirror, fullScope(desired, mirror)).length;
    }),
    each('incremental diff, per touched flow', keys.length, () => {
      seen += diff(desired, mirror, { flows: keys, groups: [] }).length;
    }),
    each(
      'compile from nothing, per flow',
      flows.length,
      () => (seen += desiredOf(snapshot).flowCount),
    ),
    each('pass over an unchanged snapshot, per rule', rules.length, () => {
      seen += desired.update(snapshot).compiled;
    }),
  ];
  // Whatever nobody looks at, V8 may leave out.
  if (seen === 0) throw new Error('no work was done');
  return rows;
}

/** Memory per flow, measured in a thread with a heap of its own: nobody else's garbage is in it. */
async function memoryAt(flowCount: number): Promise<Row[]> {
  const worker = new Worker(new URL('./flow-memory.ts', import.meta.url), {
    workerData: flowCount,
  });
  const [rows] = (await once(worker, 'message')) as [Row[]];
  return rows;
}

const TIME_TARGETS: readonly (readonly [subject: string, limit: number])[] = [
  ['encode, per flow', 150],
  ['decode, per flow', 150],
  ['incremental diff, per touched flow', 50],
];

/** The workload. */
export const codec: Workload = {
  id: 'codec',
  title: 'Time and memory per flow, without a switch',
  async run(context: BenchContext): Promise<Measured> {
    const comparisons: Comparison[] = [];
    const targets: Target[] = [];
    for (const flowCount of sizesOf(context)) {
      const size = sizeText(flowCount);
      context.say(size);
      const memory = await memoryAt(flowCount);
      const times = timesAt(makeRules(flowCount), context.quick ? 3 : 9);
      const title = `${size} (${FLOWS_PER_RULE} per rule)`;
      comparisons.push({ title: `time, ${title}`, rows: times });
      comparisons.push({ title: `memory per flow, ${title}`, rows: memory });
      const limits = [...TIME_TARGETS, ['all together', 1024] as const];
      for (const { subject, unit, samples } of [...times, ...memory]) {
        const limit = limits.find(([name]) => name === subject)?.[1];
        if (limit === undefined) continue;
        const what = unit === 'bytes' ? 'memory per flow, all together' : subject;
        const measured = median(samples);
        targets.push({ what: `${what}, ${size}`, bound: 'at most', limit, measured, unit });
      }
    }
    return { comparisons, targets };
  },
};
