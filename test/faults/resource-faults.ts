/** What the agent itself may run out of, and what may come over its sockets. */
import { readdirSync } from 'node:fs';
import { readFile, rename, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { sleep } from '../../demo/agent-process.ts';
import { run } from '../../demo/command.ts';
import { until } from '../support/agent.ts';
import { denyRule, type Fault, type FaultLab } from '../support/fault-lab.ts';
import { helloOf } from '../support/fake-switch.ts';

const RULE = 'many-ports';
const MANY = denyRule(
  RULE,
  Array.from({ length: 250 }, (_, index) => 3000 + index),
);
const FEW = 'few-ports';

async function problemsOf(lab: FaultLab): Promise<string> {
  return JSON.stringify((await lab.agent(1).status())['problems']);
}

/** Its own rule, said in another way: what is on disk changes, flows do not. */
function relabelled(label: string): unknown {
  const rule = denyRule('deny', [81]) as { metadata: object };
  return { ...rule, metadata: { ...rule.metadata, labels: { seen: label } } };
}

/** Sets the limit of open files of the agent; what is open stays open. */
async function limitFiles(lab: FaultLab, count: number): Promise<void> {
  await run('prlimit', [`--pid=${lab.agent(1).pid}`, `--nofile=${count}:`]);
}

/** Puts a server that talks nonsense in place of a socket, until the function that it returns is called. */
async function nonsense(
  path: string,
  speak: (socket: Socket) => void,
): Promise<() => Promise<void>> {
  const aside = `${path}.aside`;
  await rename(path, aside);
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    speak(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    await rm(path, { force: true });
    await rename(aside, path);
  };
}

/** The list. */
export const resourceFaults: readonly Fault[] = [
  {
    name: 'disk full for the last good state',
    prepare: (lab) =>
      lab.rehearse(
        () => lab.writeRule(RULE, MANY),
        () => lab.removeRule(RULE),
      ),
    async run(lab, over) {
      const { pid, socket } = lab.agent(1);
      const state = dirname(socket);
      const file = `/proc/${pid}/root${join(state, 'last-good.json')}`;
      // In the mount namespace of the agent alone: it goes with the process.
      const mount = (...options: string[]): Promise<string> =>
        run('nsenter', ['-t', String(pid), '-m', 'mount', ...options, state]);
      await mount('-t', 'tmpfs', '-o', 'size=16k', 'tmpfs');
      await lab.writeRule('deny', relabelled('full'));
      const before = await until('saved', async () => {
        const text = await readFile(file, 'utf8');
        return text.includes('"full"') && text;
      });
      await lab.writeRule(RULE, MANY);
      await until('alarm', async () => (await problemsOf(lab)).includes('cannot be written'));
      if ((await readFile(file, 'utf8')) !== before) throw new Error('the old state was touched');
      await until('in force all the same', () => lab.whole());
      await mount('-o', 'remount,size=8m');
      over();
      await until('saved', async () => (await readFile(file, 'utf8')).includes(RULE), 30_000);
      await until('no alarm', async () => !(await problemsOf(lab)).includes('cannot be written'));
    },
    undo: (lab) => lab.restore(() => lab.removeRule(RULE)),
  },
  {
    name: 'agent out of file descriptors',
    outage: 'ovsdb-server is restarted meanwhile',
    prepare: (lab) =>
      lab.rehearse(
        () => lab.writeRule(FEW, denyRule(FEW, [2000])),
        () => lab.removeRule(FEW),
      ),
    async run(lab, over) {
      const open = readdirSync(`/proc/${lab.agent(1).pid}/fd`).length;
      await limitFiles(lab, 3);
      await lab.signal(1, 'ovsdb', 'SIGTERM');
      await lab.lab.startOvsdb(1);
      await lab.writeRule(FEW, denyRule(FEW, [2000]));
      await sleep(3000);
      await limitFiles(lab, 1024);
      over();
      await until('repaired', () => lab.whole(), 30_000);
      const now = readdirSync(`/proc/${lab.agent(1).pid}/fd`).length;
      if (now > open + 2) throw new Error(`${now} files are open, there were ${open}`);
    },
    undo: (lab) => lab.restore(() => lab.removeRule(FEW)),
  },
  {
    name: 'bad bytes on both sockets',
    quick: true,
    quiet: true,
    async run(lab, over) {
      const { rundir } = lab.lab.dpus[0];
      const agent = lab.agent(1);
      await agent.crash();
      const restore = await Promise.all([
        nonsense(join(rundir, 'db.sock'), (socket) => {
          socket.write('{"id":"echo","method":"echo","params":[]}{"id":1,"result":}');
        }),
        nonsense(join(rundir, 'br-int.mgmt'), (socket) => {
          socket.write(helloOf(4));
          socket.write(Buffer.alloc(4096, 0xa5));
        }),
      ]);
      try {
        agent.start();
        await until('both are told', async () => {
          const log = await agent.log();
          return /"protocol":"ovsdb"/.test(log) && /"protocol":"openflow"/.test(log);
        });
        await sleep(1000);
        await agent.status();
      } finally {
        for (const done of restore) await done();
      }
      over();
    },
  },
];
