// DirectorySource on real directories: what a file system does, and what must be in force soon after it.
import { EventEmitter, once } from 'node:events';
import {
  appendFile,
  link,
  mkdir,
  mkdtemp,
  rename,
  rm,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import {
  DirectorySource,
  type DirectorySourceOptions,
} from '../../../src/agent/sources/directory.ts';
import type { SourceSnapshot } from '../../../src/agent/sources/source.ts';

/** The promise is 200 ms, which the bench `lab` measures; a machine with other work to do gets ten times that. */
const SEEN_MS = 2000;

function rule(name: string, port = 80, extra = ''): string {
  return `apiVersion: dpu.network/v1alpha1
kind: DPURule
metadata: {name: ${name}, namespace: tenant-a}
spec:
  rules:
  - vni: 1000
    match: {protocol: TCP, dstPort: ${port}}
    action: deny
${extra}`;
}

const KEY = 'DPURule/tenant-a/web';

async function directory(test: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'dpu-rules-'));
  test.teardown(async () => rm(path, { recursive: true, force: true }));
  return path;
}

async function started(
  test: Test,
  path: string,
  options?: DirectorySourceOptions,
): Promise<DirectorySource> {
  const source = new DirectorySource(path, options);
  test.teardown(async () => source.close());
  await source.start();
  return source;
}

/** Waits until the snapshot is as wanted; the time that took, or a failure after `limitMs`. */
async function seen(
  source: DirectorySource,
  wanted: (snapshot: SourceSnapshot) => boolean,
  limitMs = SEEN_MS,
): Promise<number> {
  const start = performance.now();
  const signal = AbortSignal.timeout(limitMs);
  while (!wanted(source.snapshot)) {
    try {
      await once(source, 'change', { signal });
    } catch {
      const keys = [...source.snapshot.objects.keys()].slice(0, 5);
      throw new Error(
        `not seen in ${limitMs} ms; in force: ${keys.join(', ')}; problems: ${JSON.stringify(source.snapshot.problems.slice(0, 3))}`,
      );
    }
  }
  return performance.now() - start;
}

function portOf(snapshot: SourceSnapshot, key = KEY): unknown {
  const object = snapshot.objects.get(key)?.object;
  return object?.kind === 'DPURule' ? object.spec.rules[0]?.match.dstPort : undefined;
}

async function replace(path: string, name: string, text: string): Promise<void> {
  await writeFile(join(path, `.${name}.tmp`), text);
  await rename(join(path, `.${name}.tmp`), join(path, name));
}

void t.test('the first read has the objects of every file, with their places', async (t) => {
  const path = await directory(t);
  await writeFile(join(path, 'a.yaml'), `# rules\n${rule('web')}---\n${rule('db', 81)}`);
  await writeFile(
    join(path, 'b.yml'),
    `apiVersion: v1\nkind: List\nitems:\n- ${rule('list').trim().replaceAll('\n', '\n  ')}\n`,
  );
  await writeFile(
    join(path, 'c.json'),
    JSON.stringify(
      {
        apiVersion: 'dpu.network/v1alpha1',
        kind: 'DPUNetwork',
        metadata: { name: 'n' },
        spec: { vni: 1000 },
      },
      null,
      '\t',
    ),
  );
  const source = await started(t, path);
  t.strictSame(source.snapshot.problems, []);
  t.strictSame(
    [...source.snapshot.objects].map(([key, { origin }]) => [key, origin.slice(path.length)]),
    [
      ['DPURule/tenant-a/web', '/a.yaml:2'],
      ['DPURule/tenant-a/db', '/a.yaml:11'],
      ['DPURule/tenant-a/list', '/b.yml:4'],
      ['DPUNetwork/n', '/c.json:1'],
    ],
  );
});

void t.test('hidden and temporary files, and other endings, are no rules', async (t) => {
  const path = await directory(t);
  const ignored = [
    '.web.yaml',
    'web.yaml~',
    'web.yaml.swp',
    'web.yaml.tmp',
    '#web.yaml#',
    'README.md',
    '.#web.yaml',
  ];
  for (const name of ignored) await writeFile(join(path, name), rule('web'));
  const source = await started(t, path);
  t.equal(source.snapshot.objects.size, 0);
  t.strictSame(source.snapshot.problems, []);
});

void t.test(
  `add, edit, rename, delete and atomic replace are seen within ${SEEN_MS} ms`,
  async (t) => {
    const path = await directory(t);
    const source = await started(t, path);
    const file = join(path, 'web.yaml');
    const times: Record<string, number> = {};

    await writeFile(file, rule('web', 80));
    times['add'] = await seen(source, (now) => portOf(now) === 80);
    await writeFile(file, rule('web', 81));
    times['edit'] = await seen(source, (now) => portOf(now) === 81);
    await replace(path, 'web.yaml', rule('web', 82));
    times['replace'] = await seen(source, (now) => portOf(now) === 82);

    const before = source.snapshot.objects.get(KEY)?.object;
    const gone: boolean[] = [];
    const note = (): void => void gone.push(!source.snapshot.objects.has(KEY));
    source.on('change', note);
    await rename(file, join(path, 'other.yaml'));
    times['rename'] = await seen(
      source,
      (now) => now.objects.get(KEY)?.origin.includes('other.yaml') === true,
    );
    source.off('change', note);
    t.equal(
      source.snapshot.objects.get(KEY)?.object,
      before,
      'a renamed file does not change its objects',
    );
    t.notOk(gone.includes(true), 'the object is in force all the time');

    await unlink(join(path, 'other.yaml'));
    times['delete'] = await seen(source, (now) => now.objects.size === 0);
    t.comment(
      `seen after (ms): ${JSON.stringify(times, (_key, value: unknown) => (typeof value === 'number' ? Math.round(value) : value))}`,
    );
  },
);

void t.test(
  'objects that did not change keep their identity; the revision grows; the event is dated',
  async (t) => {
    const path = await directory(t);
    await writeFile(join(path, 'a.yaml'), rule('web'));
    await writeFile(join(path, 'b.yaml'), `${rule('db')}---\n${rule('cache')}`);
    const source = await started(t, path);
    const before = source.snapshot;
    const start = performance.now();
    await replace(path, 'b.yaml', `${rule('db', 99)}---\n${rule('cache')}`);
    await seen(source, (now) => portOf(now, 'DPURule/tenant-a/db') === 99);
    const after = source.snapshot;
    for (const name of ['web', 'cache']) {
      const key = `DPURule/tenant-a/${name}`;
      t.equal(after.objects.get(key), before.objects.get(key), `${name} is the same reference`);
    }
    t.not(after.objects.get('DPURule/tenant-a/db'), before.objects.get('DPURule/tenant-a/db'));
    t.equal(after.revision, before.revision + 1);
    t.ok(
      after.changedAtMs >= start && after.changedAtMs <= performance.now(),
      'dated by the event',
    );
    t.equal(portOf(before, 'DPURule/tenant-a/db'), 80, 'an old snapshot stays as it was');
  },
);

void t.test('a broken file keeps its last good version, and says where it is broken', async (t) => {
  const cases = [
    {
      name: 'syntax',
      text: `${rule('web', 81)}  - {\n`,
      line: 10,
      path: '',
      message: /is not YAML/,
    },
    {
      name: 'a bad field',
      text: rule('web', 70000),
      line: 7,
      path: 'spec.rules[0].match.dstPort',
      message: /70000 is not accepted; accepted: a port 0..65535/,
    },
    {
      name: 'an unknown field',
      text: rule('web', 81, '    prioritee: 3\n'),
      line: 9,
      path: 'spec.rules[0].prioritee',
      message: /did you mean priority/,
    },
    {
      name: 'a field given twice',
      text: rule('web', 81, '    action: allow\n'),
      line: 9,
      path: 'spec.rules[0].action',
      message: /is given twice/,
    },
    {
      name: 'a missing field',
      text: rule('web', 81).replace('    action: deny\n', ''),
      line: 6,
      path: 'spec.rules[0].action',
      message: /is missing; accepted: allow, deny/,
    },
    {
      name: 'bytes that are not UTF-8',
      text: Buffer.from([0x61, 0xff, 0xfe]),
      line: undefined,
      path: '',
      message: /not UTF-8/,
    },
    {
      name: 'the same object twice',
      text: `${rule('web', 81)}---\n${rule('web', 82)}`,
      line: 10,
      path: 'metadata.name',
      message: /stands at line 1 in this file too/,
    },
    {
      name: 'a foreign kind',
      text: 'apiVersion: v1\nkind: Pod\n',
      line: 1,
      path: 'apiVersion',
      message: /"v1" is not accepted; accepted: dpu.network\/v1alpha1/,
    },
  ];
  const path = await directory(t);
  const file = join(path, 'web.yaml');
  const source = await started(t, path);
  for (const { name, text, line, path: field, message } of cases) {
    await t.test(name, async (t) => {
      await replace(path, 'web.yaml', rule('web', 80));
      await seen(source, (now) => portOf(now) === 80 && now.problems.length === 0);
      const good = source.snapshot.objects;
      await writeFile(join(path, '.new'), text);
      await rename(join(path, '.new'), file);
      await seen(source, (now) => now.problems.length > 0);
      t.equal(source.snapshot.objects, good, 'the last good version is in force');
      const [problem] = source.snapshot.problems;
      t.match(problem, { file, path: field, message });
      t.equal(problem?.line, line);
    });
  }
  t.equal(portOf(source.snapshot), 80);
});

void t.test('on the first read a broken file contributes its problem only', async (t) => {
  const path = await directory(t);
  await writeFile(join(path, 'a.yaml'), rule('web', -1));
  await writeFile(join(path, 'b.yaml'), rule('db'));
  const source = await started(t, path);
  t.strictSame([...source.snapshot.objects.keys()], ['DPURule/tenant-a/db']);
  t.match(source.snapshot.problems, [{ file: join(path, 'a.yaml'), line: 7, object: KEY }]);
});

void t.test(
  'one object in two files is an error that names both; the one in force stays',
  async (t) => {
    const path = await directory(t);
    await writeFile(join(path, 'm.yaml'), rule('web', 80));
    const source = await started(t, path);
    await writeFile(join(path, 'a.yaml'), rule('web', 81));
    await seen(source, (now) => now.problems.length > 0);
    t.equal(portOf(source.snapshot), 80, 'the version in force stays, though a.yaml sorts first');
    const [problem] = source.snapshot.problems;
    t.match(problem, { file: join(path, 'a.yaml'), object: KEY, line: 1 });
    t.ok(problem?.message.includes(join(path, 'm.yaml:1')), 'names the one in force');
    t.ok(problem?.message.includes(join(path, 'a.yaml:1')), 'names the other');

    await unlink(join(path, 'm.yaml'));
    await seen(source, (now) => portOf(now) === 81);
    t.strictSame(source.snapshot.problems, [], 'the other takes over');

    await writeFile(join(path, 'z.yaml'), rule('both', 1));
    await writeFile(join(path, 'b.yaml'), rule('both', 2));
    const again = await started(t, path);
    t.equal(
      portOf(again.snapshot, 'DPURule/tenant-a/both'),
      2,
      'at the first read the first by name',
    );
  },
);

void t.test('a ConfigMap volume swaps its ..data link', async (t) => {
  const path = await directory(t);
  for (const [version, port] of [
    ['..v1', 80],
    ['..v2', 81],
  ] as const) {
    await mkdir(join(path, version));
    await writeFile(join(path, version, 'web.yaml'), rule('web', port));
  }
  await symlink('..v1', join(path, '..data'));
  await symlink('..data/web.yaml', join(path, 'web.yaml'));
  const source = await started(t, path);
  t.equal(portOf(source.snapshot), 80);
  await symlink('..v2', join(path, '..data_tmp'));
  await rename(join(path, '..data_tmp'), join(path, '..data'));
  await seen(source, (now) => portOf(now) === 81);
  t.strictSame(source.snapshot.problems, []);
});

void t.test(
  'a directory that is moved away or deleted keeps the last good rules, and its successor is read',
  async (t) => {
    const parent = await directory(t);
    const path = join(parent, 'rules.d');
    await mkdir(path);
    await writeFile(join(path, 'web.yaml'), rule('web', 80));
    const source = await started(t, path);
    await rename(path, join(parent, 'away'));
    await seen(source, (now) => now.problems.length > 0);
    t.equal(portOf(source.snapshot), 80, 'still in force');
    t.match(source.snapshot.problems, [
      { file: path, message: /cannot be listed, what was read before stays in force/ },
    ]);

    await mkdir(join(parent, 'next'));
    await writeFile(join(parent, 'next', 'web.yaml'), rule('web', 81));
    await rename(join(parent, 'next'), path);
    await seen(source, (now) => portOf(now) === 81 && now.problems.length === 0);

    await replace(path, 'web.yaml', rule('web', 82));
    await seen(source, (now) => portOf(now) === 82);

    await rename(path, join(parent, 'away2'));
    await rename(join(parent, 'away'), path);
    await seen(source, (now) => portOf(now) === 80);
  },
);

void t.test('start waits for a directory that does not exist yet', async (t) => {
  const parent = await directory(t);
  const path = join(parent, 'rules.d');
  const source = new DirectorySource(path);
  t.teardown(async () => source.close());
  let ready = false;
  const start = source.start().then(() => {
    ready = true;
  });
  await seen(source, (now) => now.problems.length > 0);
  t.notOk(ready, 'an absent directory is not an empty one');
  await mkdir(path);
  await start;
  await writeFile(join(path, 'web.yaml'), rule('web'));
  await seen(source, (now) => portOf(now) === 80);
  t.strictSame(source.snapshot.problems, []);
});

void t.test('what is no regular file, or leads nowhere, is a problem and not a hang', async (t) => {
  const path = await directory(t);
  await mkdir(join(path, 'dir.yaml'));
  await symlink('/dev/zero', join(path, 'device.yaml'));
  await symlink('nowhere', join(path, 'link.yaml'));
  const server = createServer().listen(join(path, 'socket.yaml'));
  await once(server, 'listening');
  t.teardown(() => server.close());
  await writeFile(join(path, 'web.yaml'), rule('web'));
  const source = await started(t, path);
  t.equal(portOf(source.snapshot), 80);
  t.strictSame(
    source.snapshot.problems.map(({ file, message }) => [
      file.slice(path.length + 1),
      message.split(';')[0]?.split(':')[0],
    ]),
    [
      ['device.yaml', 'is not a regular file'],
      ['dir.yaml', 'is not a regular file'],
      ['link.yaml', 'cannot be read'],
      ['socket.yaml', 'is not a regular file'],
    ],
  );
});

void t.test('a file that becomes unreadable keeps its last good version', async (t) => {
  const path = await directory(t);
  await writeFile(join(path, 'web.yaml'), rule('web'));
  const source = await started(t, path);
  await symlink('nowhere', join(path, '.link'));
  await rename(join(path, '.link'), join(path, 'web.yaml'));
  await seen(source, (now) => now.problems.length > 0);
  t.equal(portOf(source.snapshot), 80);
});

void t.test('too much is refused by name, and does not hold up the process', async (t) => {
  const path = await directory(t);
  await writeFile(join(path, 'web.yaml'), rule('web'));
  const source = await started(t, path);
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 5);
  t.teardown(() => clearInterval(timer));
  const cases: [string, string, RegExp][] = [
    [
      'more than 10 MB',
      '# x\n'.repeat(2_600_000),
      /has 10400000 bytes; accepted: at most 10000000/,
    ],
    [
      'a document of 9 MB',
      'a: bcdefg\n'.repeat(900_000),
      /document that begins here has 9000000 characters; accepted: at most 1048576/,
    ],
    ['nested keys', '? '.repeat(20_000), /nested too deeply/],
    ['nested lists', '['.repeat(200_000), /nested too deeply/],
    [
      'an alias bomb',
      `a: &a [${'x,'.repeat(20)}]\n${'bcdefgh'.replace(/./g, (key, index: number) => `${key}: &${key} [${`*${'abcdefg'[index]},`.repeat(20)}]\n`)}`,
      /Excessive alias count/,
    ],
    ['1 MB of garbage', ' {]\t"\n'.repeat(170_000), /is not YAML|nested too deeply/],
    ['truncated JSON', '{"apiVersion": "dpu.network/v1alpha1", "kind": "DPUR', /is not YAML/],
  ];
  for (const [name, text, message] of cases) {
    longest = 0;
    last = performance.now();
    await replace(path, 'web.yaml', text);
    await seen(
      source,
      (now) => now.problems.some((problem) => message.test(problem.message)),
      20_000,
    );
    t.equal(portOf(source.snapshot), 80, `${name}: the last good version is in force`);
    t.ok(longest < 1000, `${name}: other work waited ${Math.round(longest)} ms`);
  }
});

void t.test('more objects than there is room for are refused until there is room', async (t) => {
  const path = await directory(t);
  await writeFile(join(path, 'a.yaml'), `${rule('a1')}---\n${rule('a2')}`);
  await writeFile(join(path, 'b.yaml'), `${rule('b1')}---\n${rule('b2')}`);
  const source = await started(t, path, { objectsMax: 3, rescanMs: 100 });
  t.strictSame([...source.snapshot.objects.keys()], ['DPURule/tenant-a/a1', 'DPURule/tenant-a/a2']);
  t.match(source.snapshot.problems, [
    { file: join(path, 'b.yaml'), message: /above 1, the most that is accepted/ },
  ]);
  await unlink(join(path, 'a.yaml'));
  await seen(source, (now) => now.objects.has('DPURule/tenant-a/b2'), 1000);
  t.strictSame(source.snapshot.problems, []);
});

void t.test('steps of an edit do not show: truncate and write, backup and write', async (t) => {
  const path = await directory(t);
  const file = join(path, 'web.yaml');
  await writeFile(file, rule('web', 80));
  const source = await started(t, path);
  const sizes: number[] = [];
  source.on('change', () => sizes.push(source.snapshot.objects.size));
  await writeFile(file, '');
  await sleep(25);
  await appendFile(file, rule('web', 81));
  await seen(source, (now) => portOf(now) === 81);
  await rename(file, `${file}~`);
  await sleep(25);
  await writeFile(file, rule('web', 82));
  await seen(source, (now) => portOf(now) === 82);
  t.notOk(sizes.includes(0), 'the rule was in force all the time');
  await writeFile(file, '');
  await seen(source, (now) => now.objects.size === 0);
});

void t.test('a change that no event told of is found by the slow scan', async (t) => {
  const elsewhere = await directory(t);
  const path = await directory(t);
  await writeFile(join(elsewhere, 'web.yaml'), rule('web', 80));
  await symlink(join(elsewhere, 'web.yaml'), join(path, 'web.yaml'));
  const source = await started(t, path, { rescanMs: 100 });
  await writeFile(join(elsewhere, 'web.yaml'), rule('web', 81));
  await seen(source, (now) => portOf(now) === 81, 1000);
});

void t.test('a touched or linked file is no change', async (t) => {
  const path = await directory(t);
  await writeFile(join(path, 'web.yaml'), rule('web'));
  const source = await started(t, path, { rescanMs: 50 });
  const before = source.snapshot;
  await utimes(join(path, 'web.yaml'), 1, 1);
  await link(join(path, 'web.yaml'), join(path, '.other'));
  await sleep(200);
  t.equal(source.snapshot, before);
});

void t.test('close ends the events, and a start that still waits', async (t) => {
  const path = await directory(t);
  const source = await started(t, path);
  await source.close();
  let changes = 0;
  source.on('change', () => changes++);
  await writeFile(join(path, 'web.yaml'), rule('web'));
  await sleep(100);
  t.equal(changes, 0);
  const waiting = new DirectorySource(join(path, 'missing'));
  const start = waiting.start();
  await sleep(20);
  await waiting.close();
  await start;
  t.ok(waiting instanceof EventEmitter);
});

void t.test(
  'many files: one change is seen in time, and the others are not read again',
  async (t) => {
    const path = await directory(t);
    const count = 2000;
    for (let index = 0; index < count; index++) {
      await writeFile(join(path, `r${index}.yaml`), rule(`r${index}`));
    }
    const start = performance.now();
    const source = await started(t, path);
    const firstMs = performance.now() - start;
    t.equal(source.snapshot.objects.size, count);
    await replace(path, 'r777.yaml', rule('r777', 81));
    const oneMs = await seen(source, (now) => portOf(now, 'DPURule/tenant-a/r777') === 81);
    t.comment(
      `${count} files: first read ${Math.round(firstMs)} ms, one change ${Math.round(oneMs)} ms`,
    );
  },
);
