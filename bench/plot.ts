/**
 * Plots as SVG, readable on a light page and on a dark one: bars of ratios, and lines over the number of flows. All axes are
 * logarithmic. The text of a file depends on its data alone.
 */
import { formatNumber } from './report.ts';
import type { Plot } from './workload.ts';

/** A bar: a subject with its ratio. */
export interface Bar {
  readonly name: string;
  readonly value: number;
  /** True for the product's own. */
  readonly own: boolean;
}

const WIDTH = 900;
const TEXT = '#59636e';
const GRID = '#d1d9e0';
const OWN = '#0969da';
const OTHER = '#9a6700';
const COLOURS = [OWN, '#bc4c00', '#1a7f37', '#8250df'];
const LABELS = 340;
const RIGHT = 70;
const BAR = 26;
const HEAD = 48;
const FOOT = 44;

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}

/** A coordinate, short. */
function at(value: number): string {
  return String(Number(value.toFixed(1)));
}

interface TextStyle {
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly bold?: boolean;
  readonly colour?: string;
  readonly turned?: boolean;
}

function text(x: number, y: number, words: string, style: TextStyle = {}): string {
  const { anchor = 'start', bold = false, colour = TEXT, turned = false } = style;
  const weight = bold ? ' font-weight="600"' : '';
  const turn = turned ? ` transform="rotate(-90 ${at(x)} ${at(y)})"` : '';
  return `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}" fill="${colour}"${weight}${turn}>${escape(words)}</text>`;
}

function line(x1: number, y1: number, x2: number, y2: number, dashed = false): string {
  const dash = dashed ? ' stroke-dasharray="4 3"' : '';
  return `<line x1="${at(x1)}" y1="${at(y1)}" x2="${at(x2)}" y2="${at(y2)}" stroke="${dashed ? TEXT : GRID}"${dash}/>`;
}

function document(height: number, title: string, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escape(title)}" font-family="sans-serif" font-size="13">`,
    text(12, 24, title, { bold: true }),
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

/** A logarithmic axis over whole decades, with a mark at each, and at 2 and 5 where there is room. */
function logAxis(values: readonly number[], from: number, to: number) {
  const first = Math.floor(Math.log10(Math.min(...values)));
  const last = Math.max(first + 1, Math.ceil(Math.log10(Math.max(...values))));
  const decades = Array.from({ length: last - first + 1 }, (_, index) => 10 ** (first + index));
  const fine = last - first <= 3 ? [1, 2, 5] : [1];
  return {
    place: (value: number): number =>
      from + ((Math.log10(value) - first) / (last - first)) * (to - from),
    marks: decades
      .flatMap((mark) => fine.map((part) => part * mark))
      .filter((m) => m <= 10 ** last),
  };
}

/** Bars from the shortest to the longest, with the baseline of 1 marked. */
export function barPlot(title: string, bars: readonly Bar[]): string {
  const sorted = bars.toSorted((one, other) => one.value - other.value);
  const height = HEAD + sorted.length * BAR + FOOT;
  const bottom = height - FOOT;
  const axis = logAxis([0.9, ...sorted.map(({ value }) => value)], LABELS, WIDTH - RIGHT);
  const left = axis.place(Math.min(...axis.marks));
  const parts = axis.marks.flatMap((mark) => [
    line(axis.place(mark), HEAD - 8, axis.place(mark), bottom, mark === 1),
    text(axis.place(mark), bottom + 16, formatNumber(mark), { anchor: 'middle' }),
  ]);
  parts.push(
    text((LABELS + WIDTH - RIGHT) / 2, height - 8, 'times the floor', { anchor: 'middle' }),
  );
  for (const [index, { name, value, own }] of sorted.entries()) {
    const y = HEAD + index * BAR;
    const end = axis.place(value);
    const colour = own ? OWN : OTHER;
    parts.push(
      text(LABELS - 8, y + 14, name, { anchor: 'end', bold: own }),
      `<rect x="${at(left)}" y="${at(y)}" width="${at(Math.max(1, end - left))}" height="${BAR - 8}" fill="${colour}"/>`,
      text(end + 6, y + 14, `${formatNumber(value)}x`, { colour }),
    );
  }
  return document(height, title, parts);
}

/** Lines over the number of flows. */
export function linePlot({ title, yLabel, series }: Plot): string {
  const height = 380;
  const [left, right, top, bottom] = [80, WIDTH - 150, HEAD, height - FOOT - 8];
  const points = series.flatMap((one) => one.points);
  const x = logAxis(
    points.map(([value]) => value),
    left,
    right,
  );
  const y = logAxis(
    points.map(([, value]) => value),
    bottom,
    top,
  );
  const parts = [
    ...x.marks
      .filter((mark) => Number.isInteger(Math.log10(mark)))
      .flatMap((mark) => [
        line(x.place(mark), top, x.place(mark), bottom),
        text(x.place(mark), bottom + 18, mark.toLocaleString('en'), { anchor: 'middle' }),
      ]),
    ...y.marks.flatMap((mark) => [
      line(left, y.place(mark), right, y.place(mark)),
      text(left - 8, y.place(mark) + 4, formatNumber(mark), { anchor: 'end' }),
    ]),
    text((left + right) / 2, height - 10, 'flows', { anchor: 'middle' }),
    text(22, (top + bottom) / 2, yLabel, { anchor: 'middle', turned: true }),
  ];
  for (const [index, { name, points: own }] of series.entries()) {
    const colour = COLOURS[index % COLOURS.length] ?? OWN;
    const places = own.map(([flows, value]) => [x.place(flows), y.place(value)] as const);
    const path = places.map(([px, py]) => `${at(px)},${at(py)}`).join(' ');
    parts.push(
      `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...places.map(([px, py]) => `<circle cx="${at(px)}" cy="${at(py)}" r="4" fill="${colour}"/>`),
      // The legend, since ends of lines may lie upon each other.
      `<rect x="${right + 16}" y="${top + index * 22}" width="14" height="14" fill="${colour}"/>`,
      text(right + 36, top + index * 22 + 12, name, { colour, bold: true }),
    );
  }
  return document(height, title, parts);
}
