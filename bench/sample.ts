/**
 * Taking samples: rounds that go through all subjects in turn, so that a slow moment of the machine meets all of them, and
 * the statistics of what came out.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Row } from './workload.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** Frees what nothing refers to any more, so that nobody pays for the garbage of others. */
export function collectGarbage(): void {
  gc();
}

/** Somebody who does the work. */
export interface Subject {
  readonly name: string;
  /** Most rounds that it takes part in: a slow one need not be measured often. */
  readonly rounds?: number;
  /** Does the work once, and answers with the milliseconds that count. */
  readonly run: () => Promise<number>;
}

/** Lets every subject do its work `rounds` times, in turn. */
export async function sampleInTurn(rounds: number, subjects: readonly Subject[]): Promise<Row[]> {
  const samples = subjects.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, subject] of subjects.entries()) {
      if (round >= (subject.rounds ?? Infinity)) continue;
      collectGarbage();
      samples[index]?.push(await subject.run());
    }
  }
  return subjects.map(({ name }, index) => ({
    subject: name,
    unit: 'ms',
    samples: samples[index] ?? [],
  }));
}

/** Milliseconds that `work` takes. */
export async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** CPU time that one sample of {@link nanosecondsEach} takes at least, in microseconds. */
const SAMPLE_US = 100_000;

/**
 * Nanoseconds of CPU time per item of synchronous `work`, once per round: what others do on the machine does not count, nor
 * do the rounds before, in which V8 compiles.
 */
export function nanosecondsEach(rounds: number, items: number, work: () => void): number[] {
  const warmUps = Math.max(2, Math.ceil(20_000 / items));
  for (let round = 0; round < warmUps; round++) work();
  return Array.from({ length: rounds }, () => {
    collectGarbage();
    const start = process.threadCpuUsage();
    // The clock of CPU time goes in steps of some milliseconds.
    let times = 0;
    let microseconds = 0;
    do {
      work();
      times++;
      const { user, system } = process.threadCpuUsage(start);
      microseconds = user + system;
    } while (microseconds < SAMPLE_US);
    return (microseconds * 1000) / (items * times);
  });
}

/** Smallest sample that `part` (0..1) of the samples do not exceed. */
export function quantile(samples: readonly number[], part: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? Number.NaN;
}

/** The middle sample, or the mean of the two in the middle. */
export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const low = sorted[Math.ceil(middle) - 1] ?? Number.NaN;
  const high = sorted[Math.floor(middle)] ?? Number.NaN;
  return (low + high) / 2;
}

/** Median of one subject by that of another, of the same rows. */
export function ratioOf(rows: readonly Row[], subject: string, other: string): number {
  const of = (name: string): number =>
    median(rows.find((row) => row.subject === name)?.samples ?? []);
  return of(subject) / of(other);
}
