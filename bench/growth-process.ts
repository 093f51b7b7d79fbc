/**
 * A process of its own that takes a flow table of one size through a life: first sync of an empty switch, one rule in a
 * hundred changed, an audit, which is a dump with a full comparison. Or the floor of the same: the bytes alone. Sends a
 * {@link Life} to its parent. Usage: growth-process.ts agent|floor SOCKET FLOWS.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { OpenFlowConnection } from '../src/openflow/client.ts';
import { bundleOf } from './bench-switch.ts';
import type { Life, Step } from './growth.ts';
import { RawSwitch } from './raw-switch.ts';
import { changeOnePercent, changesBetween, desiredOf, makeRules, snapshotOf } from './rule-load.ts';
import { RuleEditor } from './rule-editor.ts';
import { collectGarbage, timeOf } from './sample.ts';

/** The histogram looks this often; shorter stalls do not show. */
const RESOLUTION_MS = 1;

/** Does the work, and says how long it took and how long, at the most, nothing else could be done meanwhile. */
async function step(work: () => Promise<unknown>): Promise<Step> {
  collectGarbage();
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  // The first look sets the clock.
  await sleep(20);
  delay.reset();
  const ms = await timeOf(work);
  await sleep(20);
  delay.disable();
  return { ms, stallMs: delay.max / 1e6 };
}

function bytesInUse(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function liveAgent(path: string, flowCount: number): Promise<Life> {
  const connection = await OpenFlowConnection.connect({ path });
  const before = bytesInUse();
  const rules = makeRules(flowCount);
  const snapshot = snapshotOf(rules);
  const editor = new RuleEditor(connection, snapshot, 0);
  const install = await step(() => editor.start());
  const next = snapshotOf(changeOnePercent(rules));
  const change = await step(() => editor.change(next));
  const audit = await step(() => editor.audit());
  const bytes = bytesInUse() - before;
  const { rss } = process.memoryUsage();
  await editor.close();
  return { install, change, audit, memory: { bytes, rss } };
}

async function liveFloor(path: string, flowCount: number): Promise<Life> {
  const rules = makeRules(flowCount);
  const before = desiredOf(snapshotOf(rules));
  const after = desiredOf(snapshotOf(changeOnePercent(rules)));
  const all = bundleOf(changesBetween(undefined, before));
  const difference = bundleOf(changesBetween(before, after));
  // Not before: the switch gives up a connection on which nobody answers while the bytes are made.
  const raw = await RawSwitch.connect(path);
  const install = await step(() => raw.commit(all));
  const change = await step(() => raw.commit(difference));
  const audit = await step(() => raw.readFlows());
  return { install, change, audit };
}

const [mode, path = '', count] = process.argv.slice(2);
const life = await (mode === 'floor' ? liveFloor : liveAgent)(path, Number(count));
process.send?.(life, () => process.exit());
