/**
 * A debug socket without an agent behind it: an HTTP server on a Unix socket in a directory of its own, which answers what a
 * test tells it to and remembers what it was asked.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A JSON value or text answered with 200, or a function that writes the answer itself, or never does. */
export type FakeAnswer = string | object | ((response: ServerResponse) => void);

/** The running fake. */
export interface FakeAgent {
  readonly socket: string;
  /** Paths with their queries, in the order in which they were asked. */
  readonly asked: string[];
  /** Stops listening and removes the socket. */
  close(): Promise<void>;
}

/** Starts a fake that answers by path, and stops it after the test. */
export async function fakeAgent(
  t: { after(work: () => unknown): void },
  answers: Readonly<Record<string, FakeAnswer>>,
): Promise<FakeAgent> {
  const dir = await mkdtemp(join(tmpdir(), 'fake-agent-'));
  const socket = join(dir, 'debug.sock');
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const url = request.url ?? '';
    asked.push(url);
    const answer = new Map(Object.entries(answers)).get(url.split('?')[0] ?? '');
    if (answer === undefined) {
      response.writeHead(404).end(JSON.stringify({ error: `no ${url}` }));
    } else if (typeof answer === 'function') {
      answer(response);
    } else {
      response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
    }
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  t.after(async () => {
    await close();
    await rm(dir, { recursive: true, force: true });
  });
  return { socket, asked, close };
}
