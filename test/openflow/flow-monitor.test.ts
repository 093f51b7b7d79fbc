/** The ONF flow monitor: captured bytes, properties, and updates through a connection to a scripted switch. */
import { once } from 'node:events';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { OpenFlowConnection } from '../../src/openflow/client.ts';
import { encodedFlowFromDump } from '../../src/openflow/flow.ts';
import {
  decodeFlowMonitorNotice,
  decodeFlowUpdates,
  encodeFlowMonitorCancel,
  encodeFlowMonitorRequest,
  type FlowMonitorRequest,
  type FlowUpdate,
} from '../../src/openflow/flow-monitor.ts';
import { formatFlow } from '../../src/openflow/format.ts';
import { encodeMessage, messageBody } from '../../src/openflow/header.ts';
import { encodeMatch } from '../../src/openflow/match.ts';
import { decodeMultipart, encodeMultipart } from '../../src/openflow/multipart.ts';
import { OFPBCT, OFPMP, OFPT } from '../../src/openflow/ofp13.ts';
import { records } from '../fixtures/openflow/records.ts';
import { fakeSwitch, type FakeClient } from '../support/fake-switch.ts';
import { matchOfFlow } from './arbitrary.ts';

const RECORDS = records('flow-monitor.txt');
const REPLIES = RECORDS.filter(({ dump }) => dump[1] === OFPT.MULTIPART_REPLY);

function updatesOf(body: Uint8Array): FlowUpdate[] {
  const seen: FlowUpdate[] = [];
  decodeFlowUpdates(body, (update) => seen.push(update));
  return seen;
}

/** An update as `ovs-ofctl ofp-print` writes it: without the priority, and with actions only where there are some. */
function printed(update: FlowUpdate): string {
  if (update.event === 'abbrev') return `event=ABBREV xid=0x${update.xid.toString(16)}`;
  const { event, reason, tableId, priority, cookie, match, instructions } = update;
  const flow = formatFlow(encodedFlowFromDump(tableId, priority, cookie, match, instructions));
  const rest = flow.replace(/^.*?table=\d+, ?/, '').replace(/^priority=\d+,?/, '');
  const parts = [
    `event=${event.toUpperCase()}`,
    event === 'deleted' && `reason=${['', '', 'delete', 'group_delete'][reason] ?? ''}`,
    `table=${tableId}`,
    update.idleTimeout > 0 && `idle_timeout=${update.idleTimeout}`,
    update.hardTimeout > 0 && `hard_timeout=${update.hardTimeout}`,
    `cookie=${cookie === 0n ? '0' : `0x${cookie.toString(16)}`}`,
    rest.replace(/ ?actions=drop$/, '').trim(),
  ];
  return parts.filter((part) => part !== false && part !== '').join(' ');
}

/** One update in bytes. */
function updateBytes(
  event: number,
  reason: number,
  priority: number,
  tableId: number,
  cookie: bigint,
  oxm: Uint8Array,
  instructions: Uint8Array,
): Buffer {
  const matchSize = 4 + oxm.length;
  const start = 24 + ((matchSize + 7) & ~7);
  const out = Buffer.alloc(start + instructions.length);
  [out.length, event, reason, priority, 0, 0, matchSize].forEach((value, index) =>
    out.writeUInt16BE(value, 2 * index),
  );
  out[14] = tableId;
  out.writeBigUInt64BE(cookie, 16);
  out.writeUInt16BE(1, 24);
  out.writeUInt16BE(matchSize, 26);
  out.set(oxm, 28);
  out.set(instructions, start);
  return out;
}

function bodyOf(...updates: Uint8Array[]): Buffer {
  return Buffer.concat([Buffer.from('4f4e46000000074e', 'hex'), ...updates]);
}

void t.test('requests have the bytes of ovs-ofctl', async (t) => {
  const rows: (readonly [string, FlowMonitorRequest])[] = [
    ['watch:!initial,!own', { id: 0 }],
    ['watch:table=3', { id: 0, tableId: 3, initial: true, own: true }],
    ['watch:!initial,!actions,table=7', { id: 0, tableId: 7, instructions: false, own: true }],
  ];
  for (const [line, request] of rows) {
    const want = RECORDS.find((record) => record.line === line)?.mod.toString('hex');
    const body = encodeMultipart(OFPMP.EXPERIMENTER, encodeFlowMonitorRequest(request));
    t.equal(encodeMessage(OFPT.MULTIPART_REQUEST, 0, body).toString('hex'), want, line);
  }
  // The switch quotes in its errors the cancel that it could not carry out.
  const refused = RECORDS.find(({ line }) => line === 'cancel of an unknown monitor');
  const cancel = encodeMessage(OFPT.EXPERIMENTER, 3, encodeFlowMonitorCancel(99));
  t.equal(cancel.toString('hex'), refused?.dump.subarray(16).toString('hex'));
});

void t.test('captured updates are read as ovs-ofctl prints them', async (t) => {
  t.equal(REPLIES.length, 9, 'all captured replies are there');
  for (const { line, dump, text } of REPLIES) {
    const { type, body } = decodeMultipart(dump);
    t.equal(type, OFPMP.EXPERIMENTER);
    t.strictSame(updatesOf(body).map(printed), text.split(' | ').slice(1), line);
  }
  const events = new Set(
    REPLIES.flatMap(({ dump }) => updatesOf(dump.subarray(16)).map(({ event }) => event)),
  );
  t.strictSame([...events].sort(), ['abbrev', 'added', 'deleted', 'modified']);
});

void t.test('the notices of flow control are told from other experimenters', async (t) => {
  const notices = RECORDS.filter(({ line, dump }) => line === 'PAUSED' && dump[1] === 4);
  t.strictSame(
    notices.map(({ dump }) => decodeFlowMonitorNotice(dump)),
    ['paused', 'resumed'],
  );
  for (const [what, hex] of [
    ['a cancel', '04040010000000004f4e46000000074e'],
    ['another experimenter', '0404001000000000000023200000074f'],
    ['no experimenter at all', '0404000800000000'],
  ] as const) {
    t.equal(decodeFlowMonitorNotice(Buffer.from(hex, 'hex')), undefined, what);
  }
});

void t.test('any update is read back, among others', async (t) => {
  const update = fc.record({
    event: fc.constantFrom(0, 1, 2),
    priority: fc.nat({ max: 0xffff }),
    tableId: fc.nat({ max: 0xfe }),
    cookie: fc.bigInt(0n, (1n << 64n) - 1n),
    match: matchOfFlow,
    instructions: fc.constantFrom('', '0001000804000000', '00040008000000000001000804000000'),
  });
  fc.assert(
    fc.property(fc.array(update, { maxLength: 5 }), (given) => {
      const bytes = given.map((one) =>
        updateBytes(
          one.event,
          2,
          one.priority,
          one.tableId,
          one.cookie,
          encodeMatch(one.match),
          Buffer.from(one.instructions, 'hex'),
        ),
      );
      const seen = updatesOf(bodyOf(...bytes)).map((one) => {
        if (one.event === 'abbrev') throw new Error('abbrev');
        const { event, reason, priority, tableId, cookie, match, instructions } = one;
        const hex = [match, instructions].map((part) => Buffer.from(part).toString('hex'));
        return [event, reason, priority, tableId, cookie, ...hex];
      });
      const want = given.map((one) => [
        ['added', 'deleted', 'modified'][one.event],
        one.event === 1 ? 2 : 0,
        one.priority,
        one.tableId,
        one.cookie,
        Buffer.from(encodeMatch(one.match)).toString('hex'),
        one.instructions,
      ]);
      t.strictSame(seen, want);
    }),
    { numRuns: 200 },
  );
});

void t.test('updates that cannot be are refused, after those before them', async (t) => {
  const good = updateBytes(0, 0, 5, 3, 7n, Buffer.alloc(0), Buffer.alloc(0));
  const changed = (at: number, value: number): Buffer => {
    const copy = Buffer.from(good);
    copy.writeUInt16BE(value, at);
    return copy;
  };
  const rows: (readonly [string, string, Uint8Array])[] = [
    ['no experimenter', 'DECODE_UNKNOWN_TYPE', Buffer.alloc(0)],
    ['another experimenter', 'DECODE_UNKNOWN_TYPE', Buffer.from('000023200000074e', 'hex')],
    ['another type', 'DECODE_UNKNOWN_TYPE', Buffer.from('4f4e46000000074f', 'hex')],
    ['cut in its header', 'DECODE_SHORT', bodyOf(good, good.subarray(0, 3))],
    ['cut in its match', 'DECODE_SHORT', bodyOf(good, good.subarray(0, 24))],
    ['length 0', 'DECODE_BAD_LENGTH', bodyOf(good, changed(0, 0))],
    ['length not in eights', 'DECODE_BAD_LENGTH', bodyOf(good, changed(0, 28))],
    ['too short for full', 'DECODE_BAD_LENGTH', bodyOf(good, changed(0, 24))],
    ['event 9', 'DECODE_UNKNOWN_TYPE', bodyOf(good, changed(2, 9))],
    ['abbreviated of 32 bytes', 'DECODE_BAD_LENGTH', bodyOf(good, changed(2, 3))],
    ['two lengths of a match', 'DECODE_BAD_LENGTH', bodyOf(good, changed(12, 8))],
    ['a match of length 0', 'DECODE_BAD_LENGTH', bodyOf(good, changed(26, 0))],
    ['a match of another type', 'DECODE_BAD_LENGTH', bodyOf(good, changed(24, 0))],
  ];
  for (const [name, code, body] of rows) {
    let visited = 0;
    t.throws(() => decodeFlowUpdates(body, () => visited++), { code }, name);
    t.equal(visited, body.length < 32 ? 0 : 1, name);
  }
});

async function connected(
  t: Test,
): Promise<{ client: FakeClient; connection: OpenFlowConnection; seen: string[] }> {
  const fake = await fakeSwitch(t, {
    onMessage: (message, client) => {
      if (message[1] !== OFPT.MULTIPART_REQUEST) return false;
      const reply = encodeMultipart(OFPMP.EXPERIMENTER, Buffer.from('4f4e46000000074e', 'hex'));
      client.send(encodeMessage(OFPT.MULTIPART_REPLY, message.readUInt32BE(4), reply));
      return true;
    },
  });
  const connection = await OpenFlowConnection.connect({ path: fake.path });
  t.after(() => connection.close());
  const seen: string[] = [];
  connection.on('flowUpdate', (update) => seen.push(printed(update)));
  connection.on('flowMonitor', (notice) => seen.push(notice));
  const [client] = fake.clients;
  if (client === undefined) throw new Error('no client');
  return { client, connection, seen };
}

void t.test('a connection hands on updates and notices in their order', async (t) => {
  const { client, connection, seen } = await connected(t);
  await connection.monitorFlows({ id: 1 });
  const replies = RECORDS.filter(({ dump }) => dump.length > 0 && dump[1] !== OFPT.ERROR);
  const foreign = encodeMessage(OFPT.MULTIPART_REPLY, 0, encodeMultipart(13, Buffer.alloc(64)));
  client.send(Buffer.concat([foreign, ...replies.map(({ dump }) => dump)]));
  await connection.echo();
  const want = replies.flatMap(({ dump, text }) =>
    dump[1] === 4 ? [/PAUSED/.test(text) ? 'paused' : 'resumed'] : text.split(' | ').slice(1),
  );
  t.strictSame(seen, want);
  t.equal(seen.length, 12);
});

void t.test('an update that cannot be ends the connection with the reason', async (t) => {
  const { client, connection, seen } = await connected(t);
  await connection.monitorFlows({ id: 1 });
  const [sample] = REPLIES;
  const broken = Buffer.from(messageBody(sample?.dump ?? Buffer.alloc(0)));
  broken.writeUInt16BE(9, 18);
  client.send(encodeMessage(OFPT.MULTIPART_REPLY, 0, broken));
  const [reason] = (await once(connection, 'close')) as [unknown];
  t.match(reason, { code: 'DECODE_UNKNOWN_TYPE' });
  t.strictSame(seen, []);
});

void t.test('a commit and a later change are told in their order, even in one chunk', async (t) => {
  const [sample] = REPLIES;
  const fake = await fakeSwitch(t, {
    onControl: (type, message, client) => {
      if (type !== OFPBCT.COMMIT_REQUEST) return false;
      const reply = Buffer.from(message);
      reply.writeUInt16BE(OFPBCT.COMMIT_REPLY, 20);
      const update = sample?.dump ?? Buffer.alloc(0);
      client.send(Buffer.concat([update, reply, update]));
      return true;
    },
  });
  const connection = await OpenFlowConnection.connect({ path: fake.path });
  t.after(() => connection.close());
  const seen: string[] = [];
  connection.on('flowUpdate', ({ event }) => seen.push(event));
  const mod = encodeMessage(OFPT.FLOW_MOD, 0, Buffer.alloc(48));
  await connection.commitBundle([mod], { onCommitted: () => seen.push('committed') });
  t.strictSame(seen, ['added', 'committed', 'added']);
});

void t.test(
  'a monitor that the switch refuses is an error at once, with or without a reason',
  async (t) => {
    let answer: 'error' | 'nothing' = 'error';
    const fake = await fakeSwitch(t, {
      onMessage: (message, client) => {
        if (message[1] !== OFPT.MULTIPART_REQUEST) return false;
        if (answer === 'error') client.refuse(message, 1, 2);
        return true;
      },
    });
    const connection = await OpenFlowConnection.connect({ path: fake.path });
    t.after(() => connection.close());
    await t.rejects(connection.monitorFlows({ id: 1 }), { code: 'OFP_OFPBRC_BAD_STAT' });
    answer = 'nothing';
    await t.rejects(connection.monitorFlows({ id: 2 }), { code: 'OFP_NO_ANSWER' });
    await connection.echo();
    fake.script.onMessage = (message, client) => {
      if (message[1] === OFPT.MULTIPART_REQUEST) client.destroy();
      return message[1] === OFPT.MULTIPART_REQUEST;
    };
    await t.rejects(connection.monitorFlows({ id: 3 }), { code: 'CONN_CLOSED' });
  },
);
