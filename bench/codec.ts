/**
 * Workload `codec`: what the product's own work costs per flow, without a switch, and how much memory a flow takes. These
 * are absolute numbers of this machine; only the targets give them a scale. Times are CPU times of the main thread.
 */
import { Buffer } from 'node:buffer';
import type { DesiredState } from '../src/agent/flow/desired.ts';
import { diff, fullScope } from '../src/agent/flow/diff.ts';
import type { RuleInput } from '../src/agent/flow/model.ts';
import { Mirror } from '../src/agent/reconcile/mirror.ts';
import {
  encodedFlowFromDump,
  encodeFlow,
  type EncodedFlow,
  type FlowSpec,
} from '../src/openflow/flow.ts';
import { instructionsOf, matchOf } from '../src/openflow/flow.ts';
import { decodeFlowStats, type FlowStats } from '../src/openflow/flow-stats.ts';
import { decodeInstructions } from '../src/openflow/instruction.ts';
import { decodeMatch } from '../src/openflow/match.ts';
import { desiredOf, FLOWS_PER_RULE, makeRules, snapshotOf } from './rule-load.ts';
import { collectGarbage, median, nanosecondsEach } from './sample.ts';
import { sizeText } from './sized-workload.ts';
import type { BenchContext, Comparison, Measured, Row, Target, Workload } from './workload.ts';

/** Bytes of a part of a multipart reply; OVS fills its messages about so far. */
const PART_BYTES = 60_000;

/** The entries of a flow-stats reply that the switch would send for flows, in parts. */
function statsParts(flows: readonly EncodedFlow[]): Buffer[] {
  const parts: Buffer[] = [];
  let part: Buffer[] = [];
  let size = 0;
  for (const { message, tableId, priority, cookie } of flows) {
    // From offset 48 on an entry is laid out as a flow_mod is: match, then instructions.
    const entry = Buffer.from(message);
    entry.fill(0, 0, 48);
    entry.writeUInt16BE(entry.length, 0);
    entry[2] = tableId;
    entry.writeUInt16BE(priority, 12);
    entry.writeBigUInt64BE(cookie, 24);
    part.push(entry);
    size += entry.length;
    if (size < PART_BYTES) continue;
    parts.push(Buffer.concat(part));
    part = [];
    size = 0;
  }
  return [...parts, Buffer.concat(part)];
}

function fromStats(stats: FlowStats): EncodedFlow {
  const { tableId, priority, cookie, match, instructions } = stats;
  return encodedFlowFromDump(tableId, priority, cookie, match, instructions);
}

/** A mirror as a dump would make it: nothing in it is shared with what is desired. */
function mirrorOf(parts: readonly Buffer[]): Mirror {
  const mirror = new Mirror();
  for (const part of parts) {
    decodeFlowStats(part, (stats) => mirror.putFlow(fromStats(stats)));
  }
  return mirror;
}

function flowsOf(desired: DesiredState): EncodedFlow[] {
  return Array.from(desired.flows(), ([, { flow }]) => flow);
}

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
  const mirror = mirrorOf(parts);
  const keys = flows.filter((_, index) => index % 100 === 0).map(({ key }) => key);
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
    each('decode into a mirror, per flow', flows.length, () => (seen += mirrorOf(parts).flowCount)),
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

/** Bytes of the heap and of buffers that are in use. */
function bytesInUse(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Memory per flow of what an agent holds after a restart on a full switch. */
function memoryAt(flowCount: number): Row[] {
  const rows: Row[] = [];
  const held: unknown[] = [];
  const grow = <T>(subject: string, make: () => T): T => {
    const before = bytesInUse();
    const made = make();
    held.push(made);
    rows.push({ subject, unit: 'bytes', samples: [(bytesInUse() - before) / flowCount] });
    return made;
  };
  const rules = grow('parsed rules', () => makeRules(flowCount));
  const desired = grow('desired flows', () => desiredOf(snapshotOf(rules)));
  const parts = statsParts(flowsOf(desired));
  grow('mirror of the switch', () => mirrorOf(parts));
  if (held.length !== rows.length) throw new Error('something was not kept');
  const total = rows.reduce((sum, { samples }) => sum + median(samples), 0);
  return [...rows, { subject: 'all together', unit: 'bytes', samples: [total] }];
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
    for (const flowCount of context.flowCounts) {
      const size = sizeText(flowCount);
      context.say(size);
      // Signals are heard between the sizes only.
      await new Promise((resolve) => setImmediate(resolve));
      // The first time, what V8 itself sets up would be counted too.
      memoryAt(flowCount);
      const memory = memoryAt(flowCount);
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
