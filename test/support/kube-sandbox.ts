/**
 * A private Kubernetes API server for one test: the real etcd and kube-apiserver (scripts/kube-binaries.sh builds them once)
 * on loopback, with ports, certificates and data of their own in a temporary directory, so that several run side by side. No
 * controller runs: a namespace is never finished when it is deleted. Speaks to the server as its admin, by plain HTTPS.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseAllDocuments, stringify } from 'yaml';
import { KINDS } from '../../src/api/crd.ts';
import {
  freePorts,
  type Identity,
  kubeBinaries,
  makeCertificates,
  Program,
} from './kube-programs.ts';

const CRDS = new URL('../../deploy/crd/', import.meta.url);
const READY_TIMEOUT_MS = 60_000;
const API = 'dpu.network/v1alpha1';

/** The part of a tap test that the sandbox needs. */
export interface KubeSandboxOwner {
  after(teardown: () => Promise<void>): void;
  pass(message: string, extra: { skip: string }): unknown;
  /** Lengthens the test's own time for the one build. */
  setTimeout(timeoutMs: number): unknown;
}

/** An answer of the API server. */
export interface KubeAnswer {
  readonly status: number;
  /** `message` of a Status; empty for anything else. */
  readonly message: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** What an object is called. */
export interface KubeReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

/** An object to be sent. */
export interface KubeManifest extends KubeReference {
  readonly [field: string]: unknown;
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** A running API server. */
export class KubeSandbox {
  /** Root of everything that the sandbox wrote. Removed at the end. */
  readonly dir: string;
  readonly server: string;
  /** Path of the admin's kubeconfig. */
  readonly kubeconfig: string;
  readonly #identity: Identity;
  readonly #etcd: Program;
  readonly #apiserver: Program;

  constructor(
    dir: string,
    bin: string,
    identity: Identity,
    [api = 0, client = 0, peer = 0]: readonly number[],
    apiServerFlags: readonly string[],
  ) {
    this.dir = dir;
    this.server = `https://127.0.0.1:${api}`;
    this.kubeconfig = join(dir, 'kubeconfig');
    this.#identity = identity;
    const clientUrl = `http://127.0.0.1:${client}`;
    const peerUrl = `http://127.0.0.1:${peer}`;
    const pki = (name: string): string => join(dir, 'pki', name);
    this.#etcd = new Program(
      [
        join(bin, 'etcd'),
        `--data-dir=${join(dir, 'etcd')}`,
        `--listen-client-urls=${clientUrl}`,
        `--advertise-client-urls=${clientUrl}`,
        `--listen-peer-urls=${peerUrl}`,
        `--initial-advertise-peer-urls=${peerUrl}`,
        `--initial-cluster=default=${peerUrl}`,
        '--unsafe-no-fsync',
        '--log-level=warn',
      ],
      join(dir, 'etcd.log'),
    );
    this.#apiserver = new Program(
      [
        join(bin, 'kube-apiserver'),
        `--etcd-servers=${clientUrl}`,
        '--bind-address=127.0.0.1',
        '--advertise-address=127.0.0.1',
        `--secure-port=${api}`,
        '--endpoint-reconciler-type=none',
        `--tls-cert-file=${pki('server.crt')}`,
        `--tls-private-key-file=${pki('server.key')}`,
        `--client-ca-file=${pki('ca.crt')}`,
        '--service-account-issuer=https://kubernetes.default.svc',
        `--service-account-key-file=${pki('sa.pub')}`,
        `--service-account-signing-key-file=${pki('sa.key')}`,
        '--service-cluster-ip-range=10.96.0.0/16',
        '--authorization-mode=RBAC',
        '--disable-admission-plugins=ServiceAccount',
        ...apiServerFlags,
      ],
      join(dir, 'api.log'),
    );
  }

  /** The admin's kubeconfig as text. */
  get kubeconfigText(): string {
    const { ca, cert, key } = this.#identity;
    return stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'test',
      clusters: [
        {
          name: 'test',
          cluster: { server: this.server, 'certificate-authority-data': base64(ca) },
        },
      ],
      users: [
        {
          name: 'admin',
          user: { 'client-certificate-data': base64(cert), 'client-key-data': base64(key) },
        },
      ],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    });
  }

  /** Starts both programs and waits until the server is ready. */
  async start(): Promise<void> {
    await writeFile(this.kubeconfig, this.kubeconfigText, { mode: 0o600 });
    this.#etcd.start();
    await this.startApiServer();
  }

  /** Starts kube-apiserver and waits until it is ready. */
  async startApiServer(): Promise<void> {
    this.#apiserver.start();
    const deadline = performance.now() + READY_TIMEOUT_MS;
    for (;;) {
      const ready = await this.call('GET', '/readyz').catch(() => undefined);
      if (ready?.status === 200) return;
      const dead = [this.#etcd, this.#apiserver].find((program) => !program.running);
      const late = performance.now() > deadline;
      if (dead !== undefined || late) {
        const words = await (dead ?? this.#apiserver).lastWords();
        throw new Error(`the API server ${late ? 'is not ready in time' : 'died'}: ${words}`);
      }
      await sleep(50);
    }
  }

  /** SIGKILL, and waits for the end. */
  killApiServer(): Promise<void> {
    return this.#apiserver.kill();
  }

  /** Stops or goes on with kube-apiserver without ending it. */
  freezeApiServer(frozen: boolean): void {
    this.#apiserver.signal(frozen ? 'SIGSTOP' : 'SIGCONT');
  }

  /** Any request as the admin. */
  call(
    method: string,
    path: string,
    body?: { readonly type: string; readonly text: string },
  ): Promise<KubeAnswer> {
    const { ca, cert, key } = this.#identity;
    const headers =
      body === undefined ? { accept: 'application/json' } : { 'content-type': body.type };
    return new Promise((resolve, reject) => {
      const options = { method, headers, ca, cert, key, agent: false, timeout: 15_000 };
      const call = request(`${this.server}${path}`, options, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (part: string) => (text += part));
        response.on('error', reject);
        response.on('end', () => {
          const json = text.startsWith('{') ? (JSON.parse(text) as KubeAnswer['body']) : {};
          const isStatus = json['kind'] === 'Status' && typeof json['message'] === 'string';
          const message = isStatus ? String(json['message']) : '';
          resolve({ status: response.statusCode ?? 0, message, body: json });
        });
      });
      call.on('timeout', () => call.destroy(new Error('no answer in 15 s')));
      call.on('error', reject);
      call.end(body?.text);
    });
  }

  /** Server-side apply, forced; resolves with whatever the server says. */
  tryApply(manifest: KubeManifest): Promise<KubeAnswer> {
    const path = `${pathOf(manifest)}?fieldManager=test&force=true`;
    const text = JSON.stringify(manifest);
    return this.call('PATCH', path, { type: 'application/apply-patch+yaml', text });
  }

  /** Applies each document of a YAML text; rejects when the server refuses one. */
  async apply(text: string): Promise<void> {
    for (const document of parseAllDocuments(text)) {
      const manifest = document.toJS() as KubeManifest;
      const { status, message } = await this.tryApply(manifest);
      if (status >= 300) throw new Error(`${manifest.metadata.name}: ${status} ${message}`);
    }
  }

  /** A merge patch; rejects when the server refuses it. `subresource` is such as `/status`. */
  async patch(manifest: KubeReference, patch: unknown, subresource = ''): Promise<void> {
    const body = { type: 'application/merge-patch+json', text: JSON.stringify(patch) };
    const { status, message } = await this.call('PATCH', pathOf(manifest) + subresource, body);
    if (status >= 300) throw new Error(`${status} ${message}`);
  }

  /** Deletes; rejects when the server refuses it. */
  async delete(manifest: KubeReference): Promise<void> {
    const { status, message } = await this.call('DELETE', pathOf(manifest));
    if (status >= 300) throw new Error(`${status} ${message}`);
  }

  /** Installs the generated CRDs, or some of them, and waits until the server serves them. */
  async installCrds(singulars = KINDS.map(({ singular }) => singular)): Promise<void> {
    for (const singular of singulars) {
      const file = new URL(`${singular}.yaml`, CRDS);
      await this.apply(await readFile(file, 'utf8'));
    }
    for (const singular of singulars) await this.served(`${singular}s`, true);
  }

  /** Waits until the server serves `plural`, or no longer does. */
  async served(plural: string, wanted: boolean): Promise<void> {
    const deadline = performance.now() + READY_TIMEOUT_MS;
    for (;;) {
      const { status } = await this.call('GET', `/apis/${API}/${plural}?limit=1`);
      if ((status === 200) === wanted) return;
      if (performance.now() > deadline) throw new Error(`${plural}: still ${status}`);
      await sleep(50);
    }
  }

  /** Ends both programs and removes the directory. */
  async close(): Promise<void> {
    await this.#apiserver.kill();
    await this.#etcd.kill();
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** URL path of an object: the plural of every kind used here is its name with an s, or with ies for a y. */
function pathOf({ apiVersion, kind, metadata }: KubeReference): string {
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const { namespace, name } = metadata;
  const inside = namespace !== undefined ? `/namespaces/${namespace}` : '';
  return `${root}${inside}/${`${kind.toLowerCase()}s`.replace(/ys$/, 'ies')}/${name}`;
}

/**
 * Starts a sandbox that ends with the test. Returns undefined, after a skip with the reason, where the programs cannot be
 * had. `apiServerFlags` are added to those of kube-apiserver.
 */
export async function kubeSandbox(
  t: KubeSandboxOwner,
  apiServerFlags: readonly string[] = [],
): Promise<KubeSandbox | undefined> {
  const found = await kubeBinaries((timeoutMs) => t.setTimeout(timeoutMs + READY_TIMEOUT_MS));
  if ('missing' in found) {
    t.pass('Kubernetes API server', { skip: `no Kubernetes sandbox: ${found.missing}` });
    return undefined;
  }
  const dir = await mkdtemp(join(tmpdir(), 'kube-'));
  await mkdir(join(dir, 'pki'), { mode: 0o700 });
  const identity = await makeCertificates(join(dir, 'pki'));
  const sandbox = new KubeSandbox(dir, found.dir, identity, await freePorts(3), apiServerFlags);
  t.after(() => sandbox.close());
  await sandbox.start();
  return sandbox;
}
