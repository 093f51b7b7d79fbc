/**
 * The Kubernetes source against a server that misbehaves, and its pure parts. What a real server does is in
 * test/integration/kube.test.ts.
 */
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { KubeError } from '../../../src/kube/error.ts';
import { KubeObjects } from '../../../src/agent/sources/kube-objects.ts';
import {
  isBehind,
  LineSplitter,
  parseListPage,
  parseWatchEvent,
  type RawObject,
  refusesStreamedList,
  statusError,
} from '../../../src/kube/watch.ts';
import { KubeSource } from '../../../src/agent/sources/kube.ts';
import { HOLD_MS } from '../../../src/kube/mass-removal.ts';
import { until } from '../../support/agent.ts';
import { FakeKube, type Misbehaviour } from '../../support/fake-kube.ts';

const URL_SHOWN = 'http://fake/apis/dpu.network/v1alpha1/dpurules';

function raw(name: string, resourceVersion = '1', entry: object = { action: 'deny' }): RawObject {
  const metadata = { name, namespace: 'tenant-a', uid: `uid-${name}`, resourceVersion };
  const spec = { networkRef: 'tenant-a', rules: [entry] };
  const value = { apiVersion: 'dpu.network/v1alpha1', kind: 'DPURule', metadata, spec };
  return { ...metadata, value };
}

function ruleObjects(count: number): KubeObjects {
  const objects = new KubeObjects({ kind: 'DPURule', url: () => URL_SHOWN });
  objects.listBegin();
  for (let index = 0; index < count; index++) objects.put(raw(`r${index}`));
  objects.listEnd(0);
  return objects;
}

/** A complete list of the first `count` objects. */
function relist(objects: KubeObjects, count: number, nowMs: number): void {
  objects.listBegin();
  for (let index = 0; index < count; index++) objects.put(raw(`r${index}`));
  objects.listEnd(nowMs);
}

const sizeOf = (objects: KubeObjects): number => [...objects.good()].length;
const goodOf = (objects: KubeObjects, name: string): unknown =>
  new Map(objects.good()).get(`DPURule/tenant-a/${name}`);

t.test('lines come out whole, however the bytes are cut', async (t) => {
  const line = fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll(/[\r\n]/g, '').trim());
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.nat(7)), (lines, cuts) => {
      const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(''));
      const splitter = new LineSplitter();
      const seen: string[] = [];
      let at = 0;
      for (const cut of [...cuts, bytes.length]) {
        seen.push(...splitter.push(bytes.subarray(at, at + cut)));
        at += cut;
      }
      return JSON.stringify(seen) === JSON.stringify(lines.filter((text) => text !== ''));
    }),
  );
  t.throws(() => [...new LineSplitter(10).push(Buffer.from('0123456789a'))], {
    code: 'SOURCE_KUBE_BAD_ANSWER',
  });
  t.same([...new LineSplitter(10).push(Buffer.from('0123456789\n012\n'))], ['0123456789', '012']);
});

t.test('what is no event and no list is a typed error', async (t) => {
  const lines = [
    '',
    '{',
    'null',
    '[]',
    '{"type": "ADDED"}',
    '{"type": "ADDED", "object": {"metadata": {"name": "x"}}}',
    `{"type": "ADDED", "object": {"metadata": {"name": "${'x'.repeat(254)}", "resourceVersion": "1"}}}`,
    '{"type": "GONE", "object": {}}',
    '{"type": "BOOKMARK", "object": {}}',
    '{"type": "__proto__", "object": {}}',
    '<html>proxy</html>',
  ];
  for (const line of lines) {
    t.throws(() => parseWatchEvent(line, URL_SHOWN), { code: 'SOURCE_KUBE_BAD_ANSWER' }, line);
    t.throws(() => parseListPage(line, 'v1', 'X'), { code: 'SOURCE_KUBE_BAD_ANSWER' }, line);
  }
  const event = parseWatchEvent('{"type": "ERROR", "object": {"code": 410}}', URL_SHOWN);
  t.match(event, { type: 'error', error: { code: 'SOURCE_KUBE_EXPIRED' } });
});

t.test('an error says what is to be done', async (t) => {
  const error = (status: number): KubeError => statusError(status, '', URL_SHOWN);
  for (const status of [400, 405, 422, 500]) t.ok(refusesStreamedList(error(status)), `${status}`);
  for (const status of [401, 403, 404, 410, 429, 503]) {
    t.notOk(refusesStreamedList(error(status)), `${status}`);
  }
  t.equal(statusError(429, '', URL_SHOWN, '7').retryAfterMs, 7000, 'header');
  t.equal(statusError(429, '', URL_SHOWN, 'tomorrow').retryAfterMs, undefined, 'no number');
  t.equal(
    statusError(429, '{"details": {"retryAfterSeconds": 2}}', URL_SHOWN).retryAfterMs,
    2000,
    'Status',
  );
  t.ok(statusError(500, 'x'.repeat(9999), URL_SHOWN).message.length < 400, 'bounded');
  t.equal(isBehind('99', '100'), true);
  t.equal(isBehind('100', '99'), false);
  t.equal(isBehind('abc', '99'), false, 'what is no number is not compared');
});

t.test('a list that lacks too much is held, one that lacks little is believed', async (t) => {
  const cases = [
    { name: '19 of 20 are too few to be doubted', known: 20, listed: 1, left: 1 },
    { name: 'half of 40 is believed', known: 40, listed: 20, left: 20 },
    { name: '21 of 40 are held', known: 40, listed: 19, left: 40 },
    { name: 'all of 20 are held', known: 20, listed: 0, left: 20 },
  ];
  for (const { name, known, listed, left } of cases) {
    const objects = ruleObjects(known);
    relist(objects, listed, 1000);
    t.equal(sizeOf(objects), left, name);
    t.equal([...objects.problems()].length, left > listed ? 1 : 0, `${name}: alarm`);
  }

  const objects = ruleObjects(40);
  relist(objects, 5, 1000);
  t.equal(objects.heldUntilMs, 1000 + HOLD_MS);
  objects.remove(raw('r39'));
  t.equal(sizeOf(objects), 39, 'a delete that was watched goes through');
  objects.put(raw('r38', '2'));
  relist(objects, 5, 5000);
  t.equal(objects.heldUntilMs, 1000 + HOLD_MS, 'another list like it does not lengthen it');
  t.equal(objects.release(HOLD_MS), false, 'not yet');
  objects.release(1000 + HOLD_MS);
  t.equal(sizeOf(objects), 6, 'given up after the time; r38 was seen later, and is held still');
  relist(objects, 5, 1001 + HOLD_MS);
  t.equal(sizeOf(objects), 5);
  t.same([...objects.problems()], []);

  const back = ruleObjects(40);
  relist(back, 5, 1000);
  relist(back, 40, 2000);
  t.equal(back.heldUntilMs, undefined, 'all is well when the objects are back');

  const broken = ruleObjects(40);
  broken.listBegin();
  broken.listAbort();
  t.equal(broken.listEnd(0), false);
  t.equal(sizeOf(broken), 40, 'a list that broke off lacks nothing');
});

t.test('the last good version of an object stays, unchanged ones are the same', async (t) => {
  const objects = ruleObjects(1);
  const first = goodOf(objects, 'r0');
  t.equal(objects.put(raw('r0', '1')), false, 'the same version');
  t.equal(objects.put(raw('r0', '2')), false, 'a version that changes nothing that we read');
  t.equal(goodOf(objects, 'r0'), first, 'identity');
  t.equal(objects.put(raw('r0', '3', { action: 'explode' })), true);
  t.equal(goodOf(objects, 'r0'), first, 'invalid: the last good version');
  t.match(
    [...objects.problems()],
    [{ object: 'DPURule/tenant-a/r0', path: 'spec.rules[0].action' }],
  );
  objects.put(raw('bad', '4', { action: 'explode' }));
  t.equal(goodOf(objects, 'bad'), undefined, 'never good: nothing');
  objects.put(raw('r0', '5', { action: 'allow' }));
  t.not(goodOf(objects, 'r0'), first);
  objects.remove(raw('bad', '6'));
  t.same([...objects.problems()], [], 'put right, and gone');

  const small = new KubeObjects({ kind: 'DPURule', url: () => URL_SHOWN, objectsMax: 2 });
  for (const name of ['a', 'b', 'c']) small.put(raw(name));
  t.equal(sizeOf(small), 2, 'bounded');
  t.match([...small.problems()], [{ message: /1 DPURule objects are left out/ }]);
});

interface Rig {
  readonly fake: FakeKube;
  readonly source: KubeSource;
  readonly names: () => string;
}

async function rig(t: Test, idleMs = 5000): Promise<Rig> {
  const fake = await FakeKube.create(t);
  const source = new KubeSource(
    { kubeconfig: fake.kubeconfig },
    { idleMs, answerMs: 2000, reflector: { minBackoffMs: 10, maxBackoffMs: 50 } },
  );
  t.after(() => source.close());
  const names = (): string =>
    [...source.snapshot.objects.values()]
      .map(({ object }) => object.metadata.name)
      .sort()
      .join(' ');
  return { fake, source, names };
}

const streamed = (query: URLSearchParams): boolean => query.get('sendInitialEvents') === 'true';

t.test('the first list comes by pages where the server does not stream it', async (t) => {
  const ways: { name: string; idleMs?: number; misbehave: (fake: FakeKube) => Misbehaviour }[] = [
    {
      name: 'refused by status',
      misbehave: (fake) => (query, response) =>
        streamed(query) && fake.refuse(response, 422, 'Invalid'),
    },
    {
      name: 'refused by an ERROR event',
      misbehave: () => (query, response) => {
        if (!streamed(query)) return false;
        response.end('{"type":"ERROR","object":{"kind":"Status","code":500,"message":"no"}}\n');
        return true;
      },
    },
    {
      name: 'not understood: a plain watch that never says that the list is over',
      idleMs: 300,
      misbehave: () => (query, response) => {
        if (streamed(query)) response.flushHeaders();
        return streamed(query);
      },
    },
  ];
  for (const { name, idleMs, misbehave } of ways) {
    const { fake, source } = await rig(t, idleMs);
    for (let index = 0; index < 1201; index++) fake.put(`r${index}`);
    fake.misbehave = misbehave(fake);
    await source.start();
    t.equal(source.snapshot.objects.size, 1201, name);
    t.equal(
      fake.queries.filter((query) => query.get('limit') === '500').length,
      3,
      `${name}: three pages`,
    );
    await until('a watch', () =>
      fake.queries.some((query) => query.get('resourceVersion') === '1301'),
    );
    fake.put('late');
    await until('the watched one', () => source.snapshot.objects.size === 1202);
    await source.close();
  }
});

t.test('whatever a server does, objects stay, and it is caught up with afterwards', async (t) => {
  const faults: { name: string; fault: (fake: FakeKube) => void; alarm?: RegExp }[] = [
    { name: 'the watch ends', fault: (fake) => fake.endWatches() },
    { name: 'the connection breaks', fault: (fake) => fake.endWatches(true) },
    {
      name: 'bytes that are no JSON',
      fault: (fake) => fake.write('{"type": "ADDED", "obj\n'),
    },
    {
      name: 'a line that does not end',
      fault: (fake) => {
        for (let part = 0; part < 9; part++) fake.write('x'.repeat(1 << 20));
      },
    },
    {
      name: 'an event of an unknown type',
      fault: (fake) => fake.event('VANISHED', {}),
    },
    {
      name: 'an ERROR event with 500',
      fault: (fake) => fake.event('ERROR', { kind: 'Status', code: 500 }),
    },
    {
      name: 'an ERROR event with 410',
      fault: (fake) => fake.event('ERROR', { kind: 'Status', code: 410, reason: 'Expired' }),
    },
    { name: 'silence', fault: () => undefined },
  ];
  for (const { name, fault } of faults) {
    const { fake, source, names } = await rig(t, 300);
    fake.put('a');
    await source.start();
    const before = source.snapshot.objects.get('DPURule/tenant-a/a');
    fault(fake);
    // Nobody sees it happen: only a new watch from the right version, or a new list, can tell.
    fake.put('b', { action: 'deny' }, true);
    await until(`${name}: caught up`, () => names() === 'a b');
    t.equal(source.snapshot.objects.get('DPURule/tenant-a/a'), before, `${name}: the same object`);
    await until(`${name}: no problem`, () => source.snapshot.problems.length === 0);
    t.pass(name);
    await source.close();
  }
});

t.test('refusals last as long as they like: objects stay, a problem says so', async (t) => {
  for (const status of [401, 403, 404, 429, 500, 503]) {
    const { fake, source, names } = await rig(t);
    for (let index = 0; index < 30; index++) fake.put(`r${index}`);
    await source.start();
    fake.misbehave = (_query, response) => fake.refuse(response, status, 'Refused');
    fake.endWatches(true);
    await until('an alarm', () =>
      source.snapshot.problems.some(({ message }) => message.includes(String(status))),
    );
    fake.remove('r0', true);
    t.match(names(), /r0/, `${status}: nothing is taken away`);
    t.equal(source.snapshot.objects.size, 30);
    fake.misbehave = () => false;
    await until('no problem', () => source.snapshot.problems.length === 0);
    await source.close();
  }
});

t.test('Retry-After is obeyed', async (t) => {
  const { fake, source } = await rig(t);
  const times: number[] = [];
  fake.misbehave = (_query, response) => {
    times.push(performance.now());
    return times.length === 1 && fake.refuse(response, 429, 'Busy', { 'retry-after': '1' });
  };
  await source.start();
  const [first = 0, second = 0] = times;
  t.ok(second - first >= 990, `${Math.round(second - first)} ms`);
});

t.test('a list that breaks off takes nothing away', async (t) => {
  const { fake, source } = await rig(t);
  for (let index = 0; index < 10; index++) fake.put(`r${index}`);
  await source.start();
  let cut = false;
  fake.misbehave = (query, response) => {
    if (!streamed(query) || cut) return false;
    cut = true;
    response.write(`${JSON.stringify({ type: 'ADDED', object: fake.put('new', {}, true) })}\n`);
    setTimeout(() => response.destroy(), 20);
    return true;
  };
  fake.event('ERROR', { kind: 'Status', code: 410 });
  await until('the cut', () => cut && source.snapshot.problems.length > 0);
  t.equal(source.snapshot.objects.size, 10, 'ten were not in the half list');
  fake.remove('new', true);
  await until('the whole list', () => source.snapshot.problems.length === 0);
  t.equal(source.snapshot.objects.size, 10);
});

t.test('a server restored from an old backup is noticed, and what it forgot is held', async (t) => {
  const { fake, source } = await rig(t);
  for (let index = 0; index < 30; index++) fake.put(`r${index}`);
  await source.start();
  for (let index = 0; index < 30; index++) fake.remove(`r${index}`, true);
  fake.resourceVersion = 50;
  fake.put('old', { action: 'deny' }, true);
  fake.endWatches(true);
  await until('the old one', () => source.snapshot.objects.has('DPURule/tenant-a/old'));
  t.equal(source.snapshot.objects.size, 31, 'all are in force');
  t.match(source.snapshot.problems, [{ message: /30 DPURule objects are missing/ }]);
  fake.put('after');
  await until('a watch from there', () => source.snapshot.objects.size === 32);
});

t.test(
  'a source that is closed before it could read ends its start, and says no more',
  async (t) => {
    const { fake, source } = await rig(t);
    fake.misbehave = (_query, response) => fake.refuse(response, 503, 'Down');
    const starting = source.start();
    await until('an alarm', () => source.snapshot.problems.length > 0);
    t.equal(source.snapshot.objects.size, 0, 'half a picture is not shown');
    await source.close();
    await starting;
    source.on('change', () => t.fail('no event after close'));
    fake.misbehave = () => false;
    await new Promise((resolve) => setTimeout(resolve, 100));
  },
);

t.test('a configuration that cannot be used is a problem, not an end', async (t) => {
  const source = new KubeSource(
    { kubeconfig: '/nowhere/kubeconfig' },
    { reflector: { minBackoffMs: 10, maxBackoffMs: 50 } },
  );
  t.after(() => source.close());
  void source.start();
  await until('an alarm of each kind', () => source.snapshot.problems.length === 4);
  t.match(source.snapshot.problems[0]?.message, /\/nowhere\/kubeconfig cannot be read: ENOENT/);
});
