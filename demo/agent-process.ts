/**
 * One dpu-agent of the lab as a process of its own, in the network namespace of its DPU, and what its debug socket answers.
 * It is detached: Ctrl-C does not reach it, and a kept lab keeps it.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { addressesOf, type Dpu, type DpuNumber, type TwoDpuLab } from './lab.ts';

const MAIN = fileURLToPath(new URL('../src/agent/main.ts', import.meta.url));
/** As in the first line of the program. */
const NODE_FLAGS = ['--max-semi-space-size=2'];
const REQUEST_TIMEOUT_MS = 3000;

/** A rule as `GET /rules` lists it; the fields that the demo reads. */
export interface RuleRow {
  readonly name: string;
  readonly accepted: boolean;
  readonly programmed: boolean;
  readonly flows: number;
  /** Packets that it decided, or would have, as far as the switch has counted them. */
  readonly packets: number;
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** Resolves after `ms` milliseconds. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** An agent and where its files are. */
export class AgentProcess {
  readonly dpu: Dpu;
  readonly configFile: string;
  readonly logFile: string;
  readonly socket: string;
  #process: ChildProcess | undefined;

  private constructor(dpu: Dpu, lab: TwoDpuLab, name: string) {
    this.dpu = dpu;
    this.configFile = join(lab.dir, `agent-${name}.yaml`);
    this.logFile = join(lab.dir, `agent-${name}.log`);
    this.socket = join(lab.dir, `agent-${name}`, 'debug.sock');
  }

  /**
   * Writes the configuration of an agent of a DPU; `override` replaces its parts, `name` tells several of one DPU apart.
   * The agent itself is started by `start`.
   */
  static async create(
    lab: TwoDpuLab,
    number: DpuNumber,
    rulesDir: string,
    override: Readonly<Record<string, unknown>> = {},
    name = String(number),
  ): Promise<AgentProcess> {
    const agent = new AgentProcess(lab.dpus[number - 1] ?? lab.dpus[0], lab, name);
    const state = join(lab.dir, `agent-${name}`);
    await mkdir(state, { mode: 0o700 });
    const config = { ...configOf(lab, agent, state, rulesDir), ...override };
    await writeFile(agent.configFile, stringify(config));
    return agent;
  }

  /** Process id of the running agent. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Starts the agent; `waitReady` tells when it has synced. */
  start(): void {
    const log = openSync(this.logFile, 'a');
    const command = [process.execPath, ...NODE_FLAGS, MAIN, '--config', this.configFile];
    this.#process = spawn('ip', ['netns', 'exec', this.dpu.namespace, ...command], {
      stdio: ['ignore', log, log],
      detached: true,
    });
    closeSync(log);
    this.#process.unref();
  }

  /**
   * Waits for the first complete sync.
   * @throws Error with the end of the agent's log when it ends or takes too long.
   */
  async waitReady(timeoutMs = 15_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    let last = 'no answer yet';
    while (Date.now() < deadline) {
      const child = this.#process;
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) {
        throw new Error(`the agent of dpu${this.dpu.number} ended: ${await this.logTail()}`);
      }
      const answer = await this.#get('/readyz').catch((error: unknown) => String(error));
      if (typeof answer !== 'string' && answer.status === 200) return;
      last = typeof answer === 'string' ? answer : `${answer.status} ${answer.body}`;
      await sleep(20);
    }
    throw new Error(
      `the agent of dpu${this.dpu.number} is not ready: ${last}; ${await this.logTail()}`,
    );
  }

  /** Ends the agent without any warning, as a crash would. */
  async crash(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  /** `GET /rules`. */
  async rules(): Promise<RuleRow[]> {
    return JSON.parse(await this.#body('/rules')) as RuleRow[];
  }

  /** `GET /status`. */
  async status(): Promise<Record<string, unknown>> {
    return JSON.parse(await this.#body('/status')) as Record<string, unknown>;
  }

  /** Sum of a counter or gauge over its labels, or over those series that hold `label`. */
  async metric(name: string, label = ''): Promise<number> {
    const series = (await this.#body('/metrics'))
      .split('\n')
      .filter(
        (line) =>
          /^[{ ]/.test(line.slice(name.length)) && line.startsWith(name) && line.includes(label),
      );
    return series.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }

  /** What the agent has logged since it was first started. */
  async log(): Promise<string> {
    return readFile(this.logFile, 'utf8').catch(() => '');
  }

  /** The last lines of the agent's log. */
  async logTail(lineCount = 5): Promise<string> {
    return (await this.log()).trimEnd().split('\n').slice(-lineCount).join('\n');
  }

  async #body(path: string): Promise<string> {
    const { status, body } = await this.#get(path);
    if (status !== 200) throw new Error(`GET ${path} on dpu${this.dpu.number}: ${status} ${body}`);
    return body;
  }

  #get(path: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const call = request(
        { socketPath: this.socket, path, timeout: REQUEST_TIMEOUT_MS },
        (response) => {
          let body = '';
          response.setEncoding('utf8').on('data', (text: string) => (body += text));
          response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
        },
      );
      call.on('timeout', () => call.destroy(new Error(`GET ${path}: no answer`)));
      call.on('error', reject);
      call.end();
    });
  }
}

function configOf(
  lab: TwoDpuLab,
  agent: AgentProcess,
  state: string,
  rulesDir: string,
): Record<string, unknown> {
  const { number, rundir, database, vtepIp } = agent.dpu;
  const network = (vni: number, name: string): unknown => ({
    vni,
    name,
    namespaces: [name],
    subnets: ['10.1.0.0/16'],
    defaultAction: { ingress: 'allow', egress: 'allow' },
  });
  return {
    node: `dpu-${number}`,
    ovs: {
      database,
      rundir,
      control: join(rundir, 'vswitchd.ctl'),
      bridge: 'br-int',
      datapathType: 'netdev',
    },
    rules: { source: 'directory', path: rulesDir },
    state,
    customer: { name: 'customer-1', vnis: ['1000-1999'] },
    tiers: { platform: ['dpu-system'], admin: ['dpu-system'] },
    vtep: { ip: vtepIp },
    peers: lab.dpus
      .filter((peer) => peer.number !== number)
      .map((peer) => ({
        vtep: peer.vtepIp,
        endpoints: lab.podSpecs(peer.number).map((spec) => {
          return { vni: spec.vni, mac: spec.mac, ips: addressesOf(spec) };
        }),
      })),
    networks: [network(1000, 'tenant-a'), network(1001, 'tenant-b')],
    ports: [],
    debug: { socket: agent.socket },
    metrics: { listen: '127.0.0.1:9464' },
  };
}
