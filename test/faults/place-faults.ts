/** Endpoints that move, and a second agent on the bridge. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { AgentProcess, sleep } from '../../demo/agent-process.ts';
import { run } from '../../demo/command.ts';
import { podMac } from '../../demo/lab.ts';
import { encodeLockName } from '../../src/ovsdb/notation.ts';
import { until } from '../support/agent.ts';
import { TARGET, type Fault, type FaultLab } from '../support/fault-lab.ts';

const ids = [
  `external_ids:attached-mac="${podMac(2, 5)}"`,
  'external_ids:dpu-vni=1000',
  `external_ids:dpu-ips=${TARGET}`,
];

/** Gives the device of pod2a another name, and the endpoint another port with it. */
async function renamePort(lab: FaultLab, from: string, to: string): Promise<void> {
  const link = (...args: string[]): Promise<string> =>
    run('ip', ['-n', lab.lab.dpus[1].namespace, 'link', 'set', ...args]);
  await lab.lab.vsctl(2, 'del-port', from);
  await link(from, 'down');
  await link(from, 'name', to);
  await link(to, 'up');
  await lab.lab.vsctl(2, 'add-port', 'br-int', to, '--', 'set', 'interface', to, ...ids);
}

/** Moves pod2a with its device to the other DPU; the agents are told who is behind whom. */
async function movePod(lab: FaultLab, from: 1 | 2, to: 1 | 2): Promise<void> {
  const namespace = (number: 1 | 2): string => lab.lab.dpus[number - 1]?.namespace ?? '';
  await lab.lab.vsctl(from, 'del-port', 'rep2a');
  await run('ip', ['-n', namespace(from), 'link', 'set', 'rep2a', 'netns', namespace(to)]);
  await run('ip', ['-n', namespace(to), 'link', 'set', 'rep2a', 'up']);
  await lab.lab.vsctl(to, 'add-port', 'br-int', 'rep2a', '--', 'set', 'interface', 'rep2a', ...ids);
  for (const number of [1, 2] as const) {
    const peer = number === 1 ? 2 : 1;
    const there = lab.lab
      .podSpecs()
      .filter((spec) => (spec.name === 'pod2a' ? to : spec.dpu) === peer)
      .map(({ vni, mac, ip }) => ({ vni, mac, ips: [ip] }));
    const peers = [{ vtep: lab.lab.dpus[peer - 1]?.vtepIp, endpoints: there }];
    await lab.reconfigure(number, { peers });
  }
}

/** Takes the lock of the bridge of DPU 1 away, as another client may (RFC 7047 section 4.1.9); `end` gives it back. */
async function stealLock(lab: FaultLab): Promise<Socket> {
  const socket = connect(join(lab.lab.dpus[0].rundir, 'db.sock'));
  const request = { id: 1, method: 'steal', params: [encodeLockName('dpu-agent/br-int')] };
  const answer = once(socket, 'data');
  socket.write(JSON.stringify(request));
  await answer;
  return socket;
}

let second: AgentProcess | undefined;

/** Starts a second agent on the bridge of DPU 1 and sees it wait. */
async function startSecond(lab: FaultLab): Promise<AgentProcess> {
  second ??= await AgentProcess.create(
    lab.lab,
    1,
    lab.rulesDir,
    { metrics: { listen: 'off' } },
    '1b',
  );
  const agent = second;
  agent.start();
  await until('the second one waits', async () =>
    JSON.stringify((await agent.status())['notReady']).includes('another agent holds the lock'),
  );
  if ((await agent.metric('dpu_agent_flow_mods_total')) > 0) throw new Error('it has written');
  return agent;
}

let first: AgentProcess | undefined;

async function secondTakesOver(lab: FaultLab): Promise<void> {
  first = lab.agents[0];
  const agent = await startSecond(lab);
  lab.agents[0] = agent;
}

async function firstIsBack(lab: FaultLab): Promise<void> {
  if (first === undefined) return;
  await first.crash();
  await second?.crash();
  lab.agents[0] = first;
  first.start();
  await until('as before', () => lab.whole(), 20_000);
}

/** The list. */
export const placeFaults: readonly Fault[] = [
  {
    name: 'endpoint moved to another port',
    outage: 'the port is not there meanwhile',
    prepare: (lab) =>
      lab.rehearse(
        () => renamePort(lab, 'rep2a', 'rep2z'),
        () => renamePort(lab, 'rep2z', 'rep2a'),
      ),
    async run(lab, over) {
      await renamePort(lab, 'rep2a', 'rep2z');
      over();
    },
    undo: (lab) => lab.restore(() => renamePort(lab, 'rep2z', 'rep2a')),
  },
  {
    name: 'endpoint moved to another DPU',
    outage: 'the port is not there meanwhile',
    prepare: (lab) =>
      lab.rehearse(
        () => movePod(lab, 2, 1),
        () => movePod(lab, 1, 2),
      ),
    async run(lab, over) {
      await movePod(lab, 2, 1);
      over();
    },
    undo: (lab) => lab.restore(() => movePod(lab, 1, 2)),
  },
  {
    name: 'lock stolen while its holder is stopped',
    outage: 'nobody repairs what was deleted meanwhile',
    async run(lab, over) {
      const pid = lab.agent(1).pid ?? 0;
      process.kill(pid, 'SIGSTOP');
      const thief = await stealLock(lab);
      await lab.lab.ofctl(1, 'del-flows', 'table=40');
      await sleep(11_000);
      process.kill(pid, 'SIGCONT');
      await until('it knows', async () => (await lab.agent(1).log()).includes('lost the lock'));
      await sleep(1000);
      const flows = await lab.lab.ofctl(1, 'dump-flows', 'table=40');
      thief.end();
      if (flows.includes('actions=')) throw new Error('it wrote without the lock');
      over();
    },
  },
  {
    name: 'two agents: the first is killed',
    quick: true,
    quiet: true,
    prepare: secondTakesOver,
    async run(_lab, over) {
      await sleep(500);
      await first?.crash();
      over();
    },
    undo: firstIsBack,
  },
];
