/** Two-phase bundles against a scripted switch: bytes, attribution of errors, lost connections, back pressure. */
import fc from 'fast-check';
import t from 'tap';
import { REFUSED_MAX } from '../../src/openflow/bundle-commit.ts';
import { BUNDLE_MESSAGE_MAX, encodeBundle } from '../../src/openflow/bundle.ts';
import { Framer } from '../../src/openflow/framer.ts';
import { encodeMessage, messageXid } from '../../src/openflow/header.ts';
import { OFPBCT, OFPT, ONF_VENDOR_ID } from '../../src/openflow/ofp13.ts';
import { connectedFake, type FakeScript } from '../support/fake-switch.ts';

const { OPEN_REQUEST, CLOSE_REQUEST, COMMIT_REQUEST, DISCARD_REQUEST } = OFPBCT;
const MSG_FAILED = 2313;
const EXPERIMENTER_ERROR = 0xffff;

/** Messages that differ, with xid 0 as the codecs give them. */
function messages(count: number, size = 48): Buffer[] {
  return Array.from({ length: count }, (_, i) => {
    const body = Buffer.alloc(size);
    body.writeUInt32BE(i, 0);
    return encodeMessage(OFPT.FLOW_MOD, 0, body);
  });
}

t.test('the bytes are those of the specification', async (t) => {
  const [chunk] = [
    ...encodeBundle({ bundleId: 9, flags: 3 }, [Buffer.from('040e000800000000', 'hex')], 5),
  ];
  t.equal(
    chunk?.toString('hex'),
    [
      '04040018' + '00000005' + '4f4e4600' + '000008fc' + '00000009' + '0000' + '0003',
      '04040020' + '00000006' + '4f4e4600' + '000008fd' + '00000009' + '0000' + '0003',
      '040e0008' + '00000006',
      '04040018' + '00000007' + '4f4e4600' + '000008fc' + '00000009' + '0002' + '0003',
    ].join(''),
  );
});

t.test('chunks hold whole messages in order, about 64 KiB each', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 8, max: BUNDLE_MESSAGE_MAX }), { maxLength: 30 }),
      fc.integer({ min: 1, max: 0x7fffffff }),
      (sizes, firstXid) => {
        const given = sizes.map((size, i) =>
          encodeMessage(OFPT.FLOW_MOD, 0, Buffer.alloc(size - 8, i)),
        );
        const chunks = [...encodeBundle({ bundleId: 1, flags: 0 }, given, firstXid)];
        const seen: Buffer[] = [];
        for (const chunk of chunks) {
          const framer = new Framer();
          framer.push(chunk, (message) => seen.push(message));
          if (framer.heldBytes > 0 || chunk.length > 0x2_0000) return false;
        }
        if (!chunks.slice(0, -1).every((chunk) => chunk.length >= 0x1_0000)) return false;
        return (
          seen.length === given.length + 2 &&
          seen.every((message, i) => messageXid(message) === firstXid + i) &&
          seen.slice(1, -1).every((message, i) => {
            const inner = message.subarray(24);
            return (
              messageXid(inner) === firstXid + 1 + i &&
              inner.subarray(8).equals(given[i]?.subarray(8) ?? Buffer.alloc(0))
            );
          }) &&
          given.every((message) => messageXid(message) === 0)
        );
      },
    ),
    { numRuns: 50 },
  );
  t.pass();
});

t.test('all messages are added, closed, and committed', async (t) => {
  const { fake, connection } = await connectedFake(t);
  const given = messages(3000);
  t.strictSame(await connection.commitBundle(given), { committed: true });
  t.strictSame(fake.controls, [OPEN_REQUEST, CLOSE_REQUEST, COMMIT_REQUEST]);
  t.strictSame(
    fake.committed.map((message) => message.readUInt32BE(8)),
    given.map((_, i) => i),
  );
});

t.test('no messages need no traffic', async (t) => {
  const { fake, connection } = await connectedFake(t);
  t.strictSame(await connection.commitBundle([]), { committed: true });
  await connection.barrier();
  t.strictSame(fake.controls, []);
});

t.test('messages that are refused at ADD are named, and the rest is discarded', async (t) => {
  const { fake, connection } = await connectedFake(t, {
    onAdd: (message, index, client) => {
      if (index === 7) client.refuse(message, 4, 9);
      if (index === 99) client.refuse(message, 2, 10);
    },
  });
  const outcome = await connection.commitBundle(messages(100));
  t.match(outcome, {
    committed: false,
    refused: [
      {
        index: 7,
        error: { code: 'OFP_OFPBMC_BAD_PREREQ', retryable: false, errorType: 4, errorCode: 9 },
      },
      { index: 99, error: { code: 'OFP_OFPBAC_MATCH_INCONSISTENT' } },
    ],
  });
  t.equal(outcome.committed ? 0 : outcome.refused[0]?.error.offending?.length, 64);
  t.strictSame(fake.controls, [OPEN_REQUEST, CLOSE_REQUEST, DISCARD_REQUEST]);
  t.strictSame(
    await connection.commitBundle(messages(5)),
    { committed: true },
    'the next one goes',
  );
});

t.test('a bundle that is gone when it is discarded is as good as discarded', async (t) => {
  const { connection } = await connectedFake(t, {
    onAdd: (message, index, client) => {
      if (index === 1) client.refuse(message, 4, 9);
    },
    onControl: (type, message, client) => {
      if (type !== DISCARD_REQUEST) return false;
      client.refuse(message, EXPERIMENTER_ERROR, 2302, ONF_VENDOR_ID);
      return true;
    },
  });
  const outcome = await connection.commitBundle(messages(3));
  t.match(outcome, { committed: false, refused: [{ index: 1 }] });
  t.equal(connection.closed, undefined);
});

t.test('a connection lost at DISCARD: nothing is committed for certain', async (t) => {
  const { connection } = await connectedFake(t, {
    onAdd: (message, _, client) => client.refuse(message, 4, 9),
    onControl: (type, _, client) => {
      if (type !== DISCARD_REQUEST) return false;
      client.destroy();
      return true;
    },
  });
  await t.rejects(connection.commitBundle(messages(1)), {
    code: 'CONN_CLOSED',
    details: { outcomeUnknown: false },
  });
});

t.test('a message that is refused at COMMIT is named', async (t) => {
  const adds: Buffer[] = [];
  const { fake, connection } = await connectedFake(t, {
    onAdd: (message) => adds.push(Buffer.from(message)),
    onControl: (type, message, client) => {
      if (type !== COMMIT_REQUEST) return false;
      client.refuse(adds[3] ?? message, 2, 9);
      client.refuse(message, EXPERIMENTER_ERROR, MSG_FAILED, ONF_VENDOR_ID);
      return true;
    },
  });
  t.match(await connection.commitBundle(messages(10)), {
    committed: false,
    refused: [{ index: 3, error: { code: 'OFP_OFPBAC_BAD_OUT_GROUP', op: 'openflow.bundle' } }],
  });
  t.strictSame(fake.controls, [OPEN_REQUEST, CLOSE_REQUEST, COMMIT_REQUEST]);
});

for (const { name, at, code, want, controls } of [
  {
    name: 'OPEN',
    at: OPEN_REQUEST,
    code: 2305,
    want: 'OFP_OFPBFC_OUT_OF_BUNDLES',
    controls: [0, 2, 6],
  },
  { name: 'CLOSE', at: CLOSE_REQUEST, code: 2302, want: 'OFP_OFPBFC_BAD_ID', controls: [0, 2, 6] },
  {
    name: 'COMMIT',
    at: COMMIT_REQUEST,
    code: 2313,
    want: 'OFP_OFPBFC_MSG_FAILED',
    controls: [0, 2, 4],
  },
]) {
  t.test(`a failure of ${name} that names no message is thrown`, async (t) => {
    const { fake, connection } = await connectedFake(t, {
      onControl: (type, message, client) => {
        // The bundle is gone for DISCARD too, which says nothing new.
        if (type !== at && type !== DISCARD_REQUEST) return false;
        client.refuse(message, EXPERIMENTER_ERROR, type === at ? code : 2302, ONF_VENDOR_ID);
        return true;
      },
    });
    await t.rejects(connection.commitBundle(messages(2)), { code: want, retryable: true });
    t.strictSame(fake.controls, controls);
    t.equal(connection.closed, undefined);
  });
}

t.test('a bundle that idled out says so, not only that its id is unknown', async (t) => {
  let open = Buffer.alloc(0);
  const { connection } = await connectedFake(t, {
    onControl: (type, message, client) => {
      if (type === OPEN_REQUEST) open = Buffer.from(message);
      if (type !== CLOSE_REQUEST) return false;
      client.refuse(open, EXPERIMENTER_ERROR, 2314, ONF_VENDOR_ID);
      client.refuse(message, EXPERIMENTER_ERROR, 2302, ONF_VENDOR_ID);
      return true;
    },
  });
  await t.rejects(connection.commitBundle(messages(2)), { code: 'OFP_OFPBFC_TIMEOUT' });
});

for (const { name, at, outcomeUnknown } of [
  { name: 'OPEN', at: OPEN_REQUEST, outcomeUnknown: false },
  { name: 'CLOSE', at: CLOSE_REQUEST, outcomeUnknown: false },
  { name: 'COMMIT', at: COMMIT_REQUEST, outcomeUnknown: true },
]) {
  t.test(`a connection lost at ${name}: outcome unknown is ${outcomeUnknown}`, async (t) => {
    const { connection } = await connectedFake(t, {
      onControl: (type, _, client) => {
        if (type !== at) return false;
        client.destroy();
        return true;
      },
    });
    const queued = connection.commitBundle(messages(3)).catch((error: unknown) => error);
    await t.rejects(connection.commitBundle(messages(1)), {
      code: 'CONN_CLOSED',
      details: { outcomeUnknown: false },
    });
    t.match(await queued, { code: 'CONN_CLOSED', details: { outcomeUnknown } });
  });
}

t.test('a connection lost right after the reply to CLOSE: nothing is committed', async (t) => {
  const { fake, connection } = await connectedFake(t, {
    onControl: (type, message, client) => {
      if (type !== CLOSE_REQUEST) return false;
      const reply = Buffer.from(message);
      reply.writeUInt16BE(CLOSE_REQUEST + 1, 20);
      // One write, one chunk: the connection is gone before COMMIT can be sent.
      client.send(Buffer.concat([reply, Buffer.from('0403000400000000', 'hex')]));
      return true;
    },
  });
  await t.rejects(connection.commitBundle(messages(1)), {
    code: 'CONN_CLOSED',
    details: { outcomeUnknown: false },
    cause: { code: 'DECODE_BAD_LENGTH' },
  });
  t.strictSame(fake.controls, [OPEN_REQUEST, CLOSE_REQUEST]);
});

t.test('a connection lost while the switch holds us back is noticed at once', async (t) => {
  const { connection } = await connectedFake(t, {
    onAdd: (_, index, client) => {
      if (index !== 0) return;
      client.pause();
      setTimeout(() => client.destroy(), 30);
    },
  });
  const began = performance.now();
  await t.rejects(connection.commitBundle(messages(400, 50_000)), {
    code: 'CONN_CLOSED',
    details: { outcomeUnknown: false },
  });
  t.ok(performance.now() - began < 2000);
});

t.test(
  'silence at COMMIT: time-out, outcome unknown, and the connection is given up',
  async (t) => {
    const script: FakeScript = { onControl: (type) => type === COMMIT_REQUEST };
    const { connection } = await connectedFake(t, script, { bundleTimeoutMs: 100 });
    await t.rejects(connection.commitBundle(messages(1)), {
      code: 'CONN_TIMEOUT',
      details: { outcomeUnknown: true },
    });
    t.match(connection.closed, { code: 'CONN_TIMEOUT' });
  },
);

t.test('a commit that is answered by nonsense is an unknown outcome', async (t) => {
  const { connection } = await connectedFake(t, {
    onControl: (type, message, client) => {
      if (type !== COMMIT_REQUEST) return false;
      client.send(encodeMessage(OFPT.EXPERIMENTER, messageXid(message), Buffer.alloc(4)));
      return true;
    },
  });
  await t.rejects(connection.commitBundle(messages(1)), {
    code: 'CONN_CLOSED',
    details: { outcomeUnknown: true },
    cause: { code: 'DECODE_BAD_VALUE' },
  });
});

t.test('a message that no bundle can carry is refused before anything is sent', async (t) => {
  const { fake, connection } = await connectedFake(t);
  const long = Buffer.alloc(BUNDLE_MESSAGE_MAX + 1);
  t.match(await connection.commitBundle([...messages(2), long]), {
    committed: false,
    refused: [{ index: 2, error: { code: 'OFP_MESSAGE_TOO_LONG' } }],
  });
  await connection.barrier();
  t.strictSame(fake.controls, []);
  t.strictSame(await connection.commitBundle([long.subarray(0, BUNDLE_MESSAGE_MAX)]), {
    committed: true,
  });
});

t.test('bundles of one connection run one after another', async (t) => {
  const { fake, connection } = await connectedFake(t, {
    onAdd: (message, index, client) => {
      if (message.length === 24 + 8 + 16 && index === 1) client.refuse(message, 5, 1);
    },
  });
  const outcomes = await Promise.all([
    connection.commitBundle(messages(500)),
    connection.commitBundle(messages(3, 16)),
    connection.commitBundle(messages(500)),
  ]);
  t.match(outcomes, [
    { committed: true },
    {
      committed: false,
      refused: [{ index: 1, error: { code: 'OFP_OFPFMFC_TABLE_FULL', retryable: true } }],
    },
    { committed: true },
  ]);
  t.strictSame(fake.controls, [0, 2, 4, 0, 2, 6, 0, 2, 4]);
});

t.test('errors without end are bounded', async (t) => {
  const { connection } = await connectedFake(t, {
    onAdd: (message, _, client) => {
      client.refuse(message, 4, 9);
      client.refuse(message, 4, 10);
    },
  });
  const outcome = await connection.commitBundle(messages(REFUSED_MAX + 500));
  const refused = outcome.committed ? [] : outcome.refused;
  t.equal(refused.length, REFUSED_MAX);
  t.ok(
    refused.every(({ index, error }, i) => index === i && error.code === 'OFP_OFPBMC_BAD_PREREQ'),
  );
});

t.test('a switch that reads slowly holds us back, and costs no memory', async (t) => {
  const given = messages(400, 50_000);
  const { fake, connection } = await connectedFake(
    t,
    {
      onAdd: (_, index, client) => {
        if (index % 50 !== 0) return;
        client.pause();
        setTimeout(() => client.resume(), 20);
      },
    },
    // Far less than the 20 MB of the bundle: without waiting for `drain` the cap would end the connection.
    { maxQueuedBytes: 1 << 20 },
  );
  t.strictSame(await connection.commitBundle(given), { committed: true });
  t.equal(fake.committed.length, 400);
});

t.test('a switch that stops reading is given up', async (t) => {
  const script: FakeScript = { onAdd: (_, index, client) => index === 0 && client.pause() };
  const { connection } = await connectedFake(t, script, { bundleTimeoutMs: 150 });
  await t.rejects(connection.commitBundle(messages(400, 50_000)), {
    code: /CONN_OVERLOAD|CONN_TIMEOUT/,
    details: { outcomeUnknown: false },
  });
});
