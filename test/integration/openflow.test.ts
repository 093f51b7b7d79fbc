/** The OpenFlow connection against a real ovs-vswitchd: handshake, ports, bundles, dumps, errors, restarts. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { OpenFlowConnection, type OpenFlowOptions } from '../../src/openflow/client.ts';
import { decodeError } from '../../src/openflow/error-msg.ts';
import { encodeFlow } from '../../src/openflow/flow.ts';
import { decodeFlowStats, encodeFlowStatsRequest } from '../../src/openflow/flow-stats.ts';
import { encodeMessage } from '../../src/openflow/header.ts';
import { NX_VENDOR_ID, OFPMP, OFPT, ONF_VENDOR_ID } from '../../src/openflow/ofp13.ts';
import type { PortStatus } from '../../src/openflow/port.ts';
import { OpenFlowSession } from '../../src/openflow/session.ts';
import { ovsSandbox, type OvsSandbox } from '../support/ovs-sandbox.ts';

const BRIDGE = 'br-int';
const ADD_BRIDGE = ['add-br', BRIDGE, '--', 'set', 'Bridge', BRIDGE, 'datapath_type=dummy'];
const MISSING_GROUP = 4711;
const socketOf = (ovs: OvsSandbox, bridge = BRIDGE): string => join(ovs.rundir, `${bridge}.mgmt`);

async function sandboxWithBridge(t: Test): Promise<OvsSandbox | undefined> {
  const ovs = await ovsSandbox(t, { dummy: true });
  await ovs?.vsctl(...ADD_BRIDGE, 'fail_mode=secure');
  return ovs;
}

async function connected(
  t: Test,
  ovs: OvsSandbox,
  options: Partial<OpenFlowOptions> = {},
): Promise<OpenFlowConnection> {
  const connection = await OpenFlowConnection.connect({ path: socketOf(ovs), ...options });
  t.after(() => connection.close());
  return connection;
}

async function dumpSize(ovs: OvsSandbox, filter = ''): Promise<number> {
  const text = await ovs.ofctl('-O', 'OpenFlow13', 'dump-flows', BRIDGE, filter);
  return text.split('\n').filter((line) => line.includes('actions=')).length;
}

/** Flow number i: a match of its own in table 0. */
function flow(i: number): Uint8Array {
  return encodeFlow({
    tableId: 0,
    priority: 100,
    cookie: BigInt(i),
    match: [{ field: 'metadata', value: BigInt(i) }],
    instructions: { gotoTable: 7 },
  }).message;
}

/** A flow_mod by hand: for what our encoder refuses. */
function rawFlow(priority: number, oxm: Buffer, instructions: Buffer): Uint8Array {
  const body = Buffer.alloc(40 + ((4 + oxm.length + 7) & ~7) + instructions.length);
  body.writeUInt16BE(priority, 22);
  body.fill(0xff, 24, 36);
  body.writeUInt16BE(1, 40);
  body.writeUInt16BE(4 + oxm.length, 42);
  body.set(oxm, 44);
  body.set(instructions, body.length - instructions.length);
  return encodeMessage(OFPT.FLOW_MOD, 0, body);
}

/** `tcp_dst=80` without `ip_proto`. */
const withoutPrerequisite = rawFlow(7, Buffer.from('80001c020050', 'hex'), Buffer.alloc(0));
/** `actions=group:4711`, which does not exist. */
const toMissingGroup = rawFlow(
  8,
  Buffer.alloc(0),
  Buffer.from(`0004001000000000${'00160008'}${MISSING_GROUP.toString(16).padStart(8, '0')}`, 'hex'),
);

t.test('the handshake is in force in the switch', async (t) => {
  const ovs = await sandboxWithBridge(t);
  if (ovs === undefined) return;
  t.match(await ovs.ofctl('get-frags', socketOf(ovs)), 'normal');
  const connection = await connected(t, ovs, { controllerId: 0x6470 });
  t.match(await ovs.ofctl('get-frags', socketOf(ovs)), 'nx-match');
  t.strictSame(await connection.switchConfig(), { flags: 3, missSendLen: 128 });
  const dpid = await ovs.vsctl('get', 'Bridge', BRIDGE, 'datapath_id');
  t.equal(connection.features.datapathId.toString(16).padStart(16, '0'), dpid.replaceAll('"', ''));
  t.equal(connection.features.nTables, 254);
  const masks = await connection.request(OFPT.GET_ASYNC_REQUEST);
  t.strictSame(
    [0, 4, 8, 12, 16, 20].map((at) => masks.readUInt32BE(at)),
    [0b011, 0, 0b111, 0b111, 0, 0],
  );
  await connection.echo();

  // Any other client can take the mode away; the next connection sets it again.
  await ovs.ofctl('set-frags', socketOf(ovs), 'normal');
  t.strictSame(await connection.switchConfig(), { flags: 0, missSendLen: 128 });
  await connected(t, ovs);
  t.match(await ovs.ofctl('get-frags', socketOf(ovs)), 'nx-match');
});

t.test('packet-ins for our controller id come to us', async (t) => {
  const ovs = await sandboxWithBridge(t);
  if (ovs === undefined) return;
  await ovs.vsctl('add-port', BRIDGE, 'p1', '--', 'set', 'Interface', 'p1', 'type=dummy');
  const ours = await connected(t, ovs, { controllerId: 0x6470 });
  const other = await connected(t, ovs, { controllerId: 7 });
  let elsewhere = 0;
  other.on('packetIn', () => elsewhere++);
  await ovs.ofctl('add-flow', socketOf(ovs), `in_port=1,actions=controller(id=${0x6470})`);
  const packetIn = once(ours, 'packetIn');
  await ovs.run(
    'ovs-appctl',
    '-t',
    join(ovs.rundir, 'vswitchd.ctl'),
    'netdev-dummy/receive',
    'p1',
    'ff'.repeat(12) + '0800' + '00'.repeat(46),
  );
  const [message] = (await packetIn) as [Buffer];
  t.equal(message.readUInt8(1), OFPT.PACKET_IN);
  await other.barrier();
  t.equal(elsewhere, 0);
});

t.test('ports are described, and their changes are events', async (t) => {
  const ovs = await sandboxWithBridge(t);
  if (ovs === undefined) return;
  const connection = await connected(t, ovs);
  const seen: PortStatus[] = [];
  connection.on('portStatus', (status) => seen.push(status));
  const names = Array.from({ length: 1200 }, (_, i) => `p${i}`);
  const added = names.flatMap((name) => [
    ...['--', 'add-port', BRIDGE, name],
    ...['--', 'set', 'Interface', name, 'type=dummy'],
  ]);
  await ovs.vsctl(...added.slice(1));
  while (seen.filter(({ reason }) => reason === 'add').length < names.length) await sleep(5);
  t.match(
    seen.find(({ port }) => port.name === 'p0'),
    {
      reason: 'add',
      port: { name: 'p0', hwAddr: /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/ },
    },
  );
  const described = await connection.portDescriptions();
  t.strictSame(
    described.map(({ name }) => name).sort(),
    [BRIDGE, ...names].sort(),
    '1,201 ports in more than one part',
  );
  const p5 = await ovs.vsctl('get', 'Interface', 'p5', 'ofport');
  t.equal(described.find(({ name }) => name === 'p5')?.portNo, Number(p5));
  t.equal(described.find(({ name }) => name === BRIDGE)?.portNo, 0xfffffffe);
  await ovs.vsctl('del-port', BRIDGE, 'p0');
  while (!seen.some(({ reason }) => reason === 'delete')) await sleep(5);
  t.match(seen.at(-1), { reason: 'delete', port: { name: 'p0' } });
});

t.test('bundles: all or nothing, with the refused message named', async (t) => {
  const ovs = await sandboxWithBridge(t);
  if (ovs === undefined) return;
  const connection = await connected(t, ovs);

  const thousand = Array.from({ length: 1000 }, (_, i) => flow(i));
  let began = performance.now();
  t.strictSame(await connection.commitBundle(thousand), { committed: true });
  t.comment(`1,000 flows until the commit reply: ${(performance.now() - began).toFixed(1)} ms`);
  t.equal(await dumpSize(ovs), 1000);
  t.equal(await dumpSize(ovs, 'metadata=777'), 1);

  const hundred = Array.from({ length: 100 }, (_, i) => flow(10_000 + i));
  for (const { name, bad, code, type } of [
    { name: 'at ADD', bad: withoutPrerequisite, code: 'OFP_OFPBMC_BAD_PREREQ', type: 4 },
    { name: 'at COMMIT', bad: toMissingGroup, code: 'OFP_OFPBAC_BAD_OUT_GROUP', type: 2 },
  ]) {
    const outcome = await connection.commitBundle(hundred.with(42, bad));
    t.match(
      outcome,
      {
        committed: false,
        refused: [{ index: 42, error: { code, errorType: type, retryable: false } }],
      },
      name,
    );
    if (!outcome.committed) {
      t.equal(outcome.refused.length, 1);
      // The bundle's ADD or the flow_mod itself: the priority tells which flow it was.
      const quoted = Buffer.from(outcome.refused[0]?.error.offending ?? []).toString('hex');
      t.ok(quoted.includes(Buffer.from(bad.subarray(24, 36)).toString('hex')), quoted);
    }
    t.equal(await dumpSize(ovs), 1000, 'none of the others is applied');
  }

  const both = hundred.with(3, withoutPrerequisite).with(90, withoutPrerequisite);
  const outcome = await connection.commitBundle(both);
  t.strictSame(outcome.committed ? [] : outcome.refused.map(({ index }) => index), [3, 90]);
  t.match(await connection.commitBundle([encodeMessage(OFPT.ECHO_REQUEST, 0)]), {
    refused: [{ index: 0, error: { code: 'OFP_OFPBFC_MSG_UNSUP' } }],
  });
  t.strictSame(await connection.commitBundle(hundred), { committed: true }, 'the next one goes');
  t.equal(await dumpSize(ovs), 1100);

  const single = [flow(5)];
  for (let i = 0; i < 200; i++) await connection.commitBundle(single);
  const times: number[] = [];
  for (let i = 0; i < 300; i++) {
    began = performance.now();
    await connection.commitBundle(single);
    times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  t.comment(
    `bundle of one flow: p50 ${times[150]?.toFixed(3)} ms, p99 ${times[297]?.toFixed(3)} ms`,
  );
});

t.test('a large bundle, and a dump of many parts', async (t) => {
  const ovs = await sandboxWithBridge(t);
  if (ovs === undefined) return;
  const connection = await connected(t, ovs);
  const flows = Array.from({ length: 50_000 }, (_, i) => flow(i));
  let began = performance.now();
  t.strictSame(await connection.commitBundle(flows), { committed: true });
  t.comment(`50,000 flows until the commit reply: ${Math.round(performance.now() - began)} ms`);

  began = performance.now();
  const cookies = new Set<number>();
  let parts = 0;
  await connection.multipart(OFPMP.FLOW, encodeFlowStatsRequest({}), (body) => {
    parts++;
    decodeFlowStats(body, (stats) => cookies.add(Number(stats.cookie)));
  });
  t.comment(`dumped in ${parts} parts: ${Math.round(performance.now() - began)} ms`);
  t.equal(cookies.size, 50_000);
  t.ok(parts > 50);
});

t.test('a bridge that speaks only OpenFlow 1.0 is refused with the remedy', async (t) => {
  const ovs = await sandboxWithBridge(t);
  if (ovs === undefined) return;
  await ovs.vsctl('set', 'Bridge', BRIDGE, 'protocols=OpenFlow10');
  await t.rejects(OpenFlowConnection.connect({ path: socketOf(ovs) }), {
    code: 'CONN_VERSION',
    message: /speaks OpenFlow 1\.0, we speak 1\.3 only: set protocols=OpenFlow13/,
  });
  await ovs.vsctl('set', 'Bridge', BRIDGE, 'protocols=OpenFlow13');
  await connected(t, ovs);
});

t.test('a session follows the bridge through deletion and restarts', async (t) => {
  const ovs = await ovsSandbox(t, { dummy: true });
  if (ovs === undefined) return;
  const reconnect = { minBackoffMs: 10, maxBackoffMs: 100 };
  const session = new OpenFlowSession({ path: socketOf(ovs), controllerId: 0x6470, reconnect });
  t.after(() => session.close());
  const downs: string[] = [];
  session.on('down', (error) => downs.push(error.code));
  session.start();
  while (downs.length < 2) await sleep(5);
  t.match(downs, ['CONN_REFUSED', 'CONN_REFUSED']);
  for (const again of [
    () => ovs.vsctl(...ADD_BRIDGE),
    () => ovs.restartVswitchd(),
    async () => {
      await ovs.vsctl('del-br', BRIDGE);
      await ovs.vsctl(...ADD_BRIDGE);
    },
  ]) {
    const up = once(session, 'up');
    await again();
    const [connection] = (await up) as [OpenFlowConnection];
    t.strictSame(await connection.switchConfig(), { flags: 3, missSendLen: 128 });
    t.strictSame(await connection.commitBundle([flow(1)]), { committed: true });
  }
  t.ok(downs.includes('CONN_CLOSED'));
});

t.test('our names of errors are those of ovs-ofctl', async (t) => {
  const ovs = await ovsSandbox(t, { dummy: true, databaseOnly: true });
  if (ovs === undefined) return;
  const codes = [
    ...Array.from({ length: 16 * 20 }, (_, i) => [Math.floor(i / 20), i % 20, undefined] as const),
    ...Array.from({ length: 20 }, (_, i) => [0xffff, 2298 + i, ONF_VENDOR_ID] as const),
    ...[2599, 2600, 4250, 4251, ...Array.from({ length: 8 }, (_, i) => 4442 + i)].map(
      (code) => [0xffff, code, ONF_VENDOR_ID] as const,
    ),
    // Up to the last one that OVS 3.1 has.
    ...Array.from({ length: 45 }, (_, i) => [0xffff, i, NX_VENDOR_ID] as const),
  ];
  const messages = codes.map(([type, code, experimenter]) => {
    const body = Buffer.alloc(experimenter === undefined ? 4 : 8);
    body.writeUInt16BE(type, 0);
    body.writeUInt16BE(code, 2);
    if (experimenter !== undefined) body.writeUInt32BE(experimenter, 4);
    return encodeMessage(OFPT.ERROR, 1, body);
  });
  const file = join(ovs.dir, 'errors.bin');
  await writeFile(file, Buffer.concat(messages));
  const lines = (await ovs.ofctl('ofp-parse', file))
    .split('\n')
    .filter((line) => line.startsWith('OFPT_ERROR'));
  t.equal(lines.length, messages.length);
  let named = 0;
  messages.forEach((message, i) => {
    const theirs = /: (\w+)$/.exec(lines[i] ?? '')?.[1] ?? '';
    const ours = decodeError(message, 'test').code.replace('OFP_', '');
    if (/^(OFP|NX)/.test(theirs)) {
      named++;
      t.equal(ours, theirs);
    } else {
      t.match(ours, /^ERROR_/, `${codes[i]?.join('/')}: ${lines[i]}`);
    }
  });
  t.comment(`${named} names compared`);
  t.ok(named > 100);
});
