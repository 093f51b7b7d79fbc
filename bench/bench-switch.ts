/**
 * The switch of a workload: a private Open vSwitch with the dummy datapath (no packets, no devices, no root), and those who
 * talk to it. All speak OpenFlow 1.3 over the same management socket.
 */
import type { Buffer } from 'node:buffer';
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ovsSandbox, type OvsSandbox, type SandboxOwner } from '../test/support/ovs-sandbox.ts';
import type { Change } from '../src/agent/flow/diff.ts';
import { OpenFlowConnection } from '../src/openflow/client.ts';
import type { EncodedFlow } from '../src/openflow/flow.ts';
import { formatFlow } from '../src/openflow/format.ts';
import type { InstalledPeer } from './peer.ts';
import { encodeWholeBundle, RawSwitch } from './raw-switch.ts';
import { timeOf } from './sample.ts';
import type { BenchContext } from './workload.ts';

const BRIDGE = 'br-int';
const OFCTL = 'ovs-ofctl';
/** Open vSwitch frees removed flows after it has answered; that must not run into the next subject's time. */
const SETTLE_MS = 150;

/** Has a sandbox end with the workload; one that cannot be made is an error. */
export function sandboxOwner(context: BenchContext): SandboxOwner {
  return {
    after: (undo) => context.defer(undo),
    skip: (reason: string) => {
      throw new Error(reason);
    },
  };
}

/** A switch with one bridge. */
export class BenchSwitch {
  readonly #sandbox: OvsSandbox;
  readonly #path: string;
  readonly #context: BenchContext;

  private constructor(sandbox: OvsSandbox, context: BenchContext) {
    this.#sandbox = sandbox;
    this.#path = join(sandbox.rundir, `${BRIDGE}.mgmt`);
    this.#context = context;
  }

  /**
   * Starts a switch that ends with the workload.
   * @throws Error when Open vSwitch is not installed.
   */
  static async start(context: BenchContext): Promise<BenchSwitch> {
    const sandbox = await ovsSandbox(sandboxOwner(context), { dummy: true });
    if (sandbox === undefined) throw new Error('no Open vSwitch');
    const bridge = ['fail_mode=secure', 'datapath_type=netdev', 'protocols=OpenFlow13'];
    await sandbox.vsctl('add-br', BRIDGE, '--', 'set', 'bridge', BRIDGE, ...bridge);
    const made = new BenchSwitch(sandbox, context);
    await made.#setController(made.#nobody);
    return made;
  }

  /** A connection of the product. */
  async connect(): Promise<OpenFlowConnection> {
    const connection = await OpenFlowConnection.connect({ path: this.#path });
    this.#context.defer(async () => connection.close());
    return connection;
  }

  /** A connection that knows next to nothing: the floor. */
  async connectRaw(): Promise<RawSwitch> {
    const raw = await RawSwitch.connect(this.#path);
    this.#context.defer(async () => raw.close());
    return raw;
  }

  /** The switch's socket. */
  get path(): string {
    return this.#path;
  }

  /** Lets a peer that listens for switches measure itself as the switch's controller. */
  async measureController(peer: InstalledPeer, args: readonly string[]): Promise<number> {
    let connected: Promise<void> | undefined;
    try {
      // The first thing that it prints is its port.
      return await peer.measure(args, (port) => {
        connected ??= this.#setController(`tcp:127.0.0.1:${port}`);
      });
    } finally {
      await connected;
      await this.#setController(this.#nobody);
    }
  }

  /**
   * A controller that is never there. Open vSwitch throws all flows away when a bridge gets its first controller or loses
   * its last one: this one sees to it that there always is one.
   */
  get #nobody(): string {
    return `unix:${join(this.#sandbox.rundir, 'nobody.controller')}`;
  }

  async #setController(target: string): Promise<void> {
    await this.#sandbox.vsctl('set-controller', BRIDGE, target);
  }

  /** Milliseconds of one `ovs-ofctl --no-names -O OpenFlow13 ...args` from its start to its end; its output goes nowhere. */
  timeOfctl(options: readonly string[], verb: string, ...args: string[]): Promise<number> {
    const command = [
      ...['--no-names', '-O', 'OpenFlow13', ...options],
      ...[verb, `unix:${this.#path}`, ...args],
    ];
    return timeOf(
      () =>
        new Promise<void>((resolve, reject) => {
          const child = spawn(OFCTL, command, { stdio: ['ignore', 'ignore', 'pipe'] });
          let said = '';
          child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
          child.on('error', reject);
          child.on('close', (status) =>
            status === 0 ? resolve() : reject(new Error(`ovs-ofctl ${verb}: ${said}`)),
          );
        }),
    );
  }

  /** Removes all flows and groups. */
  async empty(): Promise<void> {
    await this.timeOfctl([], 'del-flows');
    await this.timeOfctl([], 'del-groups');
    await this.settle();
  }

  /** Waits until the switch has done what it does after an answer. */
  settle(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  }

  /** Writes flows one per line, as text for `ovs-ofctl` or as bytes in hexadecimal. */
  async flowFile(
    name: string,
    flows: Iterable<EncodedFlow>,
    format: (flow: EncodedFlow) => string = formatFlow,
  ): Promise<string> {
    const file = join(this.#sandbox.dir, name);
    await writeFile(file, `${Array.from(flows, format).join('\n')}\n`);
    return file;
  }
}

/** Changes as one bundle, ready to be written. */
export function bundleOf(changes: readonly Change[]): Buffer {
  return encodeWholeBundle(
    changes.map(({ message }) => ('message' in message ? message.message : message)),
  );
}
