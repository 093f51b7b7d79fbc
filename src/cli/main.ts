#!/usr/bin/env node
/**
 * dpuctl: what the agent on this machine does, for its operator. It talks HTTP to the agent's debug socket and shares no
 * code with the agent. This file joins the program to the process: streams, environment, exit status.
 */
import { EXIT } from './errors.ts';
import { runDpuctl } from './program.ts';

/** Width of a table where standard output is no terminal, or one that does not say. */
const DEFAULT_WIDTH = 100;

const { stdout, stderr, env } = process;
stdout.on('error', (error: NodeJS.ErrnoException) => {
  // `dpuctl flows | head` closes the pipe early: that is no fault.
  if (error.code === 'EPIPE') return;
  stderr.write(`dpuctl: cannot write to standard output: ${error.message}\n`);
  process.exitCode = EXIT.UNREACHABLE;
});
// A terminal may have 0 columns, such as a serial line that was never told its size.
const width = (stdout.isTTY && stdout.columns) || DEFAULT_WIDTH;
const colours = stdout.isTTY && !env['NO_COLOR'] && env['TERM'] !== 'dumb';

const exit = await runDpuctl(process.argv.slice(2), {
  env,
  layout: { width, colours },
  print: (text) => void stdout.write(text),
  complain: (text) => void stderr.write(text),
});
process.exitCode ??= exit;
