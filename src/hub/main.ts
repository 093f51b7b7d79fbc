#!/usr/bin/env node
/**
 * dpu-hub: from the program to the process: streams, files, exit status.
 */
import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { runDpuHub } from './program.ts';
import { EXIT } from './surroundings.ts';

/** Most bytes that are read of one file. */
const INPUT_BYTES_MAX = 64 * 1024 * 1024;

const { stdin, stdout, stderr } = process;
stdout.on('error', (error: NodeJS.ErrnoException) => {
  // `dpu-hub translate -f x | head` closes the pipe early: that is no fault.
  if (error.code === 'EPIPE') return;
  stderr.write(`dpu-hub: cannot write to standard output: ${error.message}\n`);
  process.exitCode = EXIT.UNREADABLE;
});

async function readText(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > INPUT_BYTES_MAX) {
      throw new RangeError(`more than ${INPUT_BYTES_MAX} bytes; accepted: at most that`);
    }
    chunks.push(chunk);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new TypeError('not UTF-8; accepted: YAML or JSON in UTF-8');
  }
}

async function readFile(path: string): Promise<string> {
  await using handle = await open(path);
  return await readText(handle.createReadStream({ autoClose: false }));
}

const exit = await runDpuHub(process.argv.slice(2), {
  read: (file) => (file === '-' ? readText(stdin) : readFile(file)),
  print: (text) => void stdout.write(text),
  complain: (text) => void stderr.write(text),
});
process.exitCode ??= exit;
