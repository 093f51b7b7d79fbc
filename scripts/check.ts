/**
 * `npm run check`: every mechanical rule of this code base in one command with one exit status. The rules themselves are
 * in scripts/check/; test/gates proves each of them with a planted violation.
 */
import { resolve } from 'node:path';
import { Command } from 'commander';
import { GATES, runGates } from './check/runner.ts';

interface Flags {
  readonly only?: string[];
  readonly list?: boolean;
  readonly json?: boolean;
  readonly root: string;
  readonly floor?: string;
}

async function main(): Promise<void> {
  const flags = new Command('check')
    .description('Checks the source tree against every mechanical rule.')
    .option('--only <names...>', 'run only these gates')
    .option('--list', 'list the gates and what each holds the tree to')
    .option('--json', 'print one JSON object {ok, gates: [{name, ok, ms, problems}]}')
    .option('--root <dir>', 'the tree to check', '.')
    .option('--floor <count>', 'the least number of modules that src/ is expected to have')
    .parse()
    .opts<Flags>();
  if (flags.list === true) {
    for (const gate of GATES) console.log(`${gate.name.padEnd(12)} ${gate.holds}`);
    return;
  }
  const unknown = flags.only?.filter((name) => !GATES.some((gate) => gate.name === name)) ?? [];
  if (unknown.length > 0) {
    console.error(
      `check: no gate is named ${unknown.join(', ')}; there are ${GATES.map((gate) => gate.name).join(', ')}`,
    );
    process.exitCode = 2;
    return;
  }
  const results = await runGates({
    root: resolve(flags.root),
    ...(flags.only === undefined ? {} : { only: flags.only }),
    ...(flags.floor === undefined ? {} : { moduleFloor: Number(flags.floor) }),
    onResult: flags.json === true ? () => {} : (line) => console.log(line),
  });
  const failed = results.filter((result) => !result.ok).length;
  if (flags.json === true) console.log(JSON.stringify({ ok: failed === 0, gates: results }));
  else console.log(`${results.length - failed} of ${results.length} gates hold`);
  process.exitCode = failed === 0 ? 0 : 1;
}

await main();
