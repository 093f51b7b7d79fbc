/** The client against a scripted server: old dialects, broken bytes, silence, errors, resumed monitors, locks. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { ConnectionError } from '../../src/base/error.ts';
import { OvsdbClient, type OvsdbClientOptions } from '../../src/ovsdb/client.ts';
import type { Json } from '../../src/ovsdb/json-value.ts';
import { comment } from '../../src/ovsdb/operation.ts';
import type { RowChange } from '../../src/ovsdb/table-cache.ts';
import {
  FAKE_COLUMNS,
  fakeOvsdb,
  type FakeOvsdb,
  Refusal,
  SILENCE,
  type Answer,
} from '../support/fake-ovsdb.ts';

const A = '00000000-0000-0000-0000-00000000000a';
const B = '00000000-0000-0000-0000-00000000000b';
const TXN = '00000000-0000-0000-0000-0000000000f1';
const TXN2 = '00000000-0000-0000-0000-0000000000f2';
const FAST = { minBackoffMs: 10, maxBackoffMs: 40, probeIntervalMs: 2000, connectTimeoutMs: 1000 };

function makeClient(
  t: Test,
  fake: FakeOvsdb,
  options: Partial<OvsdbClientOptions> = {},
): OvsdbClient {
  const client = new OvsdbClient({
    path: `unix:${fake.path}`,
    monitor: FAKE_COLUMNS,
    reconnect: FAST,
    ...options,
  });
  t.after(() => client.close());
  return client;
}

async function synced(client: OvsdbClient): Promise<void> {
  client.start();
  if (!client.synced) await once(client, 'synced');
}

async function disconnection(client: OvsdbClient): Promise<Error> {
  const [error] = (await once(client, 'disconnected')) as [Error];
  return error;
}

const since: Answer = () => [false, TXN, { Port: { [A]: { initial: { name: 'a' } } } }];

void t.test('the best monitor that the server knows is used', async (t) => {
  const initial2: Json = { Port: { [A]: { initial: { name: 'a' } } } };
  const initial1: Json = {
    Port: {
      [A]: { new: { name: 'a', tag: ['set', []], trunks: ['set', []], external_ids: ['map', []] } },
    },
  };
  const cases: { method: string; answers: Record<string, Answer>; update: [string, Json[]] }[] = [
    {
      method: 'monitor_cond_since',
      answers: { monitor_cond_since: since },
      update: ['update3', ['monitor', TXN2, { Port: { [A]: { modify: { name: 'z' } } } }]],
    },
    {
      method: 'monitor_cond',
      answers: { monitor_cond: () => initial2 },
      update: ['update2', ['monitor', { Port: { [A]: { modify: { name: 'z' } } } }]],
    },
    {
      method: 'monitor',
      answers: { monitor: () => initial1 },
      update: [
        'update',
        ['monitor', { Port: { [A]: { old: { name: 'a' }, new: { name: 'z', tag: 5 } } } }],
      ],
    },
  ];
  for (const { method, answers, update } of cases) {
    const fake = await fakeOvsdb(t, answers);
    const client = makeClient(t, fake);
    await synced(client);
    t.equal(client.monitorMethod, method);
    t.equal(client.cache.row('Port', A)?.get('name'), 'a', method);
    fake.connections[0]?.notify(...update);
    const [changes] = (await once(client, 'change')) as [RowChange[]];
    t.equal(changes.length, 1);
    t.equal(changes[0]?.old?.get('name'), 'a');
    t.equal(changes[0]?.new?.get('name'), 'z');
  }
});

void t.test('a server without any monitor is an error, tried again', async (t) => {
  const client = makeClient(t, await fakeOvsdb(t));
  client.start();
  t.match(await disconnection(client), { code: 'OVSDB_UNKNOWN_METHOD' });
  t.match(await disconnection(client), { code: 'OVSDB_UNKNOWN_METHOD' }, 'tried again');
});

void t.test('a column that the server does not have is named', async (t) => {
  const client = makeClient(t, await fakeOvsdb(t), { monitor: { Port: ['nope'] } });
  client.start();
  t.match(await disconnection(client), {
    code: 'OVSDB_UNKNOWN_COLUMN',
    table: 'Port',
    message: /Port.*nope/,
  });
});

void t.test('an update in the same chunk as the monitor reply is not lost', async (t) => {
  const fake = await fakeOvsdb(t, {
    monitor_cond_since: (_params, connection) => {
      const id = fake.requests.length;
      const reply = {
        id,
        result: [false, TXN, { Port: { [A]: { initial: { name: 'a' } } } }],
        error: null,
      };
      const notice = {
        method: 'update3',
        params: ['monitor', TXN2, { Port: { [A]: { modify: { name: 'z' } } } }],
        id: null,
      };
      connection.sendRaw(JSON.stringify(reply) + JSON.stringify(notice));
      return SILENCE;
    },
  });
  const client = makeClient(t, fake);
  await synced(client);
  t.equal(client.cache.row('Port', A)?.get('name'), 'z');
});

void t.test('after a reconnect the monitor resumes where it stopped', async (t) => {
  const fake = await fakeOvsdb(t, { monitor_cond_since: since });
  const client = makeClient(t, fake);
  await synced(client);
  fake.connections[0]?.notify('update3', [
    'monitor',
    TXN2,
    { Port: { [B]: { insert: { name: 'b' } } } },
  ]);
  await once(client, 'change');
  fake.answer('monitor_cond_since', () => [true, TXN, { Port: { [A]: { delete: null } } }]);
  const changed = once(client, 'change');
  fake.connections[0]?.end();
  t.match(await disconnection(client), { code: 'CONN_CLOSED' });
  t.equal(client.synced, false);
  t.equal(client.cache.rows('Port').size, 2, 'rows stay while disconnected');
  await once(client, 'synced');
  t.equal(fake.requests.at(-1)?.params[3], TXN2, 'asked from the last transaction seen');
  t.match(await changed, [[{ uuid: A, new: undefined }]]);
  t.strictSame([...client.cache.rows('Port').keys()], [B]);
});

void t.test('without resume the differences are reported', async (t) => {
  const fake = await fakeOvsdb(t, { monitor_cond_since: since });
  const client = makeClient(t, fake);
  await synced(client);
  fake.answer('monitor_cond_since', () => [
    false,
    TXN2,
    { Port: { [B]: { initial: { name: 'b' } } } },
  ]);
  const changed = once(client, 'change');
  fake.connections[0]?.end();
  const [changes] = (await changed) as [RowChange[]];
  t.strictSame(
    changes.map(({ uuid, old, new: now }) => [uuid, old !== undefined, now !== undefined]),
    [
      [B, false, true],
      [A, true, false],
    ],
  );
});

void t.test(
  'bad bytes end the connection with a typed error, and everything is read again',
  async (t) => {
    const cases: { name: string; bytes: string; code: string }[] = [
      { name: 'not JSON', bytes: 'hello', code: 'DECODE_BAD_VALUE' },
      { name: 'oversized', bytes: `["${'x'.repeat(20_000)}`, code: 'DECODE_TOO_LARGE' },
      { name: 'too deep', bytes: '['.repeat(300), code: 'DECODE_TOO_LARGE' },
      { name: 'no message', bytes: '[1]', code: 'DECODE_BAD_VALUE' },
      {
        name: 'a reply to nothing',
        bytes: '{"id":999,"result":1,"error":null}',
        code: 'DECODE_BAD_VALUE',
      },
      {
        name: 'params that are none',
        bytes: '{"method":"update3","params":1,"id":null}',
        code: 'DECODE_BAD_VALUE',
      },
      {
        name: 'an update of an unknown row',
        bytes: `{"method":"update3","params":["monitor","${TXN2}",{"Port":{"${B}":{"modify":{"name":"b"}}}}],"id":null}`,
        code: 'DECODE_BAD_VALUE',
      },
    ];
    const fake = await fakeOvsdb(t, { monitor_cond_since: since });
    const client = makeClient(t, fake, { limits: { maxMessageBytes: 10_000 } });
    await synced(client);
    for (const { name, bytes, code } of cases) {
      const again = once(client, 'synced');
      fake.connections[0]?.sendRaw(bytes);
      t.match(await disconnection(client), { code }, name);
      await again;
      t.equal(client.lastError, undefined);
    }
    t.match(fake.requests.at(-1)?.params[3], /^0{8}/, 'after a lost update nothing is resumed');
  },
);

void t.test('a truncated frame ends with its connection', async (t) => {
  const fake = await fakeOvsdb(t, { monitor_cond_since: since });
  const client = makeClient(t, fake);
  await synced(client);
  const again = once(client, 'synced');
  fake.connections[0]?.sendRaw('{"method":"update3","params":["monitor",');
  await sleep(20);
  fake.connections[0]?.end();
  t.match(await disconnection(client), { code: 'CONN_CLOSED' });
  await again;
  t.equal(client.cache.rows('Port').size, 1);
});

void t.test('a peer that falls silent is probed and given up', async (t) => {
  const fake = await fakeOvsdb(t, { monitor_cond_since: since, transact: () => SILENCE });
  const client = makeClient(t, fake, { reconnect: { ...FAST, probeIntervalMs: 40 } });
  await synced(client);
  await sleep(200);
  t.equal(client.synced, true, 'answered probes keep the connection');
  fake.answer('echo', () => SILENCE);
  const request = client.transact([comment('x')]).catch((error: unknown) => error);
  t.match(await disconnection(client), { code: 'CONN_PROBE_LOST' });
  t.match(await request, { code: 'CONN_PROBE_LOST' }, 'requests in flight end with it');
});

void t.test('a stall of our own is no silence of the server', async (t) => {
  const fake = await fakeOvsdb(t, { monitor_cond_since: since });
  const client = makeClient(t, fake, { reconnect: { ...FAST, probeIntervalMs: 50 } });
  const losses: Error[] = [];
  client.on('disconnected', (error) => losses.push(error));
  await synced(client);
  let stalls = 0;
  fake.answer('echo', (params) => {
    // The answer is in the socket before we stall for longer than the server has to answer.
    queueMicrotask(() => {
      stalls++;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 150);
    });
    return params;
  });
  while (stalls < 4) await sleep(5);
  t.strictSame(losses, []);
  t.equal(client.synced, true);
});

void t.test('a server that accepts and says nothing times out', async (t) => {
  const fake = await fakeOvsdb(t, { get_schema: () => SILENCE });
  const client = makeClient(t, fake, { reconnect: { ...FAST, connectTimeoutMs: 50 } });
  client.start();
  t.match(await disconnection(client), { code: 'CONN_TIMEOUT' });
});

void t.test('requests end with a reply, an error or a timeout', async (t) => {
  const fake = await fakeOvsdb(t, { monitor_cond_since: since });
  const client = makeClient(t, fake, { requestTimeoutMs: 50 });
  await t.rejects(
    client.transact([comment('x')]),
    { code: 'CONN_CLOSED' },
    'before the connection',
  );
  await synced(client);
  fake.answer('transact', () => [{}]);
  t.strictSame(await client.transact([comment('x')]), [{}]);
  fake.answer('transact', () => new Refusal({ error: 'unknown database' }));
  await t.rejects(client.transact([comment('x')]), { code: 'OVSDB_UNKNOWN_DATABASE' });
  fake.answer('transact', () => SILENCE);
  await t.rejects(client.transact([comment('x')]), { code: 'CONN_TIMEOUT', op: 'ovsdb.transact' });
  fake.connections[0]?.send({ id: fake.requests.length, result: [], error: null });
  await sleep(20);
  t.equal(client.connected, true, 'a reply that comes too late does no harm');
  const pending = client.transact([comment('x')]).catch((error: unknown) => error);
  await client.close();
  t.type(await pending, ConnectionError);
});

void t.test('the peer may ask for echo, and nothing else', async (t) => {
  const fake = await fakeOvsdb(t, { monitor_cond_since: since });
  const client = makeClient(t, fake);
  await synced(client);
  const replies: Json[] = [];
  fake.onReply = (reply) => replies.push(reply);
  fake.connections[0]?.send({ method: 'echo', params: ['hi'], id: 'e1' });
  fake.connections[0]?.send({ method: 'format_disk', params: [], id: 7 });
  while (replies.length < 2) await sleep(5);
  t.strictSame(replies, [
    { result: ['hi'], error: null, id: 'e1' },
    { result: null, error: { error: 'unknown method' }, id: 7 },
  ]);
  t.equal(client.connected, true);
});

void t.test('a lock is asked for on every connection, and is lost with it', async (t) => {
  const fake = await fakeOvsdb(t, { monitor_cond_since: since, lock: () => ({ locked: false }) });
  const client = makeClient(t, fake);
  const events: string[] = [];
  client.on('locked', (name) => events.push(`locked ${name}`));
  client.on('unlocked', (name) => events.push(`unlocked ${name}`));
  await synced(client);
  const lock = client.lock('dpu-agent/br-int');
  while (!fake.methods.includes('lock')) await sleep(5);
  t.equal(client.hasLock('dpu-agent/br-int'), false, 'another holds it');
  t.strictSame(fake.requests.at(-1)?.params, ['dpu_2dagent_2fbr_2dint']);
  fake.connections[0]?.notify('locked', ['dpu_2dagent_2fbr_2dint']);
  await lock;
  t.equal(client.hasLock('dpu-agent/br-int'), true);
  fake.connections[0]?.notify('stolen', ['dpu_2dagent_2fbr_2dint']);
  await once(client, 'unlocked');
  fake.answer('lock', () => ({ locked: true }));
  const again = once(client, 'locked');
  fake.connections[0]?.end();
  await again;
  await client.lock('dpu-agent/br-int');
  t.equal(fake.methods.filter((method) => method === 'lock').length, 2, 'once per connection');
  t.strictSame(events, [
    'locked dpu-agent/br-int',
    'unlocked dpu-agent/br-int',
    'locked dpu-agent/br-int',
  ]);
});

void t.test(
  'a client may be started before its server, and closed before it ever came',
  async (t) => {
    const fake = await fakeOvsdb(t, { monitor_cond_since: since }, { listen: false });
    const client = makeClient(t, fake);
    client.on('disconnected', () => t.fail('never connected'));
    client.start();
    await sleep(60);
    t.match(client.lastError, { code: 'CONN_REFUSED', details: { errno: 'ENOENT' } });
    await fake.listen();
    await once(client, 'synced');
    t.equal(client.lastError, undefined);

    const never = makeClient(t, fake, { path: `${fake.path}.not-there` });
    never.start();
    const lock = never.lock('x');
    await never.close();
    await t.rejects(lock, { code: 'CONN_CLOSED' });
  },
);

void t.test('too many requests in flight are refused', async (t) => {
  const fake = await fakeOvsdb(t, { monitor_cond_since: since, transact: () => SILENCE });
  const client = makeClient(t, fake);
  await synced(client);
  const codes = new Map<string, number>();
  const count = (error: unknown): void => {
    const code = error instanceof ConnectionError ? error.code : 'other';
    codes.set(code, (codes.get(code) ?? 0) + 1);
  };
  const requests = Array.from({ length: 1010 }, () =>
    client.transact([comment('x')]).then(count, count),
  );
  await sleep(20);
  await client.close();
  await Promise.all(requests);
  t.strictSame(
    codes,
    new Map([
      ['CONN_OVERLOAD', 10],
      ['CONN_CLOSED', 1000],
    ]),
  );
});

void t.test('an echo ends after everything that the server said before it', async (t) => {
  let clockMs = 0;
  const fake = await fakeOvsdb(t, {
    monitor_cond_since: since,
    lock: () => ({ locked: true }),
    echo: (params, connection) => {
      connection.notify('stolen', ['agent']);
      return params;
    },
  });
  const reconnect = { ...FAST, probeIntervalMs: 0 };
  const client = makeClient(t, fake, { now: () => clockMs, reconnect });
  await Promise.all([client.lock('agent'), synced(client)]);
  clockMs = 20_000;
  t.equal(client.silentMs, 20_000, 'as after a stop of the process');
  t.ok(client.hasLock('agent'), 'it has not been read yet');
  await client.echo();
  t.notOk(client.hasLock('agent'));
  t.equal(client.silentMs, 0);
});

void t.test('who waits for ovs-vswitchd is told at once that the connection is gone', async (t) => {
  const transact: Answer = () => [{ count: 1 }, { rows: [{ next_cfg: 5 }] }];
  for (const end of ['by us', 'by the server'] as const) {
    const fake = await fakeOvsdb(t, { monitor_cond_since: since, transact });
    const client = makeClient(t, fake);
    await synced(client);
    const waiting = t.rejects(client.transactAndWait([]), { code: 'CONN_CLOSED' }, end);
    while (!fake.methods.includes('transact')) await sleep(5);
    await sleep(20);
    const start = performance.now();
    if (end === 'by us') await client.close();
    else fake.connections[0]?.end();
    await waiting;
    t.ok(performance.now() - start < 2000, `${end}: it does not wait for the time-out`);
  }
});

void t.test('closing is no loss: no event tells of it', async (t) => {
  const fake = await fakeOvsdb(t, { monitor_cond_since: since, lock: () => ({ locked: true }) });
  const client = makeClient(t, fake);
  await synced(client);
  await client.lock('x');
  for (const name of ['unlocked', 'disconnected'] as const) {
    client.on(name, () => t.fail(`${name} was emitted`));
  }
  await client.close();
  await sleep(20);
  t.equal(client.hasLock('x'), false);
});
