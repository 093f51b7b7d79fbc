/**
 * HTTP over a Unix socket for people on this machine: for its owner only, in a directory that nobody else can
 * write to. It answers questions with what the views give it and knows nothing of flows itself.
 */
import { chmod, lstat, mkdir, unlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { ConfigError, errorMessage } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';
import { QueryError } from './query.ts';

/** An answer: JSON for an object, text as it is. */
export interface DebugAnswer {
  readonly status?: number;
  readonly contentType?: string;
  readonly body: unknown;
}

/** Answers one path. `query` holds the parameters of the URL. */
export type DebugRoute = (query: URLSearchParams) => Promise<DebugAnswer> | DebugAnswer;

const CONNECTIONS_MAX = 16;
const REQUEST_TIMEOUT_MS = 30_000;
const IDLE_TIMEOUT_MS = 60_000;
/** No question has a body; some clients send a few bytes all the same. */
const BODY_BYTES_MAX = 4096;

/** The server. */
export class DebugServer {
  readonly #server: Server;
  readonly #routes: ReadonlyMap<string, DebugRoute>;
  readonly #actions: ReadonlyMap<string, DebugRoute>;
  readonly #logger: Logger;

  /** `routes` answer GET, `actions` answer POST. */
  constructor(
    routes: ReadonlyMap<string, DebugRoute>,
    logger: Logger,
    actions: ReadonlyMap<string, DebugRoute> = new Map(),
  ) {
    this.#routes = routes;
    this.#actions = actions;
    this.#logger = logger;
    this.#server = createServer((request, response) => void this.#answer(request, response));
    this.#server.maxConnections = CONNECTIONS_MAX;
    this.#server.requestTimeout = REQUEST_TIMEOUT_MS;
    this.#server.headersTimeout = REQUEST_TIMEOUT_MS;
    // Whoever asks and does not read holds a connection, of which there are few.
    this.#server.timeout = IDLE_TIMEOUT_MS;
  }

  /**
   * Listens on a Unix socket. The directory is made first, for root only; a socket that nobody answers is replaced.
   * @throws ConfigError when the place is not safe or another process listens there.
   */
  async listenUnix(path: string): Promise<void> {
    await prepareSocketPlace(path);
    await this.#listen((done) => this.#server.listen(path, done), path);
    await chmod(path, 0o600);
  }

  /**
   * Listens on TCP, for metrics.
   * @throws ConfigError when the address cannot be bound.
   */
  async listenTcp(host: string, port: number): Promise<void> {
    await this.#listen((done) => this.#server.listen({ host, port }, done), `${host}:${port}`);
  }

  /** Stops listening and ends open connections. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #listen(start: (done: () => void) => void, place: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const fail = (error: Error): void =>
        reject(
          new ConfigError(place, [{ path: '', message: `cannot listen: ${error.message}` }], error),
        );
      this.#server.once('error', fail);
      start(() => {
        this.#server.off('error', fail);
        this.#server.on('error', (error) =>
          this.#logger.error({ err: error, place }, 'debug server failed'),
        );
        resolve();
      });
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const url = URL.parse(`http://agent${request.url ?? '/'}`);
      if (url === null) {
        send(response, { status: 400, body: { error: 'the path is not a URL path' } });
        return;
      }
      if (!discardBody(request)) {
        send(response, { status: 413, body: { error: 'a question has no body' } });
        return;
      }
      const isAction = this.#actions.has(url.pathname);
      const route = (isAction ? this.#actions : this.#routes).get(url.pathname);
      const method = isAction ? 'POST' : 'GET';
      if (request.method !== method && (route !== undefined || request.method !== 'GET')) {
        const error = `${request.method} is not allowed: ${route === undefined ? 'this socket answers GET' : `${url.pathname} takes ${method}`}`;
        send(response, { status: 405, body: { error } });
      } else if (route === undefined) {
        const paths = [...this.#routes.keys(), ...this.#actions.keys()];
        send(response, { status: 404, body: { error: `no ${url.pathname}`, paths } });
      } else {
        send(response, await route(url.searchParams));
      }
    } catch (error) {
      if (error instanceof QueryError) {
        send(response, { status: 400, body: { error: error.message } });
        return;
      }
      this.#logger.warn({ err: error, url: request.url }, 'debug request failed');
      send(response, { status: 503, body: { error: errorMessage(error) } });
    }
  }
}

/** Reads past a body of a few bytes; false when there is more. */
function discardBody(request: IncomingMessage): boolean {
  const length = Number(request.headers['content-length'] ?? 0);
  if (length > BODY_BYTES_MAX || request.headers['transfer-encoding'] !== undefined) {
    return false;
  }
  request.resume();
  return true;
}

function send(response: ServerResponse, answer: DebugAnswer): void {
  const text =
    typeof answer.body === 'string' ? answer.body : `${JSON.stringify(answer.body, jsonValue)}\n`;
  const contentType =
    answer.contentType ?? (typeof answer.body === 'string' ? 'text/plain' : 'application/json');
  response.writeHead(answer.status ?? 200, {
    'content-type': contentType,
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}

/** Cookies and datapath ids are bigint: hexadecimal, as OVS prints them. */
function jsonValue(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `0x${value.toString(16)}` : value;
}

async function prepareSocketPlace(path: string): Promise<void> {
  const refuse = (message: string): ConfigError =>
    new ConfigError(path, [{ path: 'debug.socket', message }]);
  const directory = dirname(path);
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw refuse(`${directory} cannot be made: ${errorMessage(error)}`);
  }
  const place = await lstat(directory);
  if (!place.isDirectory()) throw refuse(`${directory} is a symbolic link or no directory`);
  if (process.getuid !== undefined && place.uid !== process.getuid()) {
    throw refuse(`${directory} belongs to another user (uid ${place.uid})`);
  }
  // Who may write there may put another socket, or a link, in the place of ours.
  if ((place.mode & 0o022) !== 0) {
    const mode = (place.mode & 0o7777).toString(8);
    throw refuse(`${directory} has mode ${mode}: others may write there; accepted: 0700 or 0755`);
  }
  const present = await lstat(path).catch(() => undefined);
  if (present === undefined) return;
  if (!present.isSocket())
    throw refuse('there is a file of another kind; remove it or choose another path');
  if (await answers(path))
    throw refuse('another process listens there; stop it or choose another path');
  await unlink(path);
}

/** True when a process listens on the socket. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
