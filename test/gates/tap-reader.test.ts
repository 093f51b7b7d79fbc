/** What the runner makes of tap's stream: every failure and every reason must reach the reader, and the count must be tap's. */
import t from 'tap';
import { TapReader, type TapCount } from '../../scripts/check/tap-reader.ts';

interface Case {
  readonly name: string;
  readonly stream: string;
  readonly prints: readonly string[];
  readonly count: TapCount | undefined;
}

const CASES: readonly Case[] = [
  {
    name: 'a file that passes is one line, and what the test prints is passed on',
    stream: `TAP version 14
# Subtest: test/a.test.ts
    # Subtest: sub
        ok 1 - yes
        1..1
    ok 1 - sub # time=6.203ms
    measured: 12 ms
    1..1
    # time=13.177ms
ok 1 - test/a.test.ts # time=13.177ms

1..1
# { total: 1, pass: 1 }
# time=13.177ms`,
    prints: ['    measured: 12 ms', 'ok       1/1 test/a.test.ts (13.177ms)'],
    count: { passed: 1, failed: 0, skipped: 0 },
  },
  {
    name: 'a skip prints its reason, with the path to it',
    stream: `# Subtest: test/a.test.ts
    ok 1 - needs root # SKIP no root here
    ok 2 - bare # SKIP
    1..2
ok 1 - test/a.test.ts # time=1ms
# { total: 3, pass: 1, skip: 2 }`,
    prints: [
      'skip   test/a.test.ts > needs root: no root here',
      'skip   test/a.test.ts > bare: no reason given',
      'ok       1/1 test/a.test.ts (1ms)',
    ],
    count: { passed: 1, failed: 0, skipped: 2 },
  },
  {
    name: 'a failure prints its diagnostics once, not again for each subtest around it',
    stream: `# Subtest: test/a.test.ts
    # Subtest: sub
        not ok 1 - should be equal
          ---
          diff: here
          ...
        1..1
    not ok 1 - sub # time=2ms
      ---
      at: elsewhere
      ...
    1..1
not ok 1 - test/a.test.ts # time=3ms
  ---
  exitCode: 1
  ...
# { total: 1, fail: 1 }`,
    prints: [
      'not ok test/a.test.ts > sub > should be equal',
      '          diff: here',
      'NOT OK   1/1 test/a.test.ts (3ms)',
    ],
    count: { passed: 0, failed: 1, skipped: 0 },
  },
  {
    name: 'a file that dies without a failed assertion prints how it ended',
    stream: `# Subtest: test/a.test.ts
    1..0 # no tests found
not ok 1 - test/a.test.ts # time=3ms
  ---
  exitCode: 1
  ...
# { total: 1, fail: 1 }`,
    prints: ['NOT OK   1/1 test/a.test.ts (3ms)', '  exitCode: 1'],
    count: { passed: 0, failed: 1, skipped: 0 },
  },
  {
    name: 'a stream that is cut off has no count',
    stream: `# Subtest: test/a.test.ts
    ok 1 - yes`,
    prints: [],
    count: undefined,
  },
];

void t.test("the runner's view of tap's stream", async (t) => {
  for (const { name, stream, prints, count } of CASES) {
    const printed: string[] = [];
    const reader = new TapReader((line) => printed.push(line), 1);
    for (const line of stream.split('\n')) reader.push(line);
    t.same(printed, prints, name);
    t.same(reader.count(), count, `${name}: count`);
  }
});
