// The package as others install it: built to JavaScript, with its programs and subpath exports.
import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { VERSION } from '../../src/base/version.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

interface Manifest {
  readonly version: string;
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, { readonly types: string; readonly default: string }>>;
}

t.test('the built package runs its programs and gives its protocol layers to others', async (t) => {
  const manifest = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as Manifest;
  t.equal(VERSION, manifest.version, 'the programs print the version of the package');
  const dir = await mkdtemp(join(tmpdir(), 'dpu-package-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await copyFile(join(ROOT, 'package.json'), join(dir, 'package.json'));
  await symlink(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  await run(process.execPath, [
    tsc,
    '-p',
    join(ROOT, 'tsconfig.build.json'),
    '--outDir',
    join(dir, 'dist'),
  ]);

  t.strictSame(Object.keys(manifest.bin), ['dpu-agent', 'dpu-hub', 'dpu-spoke', 'dpuctl']);
  for (const [name, file] of Object.entries(manifest.bin)) {
    const { stdout } = await run(process.execPath, [join(dir, file), '--version'], { cwd: dir });
    t.equal(stdout.trim(), manifest.version, name);
    t.match(
      await readFile(join(dir, file), 'utf8'),
      /^#!\/usr\/bin\/env (-S )?node( --[a-z-]+=\d+)?\n/,
      `${name} can be executed`,
    );
  }
  const expected: Readonly<Record<string, string>> = {
    './ovsdb': 'OvsdbClient',
    './openflow': 'OpenFlowSession',
    './netlink': 'NetlinkClient',
  };
  t.strictSame(Object.keys(manifest.exports).sort(), Object.keys(expected).sort());
  for (const [path, symbol] of Object.entries(expected)) {
    const specifier = `dpu-agent/${path.slice(2)}`;
    const script = `import { ${symbol} } from '${specifier}'; process.stdout.write(typeof ${symbol});`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], {
      cwd: dir,
    });
    t.equal(stdout, 'function', `${specifier} gives ${symbol}`);
    const types = manifest.exports[path]?.types;
    t.match(
      types === undefined ? '' : await readFile(join(dir, types), 'utf8'),
      symbol,
      `types of ${specifier}`,
    );
  }
});
