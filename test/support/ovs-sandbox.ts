/**
 * A private Open vSwitch for one test: its own ovsdb-server and ovs-vswitchd with the userspace datapath, in a temporary
 * directory and a network namespace of its own, so that several can run at once and none touches the machine's. It
 * drives the real programs; it speaks no protocol itself.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** The part of a tap test that the sandbox needs; whoever is no tap test gives a `skip` of its own. */
export type SandboxOwner = { after(teardown: () => Promise<void>): void } & (
  { pass(message: string, extra: { skip: string }): unknown } | { skip(reason: string): unknown }
);

/** How the sandbox is made. */
export interface SandboxOptions {
  /** Replaces every datapath by OVS's dummy one: no tap devices, no root needed, time still runs by itself. */
  readonly dummy?: boolean;
  /** Does not start ovs-vswitchd: a database only. */
  readonly databaseOnly?: boolean;
}

/** A running sandbox. Bridges need `datapath_type=netdev` (any type with `dummy`). */
export interface OvsSandbox {
  /** Root of everything that the sandbox wrote. Removed at the end. */
  readonly dir: string;
  /** Holds `db.sock`, `vswitchd.ctl`, `ovsdb.ctl` and `<bridge>.mgmt`. */
  readonly rundir: string;
  /** Unix socket of ovsdb-server. */
  readonly databaseSocket: string;
  /** Runs ovs-vsctl and returns its standard output without the last newline. Rejects with its standard error. */
  vsctl(...args: string[]): Promise<string>;
  /** Runs ovs-ofctl, which finds bridges by name. */
  ofctl(...args: string[]): Promise<string>;
  /** Runs any program in the network namespace of ovs-vswitchd. */
  run(program: string, ...args: string[]): Promise<string>;
  stopVswitchd(): Promise<void>;
  startVswitchd(): Promise<void>;
  restartVswitchd(): Promise<void>;
  stopOvsdb(): Promise<void>;
  startOvsdb(): Promise<void>;
  /** Restarts ovsdb-server on the same file: rows stay, connections do not. */
  restartOvsdb(): Promise<void>;
  /** Stops everything and removes the directory. Called by itself after the test; a second call does nothing. */
  close(): Promise<void>;
}

const SBIN = ['/usr/sbin', '/sbin', '/usr/local/sbin'];
const SEARCH = [...(process.env['PATH'] ?? '').split(':'), ...SBIN];
const SCHEMAS = ['/usr/share/openvswitch', '/usr/local/share/openvswitch'].map((dir) =>
  join(dir, 'vswitch.ovsschema'),
);
const COMMAND_TIMEOUT_MS = 45_000;

function findProgram(name: string): string | undefined {
  return SEARCH.map((dir) => join(dir, name)).find((path) => existsSync(path));
}

function programPath(name: string): string {
  const path = findProgram(name);
  if (path === undefined) throw new Error(`${name} is not installed`);
  return path;
}

function missingPart(options: SandboxOptions): string | undefined {
  const programs = ['ovsdb-server', 'ovsdb-tool', 'ovs-vswitchd', 'ovs-vsctl', 'ovs-ofctl'];
  const missing = programs.find((name) => findProgram(name) === undefined);
  if (missing !== undefined) return `${missing} is not installed`;
  if (!SCHEMAS.some((path) => existsSync(path))) return 'vswitch.ovsschema is not installed';
  if (options.dummy !== true && process.getuid?.() !== 0) return 'needs root for tap devices';
  return undefined;
}

function capture(program: string, args: string[], env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { env, timeout: COMMAND_TIMEOUT_MS, maxBuffer: 256 << 20 };
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout.replace(/\n$/, ''));
      else reject(new Error(`${program} ${args.join(' ')}: ${stderr || error.message}`));
    });
  });
}

async function waitUntil(what: string, ready: () => boolean): Promise<void> {
  const deadline = Date.now() + COMMAND_TIMEOUT_MS;
  while (!ready()) {
    if (Date.now() > deadline) throw new Error(`timed out waiting for ${what}`);
    await sleep(10);
  }
}

/** One daemon in the foreground, killed by the kernel when the test process dies without a teardown. */
class Daemon {
  #child: ChildProcess | undefined;
  readonly #command: readonly string[];
  readonly #env: NodeJS.ProcessEnv;

  constructor(command: readonly string[], env: NodeJS.ProcessEnv) {
    const setpriv = findProgram('setpriv');
    const guard = setpriv === undefined ? [] : [setpriv, '--pdeathsig', 'KILL', '--'];
    this.#command = [...guard, ...command];
    this.#env = env;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && !this.#child.signalCode;
  }

  start(): void {
    const [program = '', ...args] = this.#command;
    this.#child = spawn(program, args, { env: this.#env, stdio: 'ignore' });
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.running) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGTERM');
    const killer = setTimeout(() => child.kill('SIGKILL'), 5000);
    await gone;
    clearTimeout(killer);
  }
}

class Sandbox implements OvsSandbox {
  readonly dir: string;
  readonly rundir: string;
  readonly databaseSocket: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #ovsdb: Daemon;
  readonly #vswitchd: Daemon;
  readonly #namespace: Daemon | undefined;
  #enter: readonly string[] = [];
  #closed = false;

  constructor(dir: string, options: SandboxOptions, enter: readonly string[], namespace?: Daemon) {
    this.dir = dir;
    this.rundir = join(dir, 'run');
    this.databaseSocket = join(this.rundir, 'db.sock');
    this.#enter = enter;
    this.#namespace = namespace;
    this.#env = {
      ...process.env,
      OVS_RUNDIR: this.rundir,
      OVS_LOGDIR: dir,
      OVS_DBDIR: dir,
      OVS_SYSCONFDIR: dir,
    };
    this.#ovsdb = new Daemon(
      [
        programPath('ovsdb-server'),
        join(dir, 'conf.db'),
        `--remote=punix:${this.databaseSocket}`,
        `--unixctl=${join(this.rundir, 'ovsdb.ctl')}`,
        `--log-file=${join(dir, 'ovsdb.log')}`,
      ],
      this.#env,
    );
    this.#vswitchd = new Daemon(
      [
        ...enter,
        programPath('ovs-vswitchd'),
        `unix:${this.databaseSocket}`,
        '--disable-system',
        `--unixctl=${join(this.rundir, 'vswitchd.ctl')}`,
        `--log-file=${join(dir, 'vswitchd.log')}`,
        ...(options.dummy === true ? ['--enable-dummy=override'] : []),
      ],
      this.#env,
    );
  }

  vsctl(...args: string[]): Promise<string> {
    return capture(
      programPath('ovs-vsctl'),
      [`--db=unix:${this.databaseSocket}`, '--timeout=30', ...args],
      this.#env,
    );
  }

  ofctl(...args: string[]): Promise<string> {
    return capture(programPath('ovs-ofctl'), ['-t', '30', ...args], this.#env);
  }

  run(program: string, ...args: string[]): Promise<string> {
    const [first = '', ...rest] = [...this.#enter, programPath(program), ...args];
    return capture(first, rest, this.#env);
  }

  async startOvsdb(): Promise<void> {
    await rm(this.databaseSocket, { force: true });
    this.#ovsdb.start();
    await waitUntil('db.sock', () => existsSync(this.databaseSocket));
    // `init` makes the one row of Open_vSwitch, without which ovs-vswitchd does nothing.
    await this.vsctl('--retry', '--no-wait', 'init');
  }

  stopOvsdb(): Promise<void> {
    return this.#ovsdb.stop();
  }

  async restartOvsdb(): Promise<void> {
    await this.stopOvsdb();
    await this.startOvsdb();
  }

  async startVswitchd(): Promise<void> {
    this.#vswitchd.start();
    await waitUntil('vswitchd.ctl', () => existsSync(join(this.rundir, 'vswitchd.ctl')));
    // Returns when ovs-vswitchd has taken the configuration; a write that changes nothing would not wait, hence the time.
    const started = `external_ids:sandbox-started=${Date.now()}`;
    await this.vsctl('--retry', 'set', 'Open_vSwitch', '.', started);
  }

  async stopVswitchd(): Promise<void> {
    await this.#vswitchd.stop();
    await rm(join(this.rundir, 'vswitchd.ctl'), { force: true });
  }

  async restartVswitchd(): Promise<void> {
    await this.stopVswitchd();
    await this.startVswitchd();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#vswitchd.stop();
    await this.#ovsdb.stop();
    await this.#namespace?.stop();
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** A network namespace that lives as long as the process that holds it. */
async function makeNamespace(): Promise<{ holder: Daemon; enter: readonly string[] }> {
  const sleeper = [programPath('unshare'), '--net', programPath('sleep'), 'infinity'];
  const holder = new Daemon(sleeper, process.env);
  holder.start();
  const pid = holder.pid ?? 0;
  const enter = [programPath('nsenter'), `--net=/proc/${pid}/ns/net`, '--'];
  // unshare has done its work when the process's namespace is no longer ours: lo is down in the new one only.
  const deadline = Date.now() + COMMAND_TIMEOUT_MS;
  for (;;) {
    const [nsenter = '', ...args] = [...enter, programPath('ip'), '-o', 'link', 'show', 'lo'];
    const link = await capture(nsenter, args, process.env).catch(() => '');
    if (link.includes('state DOWN')) break;
    if (Date.now() > deadline) throw new Error('timed out waiting for the network namespace');
    await sleep(5);
  }
  const [nsenter = '', ...args] = [...enter, programPath('ip'), 'link', 'set', 'lo', 'up'];
  await capture(nsenter, args, process.env);
  return { holder, enter };
}

/**
 * Starts a sandbox that ends with the test. Returns undefined, after a skip with the reason, where OVS is not installed
 * or the rights are missing.
 */
export async function ovsSandbox(
  t: SandboxOwner,
  options: SandboxOptions = {},
): Promise<OvsSandbox | undefined> {
  const missing = missingPart(options);
  if (missing !== undefined) {
    const reason = `no Open vSwitch sandbox: ${missing}`;
    if ('pass' in t) t.pass('Open vSwitch sandbox', { skip: reason });
    else t.skip(reason);
    return undefined;
  }
  const dir = await mkdtemp(join(tmpdir(), 'ovs-'));
  await mkdir(join(dir, 'run'));
  // Kept empty: ovs-vswitchd reads the machine's system-id.conf otherwise.
  await writeFile(join(dir, 'system-id.conf'), '');
  const namespaced = options.dummy !== true && options.databaseOnly !== true;
  const namespace = namespaced ? await makeNamespace() : undefined;
  const sandbox = new Sandbox(dir, options, namespace?.enter ?? [], namespace?.holder);
  t.after(() => sandbox.close());
  const schema = SCHEMAS.find((path) => existsSync(path)) ?? '';
  await capture(programPath('ovsdb-tool'), ['create', join(dir, 'conf.db'), schema], process.env);
  await sandbox.startOvsdb();
  if (options.databaseOnly !== true) await sandbox.startVswitchd();
  return sandbox;
}
