/**
 * The files of a directory and the last good version of each: what a scan reads, keeps and forgets. Decides nothing about
 * objects that several files claim (file-merge.ts) nor when to scan (directory.ts).
 */
import type { BigIntStats } from 'node:fs';
import { lstat, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { errorMessage } from '../../base/error.ts';
import type { RuleFile } from './file-merge.ts';
import { type FileObject, parseRuleFile, readBounded, refuseFile } from './rule-file.ts';
import type { SourceObject } from './source.ts';

/** How long a file that vanished, or is empty, stays in force: editors and copies replace files in two steps. */
export const VANISH_GRACE_MS = 50;
/** A file that was written less than this before it was read may change again without its mtime showing it. */
const MTIME_GRAIN_MS = 50;
/** Files looked at together. */
const BATCH = 32;

const RULE_FILE = /^[^.#].*\.(yaml|yml|json)$/;
const TEMPORARY = /^\.(?!\.)|^#|~$|\.(swp|swx|tmp)$/;

/** Whether a name is one that rules are read from. */
export function isRuleFile(name: string): boolean {
  return RULE_FILE.test(name);
}

/** Whether a name is one that an editor or a copy makes on the way to the real one. */
export function isTemporary(name: string): boolean {
  return TEMPORARY.test(name);
}

/** Bounds on what is read. */
export interface FileLimits {
  /** Largest file in bytes. */
  readonly fileBytesMax: number;
  /** Most objects of all files together. */
  readonly objectsMax: number;
}

/** `stat` of a path; undefined when nothing has that name, the error when it cannot be looked at. */
async function look(path: string): Promise<BigIntStats | Error | undefined> {
  try {
    return await stat(path, { bigint: true });
  } catch (error) {
    const reason = new Error(errorMessage(error), { cause: error });
    // A link that leads nowhere is there; only a name that is gone has vanished, not one that cannot be looked at.
    return lstat(path).then(
      () => reason,
      (absent: NodeJS.ErrnoException) => (absent.code === 'ENOENT' ? undefined : reason),
    );
  }
}

function signatureOf(stats: BigIntStats): string {
  return `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeNs}:${stats.ctimeNs}`;
}

/** See the head of the file. */
export class DirectoryFiles {
  readonly #path: string;
  readonly #limits: FileLimits;
  readonly #files = new Map<string, RuleFile>();
  #objectCount = 0;

  constructor(path: string, limits: FileLimits) {
    this.#path = path;
    this.#limits = limits;
  }

  /** Every file that is there, or was until just now. */
  get files(): RuleFile[] {
    return [...this.#files.values()];
  }

  /** Names of files that are missing or empty and not yet given up. */
  get vanishing(): RuleFile[] {
    return this.files.filter((file) => file.vanishedAtMs !== undefined);
  }

  /**
   * Looks at the files called `names`, or at all, and reads those that changed. Objects equal to one of `known` become
   * that very object. Ends early when `interrupted` says so between two batches, and returns the names it did not get to.
   * @throws Error of `readdir` when all are wanted and the directory cannot be listed; nothing is forgotten then.
   */
  async scan(
    names: ReadonlySet<string> | undefined,
    known: ReadonlyMap<string, SourceObject>,
    interrupted: () => boolean,
  ): Promise<string[]> {
    const wanted = names ?? new Set([...(await readdir(this.#path)), ...this.#files.keys()]);
    const sorted = [...wanted].filter(isRuleFile).sort();
    for (let start = 0; start < sorted.length; start += BATCH) {
      const batch = sorted.slice(start, start + BATCH);
      const looks = await Promise.all(batch.map((name) => look(join(this.#path, name))));
      for (const [index, name] of batch.entries()) {
        await this.#visit(name, looks[index], known);
      }
      if (interrupted()) return sorted.slice(start + BATCH);
    }
    return [];
  }

  async #visit(
    name: string,
    stats: BigIntStats | Error | undefined,
    known: ReadonlyMap<string, SourceObject>,
  ): Promise<void> {
    const file = this.#files.get(name) ?? this.#newFile(name);
    if (stats === undefined) {
      if (file.objects.length === 0 || this.#vanished(file)) this.#forget(file);
      return;
    }
    this.#files.set(name, file);
    if (stats instanceof Error) {
      this.#refuse(file, '', `cannot be read: ${stats.message}`);
      return;
    }
    // Truncation is the first half of an edit in place: wait for the second.
    const emptied = stats.isFile() && stats.size === 0n && file.objects.length > 0;
    if (emptied && !this.#vanished(file)) return;
    file.vanishedAtMs = undefined;
    const signature = signatureOf(stats);
    if (signature === file.signature) return;
    const refused = refuseFile(stats, this.#limits.fileBytesMax);
    if (refused !== undefined) {
      this.#refuse(file, signature, refused);
      return;
    }
    const settled = Date.now() - Number(stats.mtimeMs) > MTIME_GRAIN_MS;
    await this.#load(file, settled ? signature : '', known);
  }

  #newFile(name: string): RuleFile {
    return {
      name,
      path: join(this.#path, name),
      signature: '',
      digest: '',
      objects: [],
      problems: [],
      overflow: false,
      vanishedAtMs: undefined,
    };
  }

  /** Notes that a file is gone; true when it has been gone long enough to believe it. */
  #vanished(file: RuleFile): boolean {
    const now = performance.now();
    file.vanishedAtMs ??= now;
    return now - file.vanishedAtMs >= VANISH_GRACE_MS - 1;
  }

  #forget(file: RuleFile): void {
    this.#setObjects(file, []);
    this.#files.delete(file.name);
  }

  #refuse(file: RuleFile, signature: string, message: string): void {
    file.vanishedAtMs = undefined;
    file.signature = signature;
    file.digest = '';
    file.problems = [{ file: file.path, path: '', message }];
  }

  async #load(
    file: RuleFile,
    signature: string,
    known: ReadonlyMap<string, SourceObject>,
  ): Promise<void> {
    const read = await readBounded(file.path, this.#limits.fileBytesMax);
    if ('reason' in read) {
      this.#refuse(file, '', read.reason);
      return;
    }
    file.signature = signature;
    if (read.digest === file.digest) return;
    file.digest = read.digest;
    const room = this.#limits.objectsMax - this.#objectCount + file.objects.length;
    const content = await parseRuleFile(file.path, read.bytes, room);
    file.problems = content.problems;
    file.overflow = content.overflow;
    if (content.problems.length > 0) return;
    this.#setObjects(
      file,
      content.objects.map((entry) => {
        const object = known.get(entry.key)?.object;
        const same = object !== undefined && isDeepStrictEqual(object, entry.object);
        return same ? { ...entry, object } : entry;
      }),
    );
  }

  #setObjects(file: RuleFile, objects: readonly FileObject[]): void {
    const before = file.objects.length;
    this.#objectCount += objects.length - before;
    file.objects = objects;
    if (objects.length >= before) return;
    for (const other of this.#files.values()) {
      if (!other.overflow) continue;
      // There is more room now: read it again.
      other.signature = '';
      other.digest = '';
    }
  }
}
