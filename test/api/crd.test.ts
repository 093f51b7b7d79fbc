// The CRDs are structural schemas, say something about every field, and the files in the tree are up to date.
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { parse } from 'yaml';
import { z } from 'zod';
import { crdManifest, KINDS, objectSchema } from '../../src/api/crd.ts';
import {
  structuralProblems,
  toStructuralSchema,
  type SchemaNode,
} from '../../src/api/structural-schema.ts';

const run = promisify(execFile);

function isNode(value: unknown): value is SchemaNode {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Every node of a schema that stands for a field, with its path. */
function* fields(node: SchemaNode, path: string): Generator<[string, SchemaNode]> {
  const properties = isNode(node['properties']) ? node['properties'] : {};
  for (const [name, child] of Object.entries(properties)) {
    if (!isNode(child)) continue;
    yield [`${path}.${name}`, child];
    yield* fields(child, `${path}.${name}`);
    if (isNode(child['items'])) yield* fields(child['items'], `${path}.${name}[]`);
  }
}

for (const kind of KINDS) {
  void t.test(`${kind.kind} is structural, bounded and explained`, async (t) => {
    const schema = objectSchema(kind);
    t.strictSame(structuralProblems(schema), []);
    const all = [...fields(schema, '')];
    t.ok(all.length >= 8, `${all.length} fields`);
    for (const [path, node] of all) {
      if (path !== '.metadata')
        t.match(node['description'], /^[A-Z].*\.$/s, `${path} has a sentence`);
      if (node['type'] === 'array') t.type(node['maxItems'], 'number', `${path} is bounded`);
    }
  });

  void t.test(
    `${kind.kind} in deploy/crd means what the schema means, also to a YAML 1.1 reader`,
    async (t) => {
      const text = await readFile(`deploy/crd/${kind.singular}.yaml`, 'utf8');
      const wanted: unknown = JSON.parse(JSON.stringify(crdManifest(kind)));
      t.strictSame(parse(text), wanted);
      t.strictSame(parse(text, { version: '1.1' }), wanted, 'on and off are words');
    },
  );
}

void t.test('what is not structural is found', async (t) => {
  const cases: [string, SchemaNode, RegExp][] = [
    ['no type', { properties: {} }, /type undefined/],
    ['a $ref', { type: 'object', $ref: '#/x' }, /keyword \$ref/],
    ['null as type', { type: 'object', properties: { a: { type: 'null' } } }, /\.a: type "null"/],
    ['a union', toStructuralSchema(z.union([z.string(), z.strictObject({})])), /anyOf/],
    [
      'properties and additionalProperties',
      { type: 'object', properties: {}, additionalProperties: { type: 'string' } },
      /exclude each other/,
    ],
    ['a list of anything', { type: 'array' }, /items is missing/],
    [
      'a type beside int-or-string',
      { type: 'string', 'x-kubernetes-int-or-string': true },
      /type "string"/,
    ],
    ['no schema', { type: 'array', items: 3 }, /is not a schema/],
  ];
  for (const [name, schema, message] of cases)
    t.match(structuralProblems(schema).join('\n'), message, name);
  t.strictSame(
    toStructuralSchema(z.strictObject({ a: z.literal('x'), b: z.boolean().default(false) })),
    {
      type: 'object',
      properties: { a: { type: 'string', enum: ['x'] }, b: { type: 'boolean', default: false } },
      required: ['a'],
    },
  );
});

void t.test('generate --check passes on this tree and fails when a file was edited', async (t) => {
  await run(process.execPath, ['scripts/generate.ts', '--check']);
  const root = await mkdtemp(join(tmpdir(), 'dpu-generate-'));
  t.teardown(async () => rm(root, { recursive: true }));
  await cp('deploy/crd', join(root, 'deploy/crd'), { recursive: true });
  await cp('docs/reference', join(root, 'docs/reference'), { recursive: true });
  await run(process.execPath, ['scripts/generate.ts', '--check', '--root', root]);
  await writeFile(join(root, 'deploy/crd/dpurule.yaml'), 'edited');
  await t.rejects(run(process.execPath, ['scripts/generate.ts', '--check', '--root', root]), {
    code: 1,
    stderr: 'deploy/crd/dpurule.yaml is not up to date: run npm run generate\n',
  });
});
