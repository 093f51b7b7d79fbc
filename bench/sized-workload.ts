/**
 * Workloads that compare subjects on one switch, once for each size of the flow table.
 */
import { BenchSwitch } from './bench-switch.ts';
import type { BenchContext, Comparison, Target, Workload } from './workload.ts';

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

/** A workload that runs `compare` for each size that the run asks for, or for sizes of its own. */
export function sizedWorkload(
  id: string,
  title: string,
  compare: Compare,
  flowCounts?: readonly number[],
): Workload {
  return {
    id,
    title,
    async run(context) {
      const bench = await BenchSwitch.start(context);
      const results: SizedResult[] = [];
      for (const flowCount of flowCounts ?? context.flowCounts) {
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

/** A size for people. */
export function sizeText(flowCount: number): string {
  return `${flowCount.toLocaleString('en')} flows`;
}
