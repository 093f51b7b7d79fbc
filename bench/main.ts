/**
 * `npm run bench`: measures the product beside its peers and beside what the switch itself takes, on private instances of
 * Open vSwitch. Progress goes to standard error, results to standard output. Nothing is left behind, also after Ctrl-C.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { change } from './change.ts';
import { codec } from './codec.ts';
import { formatDocument, PLOTS } from './document.ts';
import { dump } from './dump.ts';
import { growth } from './growth.ts';
import { install } from './install.ts';
import { lab } from './lab.ts';
import { oneChange } from './one-change.ts';
import { ports } from './ports.ts';
import { runFacts } from './machine.ts';
import { formatResult, toJson, type RunFacts, type WorkloadResult } from './report.ts';
import { scale } from './scale.ts';
import { stall } from './stall.ts';
import type { BenchContext, Workload } from './workload.ts';

const WORKLOADS: readonly Workload[] = [
  install,
  change,
  dump,
  oneChange,
  ports,
  growth,
  scale,
  stall,
  lab,
  codec,
];

const DOCS = new URL('../docs/', import.meta.url);

class Interrupted extends Error {}

/** Rejects when somebody wants the run to end. */
function interruption(): Promise<never> {
  return new Promise((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => reject(new Interrupted(`interrupted by ${signal}`)));
    }
  });
}

async function runWorkload(
  workload: Workload,
  options: Pick<BenchContext, 'quick' | 'sizes'>,
  interrupted: Promise<never>,
): Promise<WorkloadResult> {
  const { id, title } = workload;
  const missing = await workload.missing?.();
  if (missing !== undefined) return { id, title, skipped: missing };
  const undos: (() => Promise<void>)[] = [];
  const context: BenchContext = {
    ...options,
    say: (line) => console.error(`bench: ${id}: ${line}`),
    defer: (undo) => void undos.unshift(undo),
  };
  const start = performance.now();
  context.say(title);
  try {
    const measured = await Promise.race([workload.run(context), interrupted]);
    context.say(`done after ${((performance.now() - start) / 1000).toFixed(0)} s`);
    return { id, title, measured };
  } catch (error) {
    if (error instanceof Interrupted) throw error;
    return { id, title, failed: error instanceof Error ? error.message : String(error) };
  } finally {
    for (const undo of undos) await undo();
  }
}

function pick(id: string, chosen: readonly Workload[] = []): Workload[] {
  const workload = WORKLOADS.find((one) => one.id === id);
  if (workload !== undefined) return [...chosen, workload];
  throw new InvalidArgumentError(`There are: ${WORKLOADS.map((one) => one.id).join(', ')}.`);
}

const FACTORS = new Map([
  ['', 1],
  ['k', 1000],
  ['M', 1_000_000],
]);
const SIZE_MAX = 5_000_000;

/** Sizes such as `1k,10000,1M`. */
function parseSizes(text: string): number[] {
  return text
    .split(',')
    .map((part) => {
      const [, digits, unit = ''] = /^([1-9]\d*)([kM]?)$/.exec(part.trim()) ?? [];
      const size = Number(digits) * (FACTORS.get(unit) ?? Number.NaN);
      if (size >= 8 && size <= SIZE_MAX) return size;
      throw new InvalidArgumentError(
        `"${part}" is no size from 8 to 5M, such as 10000, 10k or 1M.`,
      );
    })
    .sort((one, other) => one - other);
}

async function writeDocument(facts: RunFacts, results: readonly WorkloadResult[]): Promise<void> {
  const { text, plots } = await formatDocument(facts, results);
  const folder = new URL(`${PLOTS}/`, DOCS);
  // Plots of a run before that are no longer drawn must not stay.
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  for (const { name, svg } of plots) await writeFile(new URL(name, folder), svg);
  await writeFile(new URL('performance.md', DOCS), text);
}

interface Flags {
  readonly sizes?: readonly number[];
  readonly json?: boolean;
  readonly quick?: boolean;
  readonly writeDocs?: boolean;
  readonly only?: readonly Workload[];
}

async function main(): Promise<void> {
  const flags = new Command('bench')
    .description(
      'Measures dpu-agent beside its peers and beside what the switch itself takes for the same bytes.',
    )
    .option('--json', 'print one object on stdout, and nothing else')
    .option('--quick', 'few rounds and the smallest size only: shows that all of it works')
    .option(
      '--only <name>',
      `one workload; may be given again: ${WORKLOADS.map((one) => one.id).join(', ')}`,
      pick,
    )
    .option('--sizes <list>', 'sizes of the flow tables, such as 1k,100k,1M', parseSizes)
    .addOption(
      new Option(
        '--write-docs',
        'write docs/performance.md and its plots; needs all workloads in full',
      ).conflicts(['quick', 'only', 'sizes']),
    )
    .parse()
    .opts<Flags>();
  const quick = flags.quick === true;
  const interrupted = interruption();
  interrupted.catch(() => {});
  const facts = await runFacts(quick);
  const results: WorkloadResult[] = [];
  for (const workload of flags.only ?? WORKLOADS) {
    const options = { quick, ...(flags.sizes === undefined ? {} : { sizes: flags.sizes }) };
    const result = await runWorkload(workload, options, interrupted);
    results.push(result);
    if (flags.json !== true) console.log(`${formatResult(result)}\n`);
  }
  if (flags.json === true) console.log(JSON.stringify(toJson(facts, results)));
  if (results.some(({ failed }) => failed !== undefined)) process.exitCode = 1;
  else if (flags.writeDocs === true) await writeDocument(facts, results);
}

main().then(
  () => process.exit(),
  (error: unknown) => {
    console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(error instanceof Interrupted ? 130 : 1);
  },
);
