/**
 * An OVSDB server of a few lines on a real Unix socket, for what a real one cannot be made to do: speak an old dialect,
 * send broken bytes, fall silent. It keeps no database: a test scripts its answers.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JsonFramer } from '../../src/ovsdb/json-framer.ts';
import { isJsonArray, isJsonObject, type Json } from '../../src/ovsdb/json-value.ts';

/** Answers a request: a value is the result, a {@link Refusal} the error, SILENCE nothing at all. */
export type Answer = (
  params: readonly Json[],
  connection: FakeConnection,
) => Json | Refusal | typeof SILENCE;

/** Makes the fake send no reply. */
export const SILENCE = Symbol('silence');

/** An error reply. */
export class Refusal {
  readonly error: Json;
  constructor(error: Json) {
    this.error = error;
  }
}

/** One client's connection. */
export interface FakeConnection {
  /** Sends one JSON text. */
  send(message: Json): void;
  /** Sends bytes as they are. */
  sendRaw(bytes: string | Uint8Array): void;
  notify(method: string, params: readonly Json[]): void;
  end(): void;
}

/** A table with one scalar, one optional, one set and one map column: each kind of update. */
export const FAKE_SCHEMA: Json = {
  name: 'Open_vSwitch',
  version: '1.0.0',
  tables: {
    Port: {
      isRoot: true,
      columns: {
        name: { type: 'string' },
        tag: { type: { key: { type: 'integer' }, min: 0, max: 1 } },
        trunks: { type: { key: 'integer', min: 0, max: 4096 } },
        external_ids: { type: { key: 'string', value: 'string', min: 0, max: 'unlimited' } },
      },
    },
  },
};

/** The columns of {@link FAKE_SCHEMA}. */
export const FAKE_COLUMNS = { Port: ['name', 'tag', 'trunks', 'external_ids'] };

/** A listening fake. */
export class FakeOvsdb {
  readonly path: string;
  /** Requests seen, in order, without echoes. */
  readonly requests: { readonly method: string; readonly params: readonly Json[] }[] = [];
  /** Receives the client's replies to requests of the fake. */
  onReply: (reply: Json) => void = () => undefined;
  /** Open connections, oldest first. */
  readonly connections: FakeConnection[] = [];
  readonly #answers: Map<string, Answer>;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #dir: string;

  constructor(dir: string, answers: Readonly<Record<string, Answer>>) {
    this.#dir = dir;
    this.path = join(dir, 'db.sock');
    this.#answers = new Map(Object.entries({ get_schema: () => FAKE_SCHEMA, ...answers }));
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** Replaces the answer to a method from now on. */
  answer(method: string, answer: Answer): void {
    this.#answers.set(method, answer);
  }

  /** Methods seen, in order, without echoes. */
  get methods(): string[] {
    return this.requests.map((request) => request.method);
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.path, resolve);
    });
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    await rm(this.#dir, { recursive: true, force: true });
  }

  #accept(socket: Socket): void {
    const framer = new JsonFramer();
    const connection: FakeConnection = {
      send: (message) => void socket.write(JSON.stringify(message)),
      sendRaw: (bytes) => void socket.write(bytes),
      notify: (method, params) => connection.send({ method, params, id: null }),
      end: () => socket.destroy(),
    };
    this.#sockets.add(socket);
    this.connections.push(connection);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#sockets.delete(socket);
      this.connections.splice(this.connections.indexOf(connection), 1);
    });
    socket.on('data', (chunk) => {
      for (const message of framer.push(chunk)) this.#receive(message, connection);
    });
  }

  #receive(message: Json, connection: FakeConnection): void {
    if (!isJsonObject(message)) return;
    const { method, params, id = null } = message;
    if (typeof method !== 'string' || !isJsonArray(params)) {
      this.onReply(message);
      return;
    }
    if (method !== 'echo') this.requests.push({ method, params });
    const answer = this.#answers.get(method) ?? this.#fallback(method);
    const result = answer(params, connection);
    if (result === SILENCE) return;
    connection.send(
      result instanceof Refusal
        ? { id, result: null, error: result.error }
        : { id, result, error: null },
    );
  }

  #fallback(method: string): Answer {
    if (method === 'echo') return (params) => params;
    return () => new Refusal({ error: 'unknown method', details: method });
  }
}

/** Starts a fake that ends with the test. It does not listen yet with `listen: false`. */
export async function fakeOvsdb(
  t: { after(teardown: () => Promise<void>): void },
  answers: Readonly<Record<string, Answer>> = {},
  options: { readonly listen?: boolean } = {},
): Promise<FakeOvsdb> {
  const fake = new FakeOvsdb(await mkdtemp(join(tmpdir(), 'fake-ovsdb-')), answers);
  t.after(() => fake.close());
  if (options.listen !== false) await fake.listen();
  return fake;
}
