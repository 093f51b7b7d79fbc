/**
 * `dpuctl completion bash|zsh`: a script for the shell, made from the verbs and options that the program has. Names and
 * options only: it does not ask the agent.
 */
import { Argument, type Command } from 'commander';
import type { VerbContext } from './verb.ts';
import { addVerb } from './verb.ts';

const SHELLS = ['bash', 'zsh'];

/** Adds `completion`. */
export function addCompletionVerb(program: Command, context: VerbContext): void {
  addVerb(program, 'completion', 'a completion script for the shell', [
    'source <(dpuctl completion bash)',
    'dpuctl completion zsh > "${fpath[1]}/_dpuctl"',
  ])
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
    .action((shell: string) => {
      context.print(shell === 'bash' ? bashCompletion(program) : zshCompletion(program));
    });
}

/** A word of a completion, harmless in single quotes. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function optionsOf(command: Command): string[] {
  return [...command.options.map(({ long }) => long ?? ''), '--help'].filter((long) => long !== '');
}

function choicesOf(command: Command): string[] {
  return command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []);
}

function bashCompletion(program: Command): string {
  const globals = optionsOf(program).join(' ');
  const verbs = program.commands.map((command) => command.name());
  const cases = program.commands.map((command) => {
    const words = [...optionsOf(command), ...choicesOf(command)].join(' ');
    return `    ${command.name()}) words=${quoted(`${words} ${globals}`)} ;;`;
  });
  return `# bash completion of dpuctl
_dpuctl() {
  local current="\${COMP_WORDS[COMP_CWORD]}" verb='' word words
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case " ${verbs.join(' ')} " in *" $word "*) verb="$word"; break ;; esac
  done
  case "$verb" in
${cases.join('\n')}
    *) words=${quoted([...verbs, globals].join(' '))} ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _dpuctl dpuctl
`;
}

function zshCompletion(program: Command): string {
  const describe = (name: string, says: string): string =>
    quoted(`${name}:${says.replaceAll(':', '\\:')}`);
  const verbs = program.commands.map((command) => describe(command.name(), command.description()));
  const option = ({ long, description }: { long?: string; description: string }): string =>
    describe(long ?? '', description);
  const globals = program.options.map(option).join(' ');
  const cases = program.commands.map((command) => {
    const choices = choicesOf(command).map((choice) => describe(choice, ''));
    return `    ${command.name()}) choices=(${[...command.options.map(option), ...choices].join(' ')} ${globals}) ;;`;
  });
  return `#compdef dpuctl
# zsh completion of dpuctl
_dpuctl() {
  local -a choices verbs
  local word verb=''
  verbs=(${verbs.join(' ')})
  for word in "\${(@)words[2,CURRENT-1]}"; do
    [[ -n "\${verbs[(r)$word:*]}" ]] && verb="$word" && break
  done
  case "$verb" in
${cases.join('\n')}
    *) choices=("\${verbs[@]}" ${globals}) ;;
  esac
  _describe dpuctl choices
}
compdef _dpuctl dpuctl
`;
}
