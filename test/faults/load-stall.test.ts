// How long a load makes the other OpenFlow clients of the switch wait: by the writer's chunks, and beside it as one bundle.
// The figures are printed; what is asserted holds on a busy machine too.
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { changesBetween, desiredOf, makeRules, snapshotOf } from '../../bench/rule-load.ts';
import { FIRST_SYNC_CHUNK, writeChanges } from '../../src/agent/reconcile/flow-writer.ts';
import { OpenFlowConnection } from '../../src/openflow/client.ts';
import { ovsSandbox } from '../support/ovs-sandbox.ts';

const FLOWS = process.env['TEST_LONG'] === undefined ? 10_000 : 100_000;

interface Echoes {
  readonly worstMs: number;
  readonly p99Ms: number;
  readonly count: number;
}

function said({ worstMs, p99Ms, count }: Echoes): string {
  const load = `load ${loadavg()[0]?.toFixed(1)} on ${availableParallelism()} CPUs`;
  return `echo p99 ${p99Ms.toFixed(1)} ms, worst ${worstMs.toFixed(1)} ms of ${count} (${load})`;
}

async function echoesDuring(path: string, work: () => Promise<void>): Promise<Echoes> {
  const worker = new Worker(new URL('echo-worker.ts', import.meta.url), { workerData: path });
  const next = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
  await next();
  await new Promise((resolve) => setTimeout(resolve, 100));
  await work();
  const answer = next();
  worker.postMessage('stop');
  const times = ((await answer) as number[]).sort((a, b) => a - b);
  return {
    worstMs: times.at(-1) ?? 0,
    p99Ms: times[Math.floor(times.length * 0.99)] ?? 0,
    count: times.length,
  };
}

t.test(`other clients of the switch while ${FLOWS} flows are loaded`, async (t) => {
  const ovs = await ovsSandbox(t, { dummy: true });
  if (ovs === undefined) return;
  const bridge = ['fail_mode=secure', 'datapath_type=netdev', 'protocols=OpenFlow13'];
  await ovs.vsctl('add-br', 'br-int', '--', 'set', 'bridge', 'br-int', ...bridge);
  const path = join(ovs.rundir, 'br-int.mgmt');
  const changes = changesBetween(undefined, desiredOf(snapshotOf(makeRules(FLOWS))));
  const connection = await OpenFlowConnection.connect({ path });
  t.after(() => connection.close());
  const idle = await echoesDuring(path, () => new Promise((resolve) => setTimeout(resolve, 500)));
  t.comment(`nothing loaded: ${said(idle)}`);
  for (const [name, chunkSize] of [
    [`bundles of ${FIRST_SYNC_CHUNK}`, FIRST_SYNC_CHUNK],
    ['one bundle', undefined],
  ] as const) {
    let committed = 0;
    const echoes = await echoesDuring(path, async () => {
      await writeChanges(connection, changes, {
        chunkSize,
        onCommitted: (done) => (committed += done.length),
        onRefused: () => t.fail('refused'),
        mayWrite: () => true,
      });
    });
    t.equal(committed, changes.length, name);
    t.ok(echoes.count > 5, 'the other client was served');
    t.comment(`${changes.length} flows in ${name}: ${said(echoes)}`);
    await ovs.ofctl('-O', 'OpenFlow13', 'del-flows', `unix:${path}`);
    await ovs.ofctl('-O', 'OpenFlow13', 'del-groups', `unix:${path}`);
  }
});
