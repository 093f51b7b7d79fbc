/**
 * Writes to the API server as the agent's field manager, over a connection that is kept for some minutes: after that, and
 * after every fault, the configuration is read again, so that rotated tokens and CAs are found.
 */
import type { KubeApi, KubeBody, KubeSession } from '../../kube/api.ts';
import { KubeError } from '../../kube/error.ts';

/** How the API server knows who wrote a field. */
export const FIELD_MANAGER = 'dpu-agent';
const SESSION_MS = 300_000;

/** A manifest that is applied as a whole. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

/** See the head of the file. */
export class KubeWriter {
  readonly #api: KubeApi;
  #session: Promise<KubeSession> | undefined;
  #openedMs = 0;

  constructor(api: KubeApi) {
    this.#api = api;
  }

  /**
   * Server-side apply: `manifest` is all that we say about the object; it is made when it is absent, unless `path` is that of a
   * subresource.
   * @throws KubeError.
   */
  apply(path: string, manifest: Manifest, signal: AbortSignal): Promise<void> {
    const query = `fieldManager=${FIELD_MANAGER}&force=true`;
    const body = { type: 'application/apply-patch+yaml', value: manifest } as const;
    return this.#change('PATCH', path, query, signal, body);
  }

  /**
   * Makes an object.
   * @throws KubeError.
   */
  create(path: string, manifest: Manifest, signal: AbortSignal): Promise<void> {
    const body = { type: 'application/json', value: manifest } as const;
    return this.#change('POST', path, `fieldManager=${FIELD_MANAGER}`, signal, body);
  }

  /**
   * Deletes an object; one that is gone is fine.
   * @throws KubeError.
   */
  async remove(path: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#change('DELETE', path, '', signal);
    } catch (error) {
      if (!(error instanceof KubeError) || error.status !== 404) throw error;
    }
  }

  /** Ends the connections. */
  close(): void {
    const session = this.#session;
    this.#session = undefined;
    session?.then(
      (opened) => opened.close(),
      () => undefined,
    );
  }

  async #change(
    method: 'PATCH' | 'POST' | 'DELETE',
    path: string,
    query: string,
    signal: AbortSignal,
    body?: KubeBody,
  ): Promise<void> {
    if (performance.now() - this.#openedMs > SESSION_MS) this.close();
    if (this.#session === undefined) {
      this.#openedMs = performance.now();
      this.#session = this.#api.open();
    }
    const session = this.#session;
    try {
      await (await session).change(method, path, query, signal, body);
    } catch (error) {
      // Others may have opened a new one meanwhile.
      if (this.#session === session) this.close();
      throw error;
    }
  }
}
