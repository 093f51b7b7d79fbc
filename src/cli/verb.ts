/**
 * How a verb is made: what every one has (summary, examples, no stray arguments) and what it is given to do its work.
 */
import type { Command } from 'commander';
import type { Layout } from './terminal.ts';

/** What a verb works with. */
export interface VerbContext {
  /** Asks the agent; throws as `askAgent` does. */
  ask(path: string): Promise<string>;
  /** Tells the agent to do something, by POST; throws as `askAgent` does. */
  tell(path: string): Promise<string>;
  /** True when the answer is to be printed as it came. */
  json(): boolean;
  layoutFor(options: WideOption): Layout;
  /** Writes to standard output. */
  print(text: string): void;
  /** Sets the exit status. */
  end(exit: number): void;
}

/** Options of verbs that print a table. */
export interface WideOption {
  readonly wide?: true;
}

/** Adds a verb with its summary and examples to the program. */
export function addVerb(
  program: Command,
  name: string,
  summary: string,
  examples: readonly string[],
): Command {
  const lines = examples.map((example) => `  ${example}\n`).join('');
  return program
    .command(name)
    .description(summary)
    .allowExcessArguments(false)
    .addHelpText('after', `\nExamples:\n${lines}`);
}
