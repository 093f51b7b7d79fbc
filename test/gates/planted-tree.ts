/**
 * A small clean tree with this project's own configuration of every tool, in a temporary directory, into which a test plants
 * violations. node_modules is a link: the tools are the project's.
 */
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { runGates, type GateResult } from '../../scripts/check/runner.ts';

const PROJECT = resolve(import.meta.dirname, '../..');
const CONFIGURATION = [
  'eslint.config.mjs',
  'tsconfig.json',
  '.dependency-cruiser.mjs',
  '.prettierrc.json',
];

/** Text by path. */
export type Files = Readonly<Record<string, string>>;

const formatJson = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
const HEADER = '/** A file of the planted tree. */\n\n';

/** A module that is documented as the rules want it, with `import` lines above its one exported constant. */
export function moduleText(name: string, imports = ''): string {
  return `${HEADER.trimEnd()}\n${imports === '' ? '\n' : `${imports}\n\n`}/** A constant. */\nexport const ${name} = 1;\n`;
}

/** Every module hangs together, so that knip has nothing to say. */
const CLEAN: Files = {
  '.prettierignore': 'node_modules\n*.mjs\nknip.json\n',
  'package.json': formatJson({
    name: 'planted',
    version: '1.0.0',
    private: true,
    type: 'module',
    scripts: { generate: 'node scripts/generate.ts' },
  }),
  'knip.json': formatJson({
    entry: ['src/agent/main.ts', 'scripts/*.ts'],
    project: ['src/**/*.ts', 'scripts/*.ts'],
  }),
  'scripts/generate.ts': '/** Finds that everything is fresh. */\nprocess.exitCode = 0;\n',
  'src/base/leaf.ts': moduleText('leaf'),
  'src/agent/main.ts':
    `/** The program. */\nimport { CODE } from '../base/fault.ts';\nimport { leaf } from '../base/leaf.ts';\n` +
    `import { TABLE } from './flow/pipeline.ts';\n\nprocess.exitCode = leaf + TABLE.length + CODE.length;\n`,
  'src/agent/flow/pipeline.ts':
    `${HEADER}const table = (id: number, name: string) => ({ id, name });\n\n` +
    `/** The tables. */\nexport const TABLE = [table(0, 'Classify')];\n`,
  'src/base/fault.ts': `${HEADER}/** A code. */\nexport const CODE = 'CONN_REFUSED';\n`,
  'docs/pipeline.md': '| number | name     |\n| ------ | -------- |\n| 0      | Classify |\n',
  'docs/reference/errors.md': '`CONN_REFUSED`: nobody listens\n',
};

/** A tree that is removed by `remove`. */
export class PlantedTree {
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  /** Makes the clean tree. */
  static async create(): Promise<PlantedTree> {
    const tree = new PlantedTree(await mkdtemp(join(tmpdir(), 'planted-')));
    await symlink(join(PROJECT, 'node_modules'), join(tree.root, 'node_modules'));
    for (const file of CONFIGURATION) await cp(join(PROJECT, file), join(tree.root, file));
    await tree.write(CLEAN);
    return tree;
  }

  /** Writes files, over what is there. */
  async write(files: Files): Promise<void> {
    for (const [file, text] of Object.entries(files)) {
      await mkdir(dirname(join(this.root, file)), { recursive: true });
      await writeFile(join(this.root, file), text);
    }
  }

  /** Takes planted files away: those of the clean tree get their text back. */
  async restore(files: Files): Promise<void> {
    for (const file of Object.keys(files)) {
      const clean = CLEAN[file];
      if (clean === undefined) await rm(join(this.root, file));
      else await this.write({ [file]: clean });
    }
  }

  /** Runs gates on the tree; all of them without names. */
  async check(only?: readonly string[], moduleFloor = 3): Promise<GateResult[]> {
    return runGates({ root: this.root, moduleFloor, ...(only === undefined ? {} : { only }) });
  }

  async remove(): Promise<void> {
    await rm(this.root, { recursive: true, force: true });
  }
}
