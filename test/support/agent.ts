/**
 * An agent inside the test process, on a sandbox's Open vSwitch and a rules directory of its own, read as a user would:
 * over its debug socket.
 */
import { mkdtemp, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { Agent } from '../../src/agent/agent.ts';
import { readConfig } from '../../src/agent/config.ts';
import type { Logger } from '../../src/base/logger.ts';
import type { OvsSandbox } from './ovs-sandbox.ts';

/** What a test writes into the configuration beside the defaults. */
export type ConfigOverride = Readonly<Record<string, unknown>>;

/** One line of the agent's log. */
export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A row of `/rules`. */
export interface RuleRow {
  readonly name: string;
  readonly rule: string;
  readonly accepted: boolean;
  readonly programmed: boolean;
  readonly reason: string;
  readonly message: string;
  readonly flows: number;
}

/** Polls until `check` gives a value; fails with the last error or `what`. */
export async function until<T>(
  what: string,
  check: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = 30_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  do {
    try {
      const value = await check();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  } while (performance.now() < deadline);
  throw new Error(`not seen in ${timeoutMs} ms: ${what}`, { cause: last });
}

/** GET over a Unix socket. */
export function httpGet(
  socketPath: string,
  path: string,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path, timeout: 5000 }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    call.on('error', reject);
    call.end();
  });
}

/** The agent under test. */
export class TestAgent {
  readonly dir: string;
  readonly rulesDir: string;
  readonly socket: string;
  readonly log: LogLine[] = [];
  readonly config: Readonly<Record<string, unknown>>;
  agent: Agent;

  private constructor(dir: string, config: Readonly<Record<string, unknown>>) {
    this.dir = dir;
    this.rulesDir = join(dir, 'rules.d');
    this.socket = join(dir, 'run', 'debug.sock');
    this.config = config;
    this.agent = this.#make();
  }

  /** Makes an agent on `ovs`; `start` starts it. */
  static async create(
    t: { after(work: () => unknown): void },
    ovs: Pick<OvsSandbox, 'databaseSocket' | 'rundir'>,
    override: ConfigOverride = {},
  ): Promise<TestAgent> {
    const dir = await mkdtemp(join(tmpdir(), 'dpu-agent-'));
    await mkdir(join(dir, 'rules.d'));
    const config = {
      node: 'dpu-1',
      ovs: {
        database: `unix:${ovs.databaseSocket}`,
        rundir: ovs.rundir,
        control: join(ovs.rundir, 'vswitchd.ctl'),
        bridge: 'br-int',
        datapathType: 'netdev',
      },
      rules: { source: 'directory', path: join(dir, 'rules.d') },
      state: join(dir, 'state'),
      customer: { name: 'customer-1', vnis: ['1000-1999'] },
      tiers: { platform: ['dpu-system'], admin: ['dpu-system'] },
      vtep: { ip: '192.168.1.11' },
      peers: [
        {
          vtep: '192.168.1.12',
          endpoints: [{ vni: 1000, mac: '02:00:0a:01:02:05', ips: ['10.1.0.25'] }],
        },
      ],
      networks: [
        { vni: 1000, name: 'tenant-a', namespaces: ['tenant-a'], subnets: ['10.1.0.0/16'] },
        { vni: 1001, name: 'tenant-b', namespaces: ['tenant-b'], subnets: ['10.1.0.0/16'] },
      ],
      metrics: { listen: 'off' },
      ...override,
      debug: { socket: join(dir, 'run', 'debug.sock'), ...(override['debug'] ?? {}) },
    };
    const agent = new TestAgent(dir, config);
    t.after(async () => {
      await agent.agent.close();
      await rm(dir, { recursive: true, force: true });
    });
    return agent;
  }

  /** The configuration file's text. */
  configText(override: ConfigOverride = {}): string {
    return stringify({ ...this.config, ...override });
  }

  /** Starts, and waits until it is ready unless told not to. */
  async start(waitReady = true): Promise<void> {
    await this.agent.start();
    if (waitReady) await this.ready();
  }

  /** Ends the agent and puts a new one in its place, not started: as a restart of the process does. */
  async replace(): Promise<void> {
    await this.agent.close();
    this.agent = this.#make();
  }

  /** Waits for `/readyz`. */
  async ready(timeoutMs = 15_000): Promise<void> {
    await until(
      'ready',
      async () => {
        const { status, body } = await httpGet(this.socket, '/readyz');
        if (status !== 200) throw new Error(body);
        return true;
      },
      timeoutMs,
    );
  }

  /** Writes a rule file in one step. */
  async writeRule(name: string, text: string): Promise<void> {
    const temporary = join(this.rulesDir, `.${name}.tmp`);
    await writeFile(temporary, text);
    await rename(temporary, join(this.rulesDir, name));
  }

  /** A JSON answer of the debug socket. */
  async json<T>(path: string): Promise<T> {
    return JSON.parse((await httpGet(this.socket, path)).body) as T;
  }

  /** The value of a metric; 0 when the series is absent. */
  async metric(name: string, labels = ''): Promise<number> {
    const { body } = await httpGet(this.socket, '/metrics');
    const prefix = labels === '' ? name : `${name}{${labels}}`;
    const line = body.split('\n').find((text) => text.startsWith(`${prefix} `));
    return line === undefined ? 0 : Number(line.slice(prefix.length));
  }

  /** All flow_mods that were committed. */
  async flowMods(): Promise<number> {
    const counts = await Promise.all(
      ['add', 'modify', 'delete'].map((op) =>
        this.metric('dpu_agent_flow_mods_total', `op="${op}"`),
      ),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** Waits until `/rules` has the entry in a state that `check` accepts. */
  async rule(name: string, check: (row: RuleRow) => boolean, timeoutMs = 30_000): Promise<RuleRow> {
    const look = async (): Promise<RuleRow> => {
      const row = (await this.json<RuleRow[]>('/rules')).find(
        (candidate) => candidate.name === name,
      );
      if (row === undefined || !check(row)) throw new Error(JSON.stringify(row));
      return row;
    };
    return until(`rule ${name}`, look, timeoutMs);
  }

  #make(): Agent {
    const write =
      (level: string) =>
      (fields: Readonly<Record<string, unknown>>, message: string): void => {
        this.log.push({ level, message, fields });
      };
    const logger: Logger = {
      debug: write('debug'),
      info: write('info'),
      warn: write('warn'),
      error: write('error'),
    };
    return new Agent(readConfig(stringify(this.config), 'agent.yaml', {}), logger);
  }
}

/** The text of a rule file with one entry. */
export function ruleFile(
  name: string,
  entry: Readonly<Record<string, unknown>>,
  spec: Readonly<Record<string, unknown>> = {},
  namespace = 'tenant-a',
): string {
  return stringify({
    apiVersion: 'dpu.network/v1alpha1',
    kind: 'DPURule',
    metadata: { name, namespace },
    spec: { networkRef: 'tenant-a', ...spec, rules: [entry] },
  });
}
