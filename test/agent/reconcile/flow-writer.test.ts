// Writing changes: what the switch refuses holds nothing else back, and nobody writes without the lock.
import t from 'tap';
import { Refusals } from '../../../src/agent/reconcile/refusals.ts';
import { writeChanges, type WriteOptions } from '../../../src/agent/reconcile/flow-writer.ts';
import type { Change } from '../../../src/agent/flow/diff.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import type { BundleMessage } from '../../../src/openflow/bundle.ts';
import type { BundleOutcome, RefusedMessage } from '../../../src/openflow/bundle-commit.ts';
import { OpenFlowError } from '../../../src/openflow/errors.ts';
import { encodeFlow } from '../../../src/openflow/flow.ts';
import { encodeMeter, encodeMeterDelete } from '../../../src/openflow/meter-mod.ts';

function change(index: number, priority = index): Extract<Change, { kind: 'add' }> {
  const flow = encodeFlow({
    tableId: 22,
    priority,
    cookie: BigInt(index),
    match: [],
    instructions: { gotoTable: 23 },
  });
  return { kind: 'add', message: flow.message, flow, owner: `rule-${index}` };
}

const changes = (count: number): Change[] =>
  Array.from({ length: count }, (_, index) => change(index));

function tableFull(): OpenFlowError {
  return new OpenFlowError('switch answered OFPFMFC_TABLE_FULL', {
    code: 'OFP_OFPFMFC_TABLE_FULL',
    op: 'openflow.bundle',
    retryable: true,
  });
}

/** A switch that refuses some messages, and remembers the sizes of the bundles that it was sent. */
function fakeConnection(isRefused: (message: BundleMessage) => boolean): {
  readonly sizes: number[];
  commitBundle(
    messages: readonly BundleMessage[],
    options?: { onCommitted?: () => void },
  ): Promise<BundleOutcome>;
  sendMessages(messages: readonly Uint8Array[]): Promise<RefusedMessage[]>;
} {
  const sizes: number[] = [];
  return {
    sizes,
    sendMessages(messages) {
      const refused = messages.flatMap((message, index) =>
        isRefused(message) ? [{ index, error: tableFull() }] : [],
      );
      return Promise.resolve(refused);
    },
    async commitBundle(messages, options = {}) {
      sizes.push(messages.length);
      const refused = messages.flatMap((message, index) =>
        isRefused(message) ? [{ index, error: tableFull() }] : [],
      );
      if (refused.length > 0) return { committed: false, refused: refused.slice(0, 1) };
      options.onCommitted?.();
      return { committed: true };
    },
  };
}

function options(override: Partial<WriteOptions> = {}): WriteOptions & { readonly done: Change[] } {
  const done: Change[] = [];
  return {
    done,
    chunkSize: undefined,
    onCommitted: (some) => void done.push(...some),
    onRefused: () => {},
    mayWrite: () => true,
    ...override,
  };
}

t.test('what is refused is named, and everything else goes in', async (t) => {
  const all = changes(10);
  const bad = new Set([all[3]?.message, all[7]?.message]);
  const connection = fakeConnection((message) => bad.has(message));
  const given = options();
  const { refused, complete } = await writeChanges(connection, all, given);
  t.equal(complete, true);
  t.strictSame(
    refused.map(({ change: named }) => named),
    [all[3], all[7]],
  );
  t.equal(given.done.length, 8);
  t.strictSame(connection.sizes, [10, 9, 8], 'each bundle without what the ones before named');
});

t.test(
  'a refusal in a long first sync is one refusal, however many bundles went before',
  async (t) => {
    const all = changes(200);
    const connection = fakeConnection((message) => message === all[199]?.message);
    const given = options({ chunkSize: 2 });
    const { refused } = await writeChanges(connection, all, given);
    t.equal(refused.length, 1);
    t.equal(given.done.length, 199);
  },
);

t.test(
  'a switch that refuses one bundle after another is given up, with everything that it named',
  async (t) => {
    const connection = fakeConnection(() => true);
    await t.rejects(writeChanges(connection, changes(100), options()), { code: 'FLOW_REFUSED' });
    t.equal(connection.sizes.length, 65);
  },
);

t.test('when the lock goes, no further bundle is sent', async (t) => {
  const connection = fakeConnection(() => false);
  const given = options({ chunkSize: 10, mayWrite: () => connection.sizes.length < 3 });
  const { complete } = await writeChanges(connection, changes(100), given);
  t.equal(complete, false);
  t.strictSame(connection.sizes, [10, 10, 10]);
});

t.test('a refused message waits longer each time, a changed one is tried at once', async (t) => {
  let nowMs = 0;
  const refusals = new Refusals({ logger: silentLogger, now: () => nowMs, poke: () => {} });
  t.after(() => refusals.close());
  const bad = change(1);
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    refusals.note({ change: bad, error: tableFull() });
    const start = nowMs;
    while (refusals.holds(bad)) nowMs += 500;
    waits.push(nowMs - start);
  }
  t.strictSame(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
  t.strictSame(refusals.due(), [bad.flow]);
  refusals.note({ change: bad, error: tableFull() });
  t.equal(refusals.holds(bad), true);
  t.equal(refusals.holds(change(2, 1)), false, 'the same flow with other bytes');
  t.match(refusals.errors.get(bad.flow.key), /OFP_OFPFMFC_TABLE_FULL/);
  refusals.forget([bad]);
  t.equal(refusals.has(bad.flow), false);
});

t.test('meters come before the bundle and go after it, each on its own', async (t) => {
  const meter = (id: number): Extract<Change, { kind: 'meter_add' | 'meter_modify' }> => {
    const encoded = encodeMeter({ meterId: 65536 + id, unit: 'pktps', rate: 10, burst: 1 });
    return { kind: 'meter_add', message: encoded.message, meter: encoded };
  };
  const gone: Change = { kind: 'meter_delete', message: encodeMeterDelete(9), meterId: 9 };
  const [first, second, flow] = [meter(1), meter(2), change(3)];
  const connection = fakeConnection((message) => message === first.message);
  const given = options();
  const { refused } = await writeChanges(connection, [first, second, flow, gone], given);
  t.strictSame(given.done, [second, flow, gone]);
  t.strictSame(
    refused.map((entry) => entry.change),
    [first],
  );
  t.strictSame(connection.sizes, [1], 'no meter is in the bundle');
  const stopped = await writeChanges(
    connection,
    [second, flow],
    options({ mayWrite: () => false }),
  );
  t.match(stopped, { complete: false, refused: [] });
});
