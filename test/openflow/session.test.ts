/** The session: it comes up whenever a switch is there, and reports instead of throwing when none is. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { BaseError } from '../../src/base/error.ts';
import type { OpenFlowConnection } from '../../src/openflow/client.ts';
import { encodeMessage, messageType, messageXid } from '../../src/openflow/header.ts';
import { OFPT } from '../../src/openflow/ofp13.ts';
import { OpenFlowSession, type OpenFlowSessionOptions } from '../../src/openflow/session.ts';
import { fakeSwitch, helloOf, type FakeScript, type FakeSwitch } from '../support/fake-switch.ts';

const FAST = { minBackoffMs: 10, maxBackoffMs: 40, probeIntervalMs: 0 };

async function session(
  t: Test,
  script: FakeScript = {},
  options: Partial<OpenFlowSessionOptions> & { listen?: boolean } = {},
): Promise<{ fake: FakeSwitch; session: OpenFlowSession; downs: string[] }> {
  const { listen = true, ...rest } = options;
  const fake = await fakeSwitch(t, script, { listen });
  const session = new OpenFlowSession({ path: fake.path, reconnect: FAST, ...rest });
  const downs: string[] = [];
  session.on('down', (error) => downs.push(error.code));
  t.after(() => session.close());
  return { fake, session, downs };
}

const up = async (session: OpenFlowSession): Promise<OpenFlowConnection> => {
  const [connection] = (await once(session, 'up')) as [OpenFlowConnection];
  return connection;
};

t.test('a socket that is absent, appears late and vanishes', async (t) => {
  const { fake, session: openflow, downs } = await session(t, {}, { listen: false });
  openflow.start();
  t.equal(openflow.current, undefined);
  while (downs.length < 3) await sleep(5);
  t.ok(downs.every((code) => code === 'CONN_REFUSED'));
  await fake.listen();
  const connection = await up(openflow);
  t.equal(openflow.current, connection);
  await connection.barrier();
  const down = once(openflow, 'down');
  await fake.close();
  t.match(await down, [{ code: 'CONN_CLOSED' }]);
  t.equal(openflow.current, undefined);
  await once(openflow, 'down');
  await fake.listen();
  t.not(await up(openflow), connection);
});

t.test('waits grow with each failure', async (t) => {
  const reconnect = { minBackoffMs: 20, maxBackoffMs: 80, random: () => 1 };
  const { session: openflow } = await session(t, {}, { listen: false, reconnect });
  const at: number[] = [];
  openflow.on('down', () => at.push(performance.now()));
  openflow.start();
  while (at.length < 5) await sleep(5);
  const waits = at.slice(1).map((time, i) => time - (at[i] ?? 0));
  [20, 40, 80, 80].forEach((want, i) => t.ok((waits[i] ?? 0) > want - 3, `${waits[i]} >= ${want}`));
});

t.test('the clock that is given decides, to the millisecond', async (t) => {
  let clock = 1000;
  const reconnect = { minBackoffMs: 20, maxBackoffMs: 80, random: () => 1 };
  const { session: openflow, downs } = await session(
    t,
    {},
    { listen: false, reconnect, now: () => clock },
  );
  openflow.start();
  for (const [failures, waitMs] of [20, 40, 80, 80].entries()) {
    while (downs.length === failures) await sleep(1);
    clock += waitMs - 1;
    // Longer than the wait in real time: a session that trusted its timer would try again.
    await sleep(waitMs + 30);
    t.equal(downs.length, failures + 1, `no attempt within ${waitMs - 1} ms`);
    clock += 1;
  }
  while (downs.length < 5) await sleep(1);
});

t.test(
  'a switch that speaks another version is tried again, and taken when it has learned',
  async (t) => {
    const { fake, session: openflow, downs } = await session(t, { hello: helloOf(1) });
    openflow.start();
    while (downs.length < 2) await sleep(5);
    t.ok(downs.every((code) => code === 'CONN_VERSION'));
    fake.script.hello = undefined;
    await up(openflow);
  },
);

t.test('a silent switch is probed, then given up', async (t) => {
  let silent = false;
  const { fake, session: openflow } = await session(
    t,
    { onMessage: () => silent },
    { reconnect: { ...FAST, probeIntervalMs: 50 } },
  );
  openflow.start();
  const connection = await up(openflow);
  const echoes = (): number => fake.types.filter((type) => type === OFPT.ECHO_REQUEST).length;
  while (echoes() < 2) await sleep(5);
  t.equal(openflow.current, connection, 'answered probes keep it');
  silent = true;
  const waiting = connection.request(OFPT.GET_ASYNC_REQUEST).catch((error: unknown) => error);
  const [reason] = (await once(openflow, 'down')) as [BaseError];
  t.equal(reason.code, 'CONN_PROBE_LOST');
  t.equal(await waiting, reason);
  silent = false;
  await up(openflow);
});

t.test('a stall of our own is no silence of the switch', async (t) => {
  let stalls = 0;
  const { session: openflow, downs } = await session(
    t,
    {
      // The answer is in the socket before we stall for longer than the switch has to answer.
      onMessage: (message, client) => {
        if (messageType(message) !== OFPT.ECHO_REQUEST) return false;
        client.send(encodeMessage(OFPT.ECHO_REPLY, messageXid(message)));
        stalls++;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 150);
        return true;
      },
    },
    { reconnect: { ...FAST, probeIntervalMs: 50 } },
  );
  openflow.start();
  const connection = await up(openflow);
  while (stalls < 4) await sleep(5);
  t.strictSame(downs, []);
  t.equal(openflow.current, connection);
});

t.test('an attempt that hangs is ended', async (t) => {
  let hanging = true;
  const { session: openflow, downs } = await session(
    t,
    { onMessage: () => hanging },
    { timeoutMs: 60 },
  );
  openflow.start();
  while (downs.length < 2) await sleep(5);
  t.ok(downs.every((code) => code === 'CONN_TIMEOUT'));
  hanging = false;
  await up(openflow);
});

t.test('close() ends an attempt under way at once, and no event follows', async (t) => {
  const { fake, session: openflow, downs } = await session(t, { onMessage: () => true });
  openflow.start();
  while (fake.types.length === 0) await sleep(1);
  const began = performance.now();
  await openflow.close();
  t.ok(performance.now() - began < 500);
  await sleep(60);
  t.strictSame(downs, []);
  t.equal(fake.accepted, 1);
  openflow.start();
  await sleep(30);
  t.equal(fake.accepted, 1, 'a closed session stays closed');
});

t.test('a burst of reconnects leaves nothing behind', async (t) => {
  const { fake, session: openflow } = await session(
    t,
    {},
    { reconnect: { ...FAST, minBackoffMs: 1, maxBackoffMs: 2 } },
  );
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on('warning', onWarning);
  t.after(() => void process.off('warning', onWarning));
  const ups: OpenFlowConnection[] = [];
  openflow.on('up', (connection) => {
    ups.push(connection);
    for (const client of fake.clients) client.destroy();
  });
  openflow.start();
  while (ups.length < 100) await sleep(5);
  t.equal(openflow.listenerCount('down'), 1);
  t.ok(fake.clients.size <= 1);
  t.strictSame(warnings, []);
  const timers = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
  // A few are under way at any moment; one left behind by each connection would be a hundred.
  t.ok(timers <= 20, `${timers} timers after ${ups.length} connections`);
});

t.test('bytes without sense take the connection down, and the next one comes up', async (t) => {
  const {
    fake,
    session: openflow,
    downs,
  } = await session(t, {
    onMessage: (message, client) => {
      if (messageType(message) === OFPT.ROLE_REQUEST)
        client.send(Buffer.from('GET / HTTP/1.1\r\n'));
      return messageType(message) === OFPT.ROLE_REQUEST;
    },
  });
  openflow.start();
  const first = await up(openflow);
  const again = up(openflow);
  await t.rejects(first.request(OFPT.ROLE_REQUEST, Buffer.alloc(16)), { code: 'DECODE_BAD_VALUE' });
  t.not(await again, first);
  t.strictSame(downs, ['DECODE_BAD_VALUE']);
  t.equal(fake.accepted, 2);
  // Half a message, then the end: no error beyond that of the connection.
  for (const client of fake.clients) {
    client.send(encodeMessage(OFPT.PORT_STATUS, 0, Buffer.alloc(72)).subarray(0, 50));
    client.destroy();
  }
  t.match(await once(openflow, 'down'), [{ message: /closed the connection after 50 bytes of/ }]);
  t.strictSame(downs, ['DECODE_BAD_VALUE', 'CONN_CLOSED']);
});
