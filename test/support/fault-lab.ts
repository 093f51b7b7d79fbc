/**
 * The two-DPU lab with an agent per DPU, live probes and a hand on every daemon: what the faults of `test/faults` are done
 * with and measured by. What the switch holds is read by ovs-ofctl and compared with what it held before, port numbers
 * replaced by the MAC of the endpoint behind them, so that it stays comparable when ports are renumbered.
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { AgentProcess, sleep } from '../../demo/agent-process.ts';
import { run } from '../../demo/command.ts';
import { podMac, TwoDpuLab, type DpuNumber } from '../../demo/lab.ts';
import type { PodSpec, Probe } from '../../demo/pod.ts';
import { until } from './agent.ts';

/** A daemon of Open vSwitch. */
export type DaemonName = 'ovsdb' | 'vswitchd';

/** A fault of the list. */
export interface Fault {
  /** What happens, in at most 42 characters. */
  readonly name: string;
  /** Done in the short form too. */
  readonly quick?: boolean;
  /** Why packets may be lost meanwhile; without it none may. */
  readonly outage?: string;
  /** The agents need not write anything to the switches, and do not. */
  readonly quiet?: boolean;
  /** Before the measurement. */
  prepare?(lab: FaultLab): Promise<void>;
  /** Does it; calls `over` when the cause has ended, and time to repair begins. */
  run(lab: FaultLab, over: () => void): Promise<void>;
  /** After the measurement: puts the lab back where that is not the agent's job. */
  undo?(lab: FaultLab): Promise<void>;
}

/** What a fault did. */
export interface FaultOutcome {
  /** Probes of allowed traffic, and those of them that were not answered. */
  readonly sent: number;
  readonly lost: number;
  /** Probes of denied traffic that were answered. */
  readonly leaked: number;
  /** flow_mods and group_mods that the agents have had committed; those of an agent that was killed are not known. */
  readonly written: number;
  /** From the end of the cause until the flows are right and probes are answered again. Milliseconds. */
  readonly repairMs: number;
  /** Flows and groups that are there and should not be, and the reverse. */
  readonly leftOver: readonly string[];
  readonly missing: readonly string[];
}

const DENIED_PORT = 81;
const ECHO_PORT = 7;
/** Address of pod2a, which is probed. */
export const TARGET = '10.1.0.25';
const PODS: readonly PodSpec[] = [
  { name: 'pod1a', dpu: 1, vni: 1000, mac: podMac(1, 5), ip: '10.1.0.15' },
  { name: 'pod2a', dpu: 2, vni: 1000, mac: podMac(2, 5), ip: TARGET },
  { name: 'pod2b', dpu: 2, vni: 1001, mac: podMac(2, 6), ip: TARGET },
];
/** Answered probes in a row that count as repaired. */
const STEADY_PROBES = 20;
const PROBE_TIMEOUT_MS = 500;
const REPAIR_LIMIT_MS = 40_000;
/** The table that the switch learns into by itself. */
const LEARNED_TABLE = 'table=41,';

/** The lab under test. */
export class FaultLab {
  readonly lab: TwoDpuLab;
  readonly rulesDir: string;
  /** The agents that should have the bridges, by DPU. */
  readonly agents: [AgentProcess, AgentProcess];
  #original: [ReadonlySet<string>, ReadonlySet<string>] | undefined;
  /** What each switch should hold. */
  #expected: [ReadonlySet<string>, ReadonlySet<string>] = [new Set(), new Set()];

  private constructor(lab: TwoDpuLab, rulesDir: string, agents: [AgentProcess, AgentProcess]) {
    this.lab = lab;
    this.rulesDir = rulesDir;
    this.agents = agents;
  }

  /** Brings up the lab, the agents and the listeners. It comes down with the test. */
  static async up(t: { after(work: () => unknown): void }): Promise<FaultLab> {
    const lab = await TwoDpuLab.up({ pods: PODS });
    t.after(() => lab.down());
    const rulesDir = join(lab.dir, 'rules.d');
    await mkdir(rulesDir);
    const faults = new FaultLab(lab, rulesDir, [
      await AgentProcess.create(lab, 1, rulesDir),
      await AgentProcess.create(lab, 2, rulesDir),
    ]);
    await faults.writeRule('deny', denyRule('deny', [DENIED_PORT]));
    for (const agent of faults.agents) agent.start();
    await Promise.all(faults.agents.map((agent) => agent.waitReady()));
    const target = lab.pod('pod2a');
    await Promise.all([target.listenTcp(DENIED_PORT), target.echoUdp(ECHO_PORT)]);
    await lab.primeUnderlay();
    await faults.remember();
    return faults;
  }

  /** Waits until the agents are ready and change nothing any more. */
  async #settled(): Promise<void> {
    let last = '';
    let same = 0;
    await until('settled', async () => {
      const ready = await Promise.all(this.agents.map((agent) => agent.status()));
      const text = JSON.stringify([[...(await this.flows(1))], [...(await this.flows(2))]]);
      same = text === last && ready.every((status) => status['ready'] === true) ? same + 1 : 0;
      last = text;
      await sleep(100);
      return same >= 4;
    });
  }

  /** What the switches hold now is what they should hold after the next fault. */
  async remember(): Promise<void> {
    this.#expected = [await this.flows(1), await this.flows(2)];
  }

  /**
   * Makes a change, takes what the switches then hold as what they should hold after the fault, and takes it back: the
   * fault makes the same change under worse conditions.
   */
  async rehearse(change: () => Promise<unknown>, back: () => Promise<unknown>): Promise<void> {
    const before = this.#expected;
    await change();
    await this.#settled();
    await this.remember();
    const after = this.#expected;
    this.#expected = before;
    await back();
    await until('as before', () => this.whole(), REPAIR_LIMIT_MS);
    this.#expected = after;
    this.#original = before;
  }

  /** Takes back what was rehearsed and then done. */
  async restore(back: () => Promise<unknown>): Promise<void> {
    await back();
    this.#expected = this.#original ?? this.#expected;
    await until('as before', () => this.whole(), REPAIR_LIMIT_MS);
  }

  /** Reads the whole configuration of an agent again, with other parts. */
  async reconfigure(number: DpuNumber, override: Readonly<Record<string, unknown>>): Promise<void> {
    const { configFile, pid } = this.agent(number);
    const config = parse(await readFile(configFile, 'utf8')) as Record<string, unknown>;
    await writeFile(configFile, stringify({ ...config, ...override }));
    if (pid !== undefined) process.kill(pid, 'SIGHUP');
  }

  /** The agent of a DPU. */
  agent(number: DpuNumber): AgentProcess {
    return number === 1 ? this.agents[0] : this.agents[1];
  }

  /** Writes a rule file in one step. */
  async writeRule(name: string, document: unknown): Promise<void> {
    const temporary = join(this.rulesDir, `.${name}.tmp`);
    await writeFile(temporary, stringify(document));
    await rename(temporary, join(this.rulesDir, `${name}.yaml`));
  }

  /** Removes a rule file. */
  async removeRule(name: string): Promise<void> {
    await rm(join(this.rulesDir, `${name}.yaml`));
  }

  /** Process id of a daemon. */
  async daemonPid(number: DpuNumber, name: DaemonName): Promise<number> {
    const rundir = this.lab.dpus[number - 1]?.rundir ?? '';
    return Number(await readFile(join(rundir, `${name}.pid`), 'utf8'));
  }

  /** Sends a signal to a daemon; SIGKILL and SIGTERM are waited for. */
  async signal(number: DpuNumber, name: DaemonName, signal: NodeJS.Signals): Promise<void> {
    const pid = await this.daemonPid(number, name);
    process.kill(pid, signal);
    if (signal === 'SIGKILL' || signal === 'SIGTERM')
      await until(`${name} has ended`, async () => !(await isAlive(pid)));
  }

  /** Starts ovs-vswitchd again, and gives the underlay its address back. */
  async startVswitchd(number: DpuNumber): Promise<void> {
    await this.lab.startVswitchd(number);
    await this.lab.addressUnderlay(number);
  }

  /** Flows and groups of ours in a switch, in ovs-ofctl's words, with `<mac>` in place of the number of an endpoint's port. */
  async flows(number: DpuNumber): Promise<ReadonlySet<string>> {
    const dump = async (verb: string, ...options: string[]): Promise<string[]> =>
      (
        await run('ovs-ofctl', [
          ...['-O', 'OpenFlow13', '--no-names', ...options],
          ...[verb, this.lab.bridgeSocket(number)],
        ])
      ).split('\n');
    const ports = await this.#ports(number);
    const flows = await dump('dump-flows', '--no-stats');
    const groups = await dump('dump-groups');
    return new Set([
      ...flows
        .filter((line) => line.includes('cookie=0xd9a6') && !line.includes(LEARNED_TABLE))
        .map((line) => named(line, ports)),
      ...groups.filter((line) => line.includes('group_id=')).map((line) => named(line, ports)),
    ]);
  }

  /** True when the agents are ready and their switches hold exactly what they should. */
  async whole(): Promise<boolean> {
    for (const number of [1, 2] as const) {
      const { ready } = (await this.agent(number).status()) as { ready: boolean };
      if (!ready) return false;
      const { leftOver, missing } = await this.#compare(number);
      if (leftOver.length > 0 || missing.length > 0) return false;
    }
    return true;
  }

  /** Does a fault under live probes, waits for the repair and measures. `fault` calls `over` when the cause has ended. */
  async measure(fault: (over: () => void) => Promise<void>): Promise<FaultOutcome> {
    const source = this.lab.pod('pod1a');
    const to = { ip: TARGET, timeoutMs: PROBE_TIMEOUT_MS };
    const allowed = await source.startProber({
      ...to,
      kind: 'udp',
      port: ECHO_PORT,
      intervalMs: 10,
    });
    const denied = await source.startProber({
      ...to,
      kind: 'tcp',
      port: DENIED_PORT,
      intervalMs: 25,
    });
    await sleep(100);
    const writtenBefore = await this.#written();
    let overAt = now();
    await fault(() => (overAt = now()));
    let repaired = false;
    await until('repaired', () => this.whole(), REPAIR_LIMIT_MS).then(
      () => (repaired = true),
      () => undefined,
    );
    const repairedAt = now();
    // Packets may be late where flows are in time: the underlay has to find its neighbours.
    await until('packets pass', async () => (await source.ping(TARGET, 3)).received === 3, 20_000);
    await sleep(STEADY_PROBES * 10);
    const [probes, deniedProbes] = [await allowed.stop(), await denied.stop()];
    const writtenAfter = await this.#written();
    const differences = [await this.#compare(1), await this.#compare(2)];
    return {
      sent: probes.length,
      lost: probes.filter(({ rttMs }) => rttMs === null).length,
      leaked: deniedProbes.filter(({ rttMs }) => rttMs !== null).length,
      written: writtenAfter.reduce((sum, count, index) => {
        const before = writtenBefore[index] ?? 0;
        // A new process counts from 0.
        return sum + (count < before ? count : count - before);
      }, 0),
      repairMs: repaired ? Math.max(repairedAt, steadySince(probes)) - overAt : Infinity,
      leftOver: differences.flatMap(({ leftOver }) => leftOver),
      missing: differences.flatMap(({ missing }) => missing),
    };
  }

  #written(): Promise<number[]> {
    return Promise.all(
      this.agents.map(
        async (agent) =>
          (await agent.metric('dpu_agent_flow_mods_total')) +
          (await agent.metric('dpu_agent_group_mods_total')),
      ),
    );
  }

  async #compare(number: DpuNumber): Promise<{ leftOver: string[]; missing: string[] }> {
    const expected = this.#expected[number - 1] ?? new Set();
    const actual = await this.flows(number);
    return {
      leftOver: [...actual].filter((line) => !expected.has(line)),
      missing: [...expected].filter((line) => !actual.has(line)),
    };
  }

  /** MAC of the endpoint by the number of its port. */
  async #ports(number: DpuNumber): Promise<ReadonlyMap<number, string>> {
    const columns = '--columns=ofport,external_ids';
    const text = await this.lab.vsctl(number, '--format=json', columns, 'list', 'Interface');
    const { data } = JSON.parse(text) as { data: [unknown, [string, [string, string][]]][] };
    const ports = new Map<number, string>();
    for (const [ofport, [, ids]] of data) {
      const mac = new Map(ids).get('attached-mac');
      if (typeof ofport === 'number' && mac !== undefined) ports.set(ofport, mac);
    }
    return ports;
  }
}

/** A DPURule of tenant-a that denies TCP ports of the target. */
export function denyRule(name: string, ports: readonly number[]): unknown {
  return {
    apiVersion: 'dpu.network/v1alpha1',
    kind: 'DPURule',
    metadata: { name, namespace: 'tenant-a' },
    spec: {
      networkRef: 'tenant-a',
      rules: ports.map((dstPort) => ({
        name: `port-${dstPort}`,
        match: { dstIP: TARGET, protocol: 'TCP', dstPort },
        action: 'deny',
      })),
    },
  };
}

function named(line: string, ports: ReadonlyMap<number, string>): string {
  const name = (number: string): string => ports.get(Number(number)) ?? number;
  return line
    .trim()
    .replace(/in_port=(\d+)/g, (_, number: string) => `in_port=<${name(number)}>`)
    .replace(
      /set_field:(0x[0-9a-f]+)->reg1\b/g,
      (_, number: string) => `set_field:<${name(number)}>->reg1`,
    );
}

/** When the unbroken row of answered probes at the end began; the present when there is none. */
function steadySince(probes: readonly Probe[]): number {
  const lastLost = probes.findLastIndex(({ rttMs }) => rttMs === null);
  const first = probes[lastLost + 1];
  return first === undefined ? now() : first.sentAt;
}

function now(): number {
  return performance.timeOrigin + performance.now();
}

async function isAlive(pid: number): Promise<boolean> {
  // One that has ended and that nobody has waited for yet is a zombie.
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat !== '' && !stat.slice(stat.lastIndexOf(')')).startsWith(') Z');
}
