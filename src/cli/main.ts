#!/usr/bin/env node
/**
 * dpuctl: what the agent on this machine does, for its operator. It talks HTTP to the agent's debug socket and shares no
 * code with the agent. This file joins the program to the process: streams, environment, exit status.
 */
import { runDpuctl } from './program.ts';

/** Width of a table where standard output is no terminal. */
const DEFAULT_WIDTH = 100;

const { stdout, stderr, env } = process;
// `dpuctl flows | head` closes the pipe early: that is no fault.
stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});
const width = stdout.isTTY ? stdout.columns : DEFAULT_WIDTH;
const colours = stdout.isTTY && !env['NO_COLOR'] && env['TERM'] !== 'dumb';

process.exitCode = await runDpuctl(process.argv.slice(2), {
  env,
  layout: { width, colours },
  print: (text) => void stdout.write(text),
  complain: (text) => void stderr.write(text),
});
