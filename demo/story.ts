/**
 * The steps of the demo, in order: what each shows, and the packets that prove it. A step answers with one line of detail,
 * or throws with what did not hold.
 */
import { rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentProcess } from './agent-process.ts';
import { sleep } from './agent-process.ts';
import type { TwoDpuLab } from './lab.ts';
import { podMac } from './lab.ts';
import type { PodSpec, Probe } from './pod.ts';

/** Address that pod2a (VNI 1000) and pod2b (VNI 1001) share. */
const SHARED_IP = '10.1.0.25';
/** Address that exists in VNI 1000 only. */
const LONELY_IP = '10.1.0.37';
const RULE_FILE = 'web-deny.yaml';
const PORTS = [80, 81, 82];
/** A change of a file must be in force after this long, or the step fails. */
const IN_FORCE_MS = 5000;
const UDP_ECHO_PORT = 7;

/** Two networks with overlapping addresses. */
export const DEMO_PODS: readonly PodSpec[] = [
  { name: 'pod1a', dpu: 1, vni: 1000, mac: podMac(1, 5), ip: '10.1.0.15' },
  { name: 'pod2a', dpu: 2, vni: 1000, mac: podMac(2, 5), ip: SHARED_IP },
  { name: 'pod2c', dpu: 2, vni: 1000, mac: podMac(2, 7), ip: LONELY_IP },
  { name: 'pod1b', dpu: 1, vni: 1001, mac: podMac(1, 6), ip: '10.1.0.15' },
  { name: 'pod2b', dpu: 2, vni: 1001, mac: podMac(2, 6), ip: SHARED_IP },
];

/** What the steps share. */
export interface Stage {
  readonly lab: TwoDpuLab;
  readonly agents: readonly AgentProcess[];
  readonly rulesDir: string;
}

/** One step. */
export interface Step {
  readonly id: string;
  readonly title: string;
  /** True when the steps after it make no sense without it. */
  readonly required?: boolean;
  run(stage: Stage): Promise<string>;
}

/** A rule file that denies one TCP port of pod2a. Line 10 holds the port. */
function denyFile(port: number | string): string {
  return `apiVersion: dpu.network/v1alpha1
kind: DPURule
metadata: {name: web-deny, namespace: tenant-a}
spec:
  networkRef: tenant-a
  rules:
    - name: web
      match:
        dstIP: ${SHARED_IP}
        dstPort: ${port}
        protocol: TCP
      action: deny
`;
}
const PORT_LINE = 10;

function holds(condition: boolean, otherwise: string): void {
  if (!condition) throw new Error(otherwise);
}

/** Replaces the rule file in one step, and answers with the time of the rename on the clock of the probes. */
async function replaceRuleFile({ rulesDir }: Stage, text: string): Promise<number> {
  const temporary = join(rulesDir, `.${RULE_FILE}.tmp`);
  await writeFile(temporary, text);
  const renamedAt = performance.timeOrigin + performance.now();
  await rename(temporary, join(rulesDir, RULE_FILE));
  return renamedAt;
}

/** Waits until pod1a can (not) connect to a port of pod2a. */
async function waitForPort({ lab }: Stage, port: number, open: boolean): Promise<void> {
  const deadline = Date.now() + IN_FORCE_MS;
  const pod = lab.pod('pod1a');
  let outcome: string;
  do {
    ({ outcome } = await pod.tcpProbe(SHARED_IP, port, open ? 400 : 150));
    // A refusal would come from the pod: packets do reach it.
    if ((outcome === 'open') === open && outcome !== 'refused') return;
  } while (Date.now() < deadline);
  throw new Error(
    `tcp/${port} is still ${outcome} after ${IN_FORCE_MS} ms, expected ${open ? 'open' : 'dropped'}`,
  );
}

/** Checks that exactly the given ports of pod2a are dropped. */
async function expectDropped({ lab }: Stage, dropped: readonly number[]): Promise<void> {
  const outcomes = await Promise.all(
    PORTS.map((port) => lab.pod('pod1a').tcpProbe(SHARED_IP, port)),
  );
  PORTS.forEach((port, index) => {
    const expected = dropped.includes(port) ? 'timeout' : 'open';
    const outcome = outcomes[index]?.outcome;
    holds(outcome === expected, `tcp/${port} is ${outcome}, expected ${expected}`);
  });
}

async function sumOverAgents(
  { agents }: Stage,
  read: (agent: AgentProcess) => Promise<number>,
): Promise<number> {
  return (await Promise.all(agents.map(read))).reduce((sum, value) => sum + value, 0);
}

function flowMods(stage: Stage): Promise<number> {
  return sumOverAgents(stage, (agent) => agent.metric('dpu_agent_flow_mods_total'));
}

function installedFlows(stage: Stage): Promise<number> {
  return sumOverAgents(stage, (agent) => agent.metric('dpu_agent_flows', 'state="installed"'));
}

function ruleFlows(stage: Stage): Promise<number> {
  return sumOverAgents(stage, async (agent) =>
    (await agent.rules()).reduce((sum, rule) => sum + rule.flows, 0),
  );
}

function lost(probes: readonly Probe[]): Probe[] {
  return probes.filter((probe) => probe.rttMs === null);
}

const ready: Step = {
  id: 'ready',
  title: 'one agent per DPU connects, and is ready after its first complete sync',
  required: true,
  async run(stage) {
    const start = performance.now();
    for (const agent of stage.agents) agent.start();
    await Promise.all(stage.agents.map((agent) => agent.waitReady()));
    const ms = Math.round(performance.now() - start);
    await stage.lab.primeUnderlay();
    const pod2a = stage.lab.pod('pod2a');
    await Promise.all([
      ...PORTS.map((port) => pod2a.listenTcp(port)),
      pod2a.echoUdp(UDP_ECHO_PORT),
    ]);
    return `2 agents ready in ${ms} ms (process start included), ${await installedFlows(stage)} flows installed`;
  },
};

const reach: Step = {
  id: 'same-vni',
  title: 'pods of one VNI reach each other across the DPUs',
  async run({ lab }) {
    const there = await lab.pod('pod1a').ping(SHARED_IP);
    const back = await lab.pod('pod2a').ping('10.1.0.15');
    holds(
      there.received === there.sent,
      `pod1a -> pod2a: ${there.received} of ${there.sent} pings answered`,
    );
    holds(
      back.received === back.sent,
      `pod2a -> pod1a: ${back.received} of ${back.sent} pings answered`,
    );
    const outcomes = await Promise.all(
      PORTS.map((port) => lab.pod('pod1a').tcpProbe(SHARED_IP, port)),
    );
    holds(
      outcomes.every(({ outcome }) => outcome === 'open'),
      `tcp: ${outcomes.map(({ outcome }) => outcome).join(', ')}`,
    );
    return `ping both ways ${there.received + back.received}/${there.sent + back.sent}; tcp ${PORTS.join(', ')} open`;
  },
};

const isolation: Step = {
  id: 'isolation',
  title: 'another VNI with the same addresses stays apart',
  async run({ lab }) {
    const counts = (): Promise<number[]> =>
      Promise.all(['pod2a', 'pod2b', 'pod2c'].map((name) => lab.pod(name).echoRequests()));
    const before = await counts();
    const own = await lab.pod('pod1b').ping(SHARED_IP);
    const foreign = await lab.pod('pod1b').ping(LONELY_IP);
    const seen = (await counts()).map((count, index) => count - (before[index] ?? 0));
    const [atPod2a, atPod2b, atPod2c] = seen;
    holds(
      own.received === own.sent,
      `pod1b -> ${SHARED_IP}: ${own.received} of ${own.sent} pings answered`,
    );
    holds(atPod2b === own.sent, `pod2b (VNI 1001) saw ${atPod2b} of ${own.sent} pings`);
    holds(atPod2a === 0, `pod2a (VNI 1000) saw ${atPod2a} pings of VNI 1001`);
    holds(
      foreign.received === 0 && atPod2c === 0,
      `${LONELY_IP} of VNI 1000 saw ${atPod2c} pings of VNI 1001`,
    );
    return `pings of VNI 1001 to ${SHARED_IP}: ${atPod2b} at its own pod, ${atPod2a} at VNI 1000's; to ${LONELY_IP}, only in VNI 1000: ${atPod2c}`;
  },
};

const deny: Step = {
  id: 'deny',
  title: 'a rule file that denies tcp/81 drops exactly that',
  async run(stage) {
    await replaceRuleFile(stage, denyFile(81));
    await waitForPort(stage, 81, false);
    await expectDropped(stage, [81]);
    const rows = (await Promise.all(stage.agents.map((agent) => agent.rules()))).flat();
    holds(
      rows.length > 0 && rows.every((row) => row.accepted && row.programmed),
      `/rules: ${JSON.stringify(rows)}`,
    );
    return `tcp/81 dropped; 80 and 82 open; ${await ruleFlows(stage)} flows for the rule`;
  },
};

const move: Step = {
  id: 'move',
  title: 'editing the file moves the deny to 82, and sends only the difference',
  async run(stage) {
    const prober = await stage.lab.pod('pod1a').startProber({
      kind: 'tcp',
      ip: SHARED_IP,
      port: 82,
      intervalMs: 5,
      timeoutMs: 300,
    });
    await sleep(200);
    const [modsBefore, flowsBefore] = [await flowMods(stage), await ruleFlows(stage)];
    const renamedAt = await replaceRuleFile(stage, denyFile(82));
    await waitForPort(stage, 82, false);
    const probes = await prober.stop();
    await waitForPort(stage, 81, true);
    await expectDropped(stage, [82]);
    const sent = (await flowMods(stage)) - modsBefore;
    const most = flowsBefore + (await ruleFlows(stage));
    const all = await installedFlows(stage);
    holds(
      sent > 0 && sent <= most,
      `${sent} flow_mods were sent; the rule's flows, old and new, are ${most}`,
    );
    const early = lost(probes.filter((probe) => probe.sentAt + 300 < renamedAt));
    holds(early.length === 0, `${early.length} probes were lost before the file was renamed`);
    const first = lost(probes)[0];
    holds(first !== undefined, 'no probe was lost');
    const ms = Math.max(0, (first?.sentAt ?? 0) - renamedAt);
    return `${sent} flow_mods on 2 DPUs (${all} flows installed); ${ms.toFixed(0)} ms from rename(2) to the first dropped probe (5 ms apart)`;
  },
};

const remove: Step = {
  id: 'remove',
  title: 'removing the file opens the port again',
  async run(stage) {
    await unlink(join(stage.rulesDir, RULE_FILE));
    await waitForPort(stage, 82, true);
    await expectDropped(stage, []);
    holds((await ruleFlows(stage)) === 0, 'flows of the removed rule are still counted');
    return 'tcp 80, 81, 82 open; no flow of the rule is left';
  },
};

/** What an agent says about the broken file, in /status, or '' while it says nothing. */
async function problemText(agent: AgentProcess): Promise<string> {
  const { problems } = await agent.status();
  return Array.isArray(problems) && problems.length > 0 ? JSON.stringify(problems) : '';
}

/**
 * Waits until what is said at a place names file, line and field of the broken rule.
 * @throws Error naming the first that is missing after IN_FORCE_MS.
 */
async function waitForProblem(place: string, read: () => Promise<string>): Promise<void> {
  const parts = [RULE_FILE, 'dstPort', new RegExp(`(:|"line": ?)${PORT_LINE}\\b`)];
  const deadline = Date.now() + IN_FORCE_MS;
  for (;;) {
    const said = await read();
    const missing = parts.find((part) =>
      typeof part === 'string' ? !said.includes(part) : !part.test(said),
    );
    if (missing === undefined) return;
    holds(Date.now() < deadline, `${place} does not name ${String(missing)}: ${said.slice(-300)}`);
    await sleep(20);
  }
}

const invalid: Step = {
  id: 'invalid',
  title: 'an invalid file is refused with file, line and field; the last good version stays',
  async run(stage) {
    await replaceRuleFile(stage, denyFile(81));
    await waitForPort(stage, 81, false);
    const modsBefore = await flowMods(stage);
    await replaceRuleFile(stage, denyFile(99999));
    for (const agent of stage.agents) {
      const dpu = `dpu${agent.dpu.number}`;
      await waitForProblem(`/status of ${dpu}`, () => problemText(agent));
      // The log is another process's standard output: it may come a moment after /status.
      await waitForProblem(`log of ${dpu}`, () => agent.log());
    }
    await expectDropped(stage, [81]);
    holds((await flowMods(stage)) === modsBefore, 'flow_mods were sent for an invalid file');
    await replaceRuleFile(stage, denyFile(81));
    const deadline = Date.now() + IN_FORCE_MS;
    for (const agent of stage.agents) {
      while ((await problemText(agent)) !== '') {
        holds(Date.now() < deadline, 'the problem is still reported after the file was put right');
        await sleep(20);
      }
    }
    return `refused at ${RULE_FILE}:${PORT_LINE} dstPort, in /status and in the log; tcp/81 stayed dropped, 0 flow_mods sent`;
  },
};

const restart: Step = {
  id: 'restart',
  title: 'killing and restarting an agent loses no packet',
  async run(stage) {
    const { lab } = stage;
    const [agent] = stage.agents;
    if (agent === undefined) throw new Error('no agent runs');
    const prober = await lab.pod('pod1a').startProber({
      kind: 'udp',
      ip: SHARED_IP,
      port: UDP_ECHO_PORT,
      intervalMs: 10,
      timeoutMs: 500,
    });
    await sleep(300);
    await agent.crash();
    const down = performance.now();
    await sleep(500);
    await expectDropped(stage, [81]);
    agent.start();
    await agent.waitReady();
    const downMs = Math.round(performance.now() - down);
    await sleep(500);
    const probes = await prober.stop();
    const sent = await agent.metric('dpu_agent_flow_mods_total');
    await expectDropped(stage, [81]);
    holds(probes.length >= downMs / 20, `only ${probes.length} probes were sent`);
    holds(lost(probes).length === 0, `${lost(probes).length} of ${probes.length} probes were lost`);
    holds(sent === 0, `the restarted agent sent ${sent} flow_mods, although nothing had changed`);
    return `kill -9, ready again after ${downMs} ms: 0 of ${probes.length} probes lost (10 ms apart), rule in force all along, 0 flow_mods sent after the restart`;
  },
};

/** The story, in order. */
export const STEPS: readonly Step[] = [
  ready,
  reach,
  isolation,
  deny,
  move,
  remove,
  invalid,
  restart,
];
