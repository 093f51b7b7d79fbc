/**
 * HTTP to an API server: requests, their bounds and their errors. Knows no kinds and repeats nothing; credentials come from
 * config.ts.
 */
import type { IncomingMessage } from 'node:http';
import { type Agent, request as httpRequest } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import type { Readable, Writable } from 'node:stream';
import { errorMessage } from '../base/error.ts';
import { loadKubeConfig, type KubeTarget } from './config.ts';
import { KubeError } from './error.ts';
import { statusError } from './watch.ts';

/** Times in milliseconds. */
export interface KubeApiOptions {
  /** Silence after which a request is given up. Bookmarks come each minute. Default 150,000. */
  readonly idleMs?: number;
  /** Time to the first byte of an answer. Default 30,000. */
  readonly answerMs?: number;
}

/** What is sent. */
export interface KubeBody {
  readonly type: 'application/json' | 'application/apply-patch+yaml';
  readonly value: unknown;
}

/** Largest answer to a change that is read: the object as it is now. */
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;
/** Largest text of a refusal that is read. */
const REFUSAL_BYTES_MAX = 65_536;
/** Silence on a connection before the kernel asks whether the other end is there. */
const KEEPALIVE_MS = 15_000;

/** One view of the configuration on disk: open anew for every attempt, so that rotated tokens and CAs are found. */
export class KubeSession {
  /** URL of the server, without a slash at its end. */
  readonly server: string;
  readonly localAddress: string | undefined;
  readonly #apply: (options: RequestOptions) => Promise<void>;
  readonly #options: Required<KubeApiOptions>;
  #agent: Agent | undefined;

  constructor(
    server: string,
    apply: (options: RequestOptions) => Promise<void>,
    options: Required<KubeApiOptions>,
    localAddress?: string,
  ) {
    this.server = server;
    this.localAddress = localAddress;
    this.#apply = apply;
    this.#options = options;
  }

  /**
   * GETs `path` and resolves with the answer once it is a success.
   * @throws KubeError for any status from 300 on, and when there is no answer in time.
   */
  async get(path: string, query: string, signal: AbortSignal): Promise<IncomingMessage> {
    return this.#request('GET', path, query, signal);
  }

  /**
   * Sends a change; resolves when the server has taken it. The connection is kept for the next one.
   * @throws KubeError for any status from 300 on, and when there is no answer in time.
   */
  async change(
    method: 'PATCH' | 'POST' | 'DELETE',
    path: string,
    query: string,
    signal: AbortSignal,
    body?: KubeBody,
  ): Promise<void> {
    const response = await this.#request(method, path, query, signal, body);
    await readText(response, ANSWER_BYTES_MAX, `${this.server}${path}`);
  }

  async #request(
    method: string,
    path: string,
    query: string,
    signal: AbortSignal,
    body?: KubeBody,
  ): Promise<IncomingMessage> {
    const url = `${this.server}${path}`;
    const target = new URL(`${url}${query === '' ? '' : `?${query}`}`);
    const text = body === undefined ? undefined : JSON.stringify(body.value);
    const type = body === undefined ? {} : { 'content-type': body.type };
    const { localAddress } = this;
    const options: RequestOptions = {
      method,
      headers: { accept: 'application/json', ...type },
      ...(localAddress === undefined ? {} : { localAddress }),
    };
    try {
      await this.#apply(options);
    } catch (error) {
      throw new KubeError('SOURCE_KUBE_CONFIG', `no credentials: ${errorMessage(error)}`, {
        url,
        cause: error,
      });
    }
    if (typeof options.agent === 'object') {
      this.#agent = options.agent;
      // A change comes every few seconds: a handshake for each would cost a server of a thousand agents more than the change.
      if (method !== 'GET') Object.assign(options.agent, { keepAlive: true });
    }
    const response = await this.#send(target, { ...options, signal }, url, text);
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    const refusal = await readText(response, REFUSAL_BYTES_MAX, url).catch(errorMessage);
    throw statusError(status, refusal, url, response.headers['retry-after']);
  }

  /** Ends every connection of this session. */
  close(): void {
    this.#agent?.destroy();
  }

  #send(
    target: URL,
    options: RequestOptions,
    url: string,
    text?: string,
  ): Promise<IncomingMessage> {
    const { answerMs, idleMs } = this.#options;
    const send = target.protocol === 'http:' ? httpRequest : httpsRequest;
    return new Promise((resolve, reject) => {
      const call = send(target, options);
      // Destroying the request would tell the reader of the answer no more than "aborted".
      const silent = (ms: number, stream: Writable | Readable): void => {
        const message = `no byte from the API server in ${ms} ms`;
        stream.destroy(new KubeError('SOURCE_KUBE_TIMEOUT', message, { url }));
      };
      // A timer of our own: the socket's covers neither name resolution nor connect.
      const answerTimer = setTimeout(() => silent(answerMs, call), answerMs);
      call.on('socket', (socket) => socket.setKeepAlive(true, KEEPALIVE_MS));
      call.on('response', (response) => {
        clearTimeout(answerTimer);
        call.setTimeout(idleMs, () => silent(idleMs, response));
        resolve(response);
      });
      // Stays after the answer: a late error of the request must not be an unhandled one.
      call.on('error', (error) => {
        clearTimeout(answerTimer);
        reject(unreachable(error, url));
      });
      call.end(text);
    });
  }
}

/** Opens sessions. */
export class KubeApi {
  readonly #target: KubeTarget;
  readonly #options: Required<KubeApiOptions>;
  #server: string | undefined;

  constructor(target: KubeTarget, options: KubeApiOptions = {}) {
    this.#target = target;
    this.#options = { idleMs: 150_000, answerMs: 30_000, ...options };
  }

  /** URL of the server, or where it is to be found before the configuration has been read: for messages. */
  get name(): string {
    const { apiServer, kubeconfig } = this.#target;
    return this.#server ?? apiServer ?? kubeconfig ?? 'the API server of this pod';
  }

  /**
   * Reads the configuration.
   * @throws KubeError SOURCE_KUBE_CONFIG when it cannot be used.
   */
  async open(): Promise<KubeSession> {
    const config = await loadKubeConfig(this.#target);
    this.#server = (config.getCurrentCluster()?.server ?? '').replace(/\/+$/, '');
    return new KubeSession(
      this.#server,
      (options) => config.applyToHTTPSOptions(options),
      this.#options,
      this.#target.localAddress,
    );
  }
}

function unreachable(error: unknown, url: string): KubeError {
  if (error instanceof KubeError) return error;
  const message = `the API server cannot be reached: ${errorMessage(error)}`;
  return new KubeError('SOURCE_KUBE_UNREACHABLE', message, { url, cause: error });
}

/**
 * The bytes of an answer as they come.
 * @throws KubeError when the connection breaks or falls silent.
 */
export async function* readChunks(response: IncomingMessage, url: string): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) yield chunk;
  } catch (error) {
    throw unreachable(error, url);
  }
}

/**
 * A whole answer as text.
 * @throws KubeError when the connection breaks, falls silent, or says more than `bytesMax`.
 */
export async function readText(
  response: IncomingMessage,
  bytesMax: number,
  url: string,
): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of readChunks(response, url)) {
    bytes += chunk.length;
    if (bytes > bytesMax) {
      const message = `the API server sent more than ${bytesMax} bytes`;
      throw new KubeError('SOURCE_KUBE_BAD_ANSWER', message, { url });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
