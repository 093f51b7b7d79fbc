/**
 * Peers that are no part of Open vSwitch: libraries, installed by the bench from their registries with the ordinary clients
 * into a cache outside of the tree, once for each version. One that cannot be installed is told with its reason.
 */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import type { Absent } from './workload.ts';

/** An installation may have to compile; a registry that does not answer must not hold up the run. */
const INSTALL_MS = 240_000;
/** A peer that has not done its work after so long is given up. */
const RUN_MS = 120_000;
const PEERS = new URL('peers/', import.meta.url);

/** A library with the program of ours that uses it. */
interface Peer {
  /** With its version. */
  readonly name: string;
  /** File in peers/. */
  readonly source: string;
  /** Puts everything into a directory that is empty. */
  install(dir: string, source: string): Promise<void>;
  /** The program's command line. */
  command(dir: string, source: string): readonly [string, ...string[]];
}

async function run(program: string, args: readonly string[], cwd: string): Promise<void> {
  await promisify(execFile)(program, args, { cwd, timeout: INSTALL_MS });
}

function pythonPeer(name: string, version: string, source: string): Peer {
  return {
    name: `${name} ${version}`,
    source,
    async install(dir) {
      await run('python3', ['-m', 'venv', 'venv'], dir);
      await run('venv/bin/python', ['-m', 'pip', 'install', '-q', `${name}==${version}`], dir);
    },
    // What a library says of its own dependencies is no result.
    command: (dir, file) => [join(dir, 'venv/bin/python'), '-W', 'ignore', file],
  };
}

function goPeer(name: string, module: string, version: string, source: string): Peer {
  return {
    name: `${name} ${version}`,
    source,
    async install(dir, file) {
      await copyFile(file, join(dir, 'main.go'));
      await writeFile(join(dir, 'go.mod'), 'module peer\n\ngo 1.23\n');
      await run('go', ['get', `${module}@v${version}`], dir);
      await run('go', ['mod', 'tidy'], dir);
      await run('go', ['build', '-o', 'peer', '.'], dir);
    },
    command: (dir) => [join(dir, 'peer')],
  };
}

/** The peers. */
export const PEER = {
  osKen: pythonPeer('os-ken', '4.2.2', 'osken_flows.py'),
  ovsdbapp: pythonPeer('ovsdbapp', '3.0.0', 'ovsdbapp_ports.py'),
  libovsdb: goPeer('libovsdb', 'github.com/ovn-kubernetes/libovsdb', '0.8.1', 'libovsdb.go'),
} as const;

function cacheDir(): string {
  const caches = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  return process.env['DPU_AGENT_BENCH_CACHE'] ?? join(caches, 'dpu-agent-bench');
}

/** The end of what an installer said: there is the reason. */
function reasonOf(error: unknown): string {
  const said = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
  const text = said.trim() || (error instanceof Error ? error.message : String(error));
  return text.split('\n').at(-1)?.slice(0, 200) ?? 'unknown';
}

/** A peer that is there. */
export class InstalledPeer {
  readonly name: string;
  readonly #command: readonly [string, ...string[]];

  constructor(name: string, command: readonly [string, ...string[]]) {
    this.name = name;
    this.#command = command;
  }

  /**
   * Runs the peer's program, and answers with the milliseconds that it prints last: its own measure of its work, without
   * the start of its process. `onLine` is given each line as it comes.
   * @throws Error with what it said when it does not succeed.
   */
  async measure(args: readonly string[], onLine: (line: string) => void = () => {}) {
    const [program, ...first] = this.#command;
    const child = spawn(program, [...first, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: RUN_MS,
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
    let last = '';
    createInterface({ input: child.stdout }).on('line', (line) => {
      last = line;
      onLine(line);
    });
    const status = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    if (status !== 0) throw new Error(`${this.name} ended with ${status}: ${said.slice(-500)}`);
    return Number(last);
  }
}

/** Installs a peer unless it is in the cache. */
export async function installPeer(
  peer: Peer,
  say: (line: string) => void,
): Promise<InstalledPeer | Absent> {
  const { name, source } = peer;
  const file = new URL(source, PEERS).pathname;
  const sum = createHash('sha256')
    .update(await readFile(file))
    .digest('hex');
  const dir = join(cacheDir(), name.replace(' ', '-'));
  const stamp = join(dir, 'installed');
  const installed = await readFile(stamp, 'utf8').catch(() => '');
  if (installed !== sum) {
    say(`installs ${name}`);
    try {
      await rm(dir, { recursive: true, force: true });
      await mkdir(dir, { recursive: true });
      await peer.install(dir, file);
      await writeFile(stamp, sum);
    } catch (error) {
      return { subject: name, reason: reasonOf(error) };
    }
  }
  return new InstalledPeer(name, peer.command(dir, file));
}
