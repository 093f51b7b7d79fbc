/**
 * The list and watch protocol of the Kubernetes API as text (API concepts, "Efficient detection of changes", "Streaming
 * lists"): queries, lines, events, Status objects. Pure; does no I/O and keeps no objects.
 *
 * A watch answers with one JSON object a line: `{"type": "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR",
 * "object": {...}}`.
 */
import { errorMessage } from '../base/error.ts';
import { KubeError } from './error.ts';

/** The part of an object's metadata that the protocol needs, and the object itself, not validated. */
export interface RawObject {
  readonly name: string;
  /** Empty for an object that stands in no namespace. */
  readonly namespace: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly value: unknown;
}

/** One line of a watch. */
export type WatchEvent =
  | { readonly type: 'put' | 'delete'; readonly object: RawObject }
  | {
      readonly type: 'bookmark';
      readonly resourceVersion: string;
      /** True for the one that closes the initial events of a streamed list. */
      readonly listEnd: boolean;
    }
  | { readonly type: 'error'; readonly error: KubeError };

/** One page of a list. */
export interface ListPage {
  readonly items: readonly RawObject[];
  readonly resourceVersion: string;
  /** Empty on the last page. */
  readonly next: string;
}

/** Largest line of a watch: etcd takes objects of 1.5 MiB, and a server may be told to take more. */
export const LINE_BYTES_MAX = 8 * 1024 * 1024;
const INITIAL_EVENTS_END = 'k8s.io/initial-events-end';
const NAME_MAX = 253;
const SHOWN_MAX = 300;

type Fields = Readonly<Record<string, unknown>>;

function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An own property, so that no name from outside reaches a prototype. */
function own(value: unknown, name: string): unknown {
  return isRecord(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

function text(value: unknown, name: string): string {
  const found = own(value, name);
  return typeof found === 'string' ? found : '';
}

function badAnswer(message: string, cause?: unknown): KubeError {
  return new KubeError('SOURCE_KUBE_BAD_ANSWER', message, { cause });
}

function parseJson(source: string): unknown {
  try {
    return JSON.parse(source);
  } catch (error) {
    throw badAnswer(`the API server sent what is no JSON: ${errorMessage(error)}`, error);
  }
}

function rawObject(value: unknown): RawObject {
  const metadata = own(value, 'metadata');
  const name = text(metadata, 'name');
  const resourceVersion = text(metadata, 'resourceVersion');
  if (name === '' || name.length > NAME_MAX || resourceVersion === '') {
    throw badAnswer('the API server sent an object without a name or a resourceVersion');
  }
  const namespace = text(metadata, 'namespace');
  return { name, namespace, uid: text(metadata, 'uid'), resourceVersion, value };
}

/** Milliseconds of a Retry-After header in seconds; undefined when there is none. */
export function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined || !/^\d{1,6}$/.test(header)) return undefined;
  return Number(header) * 1000;
}

/** The error that an HTTP status and the Status object in `body` (any text will do) mean. */
export function statusError(
  status: number,
  body: string,
  url: string,
  retryAfter?: string,
): KubeError {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    value = undefined;
  }
  const message = (text(value, 'message') || body.trim()).slice(0, SHOWN_MAX);
  const reason = text(value, 'reason');
  const details = own(value, 'details');
  const seconds = own(details, 'retryAfterSeconds');
  const waitMs =
    retryAfterMs(retryAfter) ?? (typeof seconds === 'number' ? seconds * 1000 : undefined);
  const expired = status === 410 || reason === 'Expired' || reason === 'Gone';
  return new KubeError(
    expired ? 'SOURCE_KUBE_EXPIRED' : 'SOURCE_KUBE_REFUSED',
    `the API server answers ${status}${message === '' ? '' : `: ${message}`}`,
    { url, status, ...(waitMs === undefined ? {} : { retryAfterMs: waitMs }) },
  );
}

/**
 * Parses one line of a watch.
 * @throws KubeError SOURCE_KUBE_BAD_ANSWER when it is no event.
 */
export function parseWatchEvent(line: string, url: string): WatchEvent {
  const event = parseJson(line);
  const type = text(event, 'type');
  const object = own(event, 'object');
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
      return { type: 'put', object: rawObject(object) };
    case 'DELETED':
      return { type: 'delete', object: rawObject(object) };
    case 'BOOKMARK': {
      const metadata = own(object, 'metadata');
      const resourceVersion = text(metadata, 'resourceVersion');
      if (resourceVersion === '') throw badAnswer('a bookmark has no resourceVersion');
      const listEnd = text(own(metadata, 'annotations'), INITIAL_EVENTS_END) === 'true';
      return { type: 'bookmark', resourceVersion, listEnd };
    }
    case 'ERROR': {
      const code = own(object, 'code');
      const status = typeof code === 'number' ? code : 500;
      return { type: 'error', error: statusError(status, JSON.stringify(object), url) };
    }
    default:
      throw badAnswer(`the API server sent an event of unknown type "${type.slice(0, 32)}"`);
  }
}

/**
 * Parses one page of a list. Items of a list carry neither kind nor apiVersion of their own on some servers: `kind` and
 * `apiVersion` are filled in where they are absent.
 * @throws KubeError SOURCE_KUBE_BAD_ANSWER when it is no list.
 */
export function parseListPage(body: string, apiVersion: string, kind: string): ListPage {
  const list = parseJson(body);
  const metadata = own(list, 'metadata');
  const items = own(list, 'items');
  const resourceVersion = text(metadata, 'resourceVersion');
  if (!Array.isArray(items) || resourceVersion === '') {
    throw badAnswer('the API server sent a list without items or resourceVersion');
  }
  const whole = (item: unknown): unknown => (isRecord(item) ? { apiVersion, kind, ...item } : item);
  return {
    items: items.map((item) => rawObject(whole(item))),
    resourceVersion,
    next: text(metadata, 'continue'),
  };
}

/** Query of a list that comes as the beginning of a watch. */
export function streamedListQuery(timeoutSeconds: number): string {
  return `watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=&timeoutSeconds=${timeoutSeconds}`;
}

/** Query of a watch of what comes after `resourceVersion`. */
export function watchQuery(resourceVersion: string, timeoutSeconds: number): string {
  return `watch=1&allowWatchBookmarks=true&resourceVersion=${encodeURIComponent(resourceVersion)}&timeoutSeconds=${timeoutSeconds}`;
}

/** Query of one page of a list. */
export function pageQuery(limit: number, next: string): string {
  return `limit=${limit}${next === '' ? '' : `&continue=${encodeURIComponent(next)}`}`;
}

/**
 * Whether a refused streamed list is to be followed by a paged one: the server does not know it (4xx) or cannot do it (its
 * etcd is too old: 500). What a paged list would meet as well is not among them.
 */
export function refusesStreamedList(error: KubeError): boolean {
  const { status } = error;
  if (error.code !== 'SOURCE_KUBE_REFUSED' || status === undefined) return false;
  return (
    status === 500 || (status >= 400 && status < 500 && ![401, 403, 404, 429].includes(status))
  );
}

/**
 * Whether a server is behind what it said before: its etcd was restored from a backup. Only versions that are decimals can
 * be compared (Kubernetes 1.35 promises that they are).
 */
export function isBehind(serverVersion: string, ours: string): boolean {
  const decimal = /^\d{1,30}$/;
  if (!decimal.test(serverVersion) || !decimal.test(ours)) return false;
  return BigInt(serverVersion) < BigInt(ours);
}

/** Cuts a stream of bytes into lines, and refuses one that is too long before it fills the memory. */
export class LineSplitter {
  readonly #bytesMax: number;
  #pending: Buffer[] = [];
  #pendingBytes = 0;

  constructor(bytesMax: number = LINE_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  /**
   * The lines that `chunk` completes, without empty ones.
   * @throws KubeError SOURCE_KUBE_BAD_ANSWER when a line is longer than the most that is accepted.
   */
  *push(chunk: Buffer): Generator<string> {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(0x0a, start);
      const piece = chunk.subarray(start, end < 0 ? undefined : end);
      this.#pendingBytes += piece.length;
      if (this.#pendingBytes > this.#bytesMax) {
        throw badAnswer(`the API server sent a line of more than ${this.#bytesMax} bytes`);
      }
      this.#pending.push(piece);
      if (end < 0) return;
      const line = Buffer.concat(this.#pending).toString('utf8').trim();
      this.#pending = [];
      this.#pendingBytes = 0;
      if (line !== '') yield line;
      start = end + 1;
    }
  }
}
