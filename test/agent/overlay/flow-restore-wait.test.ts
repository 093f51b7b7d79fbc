// When flow-restore-wait is cleared: after the flows are in, on a connection to the process that waits for them; else after
// a time, with an alarm. Decisions first, then an agent on a real Open vSwitch.
import t from 'tap';
import { FlowRestoreWait } from '../../../src/agent/overlay/flow-restore-wait.ts';
import { TestAgent, until } from '../../support/agent.ts';
import { ovsSandbox } from '../../support/ovs-sandbox.ts';

interface World {
  readonly wait: FlowRestoreWait;
  readonly alarms: string[];
  isSet: boolean | undefined;
  connection: object | undefined;
  cleared: number;
  failures: number;
}

function world(t: { after(work: () => void): void }, timeoutMs = 60_000): World {
  const alarms: string[] = [];
  const nothing = (): void => undefined;
  const wait = new FlowRestoreWait({
    isSet: () => it.isSet,
    connection: () => it.connection,
    clear: () => {
      if (it.failures-- > 0) return Promise.reject(new Error('no connection'));
      it.isSet = false;
      it.cleared++;
      return Promise.resolve();
    },
    timeoutMs,
    logger: {
      debug: nothing,
      info: nothing,
      warn: nothing,
      error: (_, message) => void alarms.push(message),
    },
  });
  const it: World = { wait, alarms, isSet: false, connection: {}, cleared: 0, failures: 0 };
  t.after(() => wait.close());
  return it;
}

t.test('set when we start, it is cleared after the first sync and not before', async (t) => {
  const it = world(t);
  it.isSet = true;
  it.wait.look();
  t.equal(it.cleared, 0);
  t.match(it.wait.problems, [{ path: 'other_config:flow-restore-wait', message: /is set/ }]);
  it.wait.flowsAreIn();
  await until('cleared', () => it.cleared === 1);
  it.wait.look();
  t.strictSame(it.wait.problems, []);
  t.strictSame(it.alarms, []);
});

t.test('set while the switch runs, it stays for the restart that it was set for', async (t) => {
  const it = world(t, 20);
  it.wait.look();
  it.isSet = true;
  it.wait.look();
  it.wait.flowsAreIn();
  await new Promise((resolve) => setTimeout(resolve, 60));
  t.equal(it.cleared, 0, 'neither by a sync of the old process nor by time');
  it.connection = undefined;
  it.wait.look();
  it.connection = {};
  it.wait.look();
  it.wait.flowsAreIn();
  await until('cleared', () => it.cleared === 1);
});

t.test('flows that do not come are not waited for without end', async (t) => {
  const it = world(t, 20);
  it.isSet = true;
  it.connection = undefined;
  it.wait.look();
  await until('cleared', () => it.cleared === 1);
  it.wait.look();
  t.match(it.alarms, [/although the flows are not in/]);
  t.match(it.wait.problems, [{ message: /was cleared after 0.02 s/ }], 'the alarm stands');
  it.wait.flowsAreIn();
  t.strictSame(it.wait.problems, [], 'until the flows are in');
});

t.test('what cannot be cleared is tried again; what is not ours is left alone', async (t) => {
  const it = world(t);
  it.failures = 1;
  it.isSet = true;
  it.wait.flowsAreIn();
  await until('cleared', () => it.cleared === 1);
  const other = world(t, 10);
  other.isSet = undefined;
  other.wait.flowsAreIn();
  await new Promise((resolve) => setTimeout(resolve, 30));
  t.equal(other.cleared, 0, 'no lock, no write');
});

t.test(
  'an agent whose rules cannot be read lets the switch go after the time, with an alarm',
  async (t) => {
    const ovs = await ovsSandbox(t, { dummy: true });
    if (ovs === undefined) return;
    await ovs.vsctl('set', 'Open_vSwitch', '.', 'other_config:flow-restore-wait=true');
    const agent = await TestAgent.create(t, ovs, {
      ovs: {
        database: `unix:${ovs.databaseSocket}`,
        rundir: ovs.rundir,
        datapathType: 'netdev',
        flowRestoreTimeoutSeconds: 1,
      },
      rules: { source: 'directory', path: '/nonexistent/rules.d' },
    });
    // It waits for the rules, and ends with the agent.
    void agent.start(false);
    await until('cleared', async () => {
      const other = await ovs.vsctl('get', 'Open_vSwitch', '.', 'other_config');
      return !other.includes('flow-restore-wait');
    });
    const alarm = agent.log.find(({ level }) => level === 'error');
    t.match(alarm, { message: /although the flows are not in/, fields: { timeoutMs: 1000 } });
    const { problems } = await agent.json<{ problems: { message: string }[] }>('/status');
    const told = problems.map(({ message }) => message);
    t.ok(told.includes('was cleared after 1 s, before the flows were in'), told.join('; '));
  },
);
