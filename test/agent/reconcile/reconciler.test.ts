// The loop at size, on a real switch: a change touches its own keys only, nothing holds the thread for long, and the audit
// finds out when the table that was kept up to date is not what the configuration compiles to.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { DesiredState } from '../../../src/agent/flow/desired.ts';
import { diffSteps, fullScope, KEYS_PER_STEP } from '../../../src/agent/flow/diff.ts';
import type { ActualState } from '../../../src/agent/flow/diff.ts';
import type { RuleInput, Snapshot } from '../../../src/agent/flow/model.ts';
import { allSteps } from '../../../src/agent/flow/steps.ts';
import { Mirror } from '../../../src/agent/reconcile/mirror.ts';
import { Reconciler } from '../../../src/agent/reconcile/reconciler.ts';
import { silentLogger, type Logger } from '../../../src/base/logger.ts';
import { OpenFlowConnection } from '../../../src/openflow/client.ts';
import { until } from '../../support/agent.ts';
import { allowedIn, labSnapshot, rule } from '../../support/model.ts';
import { ovsSandbox } from '../../support/ovs-sandbox.ts';

const RULES = 10_000;
const AUDIT_MS = 2000;

function deny(index: number, port = 80): RuleInput {
  const dstIP = `10.1.${index >> 8}.${index & 0xff}`;
  const match = { dstIP, protocol: 'TCP', dstPort: port };
  const rules = [{ vni: 1000, direction: 'Egress', match, action: 'deny' }];
  return allowedIn(rule(`r${index}`, { rules }), 1000);
}

const rules = Array.from({ length: RULES }, (_, index) => deny(index));

/** Counts what a comparison looks at. */
class CountedMirror extends Mirror {
  looks = 0;
  override flow(...args: Parameters<ActualState['flow']>): ReturnType<ActualState['flow']> {
    this.looks++;
    return super.flow(...args);
  }
}

t.test('one rule changed among 10,000 touches its own keys only', async (t) => {
  const desired = new DesiredState();
  const first = desired.update(labSnapshot(rules));
  t.ok(first.compiled > RULES, 'at first everything is compiled');
  const mirror = new CountedMirror();
  mirror.apply(allSteps(diffSteps(desired, mirror, fullScope(desired, mirror))));
  t.equal(mirror.flowCount, desired.flowCount);

  mirror.looks = 0;
  const change = desired.update(labSnapshot(rules.with(5000, deny(5000, 81))));
  t.equal(change.compiled, 1, 'rules compiled');
  // The old match, the new one, and the flow of the verdict, which stays.
  t.equal(change.dirtyFlows.size, 3, 'keys compared');
  const changes = allSteps(
    diffSteps(desired, mirror, { flows: change.dirtyFlows, groups: change.dirtyGroups }),
  );
  t.equal(mirror.looks, 3, 'keys looked up in the mirror');
  t.strictSame(changes.map(({ kind }) => kind).sort(), ['add', 'delete']);
});

t.test('compile and diff of many flows pause all the time', async (t) => {
  const desired = new DesiredState();
  let pauses = 0;
  let mostFlows = 0;
  let flows = 0;
  for (const steps = desired.updateSteps(labSnapshot(rules)); steps.next().done !== true;) {
    pauses++;
    mostFlows = Math.max(mostFlows, desired.flowCount - flows);
    flows = desired.flowCount;
  }
  t.ok(pauses >= 2 * RULES, `${pauses} pauses`);
  t.ok(mostFlows < 100, `${mostFlows} flows are the most between two pauses`);
  const mirror = new CountedMirror();
  pauses = 0;
  let mostLooks = 0;
  const steps = diffSteps(desired, mirror, fullScope(desired, mirror));
  for (let looks = 0; steps.next().done !== true; looks = mirror.looks) {
    pauses++;
    mostLooks = Math.max(mostLooks, mirror.looks - looks);
  }
  t.equal(mirror.looks, desired.flowCount);
  t.ok(mostLooks <= KEYS_PER_STEP, `${mostLooks} keys are the most between two pauses`);
  t.ok(pauses >= desired.flowCount / KEYS_PER_STEP - 1, `${pauses} pauses`);
});

t.test(
  'the audit proves the table that is kept; where it is wrong, that is said and put right',
  { timeout: 60_000 },
  async (t) => {
    const ovs = await ovsSandbox(t, { dummy: true });
    if (ovs === undefined) return;
    const bridge = ['fail_mode=secure', 'datapath_type=netdev', 'protocols=OpenFlow13'];
    await ovs.vsctl('add-br', 'br-int', '--', 'set', 'bridge', 'br-int', ...bridge);
    const connection = await OpenFlowConnection.connect({ path: join(ovs.rundir, 'br-int.mgmt') });
    t.after(async () => connection.close());
    const few = rules.slice(0, 100);
    let snapshot: Snapshot = labSnapshot(few);
    let diverged = 0;
    const alarms: unknown[] = [];
    const logger: Logger = { ...silentLogger, error: (fields) => void alarms.push(fields) };
    const desired = new DesiredState();
    const reconciler = new Reconciler({
      desired,
      snapshot: () => snapshot,
      connection: () => connection,
      mayWrite: () => true,
      logger,
      observer: {
        stage: () => {},
        committed: () => {},
        bundle: () => {},
        eventToCommit: () => {},
        driftRepaired: () => {},
        compileDiverged: (count) => (diverged += count),
      },
    });
    t.after(() => reconciler.close());
    const synced = async (act: () => void): Promise<void> => {
      const done = new Promise((resolve) => reconciler.once('synced', resolve));
      act();
      await done;
    };
    await synced(() => reconciler.start());
    await synced(() => reconciler.audit());
    t.equal(diverged, 0, 'nothing to say');
    t.equal(alarms.length, 0);

    // A source that changes an object in place: it looks unchanged, so what was compiled from it is kept.
    const [before, after] = [few[7], deny(7, 8080)];
    if (before === undefined) throw new Error('no rule');
    Object.assign(before.object, { spec: after.object.spec });
    snapshot = { ...snapshot };
    const installed = (): Promise<string> =>
      ovs.ofctl('-O', 'OpenFlow13', 'dump-flows', 'br-int', 'table=22');
    await synced(() => reconciler.poke());
    t.notMatch(await installed(), /tp_dst=8080/, 'the divergence is planted');

    await synced(() => reconciler.audit());
    t.equal(diverged, 2, 'the old flow and the new one');
    t.match(alarms, [{ differences: 2, examples: [/^-.*tp_dst=80 /, /^\+.*tp_dst=8080 /] }]);
    t.match(await installed(), /nw_dst=10\.1\.0\.7,tp_dst=8080/, 'the full result is in force');
    t.equal((await installed()).match(/nw_dst=10\.1\.0\.7,/g)?.length, 1, 'and the old one gone');

    await synced(() => reconciler.audit());
    t.equal(diverged, 2, 'that was all');
    snapshot = { ...snapshot, rules: few.with(7, deny(7, 9090)) };
    await synced(() => reconciler.poke());
    t.match(await installed(), /nw_dst=10\.1\.0\.7,tp_dst=9090/, 'and changes go on from there');
  },
);

t.test(
  'a first sync that takes longer than the period of the audit is followed by none until a period later',
  { timeout: 60_000 },
  async (t) => {
    const ovs = await ovsSandbox(t, { dummy: true });
    if (ovs === undefined) return;
    const bridge = ['fail_mode=secure', 'datapath_type=netdev', 'protocols=OpenFlow13'];
    await ovs.vsctl('add-br', 'br-int', '--', 'set', 'bridge', 'br-int', ...bridge);
    const connection = await OpenFlowConnection.connect({ path: join(ovs.rundir, 'br-int.mgmt') });
    t.after(async () => connection.close());
    const commit = connection.commitBundle.bind(connection);
    connection.commitBundle = async (...args) => {
      await sleep(AUDIT_MS + 500);
      connection.commitBundle = commit;
      return commit(...args);
    };
    const few = rules.slice(0, 10);
    let snapshot: Snapshot = labSnapshot(few);
    const stages: string[] = [];
    const reconciler = new Reconciler({
      desired: new DesiredState(),
      snapshot: () => snapshot,
      connection: () => connection,
      mayWrite: () => true,
      logger: silentLogger,
      observer: {
        stage: (stage) => stages.push(stage),
        committed: () => {},
        bundle: () => {},
        eventToCommit: () => {},
        driftRepaired: () => {},
        compileDiverged: () => {},
      },
      auditMs: AUDIT_MS,
    });
    t.after(() => reconciler.close());
    const synced = (): Promise<unknown> =>
      new Promise((resolve) => reconciler.once('synced', resolve));
    let next = synced();
    reconciler.start();
    await next;
    next = synced();
    snapshot = labSnapshot(few.with(7, deny(7, 8080)));
    reconciler.poke();
    await next;
    t.notOk(stages.includes('audit'), 'the change pays for no audit');
    await until('an audit', () => stages.includes('audit'), 30_000);
  },
);
