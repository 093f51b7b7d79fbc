/**
 * The last good objects on disk: what was in force when the agent last ran, for a boot at which the source cannot be read.
 * One file, written beside and renamed after fsync, mode 0600, with a checksum; a file that is not whole is set aside and
 * never used. Objects are validated again when they are read.
 */
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { objectKey, parseObject } from '../../api/object.ts';
import { ConfigError, errorMessage, toError } from '../../base/error.ts';
import type { SourceObject } from './source.ts';

/** Objects as they were saved. */
export interface LastGood {
  readonly objects: ReadonlyMap<string, SourceObject>;
  /** Wall clock, ISO 8601. */
  readonly savedAt: string;
}

/** What reading gave. */
export interface LastGoodResult {
  readonly lastGood?: LastGood;
  /** Why a file that was there is not used. */
  readonly problem?: string;
}

const FILE = 'last-good.json';
const FORMAT = 1;
const FILE_BYTES_MAX = 256 * 1024 * 1024;

const savedStateSchema = z.object({
  format: z.literal(FORMAT),
  savedAt: z.string(),
  objects: z.array(z.object({ origin: z.string(), object: z.unknown() })),
});
type SavedState = z.output<typeof savedStateSchema>;

/** The store in one directory. */
export class LastGoodStore {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Path of the file. */
  get path(): string {
    return join(this.#dir, FILE);
  }

  /**
   * Replaces what is stored: after a crash at any moment there is either the old state or the new one.
   * @throws ConfigError when the directory cannot be written.
   */
  async save(objects: ReadonlyMap<string, SourceObject>, savedAt: string): Promise<void> {
    const saved: SavedState = { format: FORMAT, savedAt, objects: [...objects.values()] };
    const body = JSON.stringify(saved);
    const temporary = `${this.path}.tmp`;
    try {
      await mkdir(this.#dir, { recursive: true, mode: 0o700 });
      const file = await open(temporary, 'w', 0o600);
      try {
        await file.writeFile(`${checksum(body)}\n${body}\n`);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, this.path);
      const dir = await open(this.#dir, 'r');
      // The rename itself must survive a power cut.
      await dir.sync().finally(() => dir.close());
    } catch (error) {
      // What was written of it must not keep a full disk full.
      await rm(temporary, { force: true }).catch(() => undefined);
      const message = `cannot be written: ${errorMessage(error)}`;
      throw new ConfigError(this.path, [{ path: 'state', message }], error);
    }
  }

  /** Reads what is stored. Nothing is thrown: a boot must not fail on it. */
  async load(): Promise<LastGoodResult> {
    let text;
    try {
      if ((await stat(this.path)).size > FILE_BYTES_MAX)
        return this.#setAside('is larger than 256 MiB');
      text = await readFile(this.path, 'utf8');
    } catch (error) {
      return isAbsent(error)
        ? {}
        : { problem: `${this.path} cannot be read: ${errorMessage(error)}` };
    }
    const newline = text.indexOf('\n');
    const body = text.slice(newline + 1, -1);
    if (newline < 0 || !text.endsWith('\n') || checksum(body) !== text.slice(0, newline)) {
      return this.#setAside('is damaged or half written');
    }
    return this.#decode(body);
  }

  async #decode(body: string): Promise<LastGoodResult> {
    const saved = savedStateSchema.safeParse(JSON.parse(body));
    if (!saved.success) return this.#setAside('is of another format than this release writes');
    const objects = new Map<string, SourceObject>();
    for (const { origin, object: value } of saved.data.objects) {
      const { object } = parseObject(value);
      if (object !== undefined) objects.set(objectKey(object), { object, origin });
    }
    return { lastGood: { objects, savedAt: saved.data.savedAt } };
  }

  async #setAside(why: string): Promise<LastGoodResult> {
    const aside = `${this.path}.bad`;
    try {
      await rename(this.path, aside);
      return { problem: `${this.path} ${why}; it is not used, and kept as ${aside}` };
    } catch (error) {
      return { problem: `${this.path} ${why}; it is not used (${toError(error).message})` };
    }
  }
}

function checksum(body: string): string {
  return createHash('sha256').update(body).digest('hex');
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
