/** Connecting to a scripted switch: the handshake in its order, the version, and every way in which it can fail. */
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { OpenFlowConnection } from '../../src/openflow/client.ts';
import { encodeMessage, messageType, messageXid } from '../../src/openflow/header.ts';
import { OFPT } from '../../src/openflow/ofp13.ts';
import { connectedFake, fakeSwitch, helloOf, type FakeScript } from '../support/fake-switch.ts';

/** HELLO with elements as they are. */
function helloWith(version: number, elements: string): Buffer {
  const hello = encodeMessage(OFPT.HELLO, 1, Buffer.from(elements, 'hex'));
  hello.writeUInt8(version, 0);
  return hello;
}

t.test('the handshake asks for everything, and reads the configuration back', async (t) => {
  const { fake, connection } = await connectedFake(t, {}, { controllerId: 0x6470 });
  t.strictSame(
    fake.types.filter((type) => type !== OFPT.BARRIER_REQUEST),
    [
      OFPT.HELLO,
      OFPT.FEATURES_REQUEST,
      OFPT.SET_CONFIG,
      OFPT.GET_CONFIG_REQUEST,
      OFPT.EXPERIMENTER,
      OFPT.SET_ASYNC,
    ],
  );
  t.equal(fake.types.at(-1), OFPT.BARRIER_REQUEST);
  t.match(connection.features, { datapathId: 0x00ff_1234_5678_9abcn, nTables: 254 });
  t.strictSame(await connection.switchConfig(), { flags: 3, missSendLen: 128 });
});

for (const { name, hello, message } of [
  { name: '1.0', hello: helloOf(1), message: /speaks OpenFlow 1\.0, we speak 1\.3 only/ },
  { name: '1.4 and 1.5 by bitmap', hello: helloOf(6, 0b1100000), message: /OpenFlow 1\.4, 1\.5,/ },
  { name: 'nothing', hello: helloOf(4, 0), message: /of another version/ },
]) {
  t.test(`a switch that speaks ${name} is refused with the remedy`, async (t) => {
    const fake = await fakeSwitch(t, { hello });
    const connecting = OpenFlowConnection.connect({ path: fake.path });
    await t.rejects(connecting, { code: 'CONN_VERSION', endpoint: fake.path, message });
    await t.rejects(OpenFlowConnection.connect({ path: fake.path }), /protocols=OpenFlow13/);
  });
}

for (const { name, hello } of [
  { name: 'bitmap with 1.3', hello: helloOf(6, 0b1110010) },
  { name: 'header 1.5 without bitmap', hello: helloOf(6) },
  { name: 'header of an unknown version without bitmap', hello: helloOf(0x7f) },
  {
    name: 'bitmap behind an element that nobody knows',
    hello: helloWith(1, '00770006abcd0000' + '0001000800000010'),
  },
  { name: 'element longer than the message', hello: helloWith(4, '0001ffff00000000') },
  { name: 'element of length 0', hello: helloWith(4, '0001000000000002') },
  { name: 'bitmap without a word', hello: helloWith(4, '00010004') },
]) {
  t.test(`${name} is a switch that speaks 1.3`, async (t) => {
    const { connection } = await connectedFake(t, { hello });
    await connection.barrier();
    t.equal(connection.closed, undefined);
  });
}

const handshakeFaults: {
  name: string;
  script: FakeScript;
  want: {
    code: string;
    op?: string;
    errorType?: number;
    errorCode?: number;
    cause?: { code: string };
  };
}[] = [
  {
    name: 'an error instead of HELLO',
    script: { hello: encodeMessage(OFPT.ERROR, 1, Buffer.from([0, 0, 0, 0])) },
    want: { code: 'CONN_VERSION', cause: { code: 'OFP_OFPHFC_INCOMPATIBLE' } },
  },
  {
    name: 'another message instead of HELLO',
    script: { hello: encodeMessage(OFPT.BARRIER_REPLY, 1) },
    want: { code: 'DECODE_UNKNOWN_TYPE' },
  },
  {
    name: 'JSON instead of HELLO',
    script: { hello: Buffer.from('{"id":"echo","method":"echo","params":[]}') },
    want: { code: 'DECODE_BAD_VALUE' },
  },
  {
    name: 'no answer to anything',
    script: { onMessage: () => true },
    want: { code: 'CONN_TIMEOUT' },
  },
  {
    name: 'SET_CONFIG without effect',
    script: { onMessage: (message) => messageType(message) === OFPT.SET_CONFIG },
    want: { code: 'OFP_FRAGMENT_MODE' },
  },
  {
    name: 'SET_ASYNC refused',
    script: {
      onMessage: (message, client) => {
        if (messageType(message) !== OFPT.SET_ASYNC) return false;
        client.refuse(message, 1, 5);
        return true;
      },
    },
    want: { code: 'OFP_OFPBRC_EPERM', op: 'openflow.set_async', errorType: 1, errorCode: 5 },
  },
  {
    name: 'features of four bytes',
    script: {
      onMessage: (message, client) => {
        if (messageType(message) !== OFPT.FEATURES_REQUEST) return false;
        client.send(encodeMessage(OFPT.FEATURES_REPLY, messageXid(message), Buffer.alloc(4)));
        return true;
      },
    },
    want: { code: 'DECODE_SHORT' },
  },
  {
    name: 'hanging up in the middle',
    script: {
      onMessage: (message, client) => {
        if (messageType(message) === OFPT.GET_CONFIG_REQUEST) client.destroy();
        return false;
      },
    },
    want: { code: 'CONN_CLOSED' },
  },
];
for (const { name, script, want } of handshakeFaults) {
  t.test(`handshake: ${name}`, async (t) => {
    const fake = await fakeSwitch(t, script);
    const connecting = OpenFlowConnection.connect({ path: fake.path, timeoutMs: 300 });
    await t.rejects(connecting, want);
    await sleep(10);
    t.equal(fake.clients.size, 0, 'the socket is closed');
  });
}

t.test('a socket that is absent, or a path that can be none', async (t) => {
  const fake = await fakeSwitch(t, {}, { listen: false });
  for (const path of [fake.path, `/${'x'.repeat(200)}`, '/nul\0', '/']) {
    await t.rejects(OpenFlowConnection.connect({ path }), {
      code: 'CONN_REFUSED',
      retryable: true,
      endpoint: path,
    });
  }
});

t.test('an attempt can be given up, before and during the handshake', async (t) => {
  const fake = await fakeSwitch(t, { onMessage: () => true });
  const during = AbortSignal.timeout(30);
  for (const signal of [AbortSignal.abort(), during]) {
    const began = performance.now();
    const connecting = OpenFlowConnection.connect({ path: fake.path, signal });
    await t.rejects(connecting, { code: 'CONN_CLOSED', message: /given up by us/ });
    t.ok(performance.now() - began < 1000);
  }
});
