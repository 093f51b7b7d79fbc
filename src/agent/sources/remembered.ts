/**
 * A source that remembers: hands on what another source says and keeps it on disk; at a start where the other cannot be
 * read in time it gives the last good objects instead, and says how old they are.
 */
import { EventEmitter } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { toError } from '../../base/error.ts';
import { silentLogger, type Logger } from '../../base/logger.ts';
import type { LastGoodStore } from './last-good.ts';
import type { RuleSource, RuleSourceEvents, SourceProblem, SourceSnapshot } from './source.ts';

/** How a {@link RememberedSource} behaves. */
export interface RememberedOptions {
  readonly logger?: Logger;
  /** How long the source may take for its first read before the last good objects take its place. Default 2000. */
  readonly patienceMs?: number;
  /** Quiet time before a change is saved. Default 1000. */
  readonly saveDelayMs?: number;
}

/** The source in front of another. */
export class RememberedSource extends EventEmitter<RuleSourceEvents> implements RuleSource {
  readonly #inner: RuleSource;
  readonly #store: LastGoodStore;
  readonly #options: Required<RememberedOptions>;
  #innerRead = false;
  #staleSnapshot: SourceSnapshot | undefined;
  #staleSince: string | undefined;
  #storeProblem: string | undefined;
  #saveTimer: NodeJS.Timeout | undefined;
  #saving: Promise<void> | undefined;
  #closed = false;

  constructor(inner: RuleSource, store: LastGoodStore, options: RememberedOptions = {}) {
    super();
    this.#inner = inner;
    this.#store = store;
    this.#options = { logger: silentLogger, patienceMs: 2000, saveDelayMs: 1000, ...options };
  }

  /** When the objects in force were saved, ISO 8601; undefined while they come from the source itself. */
  get staleSince(): string | undefined {
    return this.#innerRead ? undefined : this.#staleSince;
  }

  get snapshot(): SourceSnapshot {
    const snapshot = this.#innerRead
      ? this.#inner.snapshot
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
    const read = this.#inner.start().then(() => this.#onRead());
    const { lastGood, problem } = await this.#store.load();
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

  #onRead(): void {
    if (this.#closed) return;
    const wasStale = this.#staleSnapshot !== undefined;
    this.#innerRead = true;
    this.#staleSnapshot = undefined;
    this.#scheduleSave();
    if (wasStale) this.emit('change');
  }

  #onChange(): void {
    this.emit('change');
    if (this.#innerRead) this.#scheduleSave();
  }

  #scheduleSave(): void {
    this.#saveTimer ??= globalThis.setTimeout(() => this.#save(), this.#options.saveDelayMs);
  }

  #save(): void {
    this.#saveTimer = undefined;
    const { objects } = this.#inner.snapshot;
    this.#saving = (this.#saving ?? Promise.resolve())
      .then(() => this.#store.save(objects, new Date().toISOString()))
      .then(
        () => {
          this.#storeProblem = undefined;
        },
        (error: unknown) => {
          this.#storeProblem = toError(error).message;
          this.#options.logger.error({ err: toError(error) }, 'last good state is not saved');
        },
      );
  }
}
