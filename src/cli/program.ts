/**
 * The verbs and options of dpuctl, and what each of them does with the agent's answer. It writes through what it is given
 * and returns the exit status: it neither ends the process nor reads its environment.
 */
import { Command, CommanderError } from 'commander';
import { BaseError } from '../base/error.ts';
import { VERSION } from '../base/version.ts';
import { parseFlows, parseRuleObjects, parseRules, parseStatus } from './answer.ts';
import { addActionVerbs } from './action.ts';
import { parseRule, parseTable, parseSeconds, TABLE_MAX } from './argument.ts';
import { askAgent, type AgentEndpoint } from './client.ts';
import { addCompletionVerb } from './completion.ts';
import { DpuctlError, EXIT } from './errors.ts';
import { addDoctorVerb } from './doctor.ts';
import { addExplainVerbs } from './explain.ts';
import { flowsPath, formatFlows, type FlowFilter } from './flows.ts';
import { filterRules, formatRules, type RuleFilter } from './rules.ts';
import { formatStatus, statusExit } from './status.ts';
import { addOffloadVerb } from './offload.ts';
import { addTableVerbs } from './table-verb.ts';
import { paint, plain, type Layout } from './terminal.ts';
import { addTopVerb } from './top.ts';
import { addTraceVerb } from './trace.ts';
import { addVerb, type VerbContext, type WideOption } from './verb.ts';

const DEFAULT_SOCKET = '/run/dpu-agent/debug.sock';
const DEFAULT_TIMEOUT_S = 10;

/** What dpuctl has of the world. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** How standard output is laid out. */
  readonly layout: Layout;
  /** Writes to standard output. */
  print(text: string): void;
  /** Writes to standard error. */
  complain(text: string): void;
}

interface GlobalOptions {
  readonly socket: string;
  readonly json?: true;
  readonly timeout: number;
}
/** Runs dpuctl with the arguments behind its name; the result is the exit status. */
export async function runDpuctl(args: readonly string[], world: Surroundings): Promise<number> {
  let status: number = EXIT.OK;
  const program = makeProgram(world, (exit) => (status = exit));
  try {
    await program.parseAsync(args, { from: 'user' });
    return status;
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.OK : EXIT.USAGE;
    if (!(thrown instanceof BaseError)) throw thrown;
    world.complain(`dpuctl: ${plain(thrown.message)}\n`);
    if (!(thrown instanceof DpuctlError)) return EXIT.UNREACHABLE;
    if (thrown.advice !== '') world.complain(`        ${thrown.advice}\n`);
    return thrown.exitStatus;
  }
}

/** The program with its verbs; `end` is told the exit status of the verb that ran. */
export function makeProgram(world: Surroundings, end: (exit: number) => void): Command {
  const program = new Command('dpuctl')
    .description(
      'Asks the dpu-agent of this machine. What changes something has to be allowed by the agent.',
    )
    .version(VERSION)
    .option(
      '--socket <path>',
      "the agent's debug socket (environment: DPU_AGENT_SOCKET)",
      world.env['DPU_AGENT_SOCKET'] || DEFAULT_SOCKET,
    )
    .option('--json', "print the agent's JSON as it came, for programs")
    .option('--timeout <seconds>', 'time for the whole answer', parseSeconds, DEFAULT_TIMEOUT_S)
    .configureOutput({
      writeOut: (text) => world.print(text),
      writeErr: (text) => world.complain(text),
      getOutHasColors: () => world.layout.colours,
      getErrHasColors: () => false,
    })
    .exitOverride()
    .showHelpAfterError('(dpuctl --help shows the verbs and options)')
    .addHelpText('after', PROGRAM_HELP);
  addVerbs(program, world, end);
  return program;
}

function addVerbs(program: Command, world: Surroundings, end: (exit: number) => void): void {
  const endpoint = (): AgentEndpoint => {
    const { socket, timeout } = program.opts<GlobalOptions>();
    return { socket, timeoutMs: timeout * 1000 };
  };
  const ask = (path: string): Promise<string> => askAgent(endpoint(), path);
  const tell = (path: string): Promise<string> => askAgent(endpoint(), path, 'POST');
  const json = (): boolean => program.opts<GlobalOptions>().json === true;
  const layoutFor = ({ wide }: WideOption): Layout =>
    wide === true ? { ...world.layout, width: Infinity } : world.layout;
  const context: VerbContext = {
    ask,
    tell,
    json,
    layoutFor,
    print: (text) => world.print(text),
    end,
  };

  addVerb(program, 'status', 'is the agent ready, connected and without problems', [
    'dpuctl status',
    'dpuctl status --json | jq .flows',
  ]).action(async () => {
    const body = await ask('/status');
    // Before it is read: an answer of another version is printed as well.
    if (json()) world.print(body);
    const status = parseStatus(body);
    if (!json()) world.print(formatStatus(status, world.layout));
    end(statusExit(status));
  });

  addVerb(program, 'rules', 'each rule entry: is it in the switch, what did it hit, why not', [
    'dpuctl rules --namespace tenant-a',
    'dpuctl rules --not-programmed',
  ])
    .option('--namespace <name>', 'only the rules of this namespace')
    .option('--not-programmed', 'only entries that are not in the switch')
    .option('--wide', 'do not wrap: one line for each entry')
    .action(async (options: RuleFilter & WideOption) => {
      const body = await ask('/rules');
      const isFiltered = options.namespace !== undefined || options.notProgrammed === true;
      if (!json()) {
        world.print(formatRules(filterRules(parseRules(body), options), layoutFor(options)));
      } else if (isFiltered) {
        world.print(`${JSON.stringify(filterRules(parseRuleObjects(body), options))}\n`);
      } else {
        world.print(body);
      }
    });

  addVerb(program, 'flows', "the agent's flows in the switch, each with its rule", [
    'dpuctl flows --table 20',
    'dpuctl flows --rule tenant-a/no-metrics/tcp-81 --wide',
  ])
    .option('--table <number>', `only this table, 0..${TABLE_MAX}`, parseTable)
    .option('--rule <rule>', 'only flows of NAMESPACE/NAME or NAMESPACE/NAME/RULE', parseRule)
    .option('--wide', 'do not wrap: one line for each flow, with its cookie')
    .action(async (options: FlowFilter & WideOption) => {
      const body = await ask(flowsPath(options));
      world.print(json() ? body : formatFlows(parseFlows(body), layoutFor(options)));
    });

  addTraceVerb(program, context);
  addExplainVerbs(program, context);
  addTableVerbs(program, context);
  addOffloadVerb(program, context);
  addDoctorVerb(program, context);
  addTopVerb(program, context);
  addActionVerbs(program, context);
  addCompletionVerb(program, context);

  for (const verb of program.commands) {
    verb.configureHelp({ showGlobalOptions: true, styleTitle: (title) => heading(title, world) });
  }
}

function heading(title: string, { layout }: Surroundings): string {
  return paint(title, 'heading', layout);
}

const PROGRAM_HELP = `
Exit status: 0 well; 1 the agent is not ready; 2 wrong usage; 3 no answer from the agent.

Examples:
  dpuctl status
  dpuctl rules --not-programmed
  dpuctl flows --rule tenant-a/no-metrics`;
