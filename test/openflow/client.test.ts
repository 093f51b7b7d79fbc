/** One connection to a scripted switch: requests, events, dumps, and what a hostile peer leads to. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import { BaseError } from '../../src/base/error.ts';
import { encodeMessage, messageType, messageXid } from '../../src/openflow/header.ts';
import { MultipartReply } from '../../src/openflow/multipart.ts';
import { OFPMP, OFPT } from '../../src/openflow/ofp13.ts';
import { XidMux } from '../../src/openflow/xid-mux.ts';
import {
  connectedFake,
  multipartPart,
  portBytes,
  type FakeScript,
} from '../support/fake-switch.ts';

const EMPTY = new Uint8Array(0);

t.test('a stream cut at every byte works alike', async (t) => {
  const { connection } = await connectedFake(t, { splitBytes: 1 });
  await connection.echo();
  const ports = await connection.portDescriptions();
  t.strictSame(
    ports.map(({ portNo, name, hwAddr, state }) => ({ portNo, name, hwAddr, state })),
    [
      { portNo: 1, name: 'p1', hwAddr: '02:00:00:00:00:01', state: 4 },
      { portNo: 2, name: 'sixteen-letters!', hwAddr: '02:00:00:00:00:02', state: 4 },
    ],
  );
});

t.test('replies find their requests by xid, in any order; errors too', async (t) => {
  const asked: Buffer[] = [];
  const { client, connection } = await connectedFake(t, {
    onMessage: (message) => {
      if (messageType(message) !== OFPT.ROLE_REQUEST) return false;
      asked.push(Buffer.from(message));
      return true;
    },
  });
  const answers = [1, 2, 3].map((role) =>
    connection.request(OFPT.ROLE_REQUEST, Buffer.from([role])),
  );
  const settled = Promise.allSettled(answers);
  while (asked.length < 3) await sleep(1);
  const [first, second, third] = asked as [Buffer, Buffer, Buffer];
  client.send(encodeMessage(OFPT.ROLE_REPLY, messageXid(third), Buffer.from('third')));
  client.refuse(second, 11, 2);
  client.send(encodeMessage(OFPT.ROLE_REPLY, 0xdead_beef, Buffer.from('nobody asked')));
  client.send(encodeMessage(OFPT.ROLE_REPLY, messageXid(first), Buffer.from('first')));
  const [one, two, three] = await settled;
  t.match(one, { status: 'fulfilled', value: Buffer.from('first') });
  t.match(two, {
    status: 'rejected',
    reason: { code: 'OFP_OFPRRFC_BAD_ROLE', xid: messageXid(second), offending: second },
  });
  t.match(three, { status: 'fulfilled', value: Buffer.from('third') });
});

t.test('an echo request is answered with its body', async (t) => {
  const replies: Buffer[] = [];
  const { client } = await connectedFake(t, {
    onMessage: (message) => {
      if (messageType(message) === OFPT.ECHO_REPLY) replies.push(Buffer.from(message));
      return false;
    },
  });
  const bodies = [Buffer.alloc(0), Buffer.from('ping'), Buffer.alloc(0xffff - 8, 7)];
  bodies.forEach((body, i) => client.send(encodeMessage(OFPT.ECHO_REQUEST, 100 + i, body)));
  while (replies.length < 3) await sleep(1);
  t.strictSame(
    replies,
    bodies.map((body, i) => encodeMessage(OFPT.ECHO_REPLY, 100 + i, body)),
  );
});

t.test('port status and packet-in are events', async (t) => {
  const { client, connection } = await connectedFake(t);
  const packetIn = once(connection, 'packetIn');
  const portStatus = once(connection, 'portStatus');
  const status = Buffer.concat([Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]), portBytes(9, 'gone')]);
  const packet = encodeMessage(OFPT.PACKET_IN, 0, Buffer.alloc(40, 5));
  client.send(Buffer.concat([packet, encodeMessage(OFPT.PORT_STATUS, 0, status)]));
  t.match(await portStatus, [{ reason: 'delete', port: { portNo: 9, name: 'gone' } }]);
  t.strictSame(await packetIn, [packet]);
});

for (const { name, bytes } of [
  { name: 'a port status of 12 bytes', bytes: encodeMessage(OFPT.PORT_STATUS, 0, Buffer.alloc(4)) },
  {
    name: 'a port status of unknown reason',
    bytes: encodeMessage(
      OFPT.PORT_STATUS,
      0,
      Buffer.concat([Buffer.alloc(8, 9), portBytes(1, 'x')]),
    ),
  },
  { name: 'a frame shorter than its header', bytes: Buffer.from('0403000400000000', 'hex') },
  { name: 'a message of version 1.0', bytes: Buffer.from('0103000800000000', 'hex') },
]) {
  t.test(`${name} ends the connection with a DecodeError, and nothing else`, async (t) => {
    const { client, connection } = await connectedFake(t);
    const waiting = connection.request(OFPT.GET_ASYNC_REQUEST).catch((error: unknown) => error);
    const closed = once(connection, 'close');
    client.send(bytes);
    const [reason] = (await closed) as [BaseError];
    t.match(reason, { code: /^DECODE_/ });
    t.equal(await waiting, reason, 'who waits is told');
    await t.rejects(connection.barrier(), reason);
    await t.rejects(
      connection.multipart(OFPMP.DESC, EMPTY, () => undefined),
      reason,
    );
    await t.rejects(connection.commitBundle([Buffer.alloc(8)]), { cause: reason });
  });
}

t.test('an answer of another type than was asked for ends the connection', async (t) => {
  const { connection } = await connectedFake(t, {
    onMessage: (message, client) => {
      if (messageType(message) !== OFPT.ROLE_REQUEST) return false;
      client.send(encodeMessage(OFPT.HELLO, messageXid(message)));
      return true;
    },
  });
  await t.rejects(connection.request(OFPT.FLOW_MOD), RangeError, 'our own fault is no DecodeError');
  await t.rejects(connection.request(OFPT.ROLE_REQUEST, Buffer.alloc(16)), {
    code: 'DECODE_UNKNOWN_TYPE',
    message: 'answered by HELLO, not ROLE_REPLY',
  });
  t.match(connection.closed, { code: 'DECODE_UNKNOWN_TYPE' });
});

t.test('a request without an answer times out; a late answer harms nobody', async (t) => {
  const late: Buffer[] = [];
  const { client, connection } = await connectedFake(
    t,
    {
      onMessage: (message) => {
        if (messageType(message) !== OFPT.GET_ASYNC_REQUEST) return false;
        // The second would end the connection if anybody still waited.
        late.push(encodeMessage(OFPT.GET_ASYNC_REPLY, messageXid(message)));
        late.push(encodeMessage(OFPT.HELLO, messageXid(message)));
        return true;
      },
    },
    { requestTimeoutMs: 200 },
  );
  await t.rejects(connection.request(OFPT.GET_ASYNC_REQUEST), {
    code: 'CONN_TIMEOUT',
    message: /get_async_request: no answer within 200 ms/,
  });
  client.send(Buffer.concat(late.toReversed()));
  await connection.barrier();
  t.equal(connection.closed, undefined);
});

t.test('close() tells who waits, once, and later calls reject', async (t) => {
  const { connection } = await connectedFake(t, {
    onMessage: (message) => messageType(message) === OFPT.GET_ASYNC_REQUEST,
  });
  let closes = 0;
  connection.on('close', () => closes++);
  const waiting = t.rejects(connection.request(OFPT.GET_ASYNC_REQUEST), { code: 'CONN_CLOSED' });
  connection.close();
  connection.close();
  await waiting;
  await t.rejects(connection.echo(), { code: 'CONN_CLOSED', message: /closed by us/ });
  t.equal(closes, 1);
});

t.test('a dump comes part by part, beside other traffic', async (t) => {
  const parts = 500;
  const { connection } = await connectedFake(t, {
    onMessage: (message, client) => {
      if (messageType(message) !== OFPT.MULTIPART_REQUEST) return false;
      for (let i = 0; i < parts; i++) {
        client.send(multipartPart(message, Buffer.alloc(1000, i), i < parts - 1));
        if (i % 100 === 0) client.send(encodeMessage(OFPT.ECHO_REQUEST, i));
      }
      return true;
    },
  });
  const sizes: number[] = [];
  await connection.multipart(OFPMP.FLOW, EMPTY, (body) => sizes.push(body.length));
  t.equal(sizes.length, parts);
  t.ok(sizes.every((size) => size === 1000));
});

t.test('a dump may take longer than a request, as long as parts come', async (t) => {
  const parts = 8;
  const { connection } = await connectedFake(
    t,
    {
      onMessage: (message, client) => {
        if (messageType(message) !== OFPT.MULTIPART_REQUEST) return false;
        const asked = Buffer.from(message);
        const send = (part: number): void => {
          client.send(multipartPart(asked, Buffer.alloc(8, part), part < parts));
          if (part < parts) setTimeout(() => send(part + 1), 300);
        };
        send(1);
        return true;
      },
    },
    { requestTimeoutMs: 1500 },
  );
  let seen = 0;
  await connection.multipart(OFPMP.FLOW, EMPTY, () => seen++);
  t.equal(seen, parts, 'in more than 2 seconds');
});

t.test('what goes wrong inside a dump', async (t) => {
  const script: FakeScript = {
    onMessage: (message, client) => {
      if (messageType(message) !== OFPT.MULTIPART_REQUEST) return false;
      const asked = Buffer.from(message);
      if (message.readUInt16BE(8) === OFPMP.TABLE) asked.writeUInt16BE(OFPMP.GROUP, 8);
      client.send(multipartPart(asked, Buffer.alloc(8), true));
      client.send(multipartPart(asked, Buffer.alloc(8), false));
      return true;
    },
  };
  const { connection } = await connectedFake(t, script);
  const mine = new TypeError('a fault of the caller');
  const failing = connection.multipart(OFPMP.FLOW, EMPTY, () => {
    throw mine;
  });
  await t.rejects(failing, mine);
  await connection.barrier();
  t.equal(connection.closed, undefined, 'a fault of ours does not cost the connection');
  await t.rejects(
    connection.multipart(OFPMP.TABLE, EMPTY, () => undefined),
    {
      code: 'DECODE_UNKNOWN_TYPE',
      message: 'part of type 6, asked for 3',
    },
  );
  t.match(connection.closed, { code: 'DECODE_UNKNOWN_TYPE' });
});

t.test('a part without its own header ends the connection', async (t) => {
  const { connection } = await connectedFake(t, {
    onMessage: (message, client) => {
      if (messageType(message) !== OFPT.MULTIPART_REQUEST) return false;
      client.send(encodeMessage(OFPT.MULTIPART_REPLY, messageXid(message), Buffer.alloc(7)));
      return true;
    },
  });
  await t.rejects(connection.portDescriptions(), { code: 'DECODE_SHORT' });
  t.match(connection.closed, { code: 'DECODE_SHORT' });
});

t.test(
  'nothing is heard of a connection after close(), not even the rest of a chunk',
  async (t) => {
    const { client, connection } = await connectedFake(t);
    let seen = 0;
    connection.on('packetIn', () => {
      seen++;
      connection.close();
    });
    const packet = encodeMessage(OFPT.PACKET_IN, 0, Buffer.alloc(40));
    client.send(Buffer.concat([packet, packet, packet]));
    await once(connection, 'close');
    await sleep(10);
    t.equal(seen, 1);
  },
);

t.test('a reply is in memory of its own', async (t) => {
  const mux = new XidMux();
  const xid = mux.take();
  const onTimeout = (): Error => new Error('no reply');
  const reply = mux.expect(xid, {
    op: 'test',
    replyType: OFPT.ECHO_REPLY,
    timeoutMs: 1000,
    onTimeout,
  });
  const bytes = encodeMessage(OFPT.ECHO_REPLY, xid, Buffer.from('pong'));
  mux.receive(bytes);
  bytes.fill(0);
  t.strictSame(await reply, encodeMessage(OFPT.ECHO_REPLY, xid, Buffer.from('pong')));
});

t.test('transaction ids start again before they end, and are never 0', async (t) => {
  const mux = new XidMux();
  t.equal(mux.take(0xffff_fff0), 1);
  t.equal(mux.take(0x10), 1, 'a block is never cut in two');
  t.equal(mux.take(), 0x11);
});

t.test('a dump without end is ended', async (t) => {
  const reply = new MultipartReply(OFPMP.FLOW, () => undefined, 10_000);
  const request = encodeMessage(OFPT.MULTIPART_REQUEST, 1, Buffer.from([0, OFPMP.FLOW]));
  const empty = multipartPart(request, EMPTY, true);
  let parts = 0;
  t.throws(
    () => {
      for (; parts < 100_000; parts++) reply.receive(empty);
    },
    { code: 'DECODE_TOO_LARGE' },
  );
  t.equal(parts, 10_000 / 16);
});

t.test('a flood of messages that nobody asked for costs bounded memory', async (t) => {
  const { client, connection } = await connectedFake(t);
  const status = Buffer.concat([Buffer.alloc(8), portBytes(1, 'p')]);
  const noise = Buffer.concat([
    encodeMessage(OFPT.PACKET_IN, 0, Buffer.alloc(1500)),
    encodeMessage(OFPT.PORT_STATUS, 0, status),
    encodeMessage(OFPT.ERROR, 12345, Buffer.alloc(100)),
    encodeMessage(OFPT.BARRIER_REPLY, 54321),
  ]);
  const flood = Buffer.concat(Array.from({ length: 500 }, () => noise));
  const before = process.memoryUsage().rss;
  for (let i = 0; i < 100; i++) {
    client.send(flood);
    await connection.echo();
  }
  const grownMib = (process.memoryUsage().rss - before) / 2 ** 20;
  t.comment(`${(100 * flood.length) >> 20} MiB of noise, ${Math.round(grownMib)} MiB more memory`);
  t.ok(grownMib < 80);
  t.equal(connection.closed, undefined);
});

t.test('a peer that asks for echoes and reads nothing is given up', async (t) => {
  const { client, connection } = await connectedFake(t, {}, { maxQueuedBytes: 1 << 20 });
  const closed = once(connection, 'close');
  client.pause();
  const echo = encodeMessage(OFPT.ECHO_REQUEST, 1, Buffer.alloc(60_000));
  for (let i = 0; i < 100; i++) client.send(echo);
  t.match(await closed, [{ code: 'CONN_OVERLOAD' }]);
});

t.test(
  'requests to a peer that reads nothing are bounded, and every one of them is told',
  async (t) => {
    const { client, connection } = await connectedFake(t, {}, { maxQueuedBytes: 1 << 20 });
    client.pause();
    const body = Buffer.alloc(60_000);
    const asked = Array.from({ length: 100 }, () => connection.request(OFPT.ECHO_REQUEST, body));
    const settled = await Promise.allSettled(asked);
    t.ok(settled.every((result) => result.status === 'rejected'));
    t.match(settled.at(-1), { reason: { code: 'CONN_OVERLOAD' } });
  },
);

t.test('requests that a peer never answers are bounded, and the connection stays', async (t) => {
  const { connection } = await connectedFake(
    t,
    { onMessage: (message) => messageType(message) === OFPT.ECHO_REQUEST },
    { requestTimeoutMs: 200 },
  );
  const asked = Array.from({ length: 1010 }, () => connection.echo());
  const settled = await Promise.allSettled(asked);
  const codes = settled.map((result) =>
    result.status === 'rejected' ? (result.reason as { code: string }).code : 'answered',
  );
  t.equal(codes.filter((code) => code === 'CONN_TIMEOUT').length, 1000);
  t.equal(codes.filter((code) => code === 'CONN_OVERLOAD').length, 10);
  t.equal(connection.closed, undefined);
  await connection.barrier();
});

t.test('a peer that hangs up with our bytes unread is gone at once', async (t) => {
  const { client, connection } = await connectedFake(t);
  client.pause();
  const waiting = connection.request(OFPT.ECHO_REQUEST, Buffer.alloc(60_000));
  const more = Array.from({ length: 20 }, () =>
    connection.request(OFPT.ECHO_REQUEST, Buffer.alloc(60_000)).catch(() => undefined),
  );
  const began = performance.now();
  client.end();
  await t.rejects(waiting, { code: 'CONN_CLOSED', message: 'switch closed the connection' });
  await Promise.all(more);
  t.ok(performance.now() - began < 1000);
});

t.test('a fragment mode that another client has reset is set again', async (t) => {
  let reset = false;
  let deaf = false;
  const { fake, connection } = await connectedFake(t, {
    onMessage: (message, client) => {
      const type = messageType(message);
      if (type === OFPT.SET_CONFIG) reset = reset && deaf;
      if (type !== OFPT.GET_CONFIG_REQUEST || !reset) return false;
      client.send(encodeMessage(OFPT.GET_CONFIG_REPLY, messageXid(message), Buffer.alloc(4)));
      return true;
    },
  });
  const sets = (): number => fake.types.filter((type) => type === OFPT.SET_CONFIG).length;
  t.equal(await connection.ensureFragmentMode(), false);
  t.equal(sets(), 1, 'that of the handshake');
  reset = true;
  t.equal(await connection.ensureFragmentMode(), true);
  t.equal(sets(), 2);
  [reset, deaf] = [true, true];
  await t.rejects(connection.ensureFragmentMode(), { code: 'OFP_FRAGMENT_MODE', retryable: true });
});

t.test('random bytes after the handshake never crash', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.oneof(
          fc.uint8Array({ maxLength: 60 }),
          // Well-framed nonsense of every type reaches the decoders.
          fc
            .tuple(fc.nat({ max: 40 }), fc.nat({ max: 20 }), fc.uint8Array({ maxLength: 80 }))
            .map(([type, xid, body]) => encodeMessage(type, xid, body)),
        ),
        { minLength: 1, maxLength: 8 },
      ),
      async (chunks) => {
        const { client, connection } = await connectedFake(t);
        const asked = [
          connection.portDescriptions(),
          connection.switchConfig(),
          connection.commitBundle([encodeMessage(OFPT.FLOW_MOD, 0, Buffer.alloc(48))]),
        ];
        for (const chunk of chunks) client.send(chunk);
        client.destroy();
        const results = await Promise.allSettled(asked);
        return results.every(
          (result) => result.status === 'fulfilled' || result.reason instanceof BaseError,
        );
      },
    ),
    { numRuns: 60 },
  );
});
