/** Runs one program to its end and answers with what it printed. The lab is built from such commands. */
import { execFile } from 'node:child_process';

/** How to run a command. */
export interface CommandOptions {
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** The command is killed after this long. Default 15 000. */
  readonly timeoutMs?: number;
}

/** A command that ended with a status other than 0. */
export class CommandError extends Error {
  /** Exit status, or -1 when the program could not be started or was killed. */
  readonly status: number;
  readonly stdout: string;

  constructor(command: string, status: number, stdout: string, stderr: string) {
    super(`${command}: ${stderr.trim() === '' ? `status ${status}` : stderr.trim()}`);
    this.name = 'CommandError';
    this.status = status;
    this.stdout = stdout;
  }
}

/**
 * Runs a program and answers with its standard output.
 * @throws CommandError when it does not end with status 0.
 */
export function run(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      program,
      args,
      { env: { ...process.env, ...options.env }, timeout: options.timeoutMs ?? 15_000 },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else {
          const status = typeof error.code === 'number' ? error.code : -1;
          const said = stderr === '' ? error.message : stderr;
          reject(new CommandError([program, ...args].join(' '), status, stdout, said));
        }
      },
    );
  });
}
