/** The drift watch on a scripted switch: what is marked, what is held back, and what is said of it. */
import t, { type Test } from 'tap';
import { COOKIE_OWNER, makeCookie } from '../../../src/agent/flow/cookie.ts';
import { DesiredState } from '../../../src/agent/flow/desired.ts';
import { diff } from '../../../src/agent/flow/diff.ts';
import { DriftWatch } from '../../../src/agent/reconcile/drift-watch.ts';
import { Mirror } from '../../../src/agent/reconcile/mirror.ts';
import { OpenFlowConnection } from '../../../src/openflow/client.ts';
import {
  encodeFlow,
  instructionsOf,
  matchOf,
  type EncodedFlow,
} from '../../../src/openflow/flow.ts';
import { encodeMessage } from '../../../src/openflow/header.ts';
import { encodeMultipart } from '../../../src/openflow/multipart.ts';
import { OFPMP, OFPT } from '../../../src/openflow/ofp13.ts';
import { until } from '../../support/agent.ts';
import { fakeSwitch, multipartPart, type FakeScript } from '../../support/fake-switch.ts';

const HEADER = Buffer.from('4f4e46000000074e', 'hex');
const [ADDED, DELETED] = [0, 1];

/** A flow of ours that nobody asked for: the desired state is empty. */
const keysOf = (flows: Iterable<EncodedFlow>): string[] => Array.from(flows, ({ key }) => key);

function flowOf(priority: number, tableId = 22, cookie = COOKIE_OWNER): EncodedFlow {
  return encodeFlow({ tableId, priority, cookie, match: [], instructions: { gotoTable: 100 } });
}

/** The update that tells of a flow. */
function updateOf(event: number, flow: EncodedFlow, reason = 0): Buffer {
  const [match, instructions] = [matchOf(flow), instructionsOf(flow)];
  const start = 24 + ((match.length + 4 + 7) & ~7);
  const update = Buffer.alloc(start + instructions.length);
  update.writeUInt16BE(update.length, 0);
  update.writeUInt16BE(event, 2);
  update.writeUInt16BE(reason, 4);
  update.writeUInt16BE(flow.priority, 6);
  update.writeUInt16BE(match.length + 4, 12);
  update[14] = flow.tableId;
  update.writeBigUInt64BE(flow.cookie, 16);
  update.writeUInt32BE(0x10000 + match.length + 4, 24);
  update.set(match, 28);
  update.set(instructions, start);
  return update;
}

async function lab(t: Test, script: FakeScript = {}) {
  const fake = await fakeSwitch(t, {
    onMessage: (message, client) => {
      if (message[1] !== OFPT.MULTIPART_REQUEST) return false;
      client.send(multipartPart(message, HEADER, false));
      return true;
    },
    ...script,
  });
  const clock = { nowMs: 1000, pokes: 0 };
  const log: string[] = [];
  const write = (_: unknown, message: string): void => void log.push(message);
  const watch = new DriftWatch({
    desired: new DesiredState(),
    logger: { debug: write, info: write, warn: write, error: write },
    now: () => clock.nowMs,
    poke: () => clock.pokes++,
  });
  t.after(() => watch.close());
  const connect = async (): Promise<OpenFlowConnection> => {
    const connection = await OpenFlowConnection.connect({ path: fake.path });
    t.after(() => connection.close());
    await watch.subscribe(connection);
    return connection;
  };
  const connection = await connect();
  /** Lets the switch say something, and waits until it was heard. */
  const tell = async (...messages: Buffer[]): Promise<void> => {
    for (const client of fake.clients) client.send(Buffer.concat(messages));
    await connection.echo();
  };
  const tellUpdates = (...updates: Buffer[]): Promise<void> => {
    const body = encodeMultipart(OFPMP.EXPERIMENTER, Buffer.concat([HEADER, ...updates]));
    return tell(encodeMessage(OFPT.MULTIPART_REPLY, 0, body));
  };
  return { clock, log, watch, connect, connection, tell, tellUpdates };
}

void t.test('what others do goes into the mirror, and only what is ours is marked', async (t) => {
  const { clock, watch, tellUpdates } = await lab(t);
  const mirror = new Mirror();
  await tellUpdates(updateOf(ADDED, flowOf(1)));
  t.equal(mirror.flowCount, 0, 'before the dump nothing is followed');
  watch.follow(mirror);
  const [own, foreign] = [flowOf(1), flowOf(2, 22, 0x5n)];
  const abbreviated = Buffer.from('0008000300001234', 'hex');
  await tellUpdates(updateOf(ADDED, own), abbreviated, updateOf(ADDED, foreign));
  await tellUpdates(updateOf(ADDED, foreign), updateOf(ADDED, flowOf(3, 41)));
  t.strictSame([mirror.flowCount, mirror.foreignCount], [1, 1]);
  t.equal(clock.pokes, 1);
  t.strictSame(keysOf(watch.take()), [own.key]);
  t.strictSame(keysOf(watch.take()), [], 'once');

  await tellUpdates(updateOf(ADDED, flowOf(1, 22, 0x5n)));
  t.strictSame([mirror.flowCount, mirror.foreignCount], [0, 2], 'taken over');
  await tellUpdates(updateOf(DELETED, foreign), updateOf(DELETED, flowOf(1, 22, 0x5n)));
  t.strictSame([mirror.flowCount, mirror.foreignCount], [0, 0]);
  t.strictSame(keysOf(watch.take()), [], 'what is not desired and not there needs no repair');
});

void t.test('what the switch learns is no drift, unless nothing is to learn it', async (t) => {
  const { clock, watch, tellUpdates } = await lab(t);
  const mirror = new Mirror();
  watch.follow(mirror);
  const cookie = makeCookie('learned', 5n);
  await tellUpdates(updateOf(ADDED, flowOf(10, 41, cookie)), updateOf(ADDED, flowOf(11, 41, 5n)));
  t.strictSame([...mirror.orphans], [cookie], 'its learn flow has gone');
  t.strictSame([mirror.flowCount, mirror.foreignCount], [0, 0]);
  t.strictSame(keysOf(watch.take()), []);
  await until('it is looked at again', () => clock.pokes > 0);
  const [forget] = diff(new DesiredState(), mirror, { flows: [], groups: [] });
  t.match(forget, { kind: 'forget', cookie });
  mirror.apply(forget === undefined ? [] : [forget]);
  t.strictSame([...mirror.orphans], []);
  const learner = flowOf(50, 6, cookie);
  mirror.putFlow(learner);
  t.strictSame(
    diff(new DesiredState(), mirror, { flows: [learner], groups: [] }).map(({ kind }) => kind),
    ['delete', 'forget'],
    'the learn flow first: what it has learned would come back',
  );
});

void t.test(
  'a flow is repaired once a second at most, and a tug of war is said once',
  async (t) => {
    const { clock, log, watch, tellUpdates } = await lab(t);
    watch.follow(new Mirror());
    const flow = flowOf(1);
    const repairs: number[] = [];
    for (; clock.nowMs < 6000; clock.nowMs += 100) {
      await tellUpdates(updateOf(ADDED, flow));
      if (watch.take().size > 0) repairs.push(clock.nowMs);
    }
    t.strictSame(repairs, [1000, 2000, 3000, 4000, 5000]);
    t.equal(log.filter((message) => message.includes('again and again')).length, 1);
    t.equal(watch.contested, true);
    await tellUpdates(updateOf(ADDED, flowOf(2)));
    t.strictSame(keysOf(watch.take()), [flow.key, flowOf(2).key], 'others do not wait');
    clock.nowMs += 20_000;
    watch.take();
    t.equal(watch.contested, false, 'peace');
  },
);

void t.test('a pause and a lost group want a dump, once a second at most', async (t) => {
  const { clock, watch, tell, tellUpdates } = await lab(t);
  const [paused, resumed] = [0x74f, 0x750].map((type) => {
    const body = Buffer.from('4f4e460000000000', 'hex');
    body.writeUInt32BE(type, 4);
    return encodeMessage(OFPT.EXPERIMENTER, 0, body);
  }) as [Buffer, Buffer];
  clock.nowMs = 10_000;
  watch.follow(new Mirror());
  clock.nowMs = 20_000;
  await tell(paused);
  t.equal(watch.dumpDue, false, 'while paused a dump is too early');
  await tell(resumed);
  t.equal(watch.dumpDue, true);
  const mirror = new Mirror();
  mirror.putFlow(flowOf(1));
  watch.follow(mirror);
  t.equal(watch.dumpDue, false);
  clock.nowMs += 500;
  await tellUpdates(updateOf(ADDED, flowOf(7)), updateOf(DELETED, flowOf(1), 3));
  t.equal(watch.dumpDue, false, 'the last one was half a second ago');
  t.strictSame(keysOf(watch.take()), [], 'repairs wait for it: their group may be gone');
  clock.nowMs += 500;
  t.equal(watch.dumpDue, true);
});

void t.test('a switch without a flow monitor is left to the audit, with one line', async (t) => {
  for (const [what, onMessage] of [
    [
      'an error',
      (message, client) => {
        if (message[1] !== OFPT.MULTIPART_REQUEST) return false;
        client.refuse(message, 1, 2);
        return true;
      },
    ],
    ['no answer', (message) => message[1] === OFPT.MULTIPART_REQUEST],
  ] satisfies [string, NonNullable<FakeScript['onMessage']>][]) {
    const { log, connect, watch, connection } = await lab(t, { onMessage });
    await watch.subscribe(connection);
    await connect();
    t.equal(log.length, 1, what);
    t.match(log, [/does not offer a flow monitor/], what);
  }
});
