/**
 * What a private Kubernetes API server is made of: the programs, ports, certificates, processes. Knows nothing of the API.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { closeSync, existsSync, openSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';

const SCRIPT = new URL('../../scripts/kube-binaries.sh', import.meta.url).pathname;
const BUILD_TIMEOUT_MS = 1_200_000;

function run(program: string, args: readonly string[], timeout: number): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { timeout }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout.trim());
      else {
        const { code } = error;
        reject(new Error(stderr.trim() || error.message, { cause: code }));
      }
    });
  });
}

/**
 * The directory with the programs, or why there is none. Builds them when they are not there, and says before how long that
 * may take.
 */
export async function kubeBinaries(
  beforeBuild: (timeoutMs: number) => void,
): Promise<{ dir: string } | { missing: string }> {
  try {
    await run('openssl', ['version'], 10_000);
  } catch {
    return { missing: 'openssl is not installed' };
  }
  try {
    return { dir: await run('bash', [SCRIPT, '--check'], 10_000) };
  } catch {
    beforeBuild(BUILD_TIMEOUT_MS);
  }
  try {
    return { dir: await run('bash', [SCRIPT], BUILD_TIMEOUT_MS) };
  } catch (error) {
    // Exit status 3: the script says why it cannot. Anything else is a fault that a test must not hide.
    if (error instanceof Error && error.cause === 3) return { missing: error.message };
    throw error;
  }
}

/** Ports that nobody has: held together, so that no two are the same. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** One program, ended by the kernel when the test process dies without a teardown. */
export class Program {
  readonly #command: readonly string[];
  readonly #log: string;
  #child: ChildProcess | undefined;

  constructor(command: readonly string[], log: string) {
    const guard = existsSync('/usr/bin/setpriv') ? ['setpriv', '--pdeathsig', 'KILL', '--'] : [];
    this.#command = [...guard, ...command];
    this.#log = log;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && !this.#child.signalCode;
  }

  start(): void {
    const [program = '', ...args] = this.#command;
    const log = openSync(this.#log, 'a');
    this.#child = spawn(program, args, { stdio: ['ignore', log, log] });
    closeSync(log);
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.running) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGKILL');
    await gone;
  }

  async lastWords(): Promise<string> {
    const text = await readFile(this.#log, 'utf8').catch(() => '');
    return text.split('\n').slice(-15).join('\n');
  }
}

/** PEM texts of the admin. */
export interface Identity {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Makes CA, server and admin certificates and the service accounts' key in `dir`. */
export async function makeCertificates(dir: string): Promise<Identity> {
  const path = (name: string): string => join(dir, name);
  const issue = (name: string, subject: string, extra: readonly string[]): Promise<string> => {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    const out = ['-keyout', path(`${name}.key`), '-out', path(`${name}.crt`), '-days', '2'];
    return run('openssl', ['req', '-x509', ...key, ...out, '-subj', subject, ...extra], 30_000);
  };
  await issue('ca', '/CN=test-ca', []);
  const signed = ['-CA', path('ca.crt'), '-CAkey', path('ca.key')];
  const names = 'subjectAltName=IP:127.0.0.1,DNS:localhost';
  const leaf = ['-addext', 'basicConstraints=critical,CA:FALSE'];
  await Promise.all([
    issue('server', '/CN=kube-apiserver', [...signed, ...leaf, '-addext', names]),
    issue('admin', '/O=system:masters/CN=admin', [
      ...signed,
      ...leaf,
      '-addext',
      'extendedKeyUsage=clientAuth',
    ]),
  ]);
  const pair = generateKeyPairSync('ec', {
    namedCurve: 'prime256v1',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  await writeFile(path('sa.pub'), pair.publicKey);
  await writeFile(path('sa.key'), pair.privateKey, { mode: 0o600 });
  const [ca, cert, key] = await Promise.all(
    ['ca.crt', 'admin.crt', 'admin.key'].map((name) => readFile(path(name), 'utf8')),
  );
  return { ca: ca ?? '', cert: cert ?? '', key: key ?? '' };
}
