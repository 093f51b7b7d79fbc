/**
 * fs.watch on a directory that may be moved away, deleted and made anew. Tells which name changed; reads nothing.
 */
import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { errorMessage } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';

/** Watches whatever directory has the path now. */
export class DirectoryWatch {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #onEvent: (name: string | undefined) => void;
  #watcher: FSWatcher | undefined;
  #identity = '';

  /** `onEvent` gets the name of the entry that changed; undefined when it may be anything. */
  constructor(path: string, logger: Logger, onEvent: (name: string | undefined) => void) {
    this.#path = path;
    this.#logger = logger;
    this.#onEvent = onEvent;
  }

  /** False while there is no watch, so that the owner has to poll. */
  get active(): boolean {
    return this.#watcher !== undefined;
  }

  /**
   * Makes sure that the directory at the path is the one that is watched. Without a watch (too many in this system) it
   * leaves `active` false. True when events may have been missed: the watch is new.
   * @throws Error of `stat` when there is no such directory.
   */
  async ensure(): Promise<boolean> {
    const { dev, ino, birthtimeNs } = await stat(this.#path, { bigint: true });
    const identity = `${dev}:${ino}:${birthtimeNs}`;
    if (this.#watcher !== undefined && this.#identity === identity) return false;
    this.close();
    try {
      const watcher = watch(this.#path, (_event, name) => this.#handle(name));
      watcher.on('error', (error) => {
        this.#logger.warn({ path: this.#path, error: error.message }, 'directory watch failed');
        if (this.#watcher === watcher) this.close();
      });
      this.#watcher = watcher;
      this.#identity = identity;
    } catch (error) {
      const fields = { path: this.#path, error: errorMessage(error) };
      this.#logger.warn(fields, 'directory cannot be watched, polling instead');
    }
    return true;
  }

  /** Ends the watch. */
  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #handle(name: string | null): void {
    // inotify names the directory itself when that is moved or deleted: the watch is of no more use, and a new
    // directory may get the old inode number.
    const self = name === basename(this.#path);
    if (self) this.close();
    this.#onEvent(self || name === null ? undefined : name);
  }
}
