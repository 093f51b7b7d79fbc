/**
 * `npm run demo`: two DPUs on this machine, one agent each, and live packets that show what rules do (story.ts). Exit status
 * 0 only if every step held. Nothing is left behind, also after Ctrl-C, unless --keep asks for it.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import Table from 'cli-table3';
import { Command } from 'commander';
import { AgentProcess } from './agent-process.ts';
import { missingForLab, TwoDpuLab } from './lab.ts';
import { DEMO_PODS, STEPS, type Stage, type Step } from './story.ts';

interface Flags {
  readonly json?: boolean;
  readonly keep?: boolean;
  readonly down?: string;
}

interface StepResult {
  readonly id: string;
  readonly title: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly ms: number;
}

/** Widths of the table's columns, borders not counted: 100 columns in all. */
const COLUMNS = [11, 6, 32, 39, 6];

class Interrupted extends Error {}

/** Rejects when somebody wants the demo to end. */
function interruption(): Promise<never> {
  return new Promise((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      // A second signal does not cut the clean-up short.
      process.on(signal, () => reject(new Interrupted(`interrupted by ${signal}`)));
    }
    // Whoever read the output is gone.
    process.stdout.on('error', () => reject(new Interrupted('the output was closed')));
  });
}

async function runStep(step: Step, stage: Stage, interrupted: Promise<never>): Promise<StepResult> {
  const { id, title } = step;
  const start = performance.now();
  const done = (ok: boolean, detail: string): StepResult => ({
    id,
    title,
    ok,
    detail,
    ms: Math.round(performance.now() - start),
  });
  try {
    return done(true, await Promise.race([step.run(stage), interrupted]));
  } catch (error) {
    if (error instanceof Interrupted) throw error;
    return done(false, error instanceof Error ? error.message : String(error));
  }
}

async function runStory(
  stage: Stage,
  interrupted: Promise<never>,
  say: (line: string) => void,
): Promise<StepResult[]> {
  const results: StepResult[] = [];
  let blocked = false;
  for (const step of STEPS) {
    if (blocked) {
      results.push({ id: step.id, title: step.title, ok: false, detail: 'not run', ms: 0 });
      continue;
    }
    const result = await runStep(step, stage, interrupted);
    results.push(result);
    say(`${result.ok ? 'ok    ' : 'FAILED'} ${result.title}`);
    if (!result.ok) say(`       ${result.detail}`);
    blocked = !result.ok && step.required === true;
  }
  return results;
}

function formatTable(results: readonly StepResult[]): string {
  const table = new Table({
    head: ['step', '', 'what', 'seen', 'ms'],
    colWidths: COLUMNS.slice(),
    wordWrap: true,
    colAligns: ['left', 'left', 'left', 'left', 'right'],
    style: { head: [], border: [] },
  });
  for (const { id, ok, title, detail, ms } of results)
    table.push([id, ok ? 'ok' : 'FAIL', title, detail, ms]);
  return table.toString();
}

/** What to type to look around in a lab that stays up. */
function tour({ lab, agents, rulesDir }: Stage): string {
  const lines = agents.flatMap(({ dpu, socket, logFile, pid }) => [
    `DPU ${dpu.number} (namespace ${dpu.namespace}, agent pid ${pid})`,
    `  npm run -s dpuctl -- --socket ${socket} status       # also: rules, flows`,
    `  ovs-ofctl -O OpenFlow13 dump-flows ${lab.bridgeSocket(dpu.number)}`,
    `  ovs-vsctl --db=${dpu.database} show`,
    `  tail -f ${logFile}`,
  ]);
  const [pod] = lab.podSpecs();
  return [
    'The lab stays up. To look around:',
    ...lines,
    `Pods: ip netns list. For example: ip netns exec ${lab.pod(pod?.name ?? '').namespace} ping 10.1.0.25`,
    `Rules: edit, add or remove YAML files in ${rulesDir}`,
    `To take it down: npm run demo -- --down ${lab.dir}`,
  ].join('\n');
}

async function demo(flags: Flags): Promise<boolean> {
  const say = flags.json === true ? () => {} : (line: string) => console.log(line);
  const start = performance.now();
  const report = (results: StepResult[]): boolean => {
    const ok = results.every((result) => result.ok);
    if (flags.json === true) console.log(JSON.stringify({ ok, steps: results }));
    else
      say(
        `${formatTable(results)}\n${ok ? 'every step held' : 'NOT every step held'}, ${((performance.now() - start) / 1000).toFixed(1)} s`,
      );
    return ok;
  };
  const missing = await missingForLab();
  if (missing.length > 0) {
    const detail = `this machine lacks:\n  ${missing.join('\n  ')}`;
    console.error(`demo: ${detail}`);
    if (flags.json === true) {
      report([
        { id: 'requirements', title: 'what the lab needs is there', ok: false, detail, ms: 0 },
      ]);
    }
    return false;
  }
  const interrupted = interruption();
  interrupted.catch(() => {});
  say('brings up two DPUs: private Open vSwitch each, userspace datapath, VXLAN between them');
  const lab = await TwoDpuLab.up({ pods: DEMO_PODS });
  let kept = false;
  try {
    const rulesDir = join(lab.dir, 'rules.d');
    await mkdir(rulesDir);
    const agents = [
      await AgentProcess.create(lab, 1, rulesDir),
      await AgentProcess.create(lab, 2, rulesDir),
    ];
    const stage: Stage = { lab, agents, rulesDir };
    const results = await runStory(stage, interrupted, say);
    const ok = report(results);
    if (flags.keep === true) {
      await lab.keep();
      kept = true;
      (flags.json === true ? console.error : console.log)(tour(stage));
    } else if (!ok) {
      for (const agent of agents)
        console.error(`log of dpu${agent.dpu.number}:\n${await agent.logTail(20)}`);
    }
    return ok;
  } finally {
    if (!kept) await lab.down();
  }
}

async function main(): Promise<void> {
  const flags = new Command('demo')
    .description(
      'Shows with live packets what dpu-agent does, on two DPUs that run on this machine. Needs root.',
    )
    .option(
      '--json',
      'print one object {ok, steps: [{id, title, ok, detail, ms}]} on stdout, and nothing else',
    )
    .option('--keep', 'leave the lab and the agents up, and print how to look around')
    .option('--down <dir>', 'take down a lab that --keep left up')
    .parse()
    .opts<Flags>();
  if (flags.down !== undefined) {
    await TwoDpuLab.downDir(flags.down);
    return;
  }
  process.exitCode = (await demo(flags)) ? 0 : 1;
}

main().then(
  // Pods and agents are done with; a pipe that is still open must not hold the process.
  () => process.exit(),
  (error: unknown) => {
    console.error(`demo: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(error instanceof Interrupted ? 130 : 1);
  },
);
