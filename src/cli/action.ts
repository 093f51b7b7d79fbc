/**
 * Verbs that change something (resync, pause, resume, log-level, bypass), which the agent refuses unless it was told to allow
 * them, and `support-bundle`, which writes a file here.
 */
import { writeFile } from 'node:fs/promises';
import { Argument, Option, type Command } from 'commander';
import * as z from 'zod';
import { errorMessage } from '../base/error.ts';
import { parseAnswer } from './answer.ts';
import { parseDuration } from './argument.ts';
import { DpuctlError } from './errors.ts';
import { formatCount, plain } from './terminal.ts';
import { addVerb, type VerbContext } from './verb.ts';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'];
const DEFAULT_DURATION_S = 600;

/** Adds the verbs that act. */
export function addActionVerbs(program: Command, context: VerbContext): void {
  const print = (text: string): void => context.print(text);
  /** Tells the agent, and prints its answer as it came or as a sentence. */
  const act = async <Schema extends z.ZodType>(
    path: string,
    schema: Schema,
    sentence: (answer: z.infer<Schema>) => string,
  ): Promise<void> => {
    const body = await context.tell(path);
    const answer = parseAnswer(schema, body, path);
    print(context.json() ? body : `${plain(sentence(answer))}\n`);
  };

  addVerb(program, 'resync', 'compare everything with a fresh dump of the switch, and repair', [
    'dpuctl resync',
  ]).action(() =>
    act('/resync', z.object({ flowMods: z.number() }), ({ flowMods }) =>
      flowMods === 0
        ? 'the switch was as desired'
        : `${formatCount(flowMods)} flow_mods repaired it`,
    ),
  );

  const duration = (says: string): Option =>
    new Option('--for <time>', says).argParser(parseDuration).default(DEFAULT_DURATION_S, '10m');
  addVerb(program, 'pause', 'write nothing to the switch for a while; flows stay as they are', [
    'dpuctl pause --for 30m',
  ])
    .addOption(duration('how long: 45s, 10m, 2h'))
    .action((options: { for: number }) =>
      act(
        `/pause?seconds=${options.for}`,
        z.object({ pausedUntil: z.string() }),
        (answer) =>
          `nothing is written to the switch until ${answer.pausedUntil}; dpuctl resume ends that`,
      ),
    );
  addVerb(program, 'resume', 'end a pause', ['dpuctl resume']).action(() =>
    act('/resume', z.object({}), () => 'the agent writes again'),
  );
  addVerb(program, 'log-level', 'set how much the agent logs, until it is restarted', [
    'dpuctl log-level debug',
  ])
    .addArgument(new Argument('<level>', 'least important lines').choices(LEVELS))
    .action((level: string) =>
      act(
        `/log-level?level=${level}`,
        z.object({ level: z.string() }),
        (answer) => `the agent logs from level ${answer.level} on`,
      ),
    );
  addVerb(
    program,
    'bypass',
    'PANIC BUTTON: let all traffic of a network pass its policy for a while',
    ['dpuctl bypass --vni 1000 --for 10m', 'dpuctl bypass --vni 1000 --off'],
  )
    .requiredOption('--vni <number>', 'the network')
    .addOption(duration('how long: 45s, 10m, 2h'))
    .option('--off', 'put the policy in force again')
    .action((options: { vni: string; for: number; off?: true }) => {
      const query = new URLSearchParams({ vni: options.vni });
      if (options.off === true) query.set('off', '');
      else query.set('seconds', String(options.for));
      const schema = z.object({ vni: z.number(), bypassedUntil: z.string().nullable() });
      return act(`/bypass?${query.toString()}`, schema, ({ vni, bypassedUntil }) =>
        bypassedUntil === null
          ? `the policy of VNI ${vni} is in force`
          : `THE POLICY OF VNI ${vni} IS BYPASSED until ${bypassedUntil}; dpuctl bypass --vni ${vni} --off ends that`,
      );
    });

  addVerb(program, 'support-bundle', 'all that the agent tells, in one file without secrets', [
    'dpuctl support-bundle --output dpu-1.json',
  ])
    .requiredOption('--output <file>', 'where to write it; a file that is there is not overwritten')
    .action(async ({ output }: { output: string }) => {
      const body = await context.ask('/support-bundle');
      await writeNew(output, body);
      print(
        `${plain(output)}: ${formatCount(Buffer.byteLength(body))} bytes; look through it before you send it\n`,
      );
    });
}

async function writeNew(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text, { flag: 'wx', mode: 0o600 });
  } catch (thrown) {
    const advice =
      'give --output a file that is not there yet, in a directory that you may write to';
    throw new DpuctlError(
      'DPUCTL_USAGE',
      `cannot write ${path}: ${errorMessage(thrown)}`,
      advice,
      thrown,
    );
  }
}
