/**
 * An API server that serves two kinds from memory and misbehaves on request: for what the real one does not do on demand. It
 * lists by pages, streams lists, watches; no admission, no authentication.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';

const API = 'dpu.network/v1alpha1';

/** An object as the server sends it. */
export interface FakeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly resourceVersion: string;
  };
  readonly spec: unknown;
}

/** Answers a request for DPURules in place of the server; false leaves it to the server. */
export type Misbehaviour = (query: URLSearchParams, response: ServerResponse) => boolean;

/** The server. */
export class FakeKube {
  readonly kubeconfig: string;
  /** Queries for DPURules, in order. */
  readonly queries: URLSearchParams[] = [];
  misbehave: Misbehaviour = () => false;
  resourceVersion = 100;
  readonly #dir: string;
  readonly #server: Server;
  readonly #objects = new Map<string, FakeObject>();
  readonly #watchers = new Set<ServerResponse>();

  private constructor(dir: string) {
    this.#dir = dir;
    this.kubeconfig = join(dir, 'kubeconfig');
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  /** Starts one that ends with the test. */
  static async create(t: { after(work: () => unknown): void }): Promise<FakeKube> {
    const fake = new FakeKube(await mkdtemp(join(tmpdir(), 'fake-kube-')));
    await new Promise<void>((resolve) => fake.#server.listen(0, '127.0.0.1', resolve));
    const address = fake.#server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const cluster = { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true };
    const config = {
      'current-context': 'test',
      clusters: [{ name: 'test', cluster }],
      users: [{ name: 'test', user: { token: 'secret' } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    };
    await writeFile(fake.kubeconfig, stringify(config));
    t.after(() => fake.#close());
    return fake;
  }

  /** Adds or changes a DPURule; watchers see it unless `quiet`. */
  put(name: string, entry: object = { action: 'deny' }, quiet = false): FakeObject {
    this.resourceVersion++;
    const known = this.#objects.get(name);
    const object: FakeObject = {
      apiVersion: API,
      kind: 'DPURule',
      metadata: {
        name,
        namespace: 'tenant-a',
        uid: known?.metadata.uid ?? `uid-${this.resourceVersion}`,
        resourceVersion: String(this.resourceVersion),
      },
      spec: { networkRef: 'tenant-a', rules: [entry] },
    };
    this.#objects.set(name, object);
    if (!quiet) this.event(known === undefined ? 'ADDED' : 'MODIFIED', object);
    return object;
  }

  /** Removes a DPURule; watchers see it unless `quiet`. */
  remove(name: string, quiet = false): void {
    const object = this.#objects.get(name);
    this.#objects.delete(name);
    this.resourceVersion++;
    const resourceVersion = String(this.resourceVersion);
    if (object === undefined || quiet) return;
    this.event('DELETED', { ...object, metadata: { ...object.metadata, resourceVersion } });
  }

  /** Sends one event to all who watch DPURules. */
  event(type: string, object: unknown): void {
    this.write(`${JSON.stringify({ type, object })}\n`);
  }

  /** Sends text as it is to all who watch DPURules. */
  write(text: string): void {
    for (const watcher of this.#watchers) watcher.write(text);
  }

  /** Ends every watch of DPURules; `rudely` by cutting the connection. */
  endWatches(rudely = false): void {
    for (const watcher of this.#watchers) {
      if (rudely) watcher.destroy();
      else watcher.end();
    }
    this.#watchers.clear();
  }

  /** A Status object with HTTP status `code`. */
  refuse(
    response: ServerResponse,
    code: number,
    reason: string,
    headers: Readonly<Record<string, string>> = {},
  ): true {
    response.writeHead(code, headers);
    response.end(
      JSON.stringify({ kind: 'Status', code, reason, message: `${reason} by the fake` }),
    );
    return true;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '', 'http://fake');
    const rules = url.pathname === `/apis/${API}/dpurules`;
    if (rules) {
      this.queries.push(url.searchParams);
      if (this.misbehave(url.searchParams, response)) return;
    }
    const objects = rules ? [...this.#objects.values()] : [];
    if (url.searchParams.get('watch') === '1')
      this.#watch(url.searchParams, objects, response, rules);
    else this.#list(url.searchParams, objects, response);
  }

  #list(query: URLSearchParams, objects: readonly FakeObject[], response: ServerResponse): void {
    const start = Number(query.get('continue') ?? 0);
    const end = start + Number(query.get('limit') ?? objects.length);
    const metadata = {
      resourceVersion: String(this.resourceVersion),
      ...(end < objects.length ? { continue: String(end) } : {}),
    };
    response.end(JSON.stringify({ metadata, items: objects.slice(start, end) }));
  }

  #watch(
    query: URLSearchParams,
    objects: readonly FakeObject[],
    response: ServerResponse,
    rules: boolean,
  ): void {
    response.flushHeaders();
    const send = (type: string, object: unknown): boolean =>
      response.write(`${JSON.stringify({ type, object })}\n`);
    const from = Number(query.get('resourceVersion'));
    const streamed = query.get('sendInitialEvents') === 'true';
    for (const object of objects) {
      if (streamed || Number(object.metadata.resourceVersion) > from) send('ADDED', object);
    }
    if (streamed) {
      const annotations = { 'k8s.io/initial-events-end': 'true' };
      send('BOOKMARK', {
        metadata: { resourceVersion: String(this.resourceVersion), annotations },
      });
    }
    if (rules) this.#watchers.add(response);
    response.on('close', () => this.#watchers.delete(response));
  }

  async #close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await rm(this.#dir, { recursive: true, force: true });
  }
}
