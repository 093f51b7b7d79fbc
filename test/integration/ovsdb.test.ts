/** The OVSDB client against a real ovsdb-server and ovs-vswitchd. */
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import {
  assertLock,
  deleteRows,
  everyRow,
  insert,
  mutate,
  mutation,
  OvsdbClient,
  readBridge,
  readInterfaces,
  readOpenVSwitch,
  readPorts,
  select,
  Transaction,
  unixctl,
  update,
  VSWITCH_COLUMNS,
  wait,
  when,
  type Operation,
  type OvsdbClientOptions,
  type OvsdbError,
  type RowChange,
} from '../../src/ovsdb/index.ts';
import { ovsSandbox, type OvsSandbox } from '../support/ovs-sandbox.ts';

const FAST = { minBackoffMs: 10, maxBackoffMs: 100 };

async function startClient(
  t: Test,
  ovs: OvsSandbox,
  options: Partial<OvsdbClientOptions> = {},
): Promise<OvsdbClient> {
  const client = new OvsdbClient({
    path: ovs.databaseSocket,
    monitor: VSWITCH_COLUMNS,
    reconnect: FAST,
    ...options,
  });
  t.after(() => client.close());
  client.start();
  await once(client, 'synced');
  return client;
}

async function until(what: string, test: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!test()) {
    if (performance.now() > deadline) throw new Error(`timed out: ${what}`);
    await sleep(5);
  }
}

function makeBridge(name: string): Transaction {
  const transaction = new Transaction();
  const port = transaction.insert('Interface', { name, type: 'internal' });
  const ports = [transaction.insert('Port', { name, interfaces: [port] })];
  const bridge = transaction.insert('Bridge', {
    name,
    datapath_type: 'netdev',
    fail_mode: 'secure',
    ports,
  });
  transaction.add(mutate('Open_vSwitch', everyRow, [mutation('bridges', 'insert', [bridge])]));
  return transaction;
}

void t.test('a bridge is made in one transaction, and ovs-vswitchd takes it', async (t) => {
  const ovs = await ovsSandbox(t);
  if (ovs === undefined) return;
  const client = await startClient(t, ovs);
  t.equal(client.monitorMethod, 'monitor_cond_since');
  t.match(readOpenVSwitch(client.cache)?.externalIds.get('sandbox-started'), /^\d+$/);

  const schema = await client.getSchema();
  t.equal(schema.name, 'Open_vSwitch');
  t.match(schema.tables.get('Interface')?.columns.get('ofport'), {
    kind: 'set',
    key: 'integer',
    max: 1,
  });

  const results = await client.transactAndWait(makeBridge('br-int').operations);
  const bridge = readBridge(client.cache, 'br-int');
  t.equal(results.length, 4, 'the two operations added for waiting are not shown');
  t.equal(bridge?.uuid, results[2]?.uuid?.uuid);
  t.equal(bridge?.failMode, 'secure');
  t.match(bridge?.datapathId, /^[0-9a-f]{16}$/);
  t.equal(await ovs.vsctl('list-br'), 'br-int');

  await ovs.vsctl(
    'add-port',
    'br-int',
    'vtep0',
    '--',
    'set',
    'Interface',
    'vtep0',
    'type=vxlan',
    'options:key=flow',
    'options:remote_ip=flow',
    'ofport_request=77',
  );
  const vtep = () =>
    [readBridge(client.cache, 'br-int')]
      .flatMap((row) => (row === undefined ? [] : readPorts(client.cache, row)))
      .flatMap((port) => readInterfaces(client.cache, port))
      .find((row) => row.name === 'vtep0');
  await until('ofport', () => vtep()?.ofport === 77);
  t.strictSame(
    vtep()?.options,
    new Map([
      ['key', 'flow'],
      ['remote_ip', 'flow'],
    ]),
  );

  await client.transactAndWait([
    update('Interface', [when('name', '==', 'vtep0')], {
      external_ids: new Map([
        ['a', '1'],
        ['b', '2'],
        ['c', '3'],
      ]),
    }),
  ]);
  await ovs.vsctl(
    'set',
    'Interface',
    'vtep0',
    'external_ids:b=9',
    '--',
    'remove',
    'Interface',
    'vtep0',
    'external_ids',
    'c',
  );
  t.strictSame(
    vtep()?.externalIds,
    new Map([
      ['a', '1'],
      ['b', '9'],
    ]),
    'map differences are followed',
  );

  await ovs.vsctl('add-port', 'br-int', 'nodev0').catch(() => undefined);
  await until('error', () =>
    [...client.cache.rows('Interface').values()].some((row) =>
      JSON.stringify(row.get('error')).includes('nodev0'),
    ),
  );
  await ovs.vsctl('del-port', 'vtep0');
  await until('port gone', () => vtep() === undefined);

  const control = join(ovs.rundir, 'vswitchd.ctl');
  t.match(await unixctl(control, 'ofproto/trace', ['br-int', 'ip']), /Datapath actions: drop/);
  await t.rejects(unixctl(control, 'no-such-command'), { code: 'OVSDB_UNIXCTL_FAILED' });
  await t.rejects(unixctl(`${control}.gone`, 'version'), { code: 'CONN_REFUSED' });

  await ovs.stopVswitchd();
  await t.rejects(client.transactAndWait([], 200), { code: 'CONN_TIMEOUT' }, 'nobody takes it');
});

void t.test('each refusal names its operation, and nothing of the transaction stays', async (t) => {
  const ovs = await ovsSandbox(t, { databaseOnly: true });
  if (ovs === undefined) return;
  const client = await startClient(t, ovs);
  await client.transact(makeBridge('br-int').operations);
  const where = [when('name', '==', 'br-int')];
  const cases: { name: string; operations: Operation[]; want: Partial<OvsdbError> }[] = [
    {
      name: 'a failed wait',
      operations: [
        wait('Bridge', where, ['fail_mode'], '==', [{ fail_mode: 'standalone' }]),
        deleteRows('Port', everyRow),
      ],
      want: { code: 'OVSDB_TIMED_OUT', operationIndex: 0, table: 'Bridge' },
    },
    {
      name: 'a bad value',
      operations: [select('Bridge', where), update('Bridge', where, { fail_mode: 'open' })],
      want: { code: 'OVSDB_CONSTRAINT_VIOLATION', operationIndex: 1 },
    },
    {
      name: 'a reference to nothing',
      operations: [
        update('Bridge', where, { ports: [{ uuid: '00000000-0000-0000-0000-00000000000a' }] }),
      ],
      want: { code: 'OVSDB_REFERENTIAL_INTEGRITY_VIOLATION', operationIndex: 1 },
    },
    {
      name: 'an unknown name',
      operations: [update('Bridge', where, { ports: [{ namedUuid: 'nobody' }] })],
      want: { code: 'OVSDB_REFERENTIAL_INTEGRITY_VIOLATION' },
    },
    {
      name: 'a lock that is not ours',
      operations: [assertLock('dpu-agent/br-int')],
      want: { code: 'OVSDB_NOT_OWNER', operationIndex: 0 },
    },
    {
      name: 'an unknown table',
      operations: [insert('Bridges', {})],
      want: { operationIndex: 0, table: 'Bridges' },
    },
  ];
  for (const { name, operations, want } of cases) {
    const error: unknown = await client.transact(operations).catch((thrown: unknown) => thrown);
    t.match(error, want, name);
  }
  const [found] = await client.transact([select('Bridge', everyRow, ['name', 'fail_mode'])]);
  t.strictSame(found?.rows, [
    new Map([
      ['name', 'br-int'],
      ['fail_mode', 'secure'],
    ]),
  ]);
  t.equal(await ovs.vsctl('list-ports', 'br-int'), '');
  const held = await client.transact([
    wait('Bridge', where, ['fail_mode'], '==', [{ fail_mode: 'secure' }]),
    mutate('Bridge', where, [mutation('protocols', 'insert', ['OpenFlow13'])]),
  ]);
  t.strictSame(held, [{}, { count: 1 }]);
  await t.rejects(startWrongDatabase(t, ovs), { code: 'OVSDB_UNKNOWN_DATABASE' });
});

async function startWrongDatabase(t: Test, ovs: OvsSandbox): Promise<void> {
  const client = new OvsdbClient({ path: ovs.databaseSocket, database: 'nope', monitor: {} });
  t.after(() => client.close());
  client.start();
  const [error] = (await once(client, 'disconnected')) as [Error];
  throw error;
}

void t.test('a lock goes from one client to the next', async (t) => {
  const ovs = await ovsSandbox(t, { databaseOnly: true });
  if (ovs === undefined) return;
  const [first, second] = [await startClient(t, ovs), await startClient(t, ovs)];
  const name = 'dpu-agent/br-int';
  await first.lock(name);
  const waiting = second.lock(name);
  await second.getSchema();
  t.equal(second.hasLock(name), false);
  await first.transact([assertLock(name)]);
  await t.rejects(second.transact([assertLock(name)]), {
    code: 'OVSDB_NOT_OWNER',
    retryable: true,
  });
  await first.close();
  await waiting;
  t.equal(second.hasLock(name), true);
  await second.transact([assertLock(name)]);
  const lost = once(second, 'unlocked');
  await ovs.restartOvsdb();
  t.strictSame(await lost, [name]);
  if (!second.hasLock(name)) await once(second, 'locked');
  await second.transact([assertLock(name)]);
});

void t.test('what happened while ovsdb-server was away is reported', async (t) => {
  const ovs = await ovsSandbox(t);
  if (ovs === undefined) return;
  const client = await startClient(t, ovs);
  await client.transactAndWait(makeBridge('br-a').operations);
  await client.transactAndWait(makeBridge('br-b').operations);
  const [goes, stays] = [readBridge(client.cache, 'br-a'), readBridge(client.cache, 'br-b')];
  if (goes === undefined || stays === undefined) throw new Error('no bridges');
  const seen: RowChange[] = [];
  client.on('change', (changes) => seen.push(...changes));

  const down = once(client, 'disconnected');
  await ovs.stopOvsdb();
  t.match(await down, [{ code: 'CONN_CLOSED' }]);
  t.equal(client.synced, false);
  await t.rejects(client.transact([]), { code: 'CONN_CLOSED' });
  t.equal(client.cache.rows('Bridge').size, 2, 'rows stay');
  // The file is changed while no server runs: no update can ever tell of it.
  const offline = [
    ...makeBridge('br-c').operations,
    mutate('Open_vSwitch', everyRow, [mutation('bridges', 'delete', [{ uuid: goes.uuid }])]),
  ];
  const request = JSON.stringify(['Open_vSwitch', ...offline]);
  t.notMatch(await ovs.run('ovsdb-tool', 'transact', join(ovs.dir, 'conf.db'), request), /error/);
  const back = once(client, 'synced');
  await ovs.startOvsdb();
  await back;
  t.equal(readBridge(client.cache, 'br-a'), undefined);
  t.equal(readBridge(client.cache, 'br-b')?.uuid, stays.uuid);
  t.ok(readBridge(client.cache, 'br-c'));
  const bridges = seen.filter((change) => change.table === 'Bridge');
  t.match(
    bridges.find((change) => change.uuid === goes.uuid),
    { new: undefined },
    'the deletion is an event',
  );
  t.ok(bridges.some((change) => change.old === undefined && change.new?.get('name') === 'br-c'));
  await client.transactAndWait([]);
  t.ok(readBridge(client.cache, 'br-c')?.datapathId, 'and updates go on');
});

void t.test('a socket that appears late is found', async (t) => {
  const ovs = await ovsSandbox(t, { databaseOnly: true });
  if (ovs === undefined) return;
  await ovs.stopOvsdb();
  const client = new OvsdbClient({
    path: ovs.databaseSocket,
    monitor: VSWITCH_COLUMNS,
    reconnect: FAST,
  });
  t.after(() => client.close());
  client.start();
  await until('a failed attempt', () => client.lastError !== undefined);
  t.match(client.lastError, { code: 'CONN_REFUSED' });
  const ready = once(client, 'synced');
  await ovs.startOvsdb();
  await ready;
  t.ok(readOpenVSwitch(client.cache));
});

void t.test('10,000 rows are mirrored without a long pause', async (t) => {
  const ovs = await ovsSandbox(t, { databaseOnly: true });
  if (ovs === undefined) return;
  const writer = await startClient(t, ovs);
  const transaction = new Transaction();
  const ports = Array.from({ length: 5000 }, (_, index) => {
    const name = `vp${index}`;
    const row = {
      name,
      type: 'internal',
      external_ids: new Map([['attached-mac', '02:00:00:00:00:01']]),
    };
    return transaction.insert('Port', { name, interfaces: [transaction.insert('Interface', row)] });
  });
  const bridge = transaction.insert('Bridge', { name: 'br-int', ports });
  transaction.add(mutate('Open_vSwitch', everyRow, [mutation('bridges', 'insert', [bridge])]));
  const written = once(writer, 'change');
  await writer.transact(transaction.operations);
  await written;

  let longestMs = 0;
  let last = performance.now();
  const ticker = setInterval(() => {
    longestMs = Math.max(longestMs, performance.now() - last);
    last = performance.now();
  }, 1);
  const started = performance.now();
  const reader = await startClient(t, ovs);
  const totalMs = performance.now() - started;
  // The last pause has had no tick yet.
  longestMs = Math.max(longestMs, performance.now() - last);
  clearInterval(ticker);
  t.equal(reader.cache.rows('Port').size + reader.cache.rows('Interface').size, 10_000);
  t.comment(`10,000 rows: ${totalMs.toFixed(0)} ms, longest pause ${longestMs.toFixed(0)} ms`);

  const changed = once(reader, 'change');
  await writer.transact([update('Interface', [when('name', '==', 'vp7')], { mtu_request: 1400 })]);
  const [changes] = (await changed) as [RowChange[]];
  t.strictSame(
    changes.map((change) => change.new?.get('mtu_request')),
    [[1400]],
  );
});
