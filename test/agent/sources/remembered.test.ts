// The last good objects: saved whole or not at all, used when the source cannot be read, and never when damaged.
import { createHash } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { objectKey } from '../../../src/api/object.ts';
import type { DpuRule } from '../../../src/api/dpu-rule.ts';
import { LastGoodStore } from '../../../src/agent/sources/last-good.ts';
import { RememberedSource } from '../../../src/agent/sources/remembered.ts';
import type {
  RuleSource,
  RuleSourceEvents,
  SourceObject,
  SourceSnapshot,
} from '../../../src/agent/sources/source.ts';
import { until } from '../../support/agent.ts';
import { rule } from '../../support/model.ts';

function objects(...rules: DpuRule[]): Map<string, SourceObject> {
  return new Map(
    rules.map((object) => [
      objectKey(object),
      { object, origin: `rules.d/${object.metadata.name}.yaml:1` },
    ]),
  );
}

function deny(name: string): DpuRule {
  return rule(name, { rules: [{ vni: 1000, match: { dstPort: 81 }, action: 'deny' }] });
}

/** A source that is read when the test says so. */
class HeldSource extends EventEmitter<RuleSourceEvents> implements RuleSource {
  readonly #read = Promise.withResolvers<void>();
  snapshot: SourceSnapshot = { objects: new Map(), problems: [], revision: 0, changedAtMs: 0 };

  start(): Promise<void> {
    return this.#read.promise;
  }

  async close(): Promise<void> {}

  read(found: ReadonlyMap<string, SourceObject>): void {
    this.snapshot = { ...this.snapshot, objects: found, revision: this.snapshot.revision + 1 };
    this.#read.resolve();
    this.emit('change');
  }
}

async function store(t: { after(work: () => unknown): void }): Promise<LastGoodStore> {
  const dir = await mkdtemp(join(tmpdir(), 'dpu-state-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return new LastGoodStore(join(dir, 'state'));
}

t.test('what was saved is read back, in a file that only its owner can read', async (t) => {
  const saved = await store(t);
  t.strictSame(await saved.load(), {}, 'nothing at the first boot');
  const some = objects(deny('a'), deny('b'));
  await saved.save(some, '2026-11-25T00:00:00.000Z');
  t.strictSame(await saved.load(), {
    lastGood: { objects: some, savedAt: '2026-11-25T00:00:00.000Z' },
  });
  t.equal((await stat(saved.path)).mode & 0o777, 0o600);
});

t.test(
  'a file that is cut, changed, empty or of another format is set aside and not used',
  async (t) => {
    const saved = await store(t);
    await saved.save(objects(deny('a')), '2026-11-25T00:00:00.000Z');
    const whole = await readFile(saved.path, 'utf8');
    const cases: readonly [name: string, text: string][] = [
      ['cut', whole.slice(0, -10)],
      ['cut by its last byte', whole.slice(0, -1)],
      ['changed', whole.replace('deny', 'pass')],
      ['empty', ''],
      ['no checksum', '{}\n'],
    ];
    for (const [name, text] of cases) {
      await writeFile(saved.path, text);
      const { lastGood, problem } = await saved.load();
      t.equal(lastGood, undefined, name);
      t.match(problem, /is damaged or half written; it is not used, and kept as .*\.bad/, name);
      t.equal(await readFile(`${saved.path}.bad`, 'utf8'), text, `${name}: kept for inspection`);
    }
  },
);

t.test('a whole file of another format is set aside too', async (t) => {
  const saved = await store(t);
  await saved.save(objects(), '2026-11-25T00:00:00.000Z');
  for (const body of [
    '{"format":2,"savedAt":"x","objects":[]}',
    '{"format":1,"savedAt":"x"}',
    '7',
    'null',
  ]) {
    const checksum = createHash('sha256').update(body).digest('hex');
    await writeFile(saved.path, `${checksum}\n${body}\n`);
    const { lastGood, problem } = await saved.load();
    t.equal(lastGood, undefined, body);
    t.match(problem, /is of another format than this release writes; it is not used/, body);
  }
});

t.test('an object that the schema no longer accepts is left out', async (t) => {
  const saved = await store(t);
  const wrong = { ...deny('wrong'), spec: { ...deny('wrong').spec, tier: 'nonsense' as 'tenant' } };
  await saved.save(objects(deny('a'), wrong), '2026-11-25T00:00:00.000Z');
  t.strictSame([...((await saved.load()).lastGood?.objects.keys() ?? [])], ['DPURule/tenant-a/a']);
});

t.test(
  'a source that cannot be read is replaced by the last good objects, until it can',
  async (t) => {
    const saved = await store(t);
    await saved.save(objects(deny('old')), '2026-11-25T00:00:00.000Z');
    const inner = new HeldSource();
    const source = new RememberedSource(inner, saved, { patienceMs: 20, saveDelayMs: 1 });
    t.after(() => source.close());
    await source.start();
    t.strictSame([...source.snapshot.objects.keys()], ['DPURule/tenant-a/old']);
    t.equal(source.staleSince, '2026-11-25T00:00:00.000Z');
    let changes = 0;
    source.on('change', () => changes++);
    inner.read(objects(deny('new')));
    await until('the source itself', () => source.staleSince === undefined);
    t.strictSame([...source.snapshot.objects.keys()], ['DPURule/tenant-a/new']);
    t.ok(changes > 0);
    await until('saved', async () =>
      (await saved.load()).lastGood?.objects.has('DPURule/tenant-a/new'),
    );
  },
);

t.test('a source that is read in time is used at once, and nothing old comes back', async (t) => {
  const saved = await store(t);
  await saved.save(objects(deny('old')), '2026-11-25T00:00:00.000Z');
  const inner = new HeldSource();
  const source = new RememberedSource(inner, saved, { patienceMs: 5000, saveDelayMs: 1 });
  t.after(() => source.close());
  const started = source.start();
  inner.read(objects());
  await started;
  t.equal(source.staleSince, undefined);
  t.strictSame([...source.snapshot.objects.keys()], []);
});

t.test(
  'a directory that cannot be written is a problem that is shown, and no rule is lost by it',
  async (t) => {
    const saved = await store(t);
    await writeFile(join(saved.path, '..'), 'a file in the way');
    const inner = new HeldSource();
    const source = new RememberedSource(inner, saved, { saveDelayMs: 1 });
    t.after(() => source.close());
    inner.read(objects(deny('a')));
    await source.start();
    await until('problem', () =>
      source.snapshot.problems.some(({ message }) => /cannot be written/.test(message)),
    );
    t.equal(source.snapshot.objects.size, 1);
  },
);

t.test('a file that is broken at a start keeps its last good objects in force', async (t) => {
  const broken = { file: 'rules.d/broken.yaml', path: 'spec', message: 'is wrong', line: 3 };
  const cases: readonly {
    name: string;
    then: Partial<SourceSnapshot>;
    left: readonly string[];
  }[] = [
    {
      name: 'put right',
      then: { objects: objects(deny('broken')), problems: [] },
      left: ['broken'],
    },
    { name: 'removed', then: { problems: [] }, left: [] },
    { name: 'broken otherwise', then: { problems: [{ ...broken, line: 4 }] }, left: ['broken'] },
  ];
  for (const { name, then, left } of cases) {
    const saved = await store(t);
    await saved.save(objects(deny('broken'), deny('removed')), '2026-11-25T00:00:00.000Z');
    const inner = new HeldSource();
    inner.snapshot = { ...inner.snapshot, problems: [broken] };
    const source = new RememberedSource(inner, saved, { patienceMs: 5000, saveDelayMs: 1 });
    t.after(() => source.close());
    const started = source.start();
    inner.read(objects(deny('new')));
    await started;
    t.equal(source.staleSince, undefined, name);
    const keys = (): string[] => [...source.snapshot.objects.keys()].sort();
    t.strictSame(keys(), ['DPURule/tenant-a/broken', 'DPURule/tenant-a/new'], name);
    await until('saved', async () => (await saved.load()).lastGood?.objects.size === 2);
    t.ok((await saved.load()).lastGood?.objects.has('DPURule/tenant-a/broken'), `${name}: saved`);
    inner.snapshot = { ...inner.snapshot, objects: objects(), ...then };
    inner.emit('change');
    t.strictSame(
      keys(),
      left.map((object) => `DPURule/tenant-a/${object}`),
      `${name}: afterwards`,
    );
  }
});
