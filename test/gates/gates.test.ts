/**
 * Proves each gate with a planted violation: the clean tree passes every gate, and each violation, alone in the tree, makes
 * the gate that is there for it name it.
 */
import t, { type Test } from 'tap';
import { GATES } from '../../scripts/check/runner.ts';
import { moduleText, PlantedTree, type Files } from './planted-tree.ts';

interface Violation {
  readonly gate: string;
  readonly what: string;
  readonly files: Files;
  /** What the gate must say. */
  readonly says: RegExp;
}

const inBase = (body: string): Files => ({
  'src/base/leaf.ts': `/** A file of the planted tree. */\n\n${body}\n\n/** A constant. */\nexport const leaf = 1;\n`,
});
const FILLER = '// one line more\n';

const VIOLATIONS: readonly Violation[] = [
  {
    gate: 'types',
    what: 'an index that may be undefined',
    files: inBase('/** A number. */\nexport const first: number = [1][0];'),
    says: /src\/base\/leaf\.ts\(4,14\): error TS2322/,
  },
  {
    gate: 'lint',
    what: 'a promise that nobody waits for',
    files: inBase('/** Starts. */\nexport function start(): void {\n  Promise.resolve();\n}'),
    says: /no-floating-promises/,
  },
  {
    gate: 'lint',
    what: 'an import of child_process',
    files: inBase("import { execFile } from 'node:child_process';\n\nexecFile('true');"),
    says: /no-restricted-imports/,
  },
  {
    gate: 'format',
    what: 'double quotes',
    files: inBase('/** A. */\nexport const a = "a";'),
    says: /src\/base\/leaf\.ts/,
  },
  {
    gate: 'unused',
    what: 'an export that nobody uses',
    files: inBase('/** Spare. */\nexport const spare = 2;'),
    says: /spare.*src\/base\/leaf\.ts/,
  },
  {
    gate: 'unused',
    what: 'a file that nobody imports',
    files: { 'src/base/spare.ts': moduleText('spare') },
    says: /src\/base\/spare\.ts/,
  },
  {
    gate: 'generated',
    what: 'a generated file that is stale',
    files: {
      'scripts/generate.ts':
        "/** Finds a stale file. */\nconsole.error('deploy/crd/x.yaml is stale');\nprocess.exitCode = 1;\n",
    },
    says: /deploy\/crd\/x\.yaml is stale/,
  },
  {
    gate: 'length',
    what: 'a file of 501 lines',
    files: { 'src/base/leaf.ts': moduleText('leaf') + FILLER.repeat(497) },
    says: /src\/base\/leaf\.ts: 501 lines/,
  },
  {
    gate: 'names',
    what: 'a file named helpers',
    files: { 'src/base/helpers.ts': moduleText('help') },
    says: /src\/base\/helpers\.ts: banned name/,
  },
  {
    gate: 'names',
    what: 'a file named in camel case',
    files: { 'src/base/bigLeaf.ts': moduleText('big') },
    says: /src\/base\/bigLeaf\.ts: not kebab-case/,
  },
  {
    gate: 'processes',
    what: 'a dynamic import of child_process',
    files: inBase("/** Loads. */\nexport const load = () => import('child_process');"),
    says: /src\/base\/leaf\.ts:4: child_process/,
  },
  {
    gate: 'words',
    what: 'any',
    files: inBase('/** A. */\nexport const a: any = 1;'),
    says: /leaf\.ts:4: any/,
  },
  {
    gate: 'words',
    what: 'a double cast',
    files: inBase("/** A. */\nexport const a = 'x' as unknown as number;"),
    says: /leaf\.ts:4: as unknown as/,
  },
  { gate: 'words', what: 'a TODO', files: inBase('// TODO: later'), says: /leaf\.ts:3: TODO/ },
  {
    gate: 'words',
    what: 'a FIXME at the end of a line',
    files: inBase('const a = 1; // FIXME\nvoid a;'),
    says: /leaf\.ts:3: FIXME/,
  },
  {
    gate: 'words',
    what: 'a ts-ignore',
    files: inBase('// @ts-ignore\nconst a: string = 1;\nvoid a;'),
    says: /leaf\.ts:3: @ts-ignore/,
  },
  {
    gate: 'documented',
    what: 'a file without an opening comment',
    files: { 'src/base/leaf.ts': 'export {};\n/** A constant. */\nexport const leaf = 1;\n' },
    says: /leaf\.ts:1: does not open with a comment/,
  },
  {
    gate: 'documented',
    what: 'an exported function without TSDoc',
    files: inBase('// Not TSDoc.\nexport function bare(): void {}'),
    says: /leaf\.ts:4: bare has no TSDoc/,
  },
  {
    gate: 'documented',
    what: 'a first export that has only the file comment',
    files: { 'src/base/leaf.ts': '/** The file. */\nexport const leaf = 1;\n' },
    says: /leaf\.ts:2: leaf has no TSDoc/,
  },
  {
    gate: 'documented',
    what: 'a symbol that is exported by name further down',
    files: inBase('interface Bare {\n  readonly a: number;\n}\nexport type { Bare };'),
    says: /leaf\.ts:3: Bare has no TSDoc/,
  },
  {
    gate: 'docs',
    what: 'a table that the page does not list',
    files: { 'docs/pipeline.md': '| 10 | Classify |\n' },
    says: /no row "\| 0 \| Classify \|"/,
  },
  {
    gate: 'docs',
    what: 'a table that the page names otherwise',
    files: { 'docs/pipeline.md': '| 0 | Classifier |\n' },
    says: /no row "\| 0 \| Classify \|"/,
  },
  {
    gate: 'docs',
    what: 'an error code that no page lists',
    files: { 'docs/reference/errors.md': '`CONN_REFUSED_TWICE`\n' },
    says: /src\/base\/fault\.ts:4: CONN_REFUSED is in none/,
  },
];

/** One illegal import per rule of .dependency-cruiser.mjs: the file that is planted, and what it imports. */
const ILLEGAL: readonly { rule: string; from: string; to: string; adds?: Files }[] = [
  {
    rule: 'no-circular',
    from: 'src/agent/ring-a.ts',
    to: './ring-b.ts',
    adds: {
      'src/agent/ring-b.ts': moduleText(
        'ringB',
        "import type { ringA } from './ring-a.ts';\n\n/** A type. */\nexport type Ring = typeof ringA;",
      ),
    },
  },
  { rule: 'base-is-leaf', from: 'src/base/upward.ts', to: '../api/kind.ts' },
  { rule: 'api-above-base-only', from: 'src/api/upward.ts', to: '../agent/flow/pipeline.ts' },
  {
    rule: 'kube-above-base-and-api-only',
    from: 'src/kube/upward.ts',
    to: '../hub/spoke/writer.ts',
  },
  { rule: 'protocol-looks-down', from: 'src/ovsdb/upward.ts', to: '../api/kind.ts' },
  { rule: 'protocols-are-strangers', from: 'src/openflow/sideways.ts', to: '../ovsdb/index.ts' },
  { rule: 'protocol-no-platform', from: 'src/ovsdb/logging.ts', to: 'pino' },
  { rule: 'codec-does-no-io', from: 'src/openflow/codec.ts', to: 'node:fs' },
  { rule: 'leaf-does-no-io', from: 'src/base/reader.ts', to: 'node:fs' },
  { rule: 'node-netlink-only-in-socket', from: 'src/netlink/link.ts', to: 'node-netlink' },
  { rule: 'flow-is-pure', from: 'src/agent/flow/impure.ts', to: '../../ovsdb/index.ts' },
  { rule: 'flow-does-no-io', from: 'src/agent/flow/reader.ts', to: 'node:fs' },
  { rule: 'cli-is-a-client', from: 'src/cli/insider.ts', to: '../agent/flow/pipeline.ts' },
  { rule: 'hub-has-no-data-plane', from: 'src/hub/insider.ts', to: '../ovsdb/index.ts' },
  { rule: 'translation-is-pure', from: 'src/hub/translate/outward.ts', to: '../spoke/writer.ts' },
  { rule: 'translation-does-no-io', from: 'src/hub/spoke/resolve.ts', to: 'node:fs' },
  { rule: 'no-process', from: 'src/agent/spawner.ts', to: 'node:child_process' },
];
const TARGETS: Files = {
  'src/api/kind.ts': moduleText('kind'),
  'src/ovsdb/index.ts': moduleText('ovsdb'),
  'src/hub/spoke/writer.ts': moduleText('writer'),
};

async function plantedTree(test: Test): Promise<PlantedTree> {
  const tree = await PlantedTree.create();
  test.after(() => tree.remove());
  return tree;
}

void t.test('the clean tree passes every gate', async (t) => {
  const tree = await plantedTree(t);
  for (const { name, ok, problems } of await tree.check()) t.ok(ok, name, { problems });
});

void t.test('every gate has a planted violation', async (t) => {
  const planted = new Set([...VIOLATIONS.map((violation) => violation.gate), 'layers']);
  t.same(
    GATES.map((gate) => gate.name).filter((name) => !planted.has(name)),
    [],
  );
});

void t.test('a gate names the violation that it is there for', async (t) => {
  const tree = await plantedTree(t);
  for (const { gate, what, files, says } of VIOLATIONS) {
    await tree.write(files);
    const [result] = await tree.check([gate]);
    t.match(result, { name: gate, ok: false }, `${gate} fails on ${what}`);
    t.match(result?.problems.join('\n'), says, `${gate} names ${what}`);
    await tree.restore(files);
  }
});

void t.test('each wall between the layers names the import that breaches it', async (t) => {
  const tree = await plantedTree(t);
  // Not a literal: the rules are JavaScript, without types.
  const rulesFile = new URL('../../.dependency-cruiser.mjs', import.meta.url).href;
  const rules = (await import(rulesFile)) as { default: { forbidden: { name: string }[] } };
  t.same(
    ILLEGAL.map(({ rule }) => rule).sort(),
    rules.default.forbidden.map(({ name }) => name).sort(),
    'every rule has a planted import',
  );
  await tree.write(TARGETS);
  for (const { from, to, adds } of ILLEGAL) {
    await tree.write({ [from]: moduleText('planted', `import '${to}';`), ...adds });
  }
  const [result] = await tree.check(['layers']);
  for (const { rule, from } of ILLEGAL) {
    t.ok(
      result?.problems.some((problem) => problem.startsWith(`${rule}: ${from} -> `)),
      `${rule} names ${from}`,
      { problems: result?.problems },
    );
  }
  const surplus = result?.problems.filter(
    (problem) => !ILLEGAL.some(({ rule }) => problem.startsWith(`${rule}: `)),
  );
  t.same(surplus, [], 'nothing else is found');
});

void t.test('a gate that saw too few modules fails instead of passing', async (t) => {
  const tree = await plantedTree(t);
  const results = await tree.check(['layers', 'length', 'words'], 1000);
  for (const { name, ok, problems } of results) {
    t.notOk(ok, name);
    t.match(problems.join('\n'), /only \d+ .*fewer than 1000/, `${name} says so`);
  }
});
