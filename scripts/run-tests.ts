/**
 * Runs the gates of check.ts and the tap files of one suite, prints what fails, what is skipped (with its reason) and what
 * tests print, and ends with one line `N passed, N failed` (`, N skipped`). tap's assertions count one each, and so does
 * each gate. Started by test.sh, which has done the set-up.
 *
 * usage: run-tests.ts unit|integration|long|all [FILE...]    FILE is a path, or a part of one; without FILE, `all` and
 * `long` run the gates too. COVERAGE=1 measures coverage. `long` sets TEST_LONG=1, which property tests read.
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { runGates } from './check/runner.ts';
import { TapReader } from './check/tap-reader.ts';

interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

type Suite = (file: string) => boolean;

const isLong: Suite = (file) => file.startsWith('test/long/');
const isIntegration: Suite = (file) => file.startsWith('test/integration/');
const isGate: Suite = (file) => file.startsWith('test/gates/');
const SUITES = new Map<string, { takes: Suite; gates: boolean }>([
  ['unit', { takes: (f) => !isLong(f) && !isIntegration(f) && !isGate(f), gates: false }],
  ['integration', { takes: isIntegration, gates: false }],
  ['all', { takes: (f) => !isLong(f), gates: true }],
  ['long', { takes: () => true, gates: true }],
]);

function testFiles(takes: Suite, filters: readonly string[]): string[] {
  const wanted = filters.map((filter) => filter.replace(/^\.\//, ''));
  return globSync('test/**/*.test.ts', { exclude: ['test/gates/planted/**'] })
    .filter(takes)
    .filter((file) => wanted.length === 0 || wanted.some((filter) => file.includes(filter)))
    .sort();
}

async function runTap(files: readonly string[]): Promise<Count> {
  const args = ['run', '--reporter=tap', ...files];
  if (process.env['COVERAGE'] !== '1') args.splice(1, 0, '--disable-coverage');
  const tap = spawn('node_modules/.bin/tap', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => tap.kill(signal));
  const ended = new Promise<string>((resolve) => {
    tap.on('error', (error) => resolve(error.message));
    tap.on('close', (code, signal) => resolve(signal ?? String(code)));
  });
  const reader = new TapReader((line) => console.log(line), files.length);
  for await (const line of createInterface({ input: tap.stdout })) reader.push(line);
  const status = await ended;
  const count = reader.count();
  if (count === undefined || count.passed + count.failed + count.skipped === 0) {
    console.log(`not ok: tap ended (${status}) and counted no assertion`);
    return { passed: 0, failed: 1, skipped: 0 };
  }
  if (status !== '0' && count.failed === 0) {
    console.log(`not ok: tap counted no failure but ended with ${status}`);
    return { ...count, failed: 1 };
  }
  return count;
}

async function main(): Promise<void> {
  const [name = 'all', ...filters] = process.argv.slice(2);
  const suite = SUITES.get(name);
  if (suite === undefined || filters.some((filter) => filter.startsWith('-'))) {
    console.error(`usage: test.sh ${[...SUITES.keys()].join('|')} [FILE...]`);
    process.exitCode = 2;
    return;
  }
  if (name === 'long') process.env['TEST_LONG'] = '1';
  const total: Count = { passed: 0, failed: 0, skipped: 0 };
  if (suite.gates && filters.length === 0) {
    console.log('gates:');
    const results = await runGates({ root: process.cwd(), onResult: (line) => console.log(line) });
    total.passed += results.filter((result) => result.ok).length;
    total.failed += results.filter((result) => !result.ok).length;
  }
  const files = testFiles(suite.takes, filters);
  if (files.length === 0) {
    console.log(`not ok: no test file matches ${name} ${filters.join(' ')}`);
    total.failed++;
  } else {
    console.log(`tests (${name}): ${files.length} files`);
    const count = await runTap(files);
    total.passed += count.passed;
    total.failed += count.failed;
    total.skipped += count.skipped;
  }
  const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : '';
  process.exitCode = total.failed > 0 ? 1 : 0;
  console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
}

await main();
