/**
 * The verbs and options of dpu-hub. It reads and writes through what it is given and returns the exit status: it neither
 * ends the process nor reads its environment.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { stringify } from 'yaml';
import type { DpuNetwork } from '../api/dpu-network.ts';
import { dnsLabel, dnsSubdomain } from '../api/field.ts';
import { errorMessage } from '../base/error.ts';
import { VERSION } from '../base/version.ts';
import { translateSet, type TranslatedSet } from './translate/policy-set.ts';
import { type PlacedPolicy, readPolicyText } from './translate/policy-text.ts';

/** Exit statuses of dpu-hub, as docs/hub.md lists them. */
export const EXIT = {
  OK: 0,
  /** Something in the input is refused. */
  REFUSED: 1,
  USAGE: 2,
  /** A file cannot be read. */
  UNREADABLE: 3,
} as const;

/** What dpu-hub has of the world. */
export interface Surroundings {
  /** The text of a file, `-` for standard input. Rejects when it cannot be read. */
  read(file: string): Promise<string>;
  /** Writes to standard output. */
  print(text: string): void;
  /** Writes to standard error. */
  complain(text: string): void;
}

interface TranslateOptions {
  readonly filename: string[];
  readonly output: 'yaml' | 'json';
  readonly namespace: string;
  readonly network?: string;
}

/** Runs dpu-hub with the arguments behind its name; the result is the exit status. */
export async function runDpuHub(args: readonly string[], world: Surroundings): Promise<number> {
  let status: number = EXIT.OK;
  const program = makeProgram(world, (exit) => (status = exit));
  try {
    await program.parseAsync(args, { from: 'user' });
    return status;
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown;
    return thrown.exitCode === 0 ? EXIT.OK : EXIT.USAGE;
  }
}

function makeProgram(world: Surroundings, end: (exit: number) => void): Command {
  const program = new Command('dpu-hub')
    .description('One place to say it, many customer clusters that obey.')
    .version(VERSION)
    .configureOutput({
      writeOut: (text) => world.print(text),
      writeErr: (text) => world.complain(text),
      getErrHasColors: () => false,
    })
    .exitOverride()
    .showHelpAfterError('(dpu-hub --help shows the verbs and options)')
    .addHelpText(
      'after',
      `
Exit status: 0 well; 1 the input is refused; 2 wrong usage; 3 a file cannot be read.

Examples:
  dpu-hub translate -f policies.yaml
  dpu-hub translate --help`,
    );
  program
    .command('translate')
    .description('print the DPURules and DPUGroups that NetworkPolicies become; needs no cluster')
    .addOption(
      new Option(
        '-f, --filename <file>',
        'YAML or JSON: NetworkPolicies, Lists, DPUNetworks; - is standard input; may be repeated',
      )
        .argParser((file: string, files: string[] | undefined) => [...(files ?? []), file])
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('-o, --output <format>', 'documents, or one List')
        .choices(['yaml', 'json'])
        .default('yaml'),
    )
    .option(
      '-n, --namespace <name>',
      'namespace of policies that name none',
      parseWith(dnsLabel, 'a DNS-1123 label'),
      'default',
    )
    .option(
      '--network <name>',
      'DPUNetwork of the pods; default: the DPUNetwork of the input that lists the namespace, else the name of the namespace',
      parseWith(dnsSubdomain, 'a DNS-1123 subdomain'),
    )
    .allowExcessArguments(false)
    .addHelpText(
      'after',
      `
Nothing is printed when any policy is refused. What has no effect by definition is noted on standard error.

Examples:
  dpu-hub translate -f policies.yaml
  dpu-hub translate -f policies.yaml -f networks.yaml -o json
  kubectl get networkpolicies -A -o yaml | dpu-hub translate -f - | kubectl diff -f -`,
    )
    .action(async (options: TranslateOptions) => end(await translate(options, world)));
  return program;
}

function parseWith(schema: typeof dnsLabel, accepted: string): (text: string) => string {
  return (text) => {
    if (schema.safeParse(text).success) return text;
    throw new InvalidArgumentError(`accepted: ${accepted}.`);
  };
}

async function translate(options: TranslateOptions, world: Surroundings): Promise<number> {
  const policies: PlacedPolicy[] = [];
  const networks: DpuNetwork[] = [];
  const problems: string[] = [];
  const say = (text: string): void => world.complain(`dpu-hub: ${text}\n`);
  for (const file of options.filename) {
    const name = file === '-' ? 'standard input' : file;
    let text: string;
    try {
      text = await world.read(file);
    } catch (error) {
      say(`${name}: cannot be read: ${errorMessage(error)}`);
      return EXIT.UNREADABLE;
    }
    const read = readPolicyText(text, name, options.namespace);
    policies.push(...read.policies);
    networks.push(...read.networks);
    problems.push(...read.problems);
    for (const note of read.notes) say(`note: ${note}`);
  }
  const translated = translateSet(policies, networks, options.network);
  problems.push(...translated.problems);
  for (const problem of problems) say(problem);
  if (problems.length > 0) return EXIT.REFUSED;
  world.print(formatObjects(translated.objects, options.output));
  return EXIT.OK;
}

function formatObjects(objects: TranslatedSet['objects'], format: 'yaml' | 'json'): string {
  if (format === 'json') {
    return `${JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }, null, 2)}\n`;
  }
  const documents = objects.map((object) =>
    // Version 1.1: kubectl's reader takes words such as on and no for booleans unless they are quoted.
    stringify(object, { version: '1.1', lineWidth: 100, aliasDuplicateObjects: false }),
  );
  return documents.join('---\n');
}
