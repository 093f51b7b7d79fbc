/**
 * Requests to the cluster that a program of ours runs in or is given by its operator: a kubeconfig with files, or the pod's
 * service account. The configuration is read again once a minute and after a refusal of who we are, so that rotated tokens
 * and certificates are found. Repeats nothing.
 */
import type { KubeTarget } from '../../kube/config.ts';
import { loadKubeConfig } from '../../kube/config.ts';
import { type KubeAnswer, KubeClient } from '../apply/kube-client.ts';

/** How long a client is used before its configuration is read again, in milliseconds. */
const FRESH_MS = 60_000;

/** See the head of the file. */
export class OwnClient {
  readonly #target: KubeTarget;
  readonly #timeoutMs: number;
  #client: { readonly made: Promise<KubeClient>; readonly atMs: number } | undefined;

  constructor(target: KubeTarget, timeoutMs: number) {
    this.#target = target;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * As KubeClient's.
   * @throws HubError, KubeError SOURCE_KUBE_CONFIG.
   */
  async send(...request: Parameters<KubeClient['send']>): Promise<KubeAnswer> {
    const answer = await (await this.#fresh()).send(...request);
    if (answer.status === 401) this.close();
    return answer;
  }

  /** Ends every connection; the next request makes new ones. */
  close(): void {
    const client = this.#client;
    this.#client = undefined;
    // One that could not be made has nothing to close.
    client?.made.then((it) => it.close()).catch(() => undefined);
  }

  #fresh(): Promise<KubeClient> {
    const now = performance.now();
    if (this.#client !== undefined && now - this.#client.atMs < FRESH_MS) return this.#client.made;
    const old = this.#client;
    const made = this.#make();
    const client = { made, atMs: now };
    this.#client = client;
    // Requests under way have their own time to end; what comes later has the new client.
    if (old !== undefined) {
      setTimeout(
        () => void old.made.then((it) => it.close()).catch(() => undefined),
        this.#timeoutMs,
      ).unref();
    }
    made.catch(() => {
      if (this.#client === client) this.#client = undefined;
    });
    return made;
  }

  async #make(): Promise<KubeClient> {
    const config = await loadKubeConfig(this.#target);
    return KubeClient.ofConfig(config, { timeoutMs: this.#timeoutMs });
  }
}
