// The agent's start and end where neither a switch nor rules are there.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { TestAgent, until } from '../support/agent.ts';

t.test('an agent that is ended before its rules could be read begins nothing', async (t) => {
  const rundir = await mkdtemp(join(tmpdir(), 'dpu-none-'));
  t.after(() => rm(rundir, { recursive: true, force: true }));
  const ovs = { databaseSocket: join(rundir, 'db.sock'), rundir };
  const test = await TestAgent.create(t, ovs);
  await rm(test.rulesDir, { recursive: true });
  const started = test.agent.start();
  await until('the problem is seen', () => test.agent.source.snapshot.problems.length > 0);
  await test.agent.close();
  await started;
  t.notOk(
    test.log.some(({ message }) => message === 'agent started'),
    'it does not say that it has started',
  );
  t.equal(test.log.at(-1)?.message, 'agent stopped, flows stay in place');
});
