/**
 * The verbs and options of dpu-hub. It reads and writes through what it is given and returns the exit status: it neither
 * ends the process nor reads its environment.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { dnsLabel, dnsSubdomain } from '../api/field.ts';
import { VERSION } from '../base/version.ts';
import { applyInput, type ApplyVerbOptions } from './apply-verb.ts';
import { PRUNE_GUARD } from './apply/apply-set.ts';
import { formatObjects, type InputOptions, readInput } from './policy-input.ts';
import { EXIT, type Surroundings } from './surroundings.ts';

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
Exit status: 0 well; 1 something is refused; 2 wrong usage; 3 a file or a cluster cannot be read.

Examples:
  dpu-hub translate -f policies.yaml
  dpu-hub diff -f policies.yaml --kubeconfig customer.yaml`,
    );
  addTranslate(program, world, end);
  addApply(program, world, end);
  return program;
}

function addTranslate(program: Command, world: Surroundings, end: (exit: number) => void): void {
  withInput(
    program
      .command('translate')
      .description(
        'print the DPURules and DPUGroups that NetworkPolicies become; needs no cluster',
      ),
  )
    .addOption(
      new Option('-o, --output <format>', 'documents, or one List')
        .choices(['yaml', 'json'])
        .default('yaml'),
    )
    .addHelpText(
      'after',
      `
Nothing is printed when any policy is refused. What has no effect by definition is noted on standard error.

Examples:
  dpu-hub translate -f policies.yaml
  dpu-hub translate -f policies.yaml -f networks.yaml -o json
  kubectl get networkpolicies -A -o yaml | dpu-hub translate -f - | kubectl diff -f -`,
    )
    .action(async (options: InputOptions & { output: 'yaml' | 'json' }) => {
      const input = await readInput(options, world);
      if (typeof input !== 'number') world.print(formatObjects(input, options.output));
      end(typeof input === 'number' ? input : EXIT.OK);
    });
}

function addApply(program: Command, world: Surroundings, end: (exit: number) => void): void {
  const verbs = [
    ['diff', 'print what apply would change on a cluster, as its API server says'],
    ['apply', 'bring a cluster to what NetworkPolicies become'],
  ] as const;
  for (const [verb, description] of verbs) {
    withInput(program.command(verb).description(description))
      .requiredOption(
        '--kubeconfig <file>',
        'the cluster; certificates and token in the file itself',
      )
      .option(
        '--hub-id <name>',
        "whose objects these are: another hub's are left alone",
        parseWith(dnsLabel, 'a DNS-1123 label'),
        'manual',
      )
      .option('--prune', 'delete objects of this hub id that the input no longer asks for')
      .option(
        '--allow-large-prune',
        `delete also more than half, when it is ${PRUNE_GUARD} objects or more`,
      )
      .addHelpText(
        'after',
        `
${verb === 'diff' ? `Exit status: 0 nothing would change; ${EXIT.DIFFERENT} something would; 1 something is refused or is others'.\n` : ''}
Examples:
  dpu-hub ${verb} -f policies.yaml --kubeconfig customer.yaml
  dpu-hub ${verb} -f policies.yaml --kubeconfig customer.yaml --prune`,
      )
      .action(async (options: ApplyVerbOptions) => end(await applyInput(options, verb, world)));
  }
}

/** The options that say what is translated. */
function withInput(command: Command): Command {
  return command
    .addOption(
      new Option(
        '-f, --filename <file>',
        'YAML or JSON: NetworkPolicies, Lists, DPUNetworks; - is standard input; may be repeated',
      )
        .argParser((file: string, files: string[] | undefined) => [...(files ?? []), file])
        .makeOptionMandatory(),
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
    .allowExcessArguments(false);
}

function parseWith(schema: typeof dnsLabel, accepted: string): (text: string) => string {
  return (text) => {
    if (schema.safeParse(text).success) return text;
    throw new InvalidArgumentError(`accepted: ${accepted}.`);
  };
}
