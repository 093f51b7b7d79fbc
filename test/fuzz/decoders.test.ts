/**
 * Every decoder under attack: 10,000 hostile inputs each, 1,000,000 in `npm run test:long`. None may crash, hang or grow;
 * what one throws is an error of ours. Inputs that once did worse are in test/fixtures/fuzz.
 *
 * To see a fault again: FUZZ_SEED=<its seed> FUZZ_RUNS=1.
 */
import { readFileSync } from 'node:fs';
import { randomInt } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { attackAll, type AttackReport } from './attack.ts';
import { DECODERS } from './decoders.ts';
import { outcomeOf } from './decoder.ts';
import { DECODERS as PLANTED } from './planted-decoders.ts';

const LONG = process.env['TEST_LONG'] !== undefined;
const RUNS = Number(process.env['FUZZ_RUNS'] ?? (LONG ? 1_000_000 : 10_000));
const SEED = Number(process.env['FUZZ_SEED'] ?? randomInt(2 ** 31));
const GROWTH_MAX = 64 * 2 ** 20;
/** Far above what the largest input takes on a busy machine, far below what somebody would call a hang. */
const SLOWEST_MS = 5000;
/** Without progress for so long, a decoder hangs: no input takes a millisecond, but the machine may be busy. */
const HANG_MS = 20_000;
const MIB = 2 ** 20;
const urlOf = (name: string): string => new URL(name, import.meta.url).href;

if (RUNS > 10_000) t.setTimeout(7_200_000);

void t.test('samples are read, or are errors that the peer reports', async (t) => {
  for (const { name, samples, decode } of DECODERS) {
    const outcomes = samples.map((sample) => outcomeOf(() => decode(sample)));
    t.ok(samples.length > 0 && outcomes.some((outcome) => outcome === undefined), name);
    t.notOk(
      outcomes.some((outcome) => outcome?.startsWith('DECODE_')),
      `${name}: no sample is broken`,
    );
  }
});

void t.test('inputs that once broke a decoder no longer do', async (t) => {
  const text = readFileSync(new URL('../fixtures/fuzz/inputs.txt', import.meta.url), 'utf8');
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  for (const line of lines) {
    const [name, hex = '', why = ''] = line.split(' | ');
    const decoder = DECODERS.find((one) => one.name === name);
    if (decoder === undefined) t.fail(`no decoder is called ${name}`);
    else t.doesNotThrow(() => outcomeOf(() => decoder.decode(Buffer.from(hex, 'hex'))), why);
  }
});

void t.test('an input follows from its seed', async (t) => {
  for (const { name, input } of DECODERS) {
    fc.assert(
      fc.property(fc.nat(), (seed) => input(seed).equals(input(seed))),
      { numRuns: 20 },
    );
    const inputs = new Set(Array.from({ length: 100 }, (_, seed) => input(seed).toString('hex')));
    t.ok(inputs.size > 20, `${name}: ${inputs.size} of 100 inputs differ`);
  }
});

void t.test('faults are found and told with their input', async (t) => {
  const reports = new Map<string, AttackReport>();
  const list = urlOf('./planted-decoders.ts');
  const options = { list, seed: 1, runs: 2000, growthMax: GROWTH_MAX, hangMs: 3000 };
  await attackAll(options, (report) => reports.set(report.name, report));
  t.equal(reports.size, PLANTED.length);
  const of = (name: string): AttackReport | undefined => reports.get(name);
  t.match(of('reads past the end')?.fault?.message, /RangeError/);
  t.match(of('trusts a count')?.fault?.message, /no progress/);
  for (const name of ['keeps buffers', 'keeps objects']) {
    t.ok((of(name)?.growth ?? 0) > GROWTH_MAX, name);
  }
  t.match(of('refuses'), { runs: 2000, refused: 2000, fault: undefined });
  for (const { fault } of reports.values()) {
    if (fault !== undefined) t.match(fault.input, /^([0-9a-f]{2})*$/, `seed ${fault.seed}`);
  }
});

void t.test(
  `${RUNS.toLocaleString('en')} hostile inputs for each decoder`,
  { timeout: 110_000 * Math.max(1, RUNS / 10_000) },
  async (t) => {
    t.comment(`FUZZ_SEED=${SEED}`);
    const list = urlOf('./decoders.ts');
    const options = { list, seed: SEED, runs: RUNS, growthMax: GROWTH_MAX, hangMs: HANG_MS };
    await attackAll(options, ({ name, runs, refused, growth, slowestMs, ms, fault }) => {
      t.equal(fault, undefined, `${name}: values and errors of ours only`);
      t.ok(growth <= GROWTH_MAX, `${name}: grows by ${(growth / MIB).toFixed(1)} MiB`);
      t.ok(slowestMs < SLOWEST_MS, `${name}: at most ${slowestMs.toFixed(1)} ms for an input`);
      const part = ((100 * refused) / runs).toFixed(0);
      t.comment(`${name}: ${runs} inputs in ${(ms / 1000).toFixed(1)} s, ${part} % refused`);
      if (RUNS >= 1000) t.ok(refused < runs, `${name}: some are read`);
    });
  },
);
