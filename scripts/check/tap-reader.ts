/**
 * Reads tap's own stream (TAP version 14, subtests indented) line by line and passes on what a person wants to see: one
 * line per file, failures with their diagnostics, skips with their reasons, and what the tests print. Keeps the totals of
 * tap's closing line. It is no general TAP parser.
 */

/** Totals of a tap run, in assertions. */
export interface TapCount {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

const RESULT =
  /^(\s*)(not ok|ok) \d+(?: - (.*?))?(?: # (SKIP|TODO)\b ?(.*?))?(?: # time=([\d.]+m?s))?( \{)?$/;
const TOTAL = /^# \{ total: \d+.*\}$/;

/** One run of tap. */
export class TapReader {
  readonly #print: (line: string) => void;
  readonly #fileCount: number;
  /** Names of the open subtests, outermost first; the outermost is the file. */
  readonly #open: string[] = [];
  #filesDone = 0;
  /** True when a failure within the present file was printed: then the file's own line needs no diagnostics. */
  #fileExplained = false;
  /** Indent of the YAML block under a failure, or undefined outside of one. */
  #diagnostic: { indent: number; shown: boolean } | undefined;
  #lastFailed: { indent: number; shown: boolean } | undefined;
  #count: TapCount | undefined;

  constructor(print: (line: string) => void, fileCount: number) {
    this.#print = print;
    this.#fileCount = fileCount;
  }

  /** Takes one line of tap's output, without its newline. */
  push(line: string): void {
    const text = line.trimStart();
    const indent = line.length - text.length;
    if (this.#diagnostic !== undefined) {
      if (text === '...' && indent === this.#diagnostic.indent) this.#diagnostic = undefined;
      else if (this.#diagnostic.shown) this.#print(line);
      return;
    }
    if (text === '---' && this.#lastFailed !== undefined) {
      this.#diagnostic = { indent, shown: this.#lastFailed.shown };
      return;
    }
    this.#lastFailed = undefined;
    if (TOTAL.test(line)) {
      this.#count = parseTotal(line);
      return;
    }
    const subtest = /^# Subtest: (.*)$/.exec(text);
    if (subtest !== null) {
      this.#open.length = Math.floor(indent / 4);
      this.#open.push(subtest[1] ?? '');
      return;
    }
    const result = RESULT.exec(line);
    if (result !== null) this.#result(indent, result);
    else if (!/^(|TAP version 14|\d+\.\.\d+.*|# time=.*|# No coverage generated)$/.test(text))
      this.#print(line);
  }

  /** What tap counted, or undefined when it ended before its closing line. */
  count(): TapCount | undefined {
    return this.#count;
  }

  #result(indent: number, result: RegExpExecArray): void {
    const [, , verdict, name = '', directive, reason, time] = result;
    const depth = indent / 4;
    const ok = verdict === 'ok';
    // The line that closes a subtest bears its name, and says nothing that its own lines have not said.
    const closes = this.#open.length > depth && this.#open[depth] === name;
    const path = [...this.#open.slice(0, depth), name].join(' > ');
    if (depth === 0) {
      this.#filesDone++;
      const place = `${String(this.#filesDone).padStart(3)}/${this.#fileCount}`;
      this.#print(
        `${ok ? 'ok    ' : 'NOT OK'} ${place} ${name}${time === undefined ? '' : ` (${time})`}`,
      );
      if (directive !== undefined) this.#print(`skip   ${path}: ${reason ?? ''}`);
    } else if (directive !== undefined) {
      this.#print(
        `skip   ${path}: ${reason === '' || reason === undefined ? 'no reason given' : reason}`,
      );
    } else if (!ok && !closes) {
      this.#print(`not ok ${path}`);
      this.#fileExplained = true;
    }
    // A file that fails without a failure inside ended early or ran out of time: only its own line says how.
    const shown = !ok && (depth === 0 ? !this.#fileExplained : !closes);
    this.#lastFailed = ok && directive === undefined ? undefined : { indent, shown };
    if (depth === 0) this.#fileExplained = false;
    this.#open.length = Math.min(this.#open.length, depth);
  }
}

function parseTotal(line: string): TapCount {
  const field = (name: string): number =>
    Number(new RegExp(`\\b${name}: (\\d+)`).exec(line)?.[1] ?? 0);
  return { passed: field('pass'), failed: field('fail'), skipped: field('skip') + field('todo') };
}
