/** The demo is the acceptance test: every step of it holds, and it leaves nothing behind. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { run } from '../../demo/command.ts';
import { missingForLab } from '../../demo/lab.ts';

const MAIN = fileURLToPath(new URL('../../demo/main.ts', import.meta.url));
const IDS = ['ready', 'same-vni', 'isolation', 'deny', 'move', 'remove', 'invalid', 'restart'];
const missing = await missingForLab();
const skip = missing.length > 0 ? `the lab needs ${missing.join('; ')}` : false;

interface Report {
  readonly ok: boolean;
  readonly steps: readonly { id: string; ok: boolean; detail: string; ms: number }[];
}

function demo(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], (error, stdout, stderr) => {
      resolve({ status: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

void t.test('every step of the demo holds, and --json prints one object', { skip }, async (t) => {
  const { status, stdout, stderr } = await demo('--json');
  const report = JSON.parse(stdout) as Report;
  t.same(
    report.steps.map((step) => step.id),
    IDS,
  );
  for (const { id, ok, detail, ms } of report.steps) {
    t.ok(ok, `${id}: ${detail}`, { stderr });
    t.comment(`${id}: ${detail} (${ms} ms)`);
  }
  t.equal(report.ok, true);
  t.equal(status, 0);
});

void t.test('a kept lab is taken down by its directory', { skip }, async (t) => {
  const { status, stdout, stderr } = await demo('--keep');
  t.equal(status, 0, 'every step held', { stdout, stderr });
  const dir = /--down (\S+)/.exec(stdout)?.[1] ?? '';
  const suffix = dir.slice(dir.lastIndexOf('-'));
  t.match(await run('ip', ['netns', 'list']), `dpu1${suffix}`);
  for (const line of stdout.split('\n').slice(1)) {
    if (/^[┌├│└]/.test(line)) t.equal([...line].length, 100, 'the table is 100 columns wide');
  }
  t.equal((await demo('--down', dir)).status, 0);
  t.notMatch(await run('ip', ['netns', 'list']), suffix);
});

void t.test('a directory that holds no lab is refused', async (t) => {
  const { status, stderr } = await demo('--down', import.meta.dirname);
  t.equal(status, 1);
  t.match(stderr, /holds no lab/);
});
