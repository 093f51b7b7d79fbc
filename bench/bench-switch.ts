/**
 * The switch of a workload: a private Open vSwitch with the dummy datapath (no packets, no devices, no root), and those who
 * talk to it. All speak OpenFlow 1.3 over the same management socket.
 */
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ovsSandbox, type OvsSandbox } from '../test/support/ovs-sandbox.ts';
import type { Change } from '../src/agent/flow/diff.ts';
import { OpenFlowConnection } from '../src/openflow/client.ts';
import type { EncodedFlow } from '../src/openflow/flow.ts';
import { formatFlow } from '../src/openflow/format.ts';
import { RawSwitch } from './raw-switch.ts';
import { timeOf } from './sample.ts';
import type { BenchContext } from './workload.ts';

const BRIDGE = 'br-int';
const OFCTL = 'ovs-ofctl';
/** Open vSwitch frees removed flows after it has answered; that must not run into the next subject's time. */
const SETTLE_MS = 150;

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
    const owner = {
      after: (undo: () => Promise<void>) => context.defer(undo),
      skip: (reason: string) => {
        throw new Error(reason);
      },
    };
    const sandbox = await ovsSandbox(owner, { dummy: true });
    if (sandbox === undefined) throw new Error('no Open vSwitch');
    const bridge = ['fail_mode=secure', 'datapath_type=netdev', 'protocols=OpenFlow13'];
    await sandbox.vsctl('add-br', BRIDGE, '--', 'set', 'bridge', BRIDGE, ...bridge);
    return new BenchSwitch(sandbox, context);
  }

  /** A connection of the product. */
  async connect(): Promise<OpenFlowConnection> {
    const connection = await OpenFlowConnection.connect({ path: this.#path });
    this.#context.defer(async () => connection.close());
    return connection;
  }

  /** A connection that knows next to nothing: the floor. */
  connectRaw(): Promise<RawSwitch> {
    return RawSwitch.connect(this.#path);
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

  /** Writes flows as text, one per line, for `ovs-ofctl`. */
  async flowFile(name: string, flows: Iterable<EncodedFlow>): Promise<string> {
    const file = join(this.#sandbox.dir, name);
    await writeFile(file, `${Array.from(flows, formatFlow).join('\n')}\n`);
    return file;
  }
}

/** The messages of changes, in order. */
export function messagesOf(changes: readonly Change[]): Uint8Array[] {
  return changes.map(({ message }) => ('message' in message ? message.message : message));
}
