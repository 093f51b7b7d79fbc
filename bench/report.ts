/**
 * What a run found, as tables for people and as one object for programs.
 */
import Table from 'cli-table3';
import { median, quantile } from './sample.ts';
import {
  isMet,
  type Absent,
  type Comparison,
  type Measured,
  type Row,
  type Target,
  type Unit,
} from './workload.ts';

/** One workload with what it measured, or why it did not run. */
export interface WorkloadResult {
  readonly id: string;
  readonly title: string;
  readonly measured?: Measured;
  /** Why there is nothing: something is missing on this machine. */
  readonly skipped?: string;
  /** What went wrong. */
  readonly failed?: string;
}

/** Where and when a run was made. Says nothing that tells one machine from another of its kind. */
export interface RunFacts {
  /** ISO 8601, day only. */
  readonly date: string;
  /** The machine's class, in words. */
  readonly machine: string;
  /** Processes that wanted to run for each CPU in the minute before. */
  readonly load: number;
  readonly node: string;
  readonly openVSwitch: string;
  readonly quick: boolean;
}

const UNIT_TEXT: Readonly<Record<Unit | 'x', string>> = {
  ms: ' ms',
  ns: ' ns',
  bytes: ' B',
  probes: '',
  flows: '',
  x: 'x',
};

/** Three significant digits, and no exponent. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return '-';
  return Math.abs(value) >= 100
    ? Math.round(value).toLocaleString('en')
    : String(Number(value.toPrecision(3)));
}

/** A value with its unit. */
export function formatMeasure(value: number, unit: Unit | 'x'): string {
  return `${formatNumber(value)}${UNIT_TEXT[unit]}`;
}

/** A row's median by that of the comparison's baseline; undefined when there is none. */
export function ratioToBaseline({ baseline, rows }: Comparison, row: Row): number | undefined {
  const base = rows.find(({ subject }) => subject === baseline);
  return base === undefined ? undefined : median(row.samples) / median(base.samples);
}

/** The object of `--json`. */
export function toJson(facts: RunFacts, results: readonly WorkloadResult[]): unknown {
  return {
    ok: results.every(({ failed }) => failed === undefined),
    ...facts,
    workloads: results.map(({ measured, ...result }) => ({
      ...result,
      comparisons: (measured?.comparisons ?? []).map((comparison) => ({
        title: comparison.title,
        ...(comparison.baseline === undefined ? {} : { baseline: comparison.baseline }),
        ...(comparison.absent === undefined ? {} : { absent: comparison.absent }),
        rows: comparison.rows.map((row) => {
          const ratio = ratioToBaseline(comparison, row);
          return { ...row, median: median(row.samples), ...(ratio === undefined ? {} : { ratio }) };
        }),
      })),
      targets: (measured?.targets ?? []).map((target) => ({ ...target, met: isMet(target) })),
    })),
  };
}

/** What is shown of a row's samples, by the heads of its columns. */
function columnsOf({ quantiles }: Comparison): [string, (samples: readonly number[]) => number][] {
  if (quantiles !== undefined) {
    return quantiles.map((part) => [`p${part * 100}`, (samples) => quantile(samples, part)]);
  }
  return [
    ['median', median],
    ['least', (samples) => quantile(samples, 0)],
    ['most', (samples) => quantile(samples, 1)],
  ];
}

/** Who did not take part, and why. */
export function absentText({ subject, reason }: Absent): string {
  return `not there: ${subject}: ${reason}`;
}

function comparisonTable(comparison: Comparison): string {
  const ratio = comparison.baseline !== undefined;
  const columns = columnsOf(comparison);
  const table = new Table({
    head: [comparison.title, ...columns.map(([head]) => head), ...(ratio ? ['ratio'] : [])],
    colAligns: ['left', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [] },
  });
  for (const row of comparison.rows) {
    const { subject, samples, unit } = row;
    table.push([
      subject,
      ...columns.map(([, read]) => formatMeasure(read(samples), unit)),
      ...(ratio ? [formatMeasure(ratioToBaseline(comparison, row) ?? Number.NaN, 'x')] : []),
    ]);
  }
  const absent = (comparison.absent ?? []).map(absentText);
  return [table.toString(), ...absent].join('\n');
}

/** A target in words. */
export function formatTarget(target: Target): string {
  const { what, bound, limit, measured, unit } = target;
  const verdict = isMet(target) ? 'met   ' : 'MISSED';
  return `${verdict} ${what}: ${formatMeasure(measured, unit)} (${bound} ${formatMeasure(limit, unit)})`;
}

/** One workload for people. */
export function formatResult({ id, title, measured, skipped, failed }: WorkloadResult): string {
  const head = `${id}: ${title}`;
  if (skipped !== undefined) return `${head}\nnot run: ${skipped}`;
  if (failed !== undefined) return `${head}\nFAILED: ${failed}`;
  return [
    head,
    ...(measured?.comparisons ?? []).map(comparisonTable),
    ...(measured?.targets ?? []).map(formatTarget),
  ].join('\n');
}
