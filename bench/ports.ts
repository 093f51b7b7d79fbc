/**
 * Workload `ports`: 1,000 VXLAN ports put into a bridge in OVSDB, until the reply. The database alone, without ovs-vswitchd:
 * what that does with the ports afterwards is the same for everybody. Libraries measure themselves, without their start.
 */
import { Buffer } from 'node:buffer';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { promisify } from 'node:util';
import { ovsSandbox, type OvsSandbox } from '../test/support/ovs-sandbox.ts';
import { OvsdbClient } from '../src/ovsdb/client.ts';
import { rowIs } from '../src/ovsdb/condition.ts';
import { JsonFramer } from '../src/ovsdb/json-framer.ts';
import type { NamedUuid } from '../src/ovsdb/notation.ts';
import { mutate, mutation, update, type Operation } from '../src/ovsdb/operation.ts';
import { encodeTransact, Transaction } from '../src/ovsdb/transaction.ts';
import { readBridge, VSWITCH_COLUMNS, type BridgeRow } from '../src/ovsdb/vswitch.ts';
import { sandboxOwner } from './bench-switch.ts';
import { InstalledPeer, installPeer, PEER } from './peer.ts';
import { sampleInTurn, timeOf, type Subject } from './sample.ts';
import { ratioTargets } from './sized-workload.ts';
import type { Absent, BenchContext, Measured, Workload } from './workload.ts';

const BRIDGE = 'br-int';
const COUNT = 1000;
const AGENT = 'dpu-agent, one transaction';
const FLOOR = 'floor: the same bytes, made before';
const CHAINED = 'ovs-vsctl, one chained call';
/** So many processes are enough to know what a thousand take. */
const PROCESSES = 100;
const PER_PORT = `ovs-vsctl, one process per port (${PROCESSES} of them, scaled)`;

/** The port of an index: the same for everybody, peers/ included. */
function portOf(index: number): { name: string; options: Record<string, string> } {
  const remote = `10.1.${Math.floor(index / 256)}.${index % 256}`;
  return { name: `vx${index}`, options: { remote_ip: remote, key: 'flow', dst_port: '4789' } };
}

function addPorts(bridge: BridgeRow): readonly Operation[] {
  const transaction = new Transaction();
  const ports: NamedUuid[] = [];
  for (let index = 0; index < COUNT; index++) {
    const { name, options } = portOf(index);
    const row = { name, type: 'vxlan', options: new Map(Object.entries(options)) };
    const device = transaction.insert('Interface', row);
    ports.push(transaction.insert('Port', { name, interfaces: [device] }));
  }
  const where = [rowIs({ uuid: bridge.uuid })];
  transaction.add(mutate('Bridge', where, [mutation('ports', 'insert', ports)]));
  return transaction.operations;
}

/** Arguments of ovs-vsctl for one port. */
function vsctlPort(index: number): string[] {
  const { name, options } = portOf(index);
  const set = Object.entries(options).map(([key, value]) => `options:${key}=${value}`);
  return ['add-port', BRIDGE, name, '--', 'set', 'Interface', name, 'type=vxlan', ...set];
}

/** Writes a request that was encoded before, and waits for the reply. */
async function exchange(path: string, request: Buffer): Promise<number> {
  const socket = connect(path);
  await once(socket, 'connect');
  const framer = new JsonFramer();
  try {
    return await timeOf(
      () =>
        new Promise<void>((resolve, reject) => {
          socket.on('error', reject);
          socket.on('data', (chunk: Buffer) => {
            if (framer.push(chunk).length > 0) resolve();
          });
          socket.write(request);
        }),
    );
  } finally {
    socket.destroy();
  }
}

async function vsctl(sandbox: OvsSandbox, ...args: string[]): Promise<void> {
  const database = `--db=unix:${sandbox.databaseSocket}`;
  await promisify(execFile)('ovs-vsctl', [database, '--no-wait', ...args]);
}

async function startClient(context: BenchContext, path: string): Promise<OvsdbClient> {
  const client = new OvsdbClient({ path, monitor: VSWITCH_COLUMNS });
  context.defer(() => client.close());
  const synced = once(client, 'synced');
  client.start();
  await synced;
  return client;
}

async function run(context: BenchContext): Promise<Measured> {
  const sandbox = await ovsSandbox(sandboxOwner(context), { databaseOnly: true });
  if (sandbox === undefined) throw new Error('no Open vSwitch');
  await vsctl(sandbox, 'add-br', BRIDGE);
  const path = sandbox.databaseSocket;
  const client = await startClient(context, path);
  const bridge = readBridge(client.cache, BRIDGE);
  if (bridge === undefined) throw new Error('the bridge is not in the cache');
  const remove = [
    update('Bridge', [rowIs({ uuid: bridge.uuid })], {
      ports: bridge.ports.map((uuid) => ({ uuid })),
    }),
  ];
  /** Whoever has put the ports there: all of them must be, and then none. */
  const emptied = (name: string, work: () => Promise<number>, count = COUNT): Subject => ({
    name,
    ...(count === COUNT ? {} : { rounds: 1 }),
    run: async () => {
      const ms = await work();
      await client.transact([]);
      const there = (readBridge(client.cache, BRIDGE)?.ports.length ?? 0) - bridge.ports.length;
      if (there !== count) throw new Error(`${name} has added ${there} ports`);
      await client.transact(remove);
      return (ms * COUNT) / count;
    },
  });
  const params = encodeTransact('Open_vSwitch', addPorts(bridge));
  const request = Buffer.from(JSON.stringify({ method: 'transact', params, id: 1 }));
  const indexes = Array.from({ length: COUNT }, (_, index) => index);
  const chained = indexes.flatMap((index) => ['--', ...vsctlPort(index)]);
  const subjects = [
    emptied(AGENT, () => timeOf(() => client.transact(addPorts(bridge)))),
    emptied(FLOOR, () => exchange(path, request)),
    emptied(CHAINED, () => timeOf(() => vsctl(sandbox, ...chained))),
    emptied(
      PER_PORT,
      () =>
        timeOf(async () => {
          for (const index of indexes.slice(0, PROCESSES)) {
            await vsctl(sandbox, ...vsctlPort(index));
          }
        }),
      PROCESSES,
    ),
  ];
  const absent: Absent[] = [];
  for (const peer of [PEER.libovsdb, PEER.ovsdbapp]) {
    const installed = await installPeer(peer, (line) => context.say(line));
    if (installed instanceof InstalledPeer) {
      const work = (): Promise<number> => installed.measure([path, BRIDGE, String(COUNT)]);
      subjects.push(emptied(`${installed.name}, one transaction`, work));
    } else absent.push(installed);
  }
  const rows = await sampleInTurn(context.quick ? 2 : 5, subjects);
  const peers = subjects.map(({ name }) => name).filter((name) => name !== AGENT && name !== FLOOR);
  return {
    comparisons: [
      { title: `${COUNT.toLocaleString('en')} ports in OVSDB`, baseline: FLOOR, rows, absent },
    ],
    targets: ratioTargets(
      `${COUNT.toLocaleString('en')} ports`,
      rows,
      peers.map((subject) => ({ subject, by: AGENT, bound: 'at least', limit: 1 })),
    ),
  };
}

/** The workload. */
export const ports: Workload = {
  id: 'ports',
  title: '1,000 VXLAN ports put into OVSDB',
  run,
};
