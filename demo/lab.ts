/**
 * Two DPUs on one machine, or three, with real packets. Each "DPU" is a network namespace with its own ovsdb-server and ovs-vswitchd
 * (userspace datapath: no kernel module). p0 is the underlay (a veth pair, jumbo frames), br-phy carries the VTEP address,
 * br-int is the bridge that the agent owns; a pod's veth peer stands in for the VF representor.
 *
 *   pod1a (VNI 1000) -- rep1a \                                        / rep2a -- pod2a (VNI 1000)
 *                              br-int  br-phy -- p0 ==== p0 -- br-phy  br-int
 *   pod1b (VNI 1001) -- rep1b /                                        \ rep2b -- pod2b (VNI 1001)
 *
 * The lab does what the host's CNI and the operator would: ports with their external_ids, a secure br-int without flows.
 * Three DPUs have a Linux bridge between their p0, in a namespace of its own (`fabric`). vtep0 and all flows are the agent's. Every name carries a suffix, so that labs can run beside each other.
 */
import { mkdtemp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { run } from './command.ts';
import { Pod, type PodSpec } from './pod.ts';

const PREFIX = 'dpu-lab-';
const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';
/** Time that processes have to end by themselves before they are killed. */
const TERM_GRACE_MS = 1500;

/** Number of a DPU. */
export type DpuNumber = PodSpec['dpu'];

/** What the lab is to hold. */
export interface LabOptions {
  /** Default: pod1a and pod2a in VNI 1000, pod1b and pod2b in VNI 1001, each with its own address. */
  readonly pods?: readonly PodSpec[];
  /** Default: 2. */
  readonly dpus?: 2 | 3;
}

/** What `lab.json` keeps, so that a lab can be taken down by somebody else. */
interface LabRecord {
  readonly namespaces: readonly string[];
  readonly owner: { readonly pid: number; readonly startTime: string };
  readonly kept: boolean;
}

/** A DPU of the lab. */
export interface Dpu {
  readonly number: DpuNumber;
  readonly namespace: string;
  /** OVS_RUNDIR: holds `db.sock`, `br-int.mgmt` and the daemons' logs. */
  readonly rundir: string;
  /** OVSDB endpoint as `unix:PATH`. */
  readonly database: string;
  readonly vtepIp: string;
}

/** MAC address of a pod of the standard plan: 02:00:0a:01:0DPU:0HOST. */
export function podMac(dpu: DpuNumber, host: number): string {
  return `02:00:0a:01:0${dpu}:${host.toString(16).padStart(2, '0')}`;
}

const STANDARD_PODS: readonly PodSpec[] = ([1, 2] as const).flatMap((dpu) => [
  { name: `pod${dpu}a`, dpu, vni: 1000, mac: podMac(dpu, 5), ip: `10.1.0.${dpu}5` },
  { name: `pod${dpu}b`, dpu, vni: 1001, mac: podMac(dpu, 6), ip: `10.1.0.${dpu}6` },
]);

/** What is missing on this machine to bring a lab up, one line each. */
export async function missingForLab(): Promise<string[]> {
  const missing: string[] = [];
  if (process.getuid?.() !== 0)
    missing.push('root (network namespaces and Open vSwitch need it): run it with sudo');
  const programs = {
    'openvswitch-switch': 'ovs-vswitchd',
    iproute2: 'ip',
    ethtool: 'ethtool',
    'iputils-ping': 'ping',
  };
  for (const [debianPackage, program] of Object.entries(programs)) {
    const there = await run('sh', ['-c', `PATH=$PATH:/usr/sbin:/sbin command -v ${program}`]).catch(
      () => '',
    );
    if (there === '') missing.push(`${program}: apt-get install ${debianPackage}`);
  }
  if (missing.length > 0) return missing;
  const probe = `${PREFIX}probe-${process.pid}`;
  try {
    await run('ip', ['netns', 'add', probe]);
    await run('ip', ['netns', 'del', probe]);
  } catch (error) {
    missing.push(`network namespaces (CAP_SYS_ADMIN and CAP_NET_ADMIN): ${String(error)}`);
  }
  return missing;
}

/** A lab that is up. */
export class TwoDpuLab {
  /** Everything that the lab keeps in files: a directory of its own. */
  readonly dir: string;
  readonly dpus: readonly [Dpu, Dpu, ...Dpu[]];
  readonly #pods = new Map<string, Pod>();
  readonly #specs: readonly PodSpec[];

  private constructor(dir: string, { pods = STANDARD_PODS, dpus = 2 }: LabOptions) {
    this.dir = dir;
    this.#specs = pods;
    const dpu = (number: DpuNumber): Dpu => {
      const rundir = join(dir, `d${number}`);
      return {
        number,
        namespace: this.#namespace(`dpu${number}`),
        rundir,
        database: `unix:${rundir}/db.sock`,
        vtepIp: `192.168.1.1${number}`,
      };
    };
    this.dpus = [dpu(1), dpu(2), ...(dpus === 3 ? [dpu(3)] : [])];
  }

  /**
   * Brings a lab up, after it has removed labs whose owner has died. About a second.
   * @throws CommandError with the command that failed; then nothing is left behind.
   */
  static async up(options: LabOptions = {}): Promise<TwoDpuLab> {
    await TwoDpuLab.sweep();
    const dir = await mkdtemp(join(tmpdir(), PREFIX));
    const lab = new TwoDpuLab(dir, options);
    try {
      await lab.#record(false);
      await lab.#build();
      return lab;
    } catch (error) {
      await lab.down();
      throw error;
    }
  }

  /** Takes down the labs of this machine whose owner was killed before it could do so. Kept labs stay. */
  static async sweep(): Promise<void> {
    for (const name of await readdir(tmpdir())) {
      if (!name.startsWith(PREFIX)) continue;
      const dir = join(tmpdir(), name);
      const record = await readRecord(dir);
      if (record === undefined || record.kept) continue;
      const alive = (await startTime(record.owner.pid)) === record.owner.startTime;
      // Somebody else may be sweeping the same lab.
      if (!alive) await TwoDpuLab.downDir(dir).catch(() => {});
    }
  }

  /**
   * Takes down the lab of a directory, whoever has brought it up.
   * @throws Error when the directory holds no lab.
   */
  static async downDir(dir: string): Promise<void> {
    const record = await readRecord(dir);
    if (record === undefined) throw new Error(`${dir} holds no lab (no lab.json)`);
    await removeNamespaces(record.namespaces);
    await rm(dir, { recursive: true, force: true });
  }

  /** Ends every process in the lab's namespaces and removes the namespaces and the directory. */
  async down(): Promise<void> {
    for (const pod of this.#pods.values()) pod.close();
    await removeNamespaces(this.#namespaces());
    await rm(this.dir, { recursive: true, force: true });
  }

  /** Leaves the lab up when this process ends: the pods' own processes end, all else stays until `downDir`. */
  async keep(): Promise<void> {
    await this.#record(true);
    for (const pod of this.#pods.values()) pod.close();
  }

  /**
   * A pod by its name.
   * @throws Error when there is none.
   */
  pod(name: string): Pod {
    const pod = this.#pods.get(name);
    if (pod === undefined) throw new Error(`the lab has no ${name}`);
    return pod;
  }

  /** The pods of a DPU, or of all. */
  podSpecs(dpu?: DpuNumber): PodSpec[] {
    return this.#specs.filter((spec) => dpu === undefined || spec.dpu === dpu);
  }

  /** Runs ovs-vsctl against the database of a DPU. */
  vsctl(dpu: DpuNumber, ...args: string[]): Promise<string> {
    return run('ovs-vsctl', [`--db=${this.dpus[dpu - 1]?.database}`, '--timeout=10', ...args]);
  }

  /** Runs ovs-ofctl (OpenFlow 1.3) on br-int of a DPU: `ofctl(1, 'dump-flows')`; further arguments follow the bridge. */
  ofctl(dpu: DpuNumber, verb: string, ...args: string[]): Promise<string> {
    const options = ['-O', 'OpenFlow13', ...(verb.startsWith('replace-') ? ['--bundle'] : [])];
    return run('ovs-ofctl', [...options, verb, this.bridgeSocket(dpu), ...args]);
  }

  /** OpenFlow endpoint of br-int of a DPU, as `unix:PATH`. */
  bridgeSocket(dpu: DpuNumber): string {
    return `unix:${this.dpus[dpu - 1]?.rundir}/br-int.mgmt`;
  }

  /**
   * Lets all VTEPs find each other's MAC address: OVS drops the packet that makes it ask, and a probe would count it as
   * lost.
   */
  async primeUnderlay(): Promise<void> {
    const pairs = this.dpus.flatMap((from) =>
      this.dpus.filter((to) => to !== from).map((to) => primeNeighbour(from, to)),
    );
    await Promise.all(pairs);
  }

  #namespace(name: string): string {
    return `${name}-${basename(this.dir).slice(PREFIX.length)}`;
  }

  #namespaces(): string[] {
    return [
      ...this.#specs.map((spec) => this.#namespace(spec.name)),
      ...this.dpus.map(({ namespace }) => namespace),
      ...(this.dpus.length > 2 ? [this.#namespace('fabric')] : []),
    ];
  }

  async #record(kept: boolean): Promise<void> {
    const owner = { pid: process.pid, startTime: await startTime(process.pid) };
    const record: LabRecord = { namespaces: this.#namespaces(), owner, kept };
    await writeFile(join(this.dir, 'lab.json'), JSON.stringify(record));
  }

  async #build(): Promise<void> {
    const [one, two] = this.dpus;
    for (const namespace of this.#namespaces()) await run('ip', ['netns', 'add', namespace]);
    // Links are made inside the namespaces: nothing of the lab ever shows up among the machine's own interfaces.
    if (this.dpus.length > 2) await this.#buildFabric(this.#namespace('fabric'));
    else {
      await run('ip', [
        '-n',
        one.namespace,
        ...'link add p0 type veth peer name p0 netns'.split(' '),
        two.namespace,
      ]);
    }
    await Promise.all(this.dpus.map((dpu) => this.#buildDpu(dpu)));
    await this.primeUnderlay();
  }

  /** The switch that p0 of every DPU is plugged into. */
  async #buildFabric(namespace: string): Promise<void> {
    const link = (text: string): Promise<string> =>
      run('ip', ['-n', namespace, 'link', ...text.split(' ')]);
    await link('add fabric type bridge mcast_snooping 0');
    for (const { number, namespace: dpu } of this.dpus) {
      await link(`add p${number} type veth peer name p0 netns ${dpu}`);
      await link(`set p${number} master fabric mtu 9000 up`);
    }
    await link('set fabric up');
  }

  /** Starts ovsdb-server of a DPU on the database file that is there. */
  async startOvsdb(number: DpuNumber): Promise<void> {
    const { database, rundir } = this.#dpu(number);
    await this.#startDaemon(number, 'ovsdb', [
      'ovsdb-server',
      join(rundir, 'conf.db'),
      `--remote=p${database}`,
    ]);
    await this.vsctl(number, '--no-wait', 'init');
  }

  /** Starts ovs-vswitchd of a DPU. */
  async startVswitchd(number: DpuNumber): Promise<void> {
    const { database } = this.#dpu(number);
    await this.#startDaemon(number, 'vswitchd', ['ovs-vswitchd', database, '--disable-system']);
  }

  /** Makes the database file of a DPU, empty. */
  async createDatabase(number: DpuNumber): Promise<void> {
    const file = join(this.#dpu(number).rundir, 'conf.db');
    await rm(file, { force: true });
    await run('ovsdb-tool', ['create', file, SCHEMA]);
  }

  /** What CNI and operator do: bridges where they are missing, the pods' ports with their ids, br-phy's address. */
  async plug(number: DpuNumber): Promise<void> {
    const ports = this.podSpecs(number).flatMap(portArgs);
    await this.vsctl(number, ...bridgeArgs(number), ...ports);
    await this.addressUnderlay(number);
  }

  /** Gives br-phy its address: a tap device, which goes with ovs-vswitchd. */
  async addressUnderlay(number: DpuNumber): Promise<void> {
    const { namespace, vtepIp } = this.#dpu(number);
    await run('ip', ['-n', namespace, 'addr', 'replace', `${vtepIp}/24`, 'dev', 'br-phy']);
    await run('ip', ['-n', namespace, 'link', 'set', 'br-phy', 'mtu', '9000', 'up']);
  }

  #dpu(number: DpuNumber): Dpu {
    return this.dpus[number - 1] ?? this.dpus[0];
  }

  async #startDaemon(number: DpuNumber, name: string, command: readonly string[]): Promise<void> {
    const { namespace, rundir } = this.#dpu(number);
    const env = { OVS_RUNDIR: rundir, OVS_LOGDIR: rundir, OVS_DBDIR: rundir };
    const files = [
      `--unixctl=${rundir}/${name}.ctl`,
      `--pidfile=${rundir}/${name}.pid`,
      `--log-file=${rundir}/${name}.log`,
    ];
    await run('ip', ['netns', 'exec', namespace, ...command, ...files, '--detach'], { env });
  }

  async #buildDpu(dpu: Dpu): Promise<void> {
    const { namespace, number, rundir } = dpu;
    await mkdir(rundir);
    await run('ip', ['-n', namespace, 'link', 'set', 'lo', 'up']);
    await run('ip', ['-n', namespace, 'link', 'set', 'p0', 'mtu', '9000', 'up']);
    await this.createDatabase(number);
    await this.startOvsdb(number);
    await this.startVswitchd(number);
    const specs = this.podSpecs(number);
    for (const spec of specs) await this.#wirePod(spec, namespace);
    await this.plug(number);
    for (const spec of specs) this.#pods.set(spec.name, new Pod(spec, this.#namespace(spec.name)));
  }

  async #wirePod(spec: PodSpec, dpuNamespace: string): Promise<void> {
    const namespace = this.#namespace(spec.name);
    const representor = representorOf(spec);
    await run('ip', [
      '-n',
      dpuNamespace,
      'link',
      'add',
      representor,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      namespace,
    ]);
    await run('ip', ['-n', dpuNamespace, 'link', 'set', representor, 'mtu', '8950', 'up']);
    await run('ip', ['-n', namespace, 'link', 'set', 'lo', 'up']);
    await run('ip', [
      '-n',
      namespace,
      'link',
      'set',
      'eth0',
      'address',
      spec.mac,
      'mtu',
      '8950',
      'up',
    ]);
    await run('ip', ['-n', namespace, 'addr', 'add', `${spec.ip}/16`, 'dev', 'eth0']);
    if (spec.ip6 !== undefined) {
      const address = [`${spec.ip6}/64`, 'dev', 'eth0', 'nodad'];
      await run('ip', ['-n', namespace, '-6', 'addr', 'add', ...address]);
    }
    // veth leaves checksums to hardware that is not there.
    await run('ip', ['netns', 'exec', namespace, 'ethtool', '-K', 'eth0', 'tx', 'off']);
  }
}

/** The addresses of a pod. */
export function addressesOf({ ip, ip6 }: PodSpec): string[] {
  return ip6 === undefined ? [ip] : [ip, ip6];
}

/** Name of the port that stands in for a pod's VF representor. */
export function representorOf(spec: PodSpec): string {
  return spec.name.replace(/^pod/, 'rep');
}

function bridgeArgs(dpu: DpuNumber): string[] {
  return [
    ...[
      '--',
      '--may-exist',
      'add-br',
      'br-phy',
      '--',
      'set',
      'bridge',
      'br-phy',
      'datapath_type=netdev',
      'fail_mode=standalone',
    ],
    ...[
      `other-config:hwaddr=02:00:00:00:01:0${dpu}`,
      '--',
      '--may-exist',
      'add-port',
      'br-phy',
      'p0',
    ],
    ...[
      '--',
      '--may-exist',
      'add-br',
      'br-int',
      '--',
      'set',
      'bridge',
      'br-int',
      'datapath_type=netdev',
      'fail_mode=secure',
    ],
    'protocols=OpenFlow13',
  ];
}

function portArgs(spec: PodSpec): string[] {
  const port = representorOf(spec);
  return [
    ...['--', '--may-exist', 'add-port', 'br-int', port, '--', 'set', 'interface', port],
    // A colon has a meaning to ovs-vsctl, unless the value is quoted.
    `external_ids:attached-mac="${spec.mac}"`,
    `external_ids:dpu-vni=${spec.vni}`,
    `external_ids:dpu-ips="${addressesOf(spec).join()}"`,
  ];
}

async function primeNeighbour(from: Dpu, to: Dpu): Promise<void> {
  const ping = ['ping', '-n', '-q', '-c', '3', '-i', '0.1', '-W', '2', to.vtepIp];
  await run('ip', ['netns', 'exec', from.namespace, ...ping]);
}

async function removeNamespaces(namespaces: readonly string[]): Promise<void> {
  const listed = (await run('ip', ['netns', 'list'])).split('\n').map((line) => line.split(' ')[0]);
  const present = namespaces.filter((namespace) => listed.includes(namespace));
  // What runs in the lab's namespaces is the lab's: daemons, agents, pods.
  const pids = async (): Promise<number[]> => {
    const lists = await Promise.all(
      present.map((namespace) => run('ip', ['netns', 'pids', namespace])),
    );
    return lists.flatMap((list) =>
      list
        .split('\n')
        .filter((pid) => pid !== '')
        .map(Number),
    );
  };
  signalAll(await pids(), 'SIGTERM');
  const deadline = Date.now() + TERM_GRACE_MS;
  while ((await pids()).length > 0 && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  signalAll(await pids(), 'SIGKILL');
  for (const namespace of present) await run('ip', ['netns', 'del', namespace]);
}

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended by itself.
    }
  }
}

async function readRecord(dir: string): Promise<LabRecord | undefined> {
  try {
    return JSON.parse(await readFile(join(dir, 'lab.json'), 'utf8')) as LabRecord;
  } catch {
    return undefined;
  }
}

/** When a process was started, in the kernel's ticks, or '' when it is gone: tells it from a later one with its number. */
async function startTime(pid: number): Promise<string> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // proc(5): field 22. The second field is a name in parentheses that may hold spaces.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}
