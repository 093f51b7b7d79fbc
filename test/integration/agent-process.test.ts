// The program dpu-agent as a process: what it says about a bad configuration, and what signals do.
import { spawn, type ChildProcess } from 'node:child_process';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { httpGet, ruleFile, TestAgent, until, type ConfigOverride } from '../support/agent.ts';
import { ovsSandbox, type OvsSandbox } from '../support/ovs-sandbox.ts';

const MAIN = fileURLToPath(new URL('../../src/agent/main.ts', import.meta.url));
const NOWHERE = { databaseSocket: '/nonexistent/db.sock', rundir: '/nonexistent' };

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
}

/** A running agent and all that it printed. */
class AgentProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  output = '';

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.child = spawn(process.execPath, [MAIN, ...args], { env: { ...process.env, ...env } });
    const collect = (chunk: Buffer): void => void (this.output += chunk.toString());
    this.child.stdout?.on('data', collect);
    this.child.stderr?.on('data', collect);
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code, signal) => resolve({ code, signal, output: this.output }));
    });
  }
}

/** The configuration of a test agent as a file; the agent of `TestAgent` itself is not started. */
async function configFile(files: TestAgent, override: ConfigOverride = {}): Promise<string> {
  const file = join(files.dir, 'agent.yaml');
  await writeFile(file, files.configText(override));
  return file;
}

async function ready(files: TestAgent, running: AgentProcess): Promise<void> {
  await until('ready', async () => {
    if (running.child.exitCode !== null) throw new Error(running.output);
    return (await httpGet(files.socket, '/readyz')).status === 200;
  });
}

function flowCount(ovs: OvsSandbox): Promise<number> {
  return ovs
    .ofctl('-O', 'OpenFlow13', 'dump-flows', `unix:${ovs.rundir}/br-int.mgmt`)
    .then((text) => text.split('\n').filter((line) => line.includes('actions=')).length);
}

t.test(
  'a configuration that cannot be used ends the agent with every problem, its line and what is accepted',
  async (t) => {
    const files = await TestAgent.create(t, NOWHERE);
    const cases: readonly [
      name: string,
      override: ConfigOverride,
      env: NodeJS.ProcessEnv,
      want: readonly RegExp[],
    ][] = [
      ['an unknown key', { bridges: 'br-int' }, {}, [/agent\.yaml:\d+: bridges:/]],
      ['a missing key', { customer: undefined }, {}, [/customer/]],
      [
        'two ways to name the VTEP',
        { vtep: { ip: '192.168.1.11', interface: 'p0' } },
        {},
        [/exactly one of ip, interface and cidr/],
      ],
      [
        'a bad environment',
        {},
        { VTEP_LOCAL_IP: 'hostname' },
        [/environment variable VTEP_LOCAL_IP/],
      ],
      [
        'a metrics address that everybody reaches',
        { metrics: { listen: '0.0.0.0:9464' } },
        {},
        [/metrics\.listen/],
      ],
      [
        'several problems at once',
        {
          peers: [{ vtep: '192.168.1.12', endpoints: [{ vni: 5000, mac: 'x', ips: [] }] }],
          nod: 1,
        },
        {},
        [/nod/, /mac/],
      ],
    ];
    for (const [name, override, env, want] of cases) {
      const { code, output } = await new AgentProcess(
        ['--config', await configFile(files, override)],
        env,
      ).ended;
      t.equal(code, 2, name);
      for (const pattern of want) t.match(output, pattern, name);
      t.notMatch(output, /\n\s+at /, 'no stack: it is not a fault of the program');
    }
    const missing = await new AgentProcess(['--config', join(files.dir, 'none.yaml')]).ended;
    t.equal(missing.code, 2);
    t.match(missing.output, /none\.yaml: cannot be read/);
    const usage = await new AgentProcess([]).ended;
    t.match(usage.output, /required option '--config <file>'/);
    const check = await new AgentProcess(['--config', await configFile(files), '--check']).ended;
    t.match(check, { code: 0, output: /ok/ });
  },
);

t.test(
  'SIGTERM ends the agent and leaves the flows; SIGHUP takes over a changed configuration, and refuses a bad one',
  async (t) => {
    const ovs = await ovsSandbox(t);
    if (ovs === undefined) return;
    const files = await TestAgent.create(t, ovs);
    await files.writeRule(
      'deny.yaml',
      ruleFile('deny', {
        match: { dstIP: '10.1.0.25', protocol: 'TCP', dstPort: 81 },
        action: 'deny',
      }),
    );
    const running = new AgentProcess(['--config', await configFile(files)]);
    t.after(() => running.child.kill('SIGKILL'));
    await ready(files, running);
    t.equal((await stat(files.socket)).mode & 0o777, 0o600);
    t.equal((await stat(join(files.socket, '..'))).mode & 0o777, 0o700);
    const before = await flowCount(ovs);

    await configFile(files, {
      networks: [{ vni: 1000, name: 'tenant-a', namespaces: ['tenant-a'] }],
      node: 'renamed',
    });
    running.child.kill('SIGHUP');
    const fewer = await until('fewer flows', async () => {
      const count = await flowCount(ovs);
      return count < before && count;
    });
    t.match(running.output, /configuration changed in parts that need a restart/);
    await writeFile(join(files.dir, 'agent.yaml'), 'node: [');
    running.child.kill('SIGHUP');
    await until('refusal', () =>
      /configuration refused, the one in force stays/.test(running.output),
    );
    t.equal(await flowCount(ovs), fewer);

    running.child.kill('SIGTERM');
    t.equal((await running.ended).code, 0);
    t.equal(await flowCount(ovs), fewer, 'flows stay in place');
    for (const line of running.output.trim().split('\n')) {
      t.match(JSON.parse(line), { level: String, time: String, msg: String, node: 'dpu-1' }, line);
    }
  },
);

t.test(
  'the environment overrides the file, and a second agent on the same debug socket is refused',
  async (t) => {
    const ovs = await ovsSandbox(t);
    if (ovs === undefined) return;
    const files = await TestAgent.create(t, ovs);
    const file = await configFile(files);
    const running = new AgentProcess(['--config', file], {
      OVS_BRIDGE: 'br-other',
      VTEP_LOCAL_IP: '192.168.1.99',
    });
    t.after(() => running.child.kill('SIGKILL'));
    await ready(files, running);
    t.match(await ovs.vsctl('get', 'interface', 'vtep0', 'options:local_ip'), /192\.168\.1\.99/);
    t.match(await ovs.vsctl('list-br'), /br-other/);
    const second = await new AgentProcess(['--config', file]).ended;
    t.match(second, { code: 2, output: /another process listens there/ });
    running.child.kill('SIGKILL');
    await running.ended;
    const third = new AgentProcess(['--config', file], { OVS_BRIDGE: 'br-other' });
    t.after(() => third.child.kill('SIGKILL'));
    await ready(files, third);
    t.pass('the socket that a killed agent left behind is replaced');
    third.child.kill('SIGTERM');
    t.equal((await third.ended).code, 0);
  },
);
