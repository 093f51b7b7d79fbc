/**
 * Which of several processes may write: the one that holds a Lease (coordination.k8s.io/v1). Times of others are never
 * compared with ours: a Lease has run out when it has stood unchanged for its duration on our own monotonic clock. A leader
 * is one only until two thirds of the duration after it *sent* its last renewal; with requests that are given up after the
 * last third, nothing of it arrives when another may lead.
 *
 * ```
 *   renewal sent          valid until            others may take it
 *   |-------------------------|----------------------|
 *   0                      2/3 d                     d      d: duration of the Lease
 * ```
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { silentLogger, type Logger } from '../base/logger.ts';
import type { KubeClient } from './apply/kube-client.ts';
import { HubError } from './errors.ts';

/** How a Lease is used. */
export interface LeaderOptions {
  readonly namespace: string;
  readonly name: string;
  /** Who we are: another one for each process. */
  readonly identity: string;
  /** Duration of the Lease in milliseconds, whole seconds. Default 15,000. */
  readonly durationMs?: number;
  readonly logger?: Logger;
  /** We begin, or cease, to lead. */
  readonly changed?: (leads: boolean) => void;
  /** A monotonic clock in milliseconds. Default: performance.now. */
  readonly now?: () => number;
}

const leaseSchema = z.object({
  metadata: z.object({
    resourceVersion: z.string(),
    annotations: z.record(z.string(), z.string()).default({}),
  }),
  spec: z
    .object({
      holderIdentity: z.string().nullish(),
      leaseDurationSeconds: z.number().nullish(),
      leaseTransitions: z.number().nullish(),
      acquireTime: z.string().nullish(),
    })
    .prefault({}),
});
type Lease = z.output<typeof leaseSchema>;

/** One process' view of a Lease. */
export class Leader {
  readonly #client: Pick<KubeClient, 'send'>;
  readonly #options: Required<LeaderOptions>;
  readonly #path: string;
  readonly #stop = new AbortController();
  #seen: { readonly lease: Lease; readonly atMs: number } | undefined;
  #validUntilMs = -Infinity;
  #leads = false;
  #running: Promise<void> | undefined;

  constructor(client: Pick<KubeClient, 'send'>, options: LeaderOptions) {
    this.#client = client;
    this.#options = {
      durationMs: 15_000,
      logger: silentLogger,
      changed: () => undefined,
      now: () => performance.now(),
      ...options,
    };
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(options.namespace)}/leases`;
  }

  /** Whether we may write now. To be asked before every write. */
  get valid(): boolean {
    return this.#leads && this.#options.now() < this.#validUntilMs;
  }

  /** Annotations of the Lease as it was seen last. */
  get annotations(): Readonly<Record<string, string>> {
    return this.#seen?.lease.metadata.annotations ?? {};
  }

  /** Begins to try. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends, and gives the Lease back, so that the next one need not wait. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    if (this.valid) {
      await this.#write('').catch(() => undefined);
    }
    this.#setLeads(false);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { durationMs, logger } = this.#options;
    while (!signal.aborted) {
      try {
        await this.turn();
      } catch (error) {
        logger.debug({ err: error }, 'lease not renewed');
      }
      if (!this.valid) this.#setLeads(false);
      // Jitter, so that two that wait do not ask in step.
      const waitMs = (durationMs / 7.5) * (0.8 + Math.random() * 0.4);
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /**
   * One attempt to renew or to take the Lease.
   * @throws HubError when the server cannot be asked; the Lease is then as valid as it was.
   */
  async turn(): Promise<void> {
    const { identity, durationMs, now } = this.#options;
    const lease = await this.#read();
    const holder = lease?.spec.holderIdentity ?? '';
    const seen = this.#seen;
    const isSame =
      lease !== undefined &&
      seen?.lease.metadata.resourceVersion === lease.metadata.resourceVersion;
    if (lease !== undefined && !isSame) this.#seen = { lease, atMs: now() };
    if (holder !== '' && holder !== identity) {
      this.#setLeads(false);
      const runsMs = (lease?.spec.leaseDurationSeconds ?? durationMs / 1000) * 1000;
      if (!isSame || now() - (seen?.atMs ?? now()) < runsMs) return;
    }
    const sentMs = now();
    if (!(await this.#write(identity, lease))) return;
    this.#validUntilMs = sentMs + (durationMs * 2) / 3;
    this.#setLeads(this.#options.now() < this.#validUntilMs);
  }

  async #read(): Promise<Lease | undefined> {
    const path = `${this.#path}/${encodeURIComponent(this.#options.name)}`;
    const { status, body } = await this.#client.send('GET', path);
    if (status === 404) return undefined;
    if (status !== 200) throw refused(status, path);
    const parsed = leaseSchema.safeParse(body);
    if (parsed.success) return parsed.data;
    throw new HubError('HUB_BAD_ANSWER', 'the API server sent what is no Lease', { url: path });
  }

  /** Writes the Lease on top of the version that was read; false when another was quicker. */
  async #write(holder: string, lease: Lease | undefined = this.#seen?.lease): Promise<boolean> {
    const { name, namespace, durationMs, now } = this.#options;
    const { resourceVersion, annotations } = lease?.metadata ?? {};
    const time = new Date().toISOString().replace('Z', '000Z');
    const before = lease?.spec;
    const isNew = before?.holderIdentity !== holder;
    const value = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: {
        name,
        namespace,
        ...(resourceVersion === undefined ? {} : { resourceVersion, annotations }),
      },
      spec: {
        holderIdentity: holder,
        leaseDurationSeconds: Math.ceil(durationMs / 1000),
        acquireTime: isNew ? time : (before.acquireTime ?? time),
        renewTime: time,
        leaseTransitions: (before?.leaseTransitions ?? 0) + (isNew ? 1 : 0),
      },
    };
    const [method, path] =
      resourceVersion === undefined
        ? (['POST', this.#path] as const)
        : (['PUT', `${this.#path}/${encodeURIComponent(name)}`] as const);
    const { status, body } = await this.#client.send(
      method,
      path,
      {},
      { type: 'application/json', value },
    );
    if (status === 409) return false;
    if (status >= 300) throw refused(status, path);
    const parsed = leaseSchema.safeParse(body);
    if (parsed.success) this.#seen = { lease: parsed.data, atMs: now() };
    return true;
  }

  #setLeads(leads: boolean): void {
    if (leads === this.#leads) return;
    this.#leads = leads;
    const { identity, name, logger, changed } = this.#options;
    logger.info({ identity, lease: name }, leads ? 'leading' : 'no longer leading');
    changed(leads);
  }
}

function refused(status: number, url: string): HubError {
  return new HubError('HUB_REFUSED', `the API server refuses the Lease with ${status}`, {
    url,
    status,
  });
}

/** Throws unless the Lease is valid: the last thing before a write. */
export function fence(leader: Pick<Leader, 'valid'>): void {
  if (leader.valid) return;
  throw new HubError('HUB_NOT_LEADING', 'the Lease is not ours any more: nothing is written');
}
