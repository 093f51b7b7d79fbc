/**
 * One file of a rule directory: reading it within bounds, and turning its documents into objects and problems. Knows
 * nothing of other files, nor of what was in force before.
 */
import { createHash } from 'node:crypto';
import { constants, type BigIntStats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { parsePath, type PathSegment } from '../../api/field-path.ts';
import { type DpuObject, knownKind, nameKey, objectKey, parseObject } from '../../api/object.ts';
import { errorMessage } from '../../base/error.ts';
import type { SourceProblem } from './source.ts';
import { DOCUMENT_BYTES_MAX, PAUSE, readYaml, type YamlDocument } from '../../api/yaml-document.ts';

/** Problems kept for one file; a file of garbage must not fill the memory. */
const PROBLEMS_MAX = 100;
/** Work between two pauses. */
const SLICE_MS = 10;

/** An object with its line in the file. */
export interface FileObject {
  readonly key: string;
  readonly object: DpuObject;
  readonly line: number | undefined;
}

/** What one version of a file says. Objects are in force only when there are no problems. */
export interface FileContent {
  readonly objects: readonly FileObject[];
  readonly problems: readonly SourceProblem[];
  /** True when it was refused only because there was no room for its objects. */
  readonly overflow: boolean;
}

/** The bytes of a file, or why they cannot be had. */
export type FileBytes =
  { readonly bytes: Uint8Array; readonly digest: string } | { readonly reason: string };

/** Why this is no file to read, or undefined. */
export function refuseFile(stats: BigIntStats, maxBytes: number): string | undefined {
  if (!stats.isFile()) return 'is not a regular file; accepted: a file';
  if (stats.size <= BigInt(maxBytes)) return undefined;
  return `has ${stats.size} bytes; accepted: at most ${maxBytes} for each file, as many files as needed`;
}

async function readAll(handle: FileHandle, maxBytes: number): Promise<FileBytes> {
  const refused = refuseFile(await handle.stat({ bigint: true }), maxBytes);
  if (refused !== undefined) return { reason: refused };
  const chunks: Buffer[] = [];
  let length = 0;
  const stream = handle.createReadStream({ autoClose: false, end: maxBytes });
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
  }
  if (length > maxBytes)
    return { reason: `has more than ${maxBytes} bytes; accepted: at most that` };
  const bytes = Buffer.concat(chunks);
  return { bytes, digest: createHash('sha256').update(bytes).digest('base64') };
}

/** Reads at most `maxBytes`. Opened without blocking: a file may have become a fifo since it was looked at. */
export async function readBounded(path: string, maxBytes: number): Promise<FileBytes> {
  try {
    await using handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return await readAll(handle, maxBytes);
  } catch (error) {
    return { reason: `cannot be read: ${errorMessage(error)}` };
  }
}

function* readJson(text: string): Generator<YamlDocument> {
  const lineOf = (): number => 1;
  try {
    yield { value: JSON.parse(text), problems: [], line: 1, lineOf };
  } catch (error) {
    const problems = [{ path: '', message: `is not JSON: ${errorMessage(error)}` }];
    yield { value: undefined, problems, line: 1, lineOf };
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The objects of a document: itself, or the items of a Kubernetes List. */
function* objectsOf(value: unknown): Generator<{ value: unknown; prefix: readonly PathSegment[] }> {
  if (isRecord(value) && value['kind'] === 'List' && Array.isArray(value['items'])) {
    const items: readonly unknown[] = value['items'];
    for (const [index, item] of items.entries()) yield { value: item, prefix: ['items', index] };
  } else {
    yield { value, prefix: [] };
  }
}

/** Key of an object that is not valid, where kind and name can be made out. */
function claimedKey(value: unknown): string | undefined {
  if (!isRecord(value) || !isRecord(value['metadata'])) return undefined;
  const { kind } = value;
  const { name, namespace } = value['metadata'];
  if (typeof name !== 'string' || name.length > 253) return undefined;
  const known = knownKind(kind);
  if (known === undefined) return undefined;
  if (!known.namespaced) return nameKey(known.kind, name);
  if (typeof namespace !== 'string' || namespace.length > 63) return undefined;
  return nameKey(known.kind, name, namespace);
}

/** Collects what a file says, within bounds. */
class FileReading {
  readonly objects: FileObject[] = [];
  readonly problems: SourceProblem[] = [];
  readonly #file: string;
  readonly #objectsMax: number;
  readonly #seen = new Map<string, number | undefined>();

  constructor(file: string, objectsMax: number) {
    this.#file = file;
    this.#objectsMax = objectsMax;
  }

  get overflow(): boolean {
    return this.objects.length > this.#objectsMax;
  }

  get full(): boolean {
    return this.problems.length >= PROBLEMS_MAX || this.overflow;
  }

  problem(path: string, message: string, line?: number, object?: string): void {
    this.problems.push({
      file: this.#file,
      path,
      message,
      ...(line === undefined ? {} : { line }),
      ...(object === undefined ? {} : { object }),
    });
  }

  item(
    value: unknown,
    prefix: readonly PathSegment[],
    lineOf: (path: readonly PathSegment[]) => number | undefined,
  ): void {
    const { object, problems } = parseObject(value);
    const claimed = object === undefined ? claimedKey(value) : undefined;
    for (const { path, message } of problems) {
      const shown =
        prefix.length === 0 ? path : `items[${prefix[1]}]${path === '' ? '' : `.${path}`}`;
      this.problem(shown, message, lineOf([...prefix, ...parsePath(path)]), claimed);
    }
    if (object === undefined) return;
    const key = objectKey(object);
    const line = lineOf(prefix);
    if (this.#seen.has(key)) {
      const where = this.#seen.get(key);
      const other = where === undefined ? 'elsewhere' : `at line ${where}`;
      this.problem(
        'metadata.name',
        `${key} stands ${other} in this file too; accepted: each object once`,
        line,
        key,
      );
      return;
    }
    this.#seen.set(key, line);
    this.objects.push({ key, object, line });
    if (this.overflow) {
      this.problem(
        '',
        `brings the number of objects above ${this.#objectsMax}, the most that is accepted`,
        line,
      );
    }
  }
}

/**
 * Parses a file's bytes; lets others run every few milliseconds. `objectsMax` is how many objects there is room for.
 * Never throws.
 */
export async function parseRuleFile(
  file: string,
  bytes: Uint8Array,
  objectsMax: number,
): Promise<FileContent> {
  const reading = new FileReading(file, objectsMax);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    reading.problem('', 'is not UTF-8; accepted: YAML or JSON in UTF-8');
    return reading;
  }
  const largeJson = file.endsWith('.json') && text.length > DOCUMENT_BYTES_MAX;
  let sliceEnd = performance.now() + SLICE_MS;
  for (const step of largeJson ? readJson(text) : readYaml(text)) {
    if (reading.full) break;
    if (step !== PAUSE) {
      for (const { path, message, line } of step.problems) reading.problem(path, message, line);
      const lineOf = largeJson
        ? (): undefined => undefined
        : (path: readonly PathSegment[]) => step.lineOf(path);
      if (step.problems.length === 0) {
        for (const { value, prefix } of objectsOf(step.value)) {
          if (reading.full) break;
          reading.item(value, prefix, lineOf);
          if (performance.now() < sliceEnd) continue;
          await setImmediate();
          sliceEnd = performance.now() + SLICE_MS;
        }
      }
    }
    if (step !== PAUSE && performance.now() < sliceEnd) continue;
    await setImmediate();
    sliceEnd = performance.now() + SLICE_MS;
  }
  return reading;
}
