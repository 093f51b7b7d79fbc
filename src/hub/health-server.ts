/**
 * HTTP for a daemon of the hub: `/healthz` (the process answers), `/readyz` (it is up to date, or why not), `/metrics`.
 * GET only; says nothing that is secret.
 */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';

/** What is served. */
export interface HealthSource {
  readonly registry: Registry;
  /** Why the daemon is not ready; undefined when it is. */
  readonly notReady: () => string | undefined;
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(`${text}\n`);
}

/**
 * Listens at `host:port`; the result is the server, which the caller closes.
 * Rejects when the address cannot be listened at.
 */
export async function serveHealth(
  host: string,
  port: number,
  { registry, notReady }: HealthSource,
): Promise<Server> {
  const server = createServer((request, response) => {
    const path = (request.url ?? '').split('?')[0];
    if (request.method !== 'GET') answer(response, 405, 'accepted: GET');
    else if (path === '/healthz') answer(response, 200, 'ok');
    else if (path === '/readyz') {
      const reason = notReady();
      answer(response, reason === undefined ? 200 : 503, reason ?? 'ok');
    } else if (path === '/metrics') {
      registry.metrics().then(
        (text) => {
          response.writeHead(200, { 'content-type': registry.contentType });
          response.end(text);
        },
        () => answer(response, 500, 'metrics cannot be read'),
      );
    } else answer(response, 404, 'accepted: /healthz, /readyz, /metrics');
  });
  server.requestTimeout = 10_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  return server;
}
