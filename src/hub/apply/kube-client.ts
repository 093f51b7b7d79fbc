/**
 * Requests to one customer's API server: bounded in time and bytes, each with an error of its own, none of which carries a
 * credential. Repeats nothing and knows no kinds; what to ask for is apply-set.ts's to say.
 */
import { Agent, request, type RequestOptions } from 'node:https';
import { createSecureContext } from 'node:tls';
import { errorMessage } from '../../base/error.ts';
import { HubError } from '../errors.ts';
import type { KubeConfig } from '@kubernetes/client-node';
import type { KubeAccess } from './kubeconfig.ts';

/** Bounds of a request. */
export interface KubeClientOptions {
  /** Time for the whole answer, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number;
}

/** An answer of the API server that is JSON. */
export interface KubeAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** Largest answer that is read: a page of a list, or one object. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;
/** Requests to one server at a time. */
const SOCKETS_MAX = 8;

/** A client of one API server. Made anew when the credentials change. */
export class KubeClient {
  /** URL of the server. */
  readonly server: string;
  readonly #options: RequestOptions;
  readonly #agent: Agent | undefined;
  readonly #timeoutMs: number;

  private constructor(access: KubeAccess, options: RequestOptions, timeoutMs: number) {
    this.server = access.server;
    this.#timeoutMs = timeoutMs;
    const { ca, cert, key } = options;
    // Whatever the environment says, the server is checked.
    const tls = { ...(ca ? { ca } : {}), ...(cert ? { cert } : {}), ...(key ? { key } : {}) };
    const servername =
      access.tlsServerName === undefined ? {} : { servername: access.tlsServerName };
    const secure = { ...tls, ...servername, rejectUnauthorized: true };
    this.#agent =
      access.proxyUrl === undefined
        ? new Agent({ ...secure, keepAlive: true, maxSockets: SOCKETS_MAX })
        : undefined;
    this.#options = {
      ...options,
      ...secure,
      ...(this.#agent === undefined ? {} : { agent: this.#agent }),
    };
  }

  /**
   * Makes a client. The package that knows certificates and proxies is loaded now: it is large.
   * @throws HubError HUB_KUBECONFIG when the credentials cannot be used.
   */
  static async create(
    access: KubeAccess,
    { timeoutMs = 10_000 }: KubeClientOptions = {},
  ): Promise<KubeClient> {
    const { KubeConfig } = await import('@kubernetes/client-node');
    const config = new KubeConfig();
    const { server, caData, proxyUrl, certData, keyData, token } = access;
    const options: RequestOptions = {};
    try {
      config.loadFromOptions({
        clusters: [{ name: 'it', server, caData, proxyUrl, skipTLSVerify: false }],
        users: [{ name: 'me', certData, keyData, token }],
        contexts: [{ name: 'now', cluster: 'it', user: 'me' }],
        currentContext: 'now',
      });
      await config.applyToHTTPSOptions(options);
      // What is no certificate would be found out at the first request, in OpenSSL's words.
      const { ca, cert, key } = options;
      createSecureContext({
        ...(ca ? { ca } : {}),
        ...(cert ? { cert } : {}),
        ...(key ? { key } : {}),
      });
      return new KubeClient(access, options, timeoutMs);
    } catch {
      // Without the cause: what OpenSSL says may quote what it was given.
      throw new HubError('HUB_KUBECONFIG', 'kubeconfig: certificate or key cannot be used');
    }
  }

  /**
   * A client with a configuration that is our own: a service account, or a kubeconfig with files.
   * @throws HubError HUB_KUBECONFIG when the credentials cannot be used.
   */
  static async ofConfig(
    config: KubeConfig,
    { timeoutMs = 10_000 }: KubeClientOptions = {},
  ): Promise<KubeClient> {
    const server = (config.getCurrentCluster()?.server ?? '').replace(/\/+$/, '');
    const options: RequestOptions = {};
    try {
      await config.applyToHTTPSOptions(options);
    } catch (error) {
      throw new HubError('HUB_KUBECONFIG', `no credentials: ${errorMessage(error)}`);
    }
    return new KubeClient({ server }, options, timeoutMs);
  }

  /**
   * Sends a request; resolves with what the server says, whatever the status.
   * @throws HubError HUB_UNREACHABLE, HUB_TIMEOUT, HUB_BAD_ANSWER.
   */
  async send(
    method: 'GET' | 'PATCH' | 'DELETE' | 'POST' | 'PUT',
    path: string,
    query: Readonly<Record<string, string>> = {},
    body?: { readonly type: string; readonly value: unknown },
  ): Promise<KubeAnswer> {
    const url = `${this.server}${path}`;
    const target = new URL(url);
    for (const [name, value] of Object.entries(query)) target.searchParams.set(name, value);
    const text = body === undefined ? undefined : JSON.stringify(body.value);
    const { status, answer } = await this.#exchange(method, target, url, body?.type, text);
    try {
      return { status, body: JSON.parse(answer) as unknown };
    } catch (error) {
      const message = `the API server answered ${status} with something that is not JSON`;
      throw new HubError('HUB_BAD_ANSWER', message, { url, status, cause: error });
    }
  }

  /** Ends every connection. */
  close(): void {
    this.#agent?.destroy();
  }

  #exchange(
    method: string,
    target: URL,
    url: string,
    type: string | undefined,
    text: string | undefined,
  ): Promise<{ status: number; answer: string }> {
    // Without its length Node sends the body of a DELETE as if it were the next request.
    const content =
      type === undefined || text === undefined
        ? {}
        : { 'content-type': type, 'content-length': String(Buffer.byteLength(text)) };
    const headers = { ...this.#options.headers, accept: 'application/json', ...content };
    return new Promise((resolve, reject) => {
      const call = request(target, { ...this.#options, method, headers }, (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          chunks.push(chunk);
          if (bytes <= ANSWER_BYTES_MAX) return;
          const message = `the API server sent more than ${ANSWER_BYTES_MAX} bytes`;
          call.destroy(new HubError('HUB_BAD_ANSWER', message, { url }));
        });
        response.on('error', (error) => fail(error));
        response.on('end', () => {
          clearTimeout(timer);
          resolve({ status: response.statusCode ?? 0, answer: Buffer.concat(chunks).toString() });
        });
      });
      const fail = (error: unknown): void => {
        clearTimeout(timer);
        if (error instanceof HubError) reject(error);
        else {
          const message = `the API server cannot be reached: ${errorMessage(error)}`;
          reject(new HubError('HUB_UNREACHABLE', message, { url, cause: error }));
        }
      };
      // One timer for all of it: name resolution, connect, and an answer that drips.
      const timer = setTimeout(() => {
        const message = `no answer from the API server in ${this.#timeoutMs} ms`;
        call.destroy(new HubError('HUB_TIMEOUT', message, { url }));
      }, this.#timeoutMs);
      call.on('error', fail);
      call.end(text);
    });
  }
}
