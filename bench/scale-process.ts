/**
 * A process of its own in which the load of workload `scale` is compiled and brought to an empty bridge by the real
 * reconciler; or the floor of the same: the bytes alone. Sends a {@link ScaleRun} to its parent. Usage: scale-process.ts
 * agent|floor SOCKET.
 */
import { OpenFlowConnection } from '../src/openflow/client.ts';
import { bundleOf } from './bench-switch.ts';
import { RawSwitch } from './raw-switch.ts';
import { RuleEditor } from './rule-editor.ts';
import { changesBetween, desiredOf } from './rule-load.ts';
import { collectGarbage, timeOf } from './sample.ts';
import type { ScaleRun } from './scale.ts';
import { scaleSnapshot } from './scale-load.ts';

function bytesInUse(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function runAgent(path: string): Promise<ScaleRun> {
  const connection = await OpenFlowConnection.connect({ path });
  const before = bytesInUse();
  const snapshot = scaleSnapshot();
  const start = performance.now();
  const { flowCount } = desiredOf(snapshot);
  const compileMs = performance.now() - start;
  // What was compiled for the clock alone is garbage now.
  collectGarbage();
  const editor = new RuleEditor(connection, snapshot, 0);
  const syncMs = await timeOf(() => editor.start());
  const bytes = bytesInUse() - before;
  const { rss } = process.memoryUsage();
  await editor.close();
  return { flowCount, compileMs, syncMs, bytes, rss };
}

async function runFloor(path: string): Promise<Pick<ScaleRun, 'syncMs'>> {
  const all = bundleOf(changesBetween(undefined, desiredOf(scaleSnapshot())));
  const raw = await RawSwitch.connect(path);
  return { syncMs: await timeOf(() => raw.commit(all)) };
}

const [mode, path = ''] = process.argv.slice(2);
const run = await (mode === 'floor' ? runFloor : runAgent)(path);
process.send?.(run, () => process.exit());
