/**
 * A source that remembers: hands on what another source says and keeps it on disk; at a start where the other cannot be
 * read in time it gives the last good objects instead, and says how old they are. Of a file that is broken at a start the
 * last good objects stay in force until it is put right or gone: a restart must not take away what an edit does not.
 */
import { EventEmitter } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { toError } from '../../base/error.ts';
import { silentLogger, type Logger } from '../../base/logger.ts';
import type { LastGoodStore } from './last-good.ts';
import {
  originFile,
  type RuleSource,
  type RuleSourceEvents,
  type SourceObject,
  type SourceProblem,
  type SourceSnapshot,
} from './source.ts';

/** How a {@link RememberedSource} behaves. */
export interface RememberedOptions {
  readonly logger?: Logger;
  /** How long the source may take for its first read before the last good objects take its place. Default 2000. */
  readonly patienceMs?: number;
  /** Quiet time before a change is saved. Default 1000. */
  readonly saveDelayMs?: number;
  /** Pause before a save that failed (a full disk) is tried again. Default 10,000. */
  readonly saveRetryMs?: number;
}

/** The source in front of another. */
export class RememberedSource extends EventEmitter<RuleSourceEvents> implements RuleSource {
  readonly #inner: RuleSource;
  readonly #store: LastGoodStore;
  readonly #options: Required<RememberedOptions>;
  #innerRead = false;
  #staleSnapshot: SourceSnapshot | undefined;
  /** Last good objects of files that are broken since the start. */
  #held: ReadonlyMap<string, SourceObject> = new Map();
  #staleSince: string | undefined;
  #storeProblem: string | undefined;
  #saveTimer: NodeJS.Timeout | undefined;
  #saving: Promise<void> | undefined;
  #closed = false;

  constructor(inner: RuleSource, store: LastGoodStore, options: RememberedOptions = {}) {
    super();
    this.#inner = inner;
    this.#store = store;
    this.#options = {
      logger: silentLogger,
      patienceMs: 2000,
      saveDelayMs: 1000,
      saveRetryMs: 10_000,
      ...options,
    };
  }

  /** When the objects in force were saved, ISO 8601; undefined while they come from the source itself. */
  get staleSince(): string | undefined {
    return this.#innerRead ? undefined : this.#staleSince;
  }

  get snapshot(): SourceSnapshot {
    const snapshot = this.#innerRead
      ? this.#withHeld(this.#inner.snapshot)
      : (this.#staleSnapshot ?? this.#inner.snapshot);
    if (this.#storeProblem === undefined) return snapshot;
    const problem: SourceProblem = {
      file: this.#store.path,
      path: '',
      message: this.#storeProblem,
    };
    return { ...snapshot, problems: [...snapshot.problems, problem] };
  }

  /** Resolves when the source was read, or when the last good objects stand in for it. */
  async start(): Promise<void> {
    this.#inner.on('change', () => this.#onChange());
    // Read first: what is saved after the source was read must not be taken for what was in force before.
    const loaded = this.#store.load();
    const read = Promise.all([this.#inner.start(), loaded]).then(([, { lastGood }]) =>
      this.#onRead(lastGood?.objects),
    );
    const { lastGood, problem } = await loaded;
    this.#storeProblem = problem;
    if (problem !== undefined)
      this.#options.logger.warn({ problem }, 'last good state is not used');
    if (lastGood === undefined) return read;
    const patience = new AbortController();
    const { patienceMs } = this.#options;
    const tooLong = setTimeout(patienceMs, undefined, { signal: patience.signal }).catch(
      () => undefined,
    );
    await Promise.race([read, tooLong]);
    patience.abort();
    if (this.#innerRead) return;
    this.#staleSince = lastGood.savedAt;
    const { problems, revision } = this.#inner.snapshot;
    this.#staleSnapshot = {
      objects: lastGood.objects,
      problems,
      revision,
      changedAtMs: performance.now(),
    };
    this.#options.logger.warn(
      { savedAt: lastGood.savedAt, objects: lastGood.objects.size },
      'rules cannot be read, the last good ones are in force',
    );
    read.catch((error: unknown) =>
      this.#options.logger.error({ err: toError(error) }, 'source failed'),
    );
  }

  /** Saves what is not saved yet, and stops. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#inner.close();
    if (this.#saveTimer !== undefined) {
      clearTimeout(this.#saveTimer);
      this.#save();
    }
    await this.#saving;
  }

  #onRead(lastGood: ReadonlyMap<string, SourceObject> = new Map()): void {
    if (this.#closed) return;
    const wasStale = this.#staleSnapshot !== undefined;
    this.#innerRead = true;
    this.#held = this.#stillBroken(lastGood);
    if (this.#held.size > 0) {
      this.#options.logger.warn(
        { objects: [...this.#held.keys()] },
        'files are broken since before the start, their last good objects are in force',
      );
    }
    this.#staleSnapshot = undefined;
    this.#scheduleSave();
    if (wasStale) this.emit('change');
  }

  #onChange(): void {
    if (this.#innerRead) {
      this.#held = this.#stillBroken(this.#held);
      this.#scheduleSave();
    }
    this.emit('change');
  }

  /** Those of `objects` that the source does not have, and whose file it could not use. */
  #stillBroken(objects: ReadonlyMap<string, SourceObject>): ReadonlyMap<string, SourceObject> {
    const present = this.#inner.snapshot;
    // A problem with an object that is in force (two files claim it) says nothing about the rest of its file.
    const broken = new Set(
      present.problems
        .filter(({ object }) => object === undefined || !present.objects.has(object))
        .map(({ file }) => file),
    );
    return new Map(
      [...objects].filter(
        ([key, { origin }]) => !present.objects.has(key) && broken.has(originFile(origin)),
      ),
    );
  }

  #withHeld(snapshot: SourceSnapshot): SourceSnapshot {
    if (this.#held.size === 0) return snapshot;
    return { ...snapshot, objects: new Map([...snapshot.objects, ...this.#held]) };
  }

  #scheduleSave(delayMs = this.#options.saveDelayMs): void {
    this.#saveTimer ??= globalThis.setTimeout(() => this.#save(), delayMs);
  }

  #save(): void {
    this.#saveTimer = undefined;
    const { objects } = this.#withHeld(this.#inner.snapshot);
    this.#saving = (this.#saving ?? Promise.resolve())
      .then(() => this.#store.save(objects, new Date().toISOString()))
      .then(
        () => {
          this.#storeProblem = undefined;
        },
        (error: unknown) => {
          const { message } = toError(error);
          const level = message === this.#storeProblem ? 'debug' : 'error';
          this.#options.logger[level]({ err: toError(error) }, 'last good state is not saved');
          this.#storeProblem = message;
          if (!this.#closed) this.#scheduleSave(this.#options.saveRetryMs);
        },
      );
  }
}
