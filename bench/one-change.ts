/**
 * Workload `one-change`: one rule denies another port while 10,000 flows are there; from the event to the commit reply,
 * through the real reconciler. Reading and checking a file is not in it; `lab` measures that.
 */
import type { Snapshot } from '../src/agent/flow/model.ts';
import { bundleOf } from './bench-switch.ts';
import { RuleEditor } from './rule-editor.ts';
import { changesBetween, desiredOf, makeRule, makeRules, snapshotOf } from './rule-load.ts';
import { quantile, timeOf } from './sample.ts';
import { sizedWorkload, sizeText, type Compare } from './sized-workload.ts';
import type { Row, Target } from './workload.ts';

const FLOOR = 'floor: bytes of the difference, made before';
const AGENT = 'dpu-agent';
const NO_DEBOUNCE = 'dpu-agent, debounce 0 ms';
const OFCTL = 'ovs-ofctl --bundle add-flows of one rule, per exec';
/** First change that counts: V8 compiles during those before. */
const WARM_UP = 50;
/** Rules that take turns in changing. */
const CHANGED_RULES = 10;
const PORTS = [8080, 80];

const compare: Compare = async (context, bench, flowCount) => {
  const rules = makeRules(flowCount);
  let edits = 0;
  /** The snapshot with one more rule edited; never equal to the one before. */
  const edited = (): Snapshot => {
    const port = PORTS[Math.floor(edits / CHANGED_RULES) % PORTS.length] ?? 0;
    const index = edits++ % CHANGED_RULES;
    rules[index] = makeRule(index, port);
    return snapshotOf(rules.slice());
  };
  const count = context.quick ? 40 : 200;
  const rows: Row[] = [];
  for (const [subject, debounceMs] of [[AGENT], [NO_DEBOUNCE, 0]] as const) {
    const editor = new RuleEditor(await bench.connect(), snapshotOf(rules.slice()), debounceMs);
    context.defer(() => editor.close());
    await editor.start();
    const samples: number[] = [];
    for (let change = 0; change < WARM_UP + count; change++) {
      const snapshot = edited();
      const ms = await editor.change(snapshot);
      if (change >= WARM_UP) samples.push(ms);
    }
    await editor.close();
    rows.push({ subject, unit: 'ms', samples });
  }

  const before = desiredOf(snapshotOf(rules.slice()));
  const after = desiredOf(edited());
  const there = bundleOf(changesBetween(before, after));
  const back = bundleOf(changesBetween(after, before));
  const raw = await bench.connectRaw();
  const floor: number[] = [];
  for (let change = 0; change < WARM_UP + count; change++) {
    const ms = await timeOf(() => raw.commit(change % 2 === 0 ? there : back));
    if (change >= WARM_UP) floor.push(ms);
  }
  rows.push({ subject: FLOOR, unit: 'ms', samples: floor });
  const [entry] = after.entries();
  const file = await bench.flowFile('one-rule.txt', entry?.flows ?? []);
  const exec: number[] = [];
  for (let change = 0; change < count / 4; change++) {
    exec.push(await bench.timeOfctl(['--bundle'], 'add-flows', file));
  }
  rows.push({ subject: OFCTL, unit: 'ms', samples: exec });
  return {
    comparison: {
      title: `one rule changed, ${sizeText(flowCount)} present`,
      baseline: FLOOR,
      quantiles: [0.5, 0.99],
      rows,
    },
    targets: rows.slice(0, 2).flatMap(({ subject, samples }): Target[] => {
      const what = `one change, ${sizeText(flowCount)} present, ${subject}`;
      const target = { bound: 'at most', unit: 'ms' } as const;
      return [
        { ...target, what: `${what}, p50`, limit: 2, measured: quantile(samples, 0.5) },
        { ...target, what: `${what}, p99`, limit: 10, measured: quantile(samples, 0.99) },
      ];
    }),
  };
};

/** The workload. */
export const oneChange = sizedWorkload(
  'one-change',
  'One rule changed, from the event to the commit reply',
  compare,
  [10_000],
);
