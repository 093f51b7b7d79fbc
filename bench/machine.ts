/**
 * The facts of a run: when, on what class of machine, with what versions. Nothing that identifies the machine.
 */
import { execFile } from 'node:child_process';
import { availableParallelism, loadavg, totalmem } from 'node:os';
import { promisify } from 'node:util';
import type { RunFacts } from './report.ts';

const GIB = 1 << 30;

/** Collects the facts. */
export async function runFacts(quick: boolean): Promise<RunFacts> {
  const version = await promisify(execFile)('ovs-ofctl', ['--version'])
    .then(({ stdout }) => /\d+\.\d+\.\d+/.exec(stdout)?.[0])
    .catch(() => undefined);
  const cpus = availableParallelism();
  const memory = Math.round(totalmem() / GIB);
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: `${process.arch} machine, ${cpus} CPUs, ${memory} GiB of memory`,
    load: Number(((loadavg()[0] ?? 0) / cpus).toFixed(1)),
    node: process.version,
    openVSwitch: version ?? 'not installed',
    quick,
  };
}
