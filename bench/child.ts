/**
 * A program of this folder in a process of its own, which sends one message to its parent and ends: what it measures pays
 * for nothing that was done before.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';

/**
 * Runs a program and answers with its message.
 * @throws Error when it ends without one.
 */
export async function childAnswer<Answer>(
  program: URL,
  args: readonly string[],
  execArgv: readonly string[] = [],
): Promise<Answer> {
  const child = fork(program, args, {
    execArgv: [...execArgv],
    serialization: 'advanced',
  });
  const ended = once(child, 'exit').then(([status]) => {
    throw new Error(`${program.pathname} ${args[0] ?? ''} ended with ${String(status)}`);
  });
  const [answer] = (await Promise.race([once(child, 'message'), ended])) as [Answer];
  await ended.catch(() => {});
  return answer;
}
