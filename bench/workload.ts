/**
 * What a workload is and what it answers with. A workload measures subjects side by side in one run: what it says are
 * ratios between them, since times alone say more about the machine than about the program.
 */

/** What the samples of a row count. */
export type Unit = 'ms' | 'ns' | 'bytes' | 'probes' | 'flows';

/** One subject of a comparison. */
export interface Row {
  readonly subject: string;
  readonly unit: Unit;
  /** One value per round, in the order of the rounds. */
  readonly samples: readonly number[];
}

/** A subject that could not take part. */
export interface Absent {
  readonly subject: string;
  readonly reason: string;
}

/** Subjects that did the same work. */
export interface Comparison {
  readonly title: string;
  /** Subject that the others are divided by; absent where the rows have nothing in common. */
  readonly baseline?: string;
  /** True where the values say something without the machine, as bytes do: the page shows them as they are. */
  readonly absolute?: boolean;
  /** Parts (0..1) of the samples whose bounds are shown; median, least and most when absent. */
  readonly quantiles?: readonly number[];
  readonly rows: readonly Row[];
  /** Subjects that should have been there as well. */
  readonly absent?: readonly Absent[];
}

/** A number to reach, with what was reached. */
export interface Target {
  readonly what: string;
  readonly bound: 'at most' | 'at least';
  readonly limit: number;
  readonly measured: number;
  /** `x` for a ratio. */
  readonly unit: Unit | 'x';
}

/** What a workload measured. */
export interface Measured {
  readonly comparisons: readonly Comparison[];
  readonly targets: readonly Target[];
  /** Lines to draw, beside the bars that every comparison with a baseline gets. */
  readonly plots?: readonly Plot[];
}

/** Points of one line in a plot. */
export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Lines over the number of flows, both on logarithmic axes. */
export interface Plot {
  readonly title: string;
  /** What the lines show, with its unit. */
  readonly yLabel: string;
  readonly series: readonly Series[];
}

/** What a run gives to its workloads. */
export interface BenchContext {
  /** Fewer rounds and the smallest size only: shows that everything works. */
  readonly quick: boolean;
  /** Sizes of the flow tables that were asked for, ascending; undefined: a workload knows its own. */
  readonly sizes?: readonly number[];
  /** Tells people what is being done. */
  say(line: string): void;
  /** Has something undone at the end of the workload, whatever happens; the last thing first. */
  defer(undo: () => Promise<void>): void;
}

/** A workload. */
export interface Workload {
  /** Name for `--only`. */
  readonly id: string;
  readonly title: string;
  /** What is missing on this machine; undefined when nothing is. */
  missing?(): Promise<string | undefined>;
  run(context: BenchContext): Promise<Measured>;
}

/** True when a target is reached. */
export function isMet({ bound, limit, measured }: Target): boolean {
  return bound === 'at most' ? measured <= limit : measured >= limit;
}
