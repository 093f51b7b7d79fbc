/**
 * Keeps up with one kind on an API server: a list that comes as the beginning of a watch where the server can do that, a list
 * by pages and then a watch otherwise. It never gives up and never forgets by itself: a fault is told, and tried again after
 * a jittered wait. What the objects mean is the sink's business.
 *
 * ```
 *   no version --- list streamed or paged ---> version known --- watch from there, in turns of some minutes ---+
 *        ^                                          ^                                                       |
 *        |  410, 404, or the server is behind us    +------------- turn over, connection lost ---------------+
 *        +--------------------------------------------------------------------------------------------------+
 * ```
 */
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { toError } from '../base/error.ts';
import { silentLogger, type Logger } from '../base/logger.ts';
import { Reconnect } from '../base/reconnect.ts';
import { type KubeApi, type KubeSession, readChunks, readText } from './api.ts';
import { KubeError } from './error.ts';
import {
  isBehind,
  LineSplitter,
  pageQuery,
  parseListPage,
  parseWatchEvent,
  type RawObject,
  refusesStreamedList,
  streamedListQuery,
  watchQuery,
} from './watch.ts';

/** Whoever keeps the objects. No method may throw. */
export interface ReflectorSink {
  listBegin(): void;
  listEnd(): void;
  /** The list broke off. Nothing was missing from it. */
  listAbort(): void;
  put(object: RawObject): void;
  /** The object was deleted while we watched. */
  remove(object: RawObject): void;
  /** Everything up to this version has been told: after each list, event and bookmark. */
  version?(resourceVersion: string, event: 'list' | 'object' | 'bookmark'): void;
  /** What keeps the reflector from being up to date; undefined when nothing does any more. */
  trouble(error: KubeError | undefined): void;
}

/** What a reflector follows, and how. */
export interface ReflectorOptions {
  /** Path of the list, such as `/apis/dpu.network/v1alpha1/dpurules`. */
  readonly path: string;
  readonly apiVersion: string;
  readonly kind: string;
  readonly logger?: Logger;
  /** First and longest wait after a fault. Default 200 and 30,000 ms. */
  readonly minBackoffMs?: number;
  readonly maxBackoffMs?: number;
  /** Returns 0..1. */
  readonly random?: () => number;
}

const PAGE_ITEMS = 500;
const PAGE_BYTES_MAX = 64 * 1024 * 1024;
/** A server may ask for as much patience as it likes; we come back after this. */
const RETRY_AFTER_MAX_MS = 60_000;
/** A watch that ends sooner than this without a word is a fault, not a turn. */
const TURN_MIN_MS = 1000;
/** Shortest turn of a watch in seconds; each is up to half as long again, so that many agents do not come back in step. */
const TURN_SECONDS = 240;
/** Work between two pauses. */
const SLICE_MS = 10;

/** See the head of the file. */
export class KubeReflector {
  readonly #api: KubeApi;
  readonly #sink: ReflectorSink;
  readonly #options: Required<ReflectorOptions>;
  readonly #stop = new AbortController();
  readonly #reconnect: Reconnect;
  #resourceVersion: string | undefined;
  /** Whether the server is asked for streamed lists: no longer once it has refused, not the next time after a silence. */
  #streamedLists: 'yes' | 'not next' | 'no' = 'yes';
  /** After a fault the server may be another, or the same with an older memory. */
  #suspicious = false;
  /** Whether the last attempt ended because our version is too old. */
  #expired = false;
  #running: Promise<void> | undefined;

  constructor(api: KubeApi, sink: ReflectorSink, options: ReflectorOptions) {
    this.#api = api;
    this.#sink = sink;
    this.#options = {
      logger: silentLogger,
      minBackoffMs: 200,
      maxBackoffMs: 30_000,
      random: Math.random,
      ...options,
    };
    const { minBackoffMs, maxBackoffMs, random } = this.#options;
    this.#reconnect = new Reconnect(performance.now(), { minBackoffMs, maxBackoffMs, random });
  }

  /** Begins. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends; nothing reaches the sink afterwards. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { kind, logger } = this.#options;
    while (!signal.aborted) {
      const error = await this.#attempt();
      if (signal.aborted) return;
      if (error === undefined) continue;
      const expired = error.code === 'SOURCE_KUBE_EXPIRED';
      const atOnce = expired && !this.#expired;
      this.#expired = expired;
      // An old version is no fault of the server: list anew, and doubt only when that is refused too.
      if (atOnce) {
        logger.debug({ kind, err: error }, 'version too old, listing anew');
        continue;
      }
      this.#sink.trouble(error);
      this.#suspicious = true;
      this.#reconnect.disconnected(performance.now());
      const backoffMs = this.#reconnect.timeout(performance.now()) ?? 0;
      const waitMs = Math.max(backoffMs, Math.min(error.retryAfterMs ?? 0, RETRY_AFTER_MAX_MS));
      logger.debug({ kind, err: error, waitMs }, 'watch interrupted');
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** One session: until the watch's turn is over (undefined), or a fault. */
  async #attempt(): Promise<KubeError | undefined> {
    let session: KubeSession | undefined;
    try {
      session = await this.#api.open();
      if (this.#suspicious) await this.#compareVersions(session);
      if (this.#resourceVersion === undefined && this.#streamedLists !== 'yes') {
        await this.#listPages(session);
      }
      await this.#watch(session);
      return undefined;
    } catch (thrown) {
      const error = asKubeError(thrown);
      // A CRD that comes back is a new one, with versions of its own.
      if (error.code === 'SOURCE_KUBE_EXPIRED' || error.status === 404) {
        this.#resourceVersion = undefined;
      }
      return error;
    } finally {
      session?.close();
    }
  }

  /** A server restored from a backup counts again from there; a watch from our version would wait in silence. */
  async #compareVersions(session: KubeSession): Promise<void> {
    const ours = this.#resourceVersion;
    if (ours !== undefined) {
      const { resourceVersion } = await this.#page(session, 1, '');
      if (isBehind(resourceVersion, ours)) {
        this.#options.logger.warn({ resourceVersion, ours }, 'API server is behind, listing anew');
        this.#resourceVersion = undefined;
      }
    }
    this.#suspicious = false;
  }

  async #page(session: KubeSession, limit: number, next: string): ReturnType<typeof toPage> {
    const { path, apiVersion, kind } = this.#options;
    const response = await session.get(path, pageQuery(limit, next), this.#stop.signal);
    return toPage(readText(response, PAGE_BYTES_MAX, session.server + path), apiVersion, kind);
  }

  async #listPages(session: KubeSession): Promise<void> {
    this.#sink.listBegin();
    try {
      let next = '';
      let resourceVersion;
      do {
        const page = await this.#page(session, PAGE_ITEMS, next);
        for (const item of page.items) this.#sink.put(item);
        ({ next, resourceVersion } = page);
      } while (next !== '');
      if (this.#streamedLists === 'not next') this.#streamedLists = 'yes';
      this.#listEnd(resourceVersion);
    } catch (error) {
      this.#sink.listAbort();
      throw error;
    }
  }

  #listEnd(resourceVersion: string): void {
    this.#resourceVersion = resourceVersion;
    this.#sink.version?.(resourceVersion, 'list');
    this.#sink.listEnd();
    this.#healthy();
  }

  #healthy(): void {
    this.#expired = false;
    this.#reconnect.connected(performance.now());
    this.#sink.trouble(undefined);
  }

  async #watch(session: KubeSession): Promise<void> {
    const from = this.#resourceVersion;
    const listing = from === undefined;
    const seconds = Math.round(TURN_SECONDS * (1 + this.#options.random() / 2));
    const query = listing ? streamedListQuery(seconds) : watchQuery(from, seconds);
    const startMs = performance.now();
    if (listing) this.#sink.listBegin();
    try {
      const spoke = await this.#follow(session, query);
      if (spoke || performance.now() - startMs >= TURN_MIN_MS) return;
      throw new KubeError('SOURCE_KUBE_UNREACHABLE', 'the API server ends each watch at once');
    } catch (thrown) {
      const error = asKubeError(thrown);
      const interrupted = listing && this.#resourceVersion === undefined;
      if (interrupted && refusesStreamedList(error)) {
        this.#options.logger.info({ reason: error.message }, 'no streamed lists, listing by pages');
        this.#streamedLists = 'no';
      } else if (interrupted && error.code === 'SOURCE_KUBE_TIMEOUT') {
        // A server of old takes the question for that of a plain watch, and never says that the list is over.
        this.#streamedLists = 'not next';
      }
      throw error;
    } finally {
      if (listing && this.#resourceVersion === undefined) this.#sink.listAbort();
    }
  }

  /** Reads a watch to its end; true when there was at least one event. */
  async #follow(session: KubeSession, query: string): Promise<boolean> {
    const { path } = this.#options;
    const url = session.server + path;
    const response = await session.get(path, query, this.#stop.signal);
    // A watch that was granted is health enough when there is nothing to list.
    if (this.#resourceVersion !== undefined) this.#sink.trouble(undefined);
    const lines = new LineSplitter();
    let spoke = false;
    let sliceEnd = performance.now() + SLICE_MS;
    for await (const chunk of readChunks(response, url)) {
      for (const line of lines.push(chunk)) {
        this.#event(line, url);
        spoke = true;
        if (performance.now() < sliceEnd) continue;
        await setImmediate();
        sliceEnd = performance.now() + SLICE_MS;
      }
    }
    if (this.#resourceVersion === undefined) {
      throw new KubeError('SOURCE_KUBE_UNREACHABLE', 'the list ended before it was complete', {
        url,
      });
    }
    return spoke;
  }

  #event(line: string, url: string): void {
    if (this.#stop.signal.aborted) return;
    const event = parseWatchEvent(line, url);
    const listing = this.#resourceVersion === undefined;
    switch (event.type) {
      case 'error':
        throw event.error;
      case 'bookmark':
        if (listing && event.listEnd) this.#listEnd(event.resourceVersion);
        else if (!listing) this.#advance(event.resourceVersion, 'bookmark');
        return;
      case 'put':
        this.#sink.put(event.object);
        if (!listing) this.#advance(event.object.resourceVersion, 'object');
        return;
      case 'delete':
        this.#sink.remove(event.object);
        if (!listing) this.#advance(event.object.resourceVersion, 'object');
        return;
    }
  }

  #advance(resourceVersion: string, event: 'object' | 'bookmark'): void {
    this.#resourceVersion = resourceVersion;
    this.#sink.version?.(resourceVersion, event);
    this.#healthy();
  }
}

async function toPage(
  body: Promise<string>,
  apiVersion: string,
  kind: string,
): Promise<ReturnType<typeof parseListPage>> {
  return parseListPage(await body, apiVersion, kind);
}

function asKubeError(thrown: unknown): KubeError {
  if (thrown instanceof KubeError) return thrown;
  const { message } = toError(thrown);
  return new KubeError('SOURCE_KUBE_UNREACHABLE', message, { cause: thrown });
}
