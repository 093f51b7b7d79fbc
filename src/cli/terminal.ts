/**
 * Text for a terminal: colours that can be switched off, outside text made harmless, numbers, and tables that fit a width.
 * Pure: the width and whether there are colours are arguments.
 */
import { stripVTControlCharacters, styleText } from 'node:util';

/** How text is laid out. */
export interface Layout {
  /** Columns of the terminal; tables are wrapped to it. Infinity does not wrap. */
  readonly width: number;
  readonly colours: boolean;
}

/** The meanings that have a colour. */
export type Tone = 'good' | 'bad' | 'waiting' | 'quiet' | 'heading';

const COLOUR = {
  good: 'green',
  bad: 'red',
  waiting: 'yellow',
  quiet: 'dim',
  heading: 'bold',
} as const;

/** `text` in the colour of its meaning, where there are colours. */
export function paint(text: string, tone: Tone, layout: Layout): string {
  return layout.colours ? styleText(COLOUR[tone], text, { validateStream: false }) : text;
}

/** Control characters, and the marks that change the direction of text: a rule's author must not steer a terminal. */
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Text that came from outside, with what could steer a terminal written as `\u{...}`. */
export function plain(text: string): string {
  return text.replace(UNSAFE, (char) => `\\u{${char.charCodeAt(0).toString(16)}}`);
}

/** A count in groups of three digits: 1234567 is `1_234_567`. */
export function formatCount(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, '_');
}

/** A time span in its two largest units: 93784 s are `1d 2h`. */
export function formatSpan(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const units = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'm'],
    [whole % 60, 's'],
  ] as const;
  const first = units.findIndex(([value]) => value > 0);
  if (first < 0) return '0s';
  return units
    .slice(first, first + 2)
    .filter(([value], index) => value > 0 || index === 0)
    .map(([value, unit]) => `${value}${unit}`)
    .join(' ');
}

/** A column of a table. */
export interface Column<Row> {
  readonly title: string;
  /** The text of a row's cell, already harmless ({@link plain}). */
  readonly cell: (row: Row) => string;
  /** Numbers stand at the right. */
  readonly right?: boolean;
  /** May be wrapped, to no less than this many characters. Columns without it keep their width. */
  readonly wrapTo?: number;
  readonly tone?: (row: Row) => Tone | undefined;
}

const GAP = '  ';
/** Fields are not wrapped to less, however narrow a terminal says it is. */
const MIN_VALUE_WIDTH = 40;

/** A table with a heading, cells wrapped where the width asks for it, and no spaces at the ends of lines. */
export function formatTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  layout: Layout,
): string {
  const cells = rows.map((row) => columns.map((column) => column.cell(row)));
  const widths = fitWidths(columns, cells, layout.width);
  const heading = columns.map((column, index) => pad(column.title, widths[index] ?? 0, column));
  const lines = [paint(heading.join(GAP).trimEnd(), 'heading', layout)];
  rows.forEach((row, rowIndex) => {
    const wrapped = (cells[rowIndex] ?? []).map((text, index) => wrap(text, widths[index] ?? 0));
    const height = Math.max(...wrapped.map((parts) => parts.length));
    for (let line = 0; line < height; line++) {
      const parts = columns.map((column, index) => {
        const padded = pad(wrapped[index]?.[line] ?? '', widths[index] ?? 0, column);
        const tone = column.tone?.(row);
        return tone === undefined || padded.trim() === '' ? padded : paint(padded, tone, layout);
      });
      lines.push(trimLine(parts.join(GAP)));
    }
  });
  return `${lines.join('\n')}\n`;
}

/** Cuts the padding of the last cell, also when a colour ends behind it. */
function trimLine(line: string): string {
  return stripVTControlCharacters(line) === line
    ? line.trimEnd()
    : line.replace(/ +(\u001b\[\d+m)?$/, '$1');
}

function pad<Row>(text: string, width: number, column: Column<Row>): string {
  return column.right === true ? text.padStart(width) : text.padEnd(width);
}

/** Longer pieces than this may be cut: else one long word of a message would narrow all other columns. */
const WHOLE_PIECE_MAX = 32;

/**
 * The widest cell of each column; then the widest columns that may be wrapped give way, one character at a time: first as
 * long as lines can end between parts, at last to their least width.
 */
function fitWidths<Row>(
  columns: readonly Column<Row>[],
  cells: readonly (readonly string[])[],
  limit: number,
): number[] {
  const widths = columns.map(({ title }, index) =>
    cells.reduce((widest, row) => Math.max(widest, row[index]?.length ?? 0), title.length),
  );
  let excess =
    widths.reduce((sum, width) => sum + width, GAP.length * (columns.length - 1)) - limit;
  if (excess <= 0) return widths;
  const least = columns.map(({ wrapTo }, index) => wrapTo ?? widths[index] ?? 0);
  for (const isBreak of [...BREAKS, undefined]) {
    const floor = least.map((width, index) =>
      columns[index]?.wrapTo === undefined || isBreak === undefined
        ? width
        : cells.reduce(
            (most, row) => Math.max(most, longestPiece(row[index] ?? '', isBreak)),
            width,
          ),
    );
    excess = shrink(widths, floor, excess);
    if (excess === 0) break;
  }
  return widths;
}

/** Takes `excess` characters from the widest columns, none below its floor; the result is what is left of `excess`. */
function shrink(widths: number[], floor: readonly number[], excess: number): number {
  for (let left = excess; left > 0; left--) {
    let widest = -1;
    widths.forEach((width, index) => {
      if (width > (floor[index] ?? 0) && width > (widths[widest] ?? 0)) widest = index;
    });
    if (widest < 0) return left;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  return 0;
}

/** The longest piece of a text between breaks, up to {@link WHOLE_PIECE_MAX}. */
function longestPiece(text: string, isBreak: Break): number {
  let longest = 0;
  let start = 0;
  for (let end = 1; end <= text.length; end++) {
    if (end < text.length && !isBreak(text, end)) continue;
    longest = Math.max(longest, end - start);
    start = end;
  }
  return Math.min(longest, WHOLE_PIECE_MAX);
}

/** May a line end before the character at `end`? */
type Break = (text: string, end: number) => boolean;

/** Between the parts of a match, of actions, of a name or of a sentence. */
const isPartBreak: Break = (text, end) =>
  ', /'.includes(text[end - 1] ?? '') || text[end] === ' ' || text.startsWith('->', end);

/** Also before a value: behind `nw_dst=` or `set_field:`. */
const isValueBreak: Break = (text, end) =>
  isPartBreak(text, end) ||
  text[end - 1] === '=' ||
  (text[end - 1] === ':' && /[a-z_]{4}:/.test(text.slice(Math.max(0, end - 5), end)));

/** Also within a name or address, where a mark shows that it goes on; never between digits, nor within `->`. */
const isMarkBreak: Break = (text, end) =>
  isValueBreak(text, end) ||
  (':._-'.includes(text[end - 1] ?? '') && !text.startsWith('->', end - 1));

/** Best first; each takes in those before it. */
const BREAKS: readonly Break[] = [isPartBreak, isValueBreak, isMarkBreak];

/** Splits text into lines of at most `width`: at the best breaks that there are, else anywhere. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let rest = text;
  while (rest.length > width && width > 0) {
    const end = breakWithin(rest, width);
    lines.push(rest.slice(0, end).trimEnd());
    rest = rest.slice(end).trimStart();
  }
  lines.push(rest);
  return lines;
}

/** Where the first line ends. A break in the first quarter is none, as it would leave a ragged column. */
function breakWithin(text: string, width: number): number {
  for (const isBreak of BREAKS) {
    for (let end = width; end > width / 4; end--) if (isBreak(text, end)) return end;
  }
  return width;
}

/** Lines `key   value`; continuation lines of a value have an empty key. */
export function formatFields(
  fields: readonly (readonly [key: string, value: string])[],
  layout: Layout,
): string {
  const width = Math.max(...fields.map(([key]) => key.length));
  return fields
    .map(([key, value]) => `${paint(key.padEnd(width), 'heading', layout)}  ${value}\n`)
    .join('');
}

/** Fields whose values are wrapped to the width; of plain text only, since a colour would count. */
export function wrapFields(
  fields: readonly (readonly [key: string, value: string])[],
  layout: Layout,
): (readonly [key: string, value: string])[] {
  const keys = Math.max(...fields.map(([key]) => key.length)) + GAP.length;
  return fields.flatMap(([key, value]) =>
    wrap(value, Math.max(MIN_VALUE_WIDTH, layout.width - keys)).map(
      (line, index) => [index === 0 ? key : '', line] as const,
    ),
  );
}
