/**
 * Workloads that compare subjects on one switch, once for each size of the flow table.
 */
import { BenchSwitch } from './bench-switch.ts';
import { ratioOf } from './sample.ts';
import type { BenchContext, Comparison, Row, Target, Workload } from './workload.ts';

/** Sizes of a full run and of a quick one. */
const SIZES = [10_000, 100_000];
const QUICK_SIZES = [10_000];

/** What one size gave. */
export interface SizedResult {
  readonly comparison: Comparison;
  readonly targets: readonly Target[];
}

/** Compares at one size. The switch is left by the size before as it liked. */
export type Compare = (
  context: BenchContext,
  bench: BenchSwitch,
  flowCount: number,
) => Promise<SizedResult>;

/** The sizes that the run asks for, or those of a workload. */
export function sizesOf(
  { sizes, quick }: BenchContext,
  own: readonly number[] = SIZES,
): readonly number[] {
  return sizes ?? (quick ? QUICK_SIZES : own);
}

/** A workload that runs `compare` for each size that the run asks for, or for sizes of its own. */
export function sizedWorkload(
  id: string,
  title: string,
  compare: Compare,
  sizes: readonly number[] = SIZES,
): Workload {
  return {
    id,
    title,
    async run(context) {
      const bench = await BenchSwitch.start(context);
      const results: SizedResult[] = [];
      for (const flowCount of sizesOf(context, sizes)) {
        context.say(`${flowCount} flows`);
        results.push(await compare(context, bench, flowCount));
      }
      return {
        comparisons: results.map(({ comparison }) => comparison),
        targets: results.flatMap(({ targets }) => targets),
      };
    },
  };
}

/** How many rounds a size is worth: a long one needs fewer. */
export function roundsFor(
  context: BenchContext,
  flowCount: number,
  small: number,
  large: number,
): number {
  if (context.quick) return 2;
  return flowCount > 20_000 ? large : small;
}

/** Most rounds for a subject that takes many times as long as the others. */
export function slowRoundsFor(flowCount: number): number {
  return flowCount > 20_000 ? 1 : 3;
}

/** A size for people. */
export function sizeText(flowCount: number): string {
  return `${flowCount.toLocaleString('en')} flows`;
}

/** A ratio to reach between two subjects of a comparison. */
export interface RatioWish {
  readonly subject: string;
  readonly by: string;
  readonly bound: Target['bound'];
  readonly limit: number;
}

/** The ratios that are to be reached in the rows of a comparison, as far as both subjects took part. */
export function ratioTargets(
  what: string,
  rows: readonly Row[],
  wishes: readonly RatioWish[],
): Target[] {
  return wishes.flatMap(({ subject, by, bound, limit }) => {
    const measured = ratioOf(rows, subject, by);
    if (Number.isNaN(measured)) return [];
    return [{ what: `${what}, ${subject} by ${by}`, bound, limit, measured, unit: 'x' }];
  });
}
