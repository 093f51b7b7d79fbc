/**
 * Workload `lab`: whole agents on two DPUs with live packets. From the rename(2) of a rule file to the first dropped probe,
 * from the start of an agent's process to its first complete sync, packets lost when an agent is killed and started again.
 */
import { execFile } from 'node:child_process';
import { mkdir, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { AgentProcess, sleep } from '../demo/agent-process.ts';
import { missingForLab, TwoDpuLab } from '../demo/lab.ts';
import type { Prober } from '../demo/pod.ts';
import { FLOWS_PER_RULE, ruleDocument } from './rule-load.ts';
import { median, timeOf } from './sample.ts';
import { sizeText } from './sized-workload.ts';
import type { BenchContext, Measured, Row, Workload } from './workload.ts';

const TARGET_IP = '10.1.0.25';
const ECHO_PORT = 7;
const RULE_FILE = 'deny-echo.yaml';
/** Probes of the first drop are so far apart: no answer is more exact than this. */
const FINE_MS = 2;
/** Probes over a restart. */
const COARSE_MS = 10;
const LOST_AFTER_MS = 300;
/** A change must be in force after this long, or the workload fails. */
const IN_FORCE_MS = 5000;
/** Flows of the rules that fill the agent for its memory. */
const FILL_FLOWS = 10_000;
const RULES_PER_FILE = 50;
/** An agent on a full directory must have synced after this long. */
const FULL_MS = 60_000;
const MIB = 1 << 20;

/** What the parts of the workload share. */
interface Stage {
  readonly lab: TwoDpuLab;
  readonly agents: readonly [AgentProcess, AgentProcess];
  readonly rulesDir: string;
}

async function makeStage(context: BenchContext): Promise<Stage> {
  // An interruption while it comes up must take it down as well.
  const starting = TwoDpuLab.up();
  context.defer(() =>
    starting.then(
      (up) => up.down(),
      () => {},
    ),
  );
  const lab = await starting;
  const rulesDir = join(lab.dir, 'rules.d');
  await mkdir(rulesDir);
  const agents = [
    await AgentProcess.create(lab, 1, rulesDir),
    await AgentProcess.create(lab, 2, rulesDir),
  ] as const;
  return { lab, agents, rulesDir };
}

function probe({ lab }: Stage, intervalMs: number): Promise<Prober> {
  const spec = { ip: TARGET_IP, port: ECHO_PORT, intervalMs, timeoutMs: LOST_AFTER_MS };
  return lab.pod('pod1a').startProber({ kind: 'udp', ...spec });
}

/** Puts a file into the rules directory in one step, and answers with the time of that on the clock of the probes. */
async function putFile({ rulesDir }: Stage, name: string, text: string): Promise<number> {
  const temporary = join(rulesDir, `.${name}.tmp`);
  await writeFile(temporary, text);
  const renamedAt = performance.timeOrigin + performance.now();
  await rename(temporary, join(rulesDir, name));
  return renamedAt;
}

/** Waits until the agents hold so many rule files' entries, all of them programmed. */
async function waitForRules({ agents }: Stage, count: number): Promise<void> {
  const deadline = performance.now() + IN_FORCE_MS;
  for (const agent of agents) {
    for (;;) {
      const rows = await agent.rules();
      if (rows.length === count && rows.every(({ programmed }) => programmed)) break;
      if (performance.now() > deadline) throw new Error(`${rows.length} rules, expected ${count}`);
      await sleep(20);
    }
  }
}

/** From rename(2) to the first probe that is dropped. */
async function renameToDrop(stage: Stage): Promise<number> {
  const prober = await probe(stage, FINE_MS);
  await sleep(200);
  const match = { dstIP: TARGET_IP, protocol: 'UDP', dstPort: ECHO_PORT };
  const renamedAt = await putFile(
    stage,
    RULE_FILE,
    stringify({
      apiVersion: 'dpu.network/v1alpha1',
      kind: 'DPURule',
      metadata: { name: 'deny-echo', namespace: 'tenant-a' },
      spec: { networkRef: 'tenant-a', rules: [{ name: 'echo', match, action: 'deny' }] },
    }),
  );
  await waitForRules(stage, 1);
  const probes = await prober.stop();
  await unlink(join(stage.rulesDir, RULE_FILE));
  await waitForRules(stage, 0);
  const dropped = probes.find(({ rttMs }) => rttMs === null);
  if (dropped === undefined) throw new Error('no probe was dropped');
  if (dropped.sentAt + LOST_AFTER_MS < renamedAt) throw new Error('a probe was lost before');
  return Math.max(0, dropped.sentAt - renamedAt);
}

/** Kills an agent and starts it again under probes. */
async function restart(stage: Stage): Promise<{ readyMs: number; lost: number }> {
  const [agent] = stage.agents;
  const prober = await probe(stage, COARSE_MS);
  await sleep(200);
  await agent.crash();
  await sleep(200);
  const readyMs = await timeOf(async () => {
    agent.start();
    await agent.waitReady();
  });
  await sleep(300);
  const probes = await prober.stop();
  return { readyMs, lost: probes.filter(({ rttMs }) => rttMs === null).length };
}

/** Resident memory of an agent's process, in bytes. */
async function residentBytes(agent: AgentProcess): Promise<number> {
  const status = await readFile(`/proc/${agent.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

/** Restarts an agent on a directory full of rules, and answers with what it holds and how long it took. */
async function fullDirectory(stage: Stage): Promise<{ readyMs: number; bytes: number }> {
  const [agent] = stage.agents;
  const count = FILL_FLOWS / FLOWS_PER_RULE;
  for (let first = 0; first < count; first += RULES_PER_FILE) {
    const rules = Array.from({ length: Math.min(RULES_PER_FILE, count - first) }, (_, index) =>
      stringify(ruleDocument(first + index, 8080)),
    );
    await putFile(stage, `fill-${first}.yaml`, rules.join('---\n'));
  }
  await agent.crash();
  const readyMs = await timeOf(async () => {
    agent.start();
    await agent.waitReady(FULL_MS);
    const deadline = performance.now() + FULL_MS;
    for (;;) {
      const installed = await agent.metric('dpu_agent_flows', 'state="installed"');
      if (installed >= FILL_FLOWS) break;
      if (performance.now() > deadline) throw new Error(`only ${installed} flows are installed`);
      await sleep(20);
    }
  });
  return { readyMs, bytes: await residentBytes(agent) };
}

async function run(context: BenchContext): Promise<Measured> {
  const stage = await makeStage(context);
  const rounds = context.quick ? 2 : 5;
  for (const agent of stage.agents) agent.start();
  for (const agent of stage.agents) await agent.waitReady();
  await stage.lab.primeUnderlay();
  await stage.lab.pod('pod2a').echoUdp(ECHO_PORT);

  const drops: number[] = [];
  for (let round = 0; round < rounds; round++) drops.push(await renameToDrop(stage));
  context.say('kills and restarts');
  const restarts: { readyMs: number; lost: number }[] = [];
  const bare: number[] = [];
  for (let round = 0; round < rounds; round++) {
    restarts.push(await restart(stage));
    bare.push(await timeOf(() => promisify(execFile)(process.execPath, ['-e', '0'])));
  }
  context.say(`an agent with ${sizeText(FILL_FLOWS)}`);
  const full = await fullDirectory(stage);

  const row = (subject: string, unit: Row['unit'], samples: readonly number[]): Row => ({
    subject,
    unit,
    samples,
  });
  const lost = restarts.map((one) => one.lost);
  const size = sizeText(FILL_FLOWS);
  return {
    comparisons: [
      {
        title: 'start of a process',
        baseline: 'floor: a Node process that does nothing',
        rows: [
          row(
            'agent, to its first complete sync',
            'ms',
            restarts.map(({ readyMs }) => readyMs),
          ),
          row(`agent, to its first complete sync with ${size} on a directory`, 'ms', [
            full.readyMs,
          ]),
          row('floor: a Node process that does nothing', 'ms', bare),
        ],
      },
      { title: 'rule file', rows: [row('rename(2) to the first dropped probe', 'ms', drops)] },
      { title: 'kill -9 and restart', rows: [row('lost probes, 10 ms apart', 'probes', lost)] },
      { title: 'resident memory', rows: [row(`agent with ${size}`, 'bytes', [full.bytes])] },
    ],
    targets: [
      {
        what: 'rename(2) to the first dropped probe',
        bound: 'at most',
        limit: 200,
        measured: median(drops),
        unit: 'ms',
      },
      {
        what: 'probes lost in all restarts, 10 ms apart',
        bound: 'at most',
        limit: 0,
        measured: lost.reduce((sum, one) => sum + one, 0),
        unit: 'probes',
      },
      {
        what: `resident memory of an agent with ${size} on a directory`,
        bound: 'at most',
        limit: 150 * MIB,
        measured: full.bytes,
        unit: 'bytes',
      },
    ],
  };
}

/** The workload. */
export const lab: Workload = {
  id: 'lab',
  title: 'Whole agents on two DPUs, with live packets',
  async missing() {
    const missing = await missingForLab();
    return missing.length === 0 ? undefined : missing.join('; ');
  },
  run,
};
