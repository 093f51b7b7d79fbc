// What others do to our flows on a real Open vSwitch, seen by the flow monitor: no test here waits for an audit.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { ruleFile, TestAgent, until } from '../support/agent.ts';
import { ovsSandbox, type OvsSandbox } from '../support/ovs-sandbox.ts';

const DENY = { match: { dstIP: '10.1.0.25', protocol: 'TCP', dstPort: 81 }, action: 'deny' };
const REPAIR_MAX_MS = 2000;
const BURST = 20_000;

interface Lab {
  readonly ovs: OvsSandbox;
  readonly agent: TestAgent;
  /** Flows that were there before anybody else came. */
  readonly flows: readonly string[];
  /** `ovs-ofctl VERB br-int ARGS`, as another controller. */
  readonly other: (verb: string, ...args: string[]) => Promise<string>;
  /** All flows, sorted. */
  readonly dump: () => Promise<string[]>;
}

async function makeLab(t: Test): Promise<Lab | undefined> {
  const ovs = await ovsSandbox(t);
  if (ovs === undefined) return undefined;
  const agent = await TestAgent.create(t, ovs);
  await agent.start();
  await agent.writeRule('deny.yaml', ruleFile('deny', DENY));
  await agent.rule('deny', ({ programmed }) => programmed);
  const socket = `unix:${ovs.rundir}/br-int.mgmt`;
  const other = (verb: string, ...args: string[]): Promise<string> =>
    ovs.ofctl('-O', 'OpenFlow13', '--no-names', '--no-stats', verb, socket, ...args);
  const dump = async (): Promise<string[]> =>
    (await other('dump-flows'))
      .split('\n')
      .filter((line) => line.includes('actions='))
      .sort();
  return { ovs, agent, other, dump, flows: await dump() };
}

const drift = (agent: TestAgent): Promise<number> => agent.metric('dpu_agent_drift_repairs_total');
const dumps = (agent: TestAgent): Promise<number> =>
  agent.metric('dpu_agent_stage_seconds_count', 'stage="dump"');

void t.test('what others do to our flows is undone within 2 s, without an audit', async (t) => {
  const lab = await makeLab(t);
  if (lab === undefined) return;
  const { agent, other, dump, flows } = lab;
  const dumped = await dumps(agent);
  const ours = flows.find((line) => line.includes('table=40,'));
  const match = /table=40, (\S+)/.exec(ours ?? '')?.[1] ?? '';
  // Each step touches other flows: a second repair of the same flow waits for its second to pass.
  const steps: (readonly [what: string, verb: string, ...args: string[]])[] = [
    ['flows of one table deleted', 'del-flows', 'table=40'],
    ['flows of one table edited', 'mod-flows', 'table=80,actions=drop'],
    [
      'a flow of ours taken over by another cookie',
      'add-flow',
      `table=20,cookie=0x5,priority=0,actions=drop`,
    ],
    [
      'a flow with our cookie added',
      'add-flow',
      'table=22,cookie=0xd9a6100000000000,priority=9,ip,actions=drop',
    ],
  ];
  t.not(match, '', 'there is something to delete');
  for (const [what, verb, ...args] of steps) {
    const before = await drift(agent);
    const startMs = performance.now();
    await other(verb, ...args);
    await until(what, async () => (await drift(agent)) > before, REPAIR_MAX_MS);
    await until(what, async () => (await dump()).join() === flows.join(), REPAIR_MAX_MS);
    const tookMs = performance.now() - startMs;
    t.ok(tookMs < REPAIR_MAX_MS, what);
    t.comment(
      `${what}: ${Math.round(tookMs)} ms from the start of ovs-ofctl to the dump that is right`,
    );
  }
  t.equal(await dumps(agent), dumped, 'nothing was dumped');
  t.equal(await agent.metric('dpu_agent_flows', 'state="foreign"'), 0);

  const startMs = performance.now();
  await sleep(1000);
  await other('del-flows');
  await until('everything back', async () => (await dump()).join() === flows.join(), 3000);
  t.comment(
    `all ${flows.length} flows deleted: ${Math.round(performance.now() - startMs - 1000)} ms`,
  );
  t.equal(agent.agent.reconciler.mirror?.flowCount, flows.length);
});

void t.test('a group that others delete is back with the flows that went with it', async (t) => {
  const lab = await makeLab(t);
  if (lab === undefined) return;
  const { agent, other, dump, flows } = lab;
  const groups = async (): Promise<string> => {
    const lines = (await other('dump-groups')).split('\n');
    return lines
      .filter((line) => line.includes('group_id='))
      .sort()
      .join('\n');
  };
  const before = await groups();
  t.not(before, '', 'there are groups');
  await other('del-groups');
  await until('groups', async () => (await groups()) === before, REPAIR_MAX_MS);
  await until('flows', async () => (await dump()).join() === flows.join(), REPAIR_MAX_MS);
  t.ok((await drift(agent)) > 0);
});

void t.test('our own changes are no drift, and nothing is dumped for them', async (t) => {
  const lab = await makeLab(t);
  if (lab === undefined) return;
  const { agent, dump, flows } = lab;
  const dumped = await dumps(agent);
  const many = Array.from({ length: 300 }, (_, index) =>
    ruleFile(`own-${index}`, { ...DENY, match: { dstIP: `10.1.${index >> 8}.${index & 255}` } }),
  );
  for (let round = 0; round < 3; round++) {
    await agent.writeRule('own.yaml', many.slice(round * 50).join('---\n'));
    await agent.rule(`own-${round * 50}`, ({ programmed }) => programmed);
    if (round > 0)
      await until('gone', async () => !(await hasRule(agent, `own-${round * 50 - 1}`)));
  }
  await agent.writeRule('own.yaml', '');
  await until('as before', async () => (await dump()).length === flows.length);
  await sleep(100);
  t.strictSame(await dump(), flows);
  t.equal(await drift(agent), 0);
  t.equal(await dumps(agent), dumped);
  t.equal(agent.agent.reconciler.mirror?.flowCount, flows.length);
});

async function hasRule(agent: TestAgent, name: string): Promise<boolean> {
  return (await agent.json<{ name: string }[]>('/rules')).some((row) => row.name === name);
}

void t.test('foreign flows are counted as they come and go, and left alone', async (t) => {
  const lab = await makeLab(t);
  if (lab === undefined) return;
  const { agent, other, dump, flows } = lab;
  const mods = await agent.flowMods();
  const foreign = (): Promise<number> => agent.metric('dpu_agent_flows', 'state="foreign"');
  const flow = 'table=22,priority=7,cookie=0x1,ip';
  await other('add-flow', `${flow},actions=drop`);
  await other('add-flow', `${flow},actions=goto_table:23`);
  await other('add-flow', 'table=200,priority=7,udp,actions=drop');
  await until('two foreign flows', async () => (await foreign()) === 2);
  t.equal((await dump()).length, flows.length + 2);
  await other('mod-flows', '--strict', `${flow.replace('cookie=0x1,', '')},actions=drop`);
  await other('del-flows', 'table=200');
  await until('one foreign flow', async () => (await foreign()) === 1);
  await other('del-flows', 'table=22,cookie=0x1/-1');
  await until('no foreign flow', async () => (await foreign()) === 0);
  t.equal(await agent.flowMods(), mods, 'we have sent nothing');
  t.strictSame(await dump(), flows);
});

void t.test('a burst of 20,000 foreign changes ends in a right mirror', async (t) => {
  const lab = await makeLab(t);
  if (lab === undefined) return;
  const { agent, other, dump, flows } = lab;
  const file = join(agent.dir, 'burst');
  const lines = Array.from(
    { length: BURST },
    (_, index) => `table=22,cookie=0x9,priority=${index + 1},ip,nw_dst=192.0.2.0/24,actions=drop`,
  );
  await writeFile(file, `${lines.join('\n')}\n`);
  const heap = process.memoryUsage().rss;
  const startMs = performance.now();
  await other('add-flows', file);
  // Into the middle of it: a flow of ours.
  await other('del-flows', 'table=40');
  const count = (): number | undefined => agent.agent.reconciler.mirror?.foreignCount;
  await until('all foreign flows', () => count() === BURST);
  await until('ours', async () => (await dump()).length === flows.length + BURST, 5000);
  const grownMiB = (process.memoryUsage().rss - heap) / 1024 / 1024;
  const log = agent.log.filter(({ message }) => message.includes('pauses its flow monitor'));
  t.comment(
    `${BURST} flows added: ${Math.round(performance.now() - startMs)} ms, paused ${log.length} times, rss +${Math.round(grownMiB)} MiB`,
  );
  t.ok(grownMiB < 200, `rss grew by ${grownMiB} MiB`);
  await other('del-flows', 'table=22,cookie=0x9/-1');
  await until('none left', () => count() === 0);
  await until('as before', async () => (await dump()).join() === flows.join(), 3000);
  t.equal(agent.agent.reconciler.mirror?.flowCount, flows.length);
});

void t.test(
  'while we do not read, the switch pauses; after that we look at everything',
  async (t) => {
    const lab = await makeLab(t);
    if (lab === undefined) return;
    const { agent, other, dump, flows } = lab;
    const dumped = await dumps(agent);
    const file = join(agent.dir, 'burst');
    const lines = Array.from(
      { length: BURST },
      (_, index) => `table=22,cookie=0x9,priority=${index + 1},ip,nw_dst=192.0.2.0/24,actions=drop`,
    );
    await writeFile(file, `delete table=40\n${lines.join('\n')}\n`);
    const done = other('add-flows', file);
    // The event loop stands still, as it does in a long compile: nothing is read.
    await sleep(50);
    const standMs = performance.now() + 3000;
    while (performance.now() < standMs);
    await done;
    await until('dump', async () => (await dumps(agent)) > dumped, 5000);
    await until('ours', async () => (await dump()).length === flows.length + BURST, 5000);
    t.match(
      agent.log.find(({ message }) => message.includes('pauses its flow monitor')),
      { level: 'info' },
    );
    await until('mirror', () => agent.agent.reconciler.mirror?.foreignCount === BURST);
    t.equal(agent.agent.reconciler.mirror?.flowCount, flows.length);
  },
);

void t.test('after a restart of ovs-vswitchd the new connection is watched too', async (t) => {
  const lab = await makeLab(t);
  if (lab === undefined) return;
  const { ovs, agent, other, dump, flows } = lab;
  await ovs.restartVswitchd();
  await until('flows', async () => (await dump()).join() === flows.join());
  await until('synced', () => agent.agent.reconciler.mirror?.flowCount === flows.length);
  const [before, dumped] = [await drift(agent), await dumps(agent)];
  const startMs = performance.now();
  await other('del-flows', 'table=40');
  await until('repair', async () => (await dump()).join() === flows.join(), REPAIR_MAX_MS);
  t.comment(`repaired ${Math.round(performance.now() - startMs)} ms after the deletion`);
  t.ok((await drift(agent)) > before);
  t.equal(await dumps(agent), dumped);
});

void t.test('a tug of war costs one repair a second, and one line in the log', async (t) => {
  const lab = await makeLab(t);
  if (lab === undefined) return;
  const { agent, other, dump, flows } = lab;
  const before = await agent.flowMods();
  const startMs = performance.now();
  let edits = 0;
  while (performance.now() - startMs < 4500) {
    await other('mod-flows', 'table=80,actions=drop');
    edits++;
    await sleep(30);
  }
  const mods = (await agent.flowMods()) - before;
  const inTable = flows.filter((line) => line.includes('table=80,')).length;
  t.ok(edits > 20, `${edits} edits`);
  t.ok(mods >= 3 * inTable && mods <= 6 * inTable, `${mods} flow_mods for ${inTable} flows`);
  t.comment(`${edits} edits of ${inTable} flows in 4.5 s: ${mods} flow_mods`);
  const lines = agent.log.filter(({ message }) => message.includes('again and again'));
  t.equal(lines.length, 1);
  await until('repair', async () => (await dump()).join() === flows.join(), REPAIR_MAX_MS);
});
