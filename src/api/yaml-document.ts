/**
 * Reads a stream of YAML 1.2 documents (JSON is a subset) into plain values, with the line of every field. Input is
 * hostile: size, depth, aliases and the kind of keys are bounded before the costly steps. The `yaml` package alone
 * takes minutes over 20 kB of nested `? ` (measured), and compares every key of a map with every other.
 */
import {
  Composer,
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  Parser,
} from 'yaml';
import { formatPath, type PathSegment } from './field-path.ts';
import { errorMessage, type Problem } from '../base/error.ts';

/** Largest single document. One object in etcd has at most 1.5 MiB; ours are far smaller. */
export const DOCUMENT_BYTES_MAX = 1024 * 1024;
/** Deepest nesting; a DPURule needs 6 levels, in a List 8. */
export const DEPTH_MAX = 32;
/** How often aliases of one document may be expanded. */
export const ALIASES_MAX = 100;
/** Syntax errors listed for one document. */
const SYNTAX_PROBLEMS_MAX = 5;
/** Work between two pauses. */
const SLICE_MS = 10;

/** One document of a stream: a value, or why there is none. */
export interface YamlDocument {
  readonly value: unknown;
  readonly problems: readonly Problem[];
  /** Line of the document's first content, from 1. */
  readonly line: number;
  /** Line of the field at `path`, or of the nearest thing around it that exists. */
  lineOf(path: readonly PathSegment[]): number;
}

/** A place where the reader can let others run: nothing has been read yet. */
export const PAUSE = Symbol('pause');

type Parsed = Document.Parsed;

function failed(line: number, message: string): YamlDocument {
  return { value: undefined, problems: [{ path: '', message, line }], line, lineOf: () => line };
}

/** Where the documents of a text begin, and its end: a `---` at the start of a line ends one. One at a time: there may be millions. */
function* documentStarts(text: string): Generator<number> {
  for (const { index } of text.matchAll(/^---(?=\s|$)/gm)) yield index;
  yield text.length;
}

/** The first document that is too large, found before anything is parsed. */
function oversized(text: string): YamlDocument | undefined {
  const lineStart = (offset: number): number => text.slice(0, offset).split('\n').length;
  let start = 0;
  for (const end of documentStarts(text)) {
    if (end - start > DOCUMENT_BYTES_MAX) {
      return failed(
        lineStart(start),
        `the document that begins here has ${end - start} characters; accepted: ` +
          `at most ${DOCUMENT_BYTES_MAX} for each document, as many documents as needed`,
      );
    }
    start = end;
  }
  return undefined;
}

/** Line of the node at `path`, walking as far as the document goes. */
function lineAt(
  document: Parsed,
  lines: LineCounter,
  path: readonly PathSegment[],
  first: number,
): number {
  let node: unknown = document.contents;
  let line = first;
  for (const step of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === step);
      if (pair === undefined) break;
      if (isNode(pair.key) && pair.key.range) line = lines.linePos(pair.key.range[0]).line;
      node = pair.value;
    } else if (isSeq(node) && typeof step === 'number') {
      node = node.items[step];
      if (!isNode(node)) break;
      if (node.range) line = lines.linePos(node.range[0]).line;
    } else break;
  }
  return line;
}

/** Duplicate keys, and keys that are no plain words: both would make a field mean something else than it seems to. */
function keyProblems(contents: Node | null, lines: LineCounter): Problem[] {
  const problems: Problem[] = [];
  const visit = (node: unknown, path: readonly PathSegment[]): void => {
    if (isSeq(node)) node.items.forEach((item, index) => visit(item, [...path, index]));
    if (!isMap(node)) return;
    const seen = new Set<string>();
    for (const { key, value } of node.items) {
      const position = isNode(key) && key.range ? lines.linePos(key.range[0]) : undefined;
      const place = position === undefined ? {} : { line: position.line };
      if (!isScalar(key)) {
        problems.push({
          path: formatPath(path),
          message: 'a key is a list, an object or an alias; accepted: a word',
          ...place,
        });
        continue;
      }
      const name = String(key.value);
      if (seen.has(name)) {
        problems.push({
          path: formatPath([...path, name]),
          message: 'is given twice; accepted: each field once',
          ...place,
        });
      }
      seen.add(name);
      visit(value, [...path, name]);
    }
  };
  visit(contents, []);
  return problems;
}

function finish(document: Parsed, lines: LineCounter): YamlDocument | undefined {
  const first = lines.linePos(document.contents?.range[0] ?? document.range[0]).line;
  const syntax = document.errors.slice(0, SYNTAX_PROBLEMS_MAX).map((error) => ({
    path: '',
    message: `is not YAML: ${error.message}`,
    line: Math.max(1, lines.linePos(error.pos[0]).line),
  }));
  const lineOf = (path: readonly PathSegment[]): number => lineAt(document, lines, path, first);
  if (syntax.length > 0) return { value: undefined, problems: syntax, line: first, lineOf };
  const keys = keyProblems(document.contents, lines).slice(0, SYNTAX_PROBLEMS_MAX);
  if (keys.length > 0) return { value: undefined, problems: keys, line: first, lineOf };
  try {
    const value: unknown = document.toJS({ maxAliasCount: ALIASES_MAX });
    // An empty document, or one of comments only, says nothing.
    if (value === null || value === undefined) return undefined;
    return { value, problems: [], line: first, lineOf };
  } catch (error) {
    return failed(first, `cannot be expanded: ${errorMessage(error)}`);
  }
}

/**
 * The documents of `text` in their order, empty ones left out, and a {@link PAUSE} after every few milliseconds of work.
 * What cannot be read comes out as a document with problems; after a document that is too large or too deep nothing more
 * comes. Never throws.
 */
export function* readYaml(text: string): Generator<YamlDocument | typeof PAUSE, void> {
  const tooLarge = oversized(text);
  if (tooLarge !== undefined) {
    yield tooLarge;
    return;
  }
  const lines = new LineCounter();
  lines.addNewLine(0);
  const parser = new Parser(lines.addNewLine);
  const composer = new Composer({ uniqueKeys: false, prettyErrors: false, logLevel: 'silent' });
  let sliceEnd = performance.now() + SLICE_MS;
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) {
      for (const document of composer.next(token)) {
        const finished = finish(document, lines);
        if (finished !== undefined) yield finished;
      }
    }
    if (parser.stack.length > DEPTH_MAX) {
      const { line } = lines.linePos(parser.offset);
      yield failed(line, `is nested too deeply here; accepted: at most ${DEPTH_MAX} levels`);
      return;
    }
    if (performance.now() > sliceEnd) {
      yield PAUSE;
      sliceEnd = performance.now() + SLICE_MS;
    }
  }
  for (const token of parser.end()) {
    for (const document of composer.next(token)) {
      const finished = finish(document, lines);
      if (finished !== undefined) yield finished;
    }
  }
  for (const document of composer.end()) {
    const finished = finish(document, lines);
    if (finished !== undefined) yield finished;
  }
}
