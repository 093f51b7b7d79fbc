/**
 * Objects from the files of a directory: the embedded source, which needs no cluster. Files are added, edited, renamed,
 * deleted and atomically replaced while we run (also by a ConfigMap's `..data` link). A file that cannot be used keeps its
 * last good version in force.
 *
 * fs.watch says that something happened; what is true is always found by a scan, and a slow scan of everything runs
 * without any event. Only files whose stat changed are read again.
 */
import { EventEmitter } from 'node:events';
import { isDeepStrictEqual } from 'node:util';
import { errorMessage } from '../../base/error.ts';
import { type Logger, silentLogger } from '../../base/logger.ts';
import { DirectoryFiles, isRuleFile, isTemporary, VANISH_GRACE_MS } from './directory-files.ts';
import { DirectoryWatch } from './directory-watch.ts';
import { mergeFiles } from './file-merge.ts';
import type { RuleSource, RuleSourceEvents, SourceProblem, SourceSnapshot } from './source.ts';

/** How a directory is watched. Times in milliseconds. */
export interface DirectorySourceOptions {
  readonly logger?: Logger;
  /** Quiet time after an event before the scan. Default 10. */
  readonly debounceMs?: number;
  /** Time between scans that no event asked for. Default 2000. */
  readonly rescanMs?: number;
  /** Largest file in bytes. Default 10 MB. */
  readonly fileBytesMax?: number;
  /** Most objects of all files together. Default 100,000. */
  readonly objectsMax?: number;
}

/** Scans follow each other this closely while the directory is missing or cannot be watched. */
const POLL_MS = 100;
/** A burst of events delays the scan by at most this. */
const DEBOUNCE_MAX_MS = 50;
const FILE_BYTES_MAX = 10_000_000;
const OBJECTS_MAX = 100_000;

/** What events asked for since the last scan began. */
interface Wanted {
  /** `performance.now()` of the first event. */
  readonly atMs: number;
  /** Files to look at; undefined for all. */
  names: Set<string> | undefined;
}

/** See the head of the file. */
export class DirectorySource extends EventEmitter<RuleSourceEvents> implements RuleSource {
  readonly #path: string;
  readonly #debounceMs: number;
  readonly #rescanMs: number;
  readonly #files: DirectoryFiles;
  readonly #watch: DirectoryWatch;
  readonly #firstRead = Promise.withResolvers<void>();
  #snapshot: SourceSnapshot = { objects: new Map(), problems: [], revision: 0, changedAtMs: 0 };
  #directoryProblem: SourceProblem | undefined;
  #timer: NodeJS.Timeout | undefined;
  #wanted: Wanted | undefined;
  #fullScanAtMs = 0;
  /** Files that a scan of everything has yet to look at: it lets events go first. */
  #rest: readonly string[] = [];
  #complete = false;
  #scanning: Promise<void> | undefined;
  #closed = false;

  constructor(path: string, options: DirectorySourceOptions = {}) {
    super();
    this.#path = path;
    this.#debounceMs = options.debounceMs ?? 10;
    this.#rescanMs = options.rescanMs ?? 2000;
    this.#files = new DirectoryFiles(path, {
      fileBytesMax: options.fileBytesMax ?? FILE_BYTES_MAX,
      objectsMax: options.objectsMax ?? OBJECTS_MAX,
    });
    this.#watch = new DirectoryWatch(path, options.logger ?? silentLogger, (name) =>
      this.#onEvent(name),
    );
  }

  /** The newest snapshot. */
  get snapshot(): SourceSnapshot {
    return this.#snapshot;
  }

  /**
   * Reads the directory and begins to watch it. Resolves after the first complete read: while the directory is missing or
   * cannot be listed it goes on trying, and `snapshot.problems` says why. An absent directory is not an empty one.
   */
  async start(): Promise<void> {
    this.#scheduleScan(0);
    return this.#firstRead.promise;
  }

  /** Stops watching; a scan under way is waited for. A `start` that still waits resolves. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#watch.close();
    await this.#scanning;
    this.#watch.close();
    this.#firstRead.resolve();
  }

  #scheduleScan(delayMs: number): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#scanning = this.#scan().finally(() => {
        this.#scanning = undefined;
      });
    }, delayMs);
  }

  #onEvent(name: string | undefined): void {
    if (name !== undefined && isTemporary(name)) return;
    const now = performance.now();
    this.#wanted ??= { atMs: now, names: new Set() };
    if (name !== undefined && isRuleFile(name)) this.#wanted.names?.add(name);
    else this.#wanted.names = undefined;
    // A scan under way looks at #wanted when it is done.
    if (this.#scanning !== undefined) return;
    const latest = this.#wanted.atMs + DEBOUNCE_MAX_MS - now;
    this.#scheduleScan(Math.max(0, Math.min(this.#debounceMs, latest)));
  }

  /** The files to look at now: those that events named and those that are vanishing; undefined for all. */
  #scanNames(now: number): Set<string> | undefined {
    const due = now - this.#fullScanAtMs >= this.#rescanMs && this.#rest.length === 0;
    if (!this.#watch.active || !this.#complete) return undefined;
    if (this.#wanted === undefined && due) return undefined;
    const names = this.#wanted === undefined ? new Set(this.#rest) : this.#wanted.names;
    for (const { name } of this.#files.vanishing) names?.add(name);
    return names;
  }

  /** One pass over the directory; it never rejects. */
  async #scan(): Promise<void> {
    const now = performance.now();
    const changedAtMs = this.#files.vanishing.reduce(
      (earliest, { vanishedAtMs }) => Math.min(earliest, vanishedAtMs ?? now),
      this.#wanted?.atMs ?? now,
    );
    let names = this.#scanNames(now);
    // A scan that no event asked for lets events go first; what one event did is seen whole.
    const background = this.#complete && this.#wanted === undefined;
    this.#wanted = undefined;
    try {
      if (await this.#watch.ensure()) names = undefined;
      if (names === undefined) this.#fullScanAtMs = now;
      const interrupted = (): boolean => this.#closed || (background && this.#wanted !== undefined);
      const rest = await this.#files.scan(names, this.#snapshot.objects, interrupted);
      // What events named does not touch the rest of a scan that they interrupted.
      if (names === undefined || background) this.#rest = rest;
      this.#directoryProblem = undefined;
    } catch (error) {
      this.#watch.close();
      const message = `cannot be listed, what was read before stays in force: ${errorMessage(error)}`;
      this.#directoryProblem = { file: this.#path, path: '', message };
    }
    if (this.#closed) return;
    this.#publish(changedAtMs);
    if (this.#directoryProblem === undefined) {
      this.#complete = true;
      this.#firstRead.resolve();
    }
    this.#scheduleScan(this.#nextScanMs());
  }

  #nextScanMs(): number {
    if (this.#wanted !== undefined) return this.#debounceMs;
    if (!this.#watch.active) return POLL_MS;
    if (this.#rest.length > 0) return 0;
    if (this.#files.vanishing.length > 0) return VANISH_GRACE_MS;
    return Math.max(0, this.#fullScanAtMs + this.#rescanMs - performance.now());
  }

  /** Makes a new snapshot when it would differ from the present one. */
  #publish(changedAtMs: number): void {
    const before = this.#snapshot;
    const merged = mergeFiles(this.#files.files, before.objects);
    const problems = [
      ...(this.#directoryProblem === undefined ? [] : [this.#directoryProblem]),
      ...merged.problems,
    ];
    const sameObjects =
      merged.objects.size === before.objects.size &&
      [...merged.objects].every(([key, value]) => before.objects.get(key) === value);
    if (sameObjects && isDeepStrictEqual(problems, before.problems)) return;
    this.#snapshot = {
      objects: sameObjects ? before.objects : merged.objects,
      problems,
      revision: before.revision + 1,
      changedAtMs,
    };
    this.emit('change');
  }
}
