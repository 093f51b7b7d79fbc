/**
 * From a zod schema to a structural schema, the subset of OpenAPI 3 that a CRD may hold (Kubernetes: "Specifying a
 * structural schema"), and the check that a schema is one. Unknown fields are pruned by the API server, so
 * `additionalProperties: false`, which it forbids beside `properties`, goes.
 */
import { z } from 'zod';

/** A node of a JSON schema. */
export interface SchemaNode {
  readonly [keyword: string]: unknown;
}

/** Keywords that a structural schema may have here: those that our schemas need, not all that Kubernetes knows. */
const KEYWORDS: ReadonlySet<string> = new Set([
  'type',
  'description',
  'default',
  'properties',
  'required',
  'additionalProperties',
  'items',
  'enum',
  'format',
  'pattern',
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'maxProperties',
  'anyOf',
  'x-kubernetes-int-or-string',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-map-type',
  'x-kubernetes-validations',
]);
const KNOWN_TYPES: ReadonlySet<unknown> = new Set([
  'object',
  'array',
  'string',
  'integer',
  'number',
  'boolean',
]);
/** The one use of anyOf that Kubernetes allows with types in it. */
const INT_OR_STRING = JSON.stringify([{ type: 'integer' }, { type: 'string' }]);

function isNode(value: unknown): value is SchemaNode {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function convert(node: SchemaNode): SchemaNode {
  const entries: [string, unknown][] = [];
  for (const [keyword, value] of Object.entries(node)) {
    if (keyword === '$schema' || (keyword === 'additionalProperties' && value === false)) continue;
    if (keyword === 'properties' && isNode(value)) {
      const properties = Object.entries(value).map(([name, child]): [string, unknown] => [
        name,
        isNode(child) ? convert(child) : child,
      ]);
      entries.push([keyword, Object.fromEntries(properties)]);
    } else if ((keyword === 'items' || keyword === 'additionalProperties') && isNode(value)) {
      entries.push([keyword, convert(value)]);
    } else if (keyword === 'const') {
      entries.push(['enum', [value]]);
    } else {
      entries.push([keyword, value]);
    }
  }
  return Object.fromEntries(entries);
}

/** JSON schema of what `schema` accepts. */
export function inputJsonSchema(schema: z.ZodType): SchemaNode {
  const json = z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    target: 'openapi-3.0',
    reused: 'inline',
  });
  return { ...json };
}

/** `schema` as a structural schema. */
export function toStructuralSchema(schema: z.ZodType): SchemaNode {
  return convert(inputJsonSchema(schema));
}

/** Why `node` is no structural schema, one text for each place; empty when it is one. */
export function structuralProblems(node: unknown, path = ''): string[] {
  if (!isNode(node)) return [`${path}: is not a schema`];
  const problems = Object.keys(node)
    .filter((keyword) => !KEYWORDS.has(keyword))
    .map((keyword) => `${path}: keyword ${keyword} is not allowed`);
  const intOrString = node['x-kubernetes-int-or-string'] === true;
  if (intOrString ? 'type' in node : !KNOWN_TYPES.has(node['type'])) {
    problems.push(`${path}: type ${JSON.stringify(node['type'])} is not allowed`);
  }
  if ('anyOf' in node && !(intOrString && JSON.stringify(node['anyOf']) === INT_OR_STRING)) {
    problems.push(`${path}: anyOf is not allowed`);
  }
  if ('properties' in node && 'additionalProperties' in node) {
    problems.push(`${path}: properties and additionalProperties exclude each other`);
  }
  if (node['type'] === 'array' && !('items' in node)) problems.push(`${path}: items is missing`);
  for (const [name, child] of Object.entries(node['properties'] ?? {})) {
    problems.push(...structuralProblems(child, `${path}.${name}`));
  }
  for (const keyword of ['items', 'additionalProperties']) {
    if (keyword in node) problems.push(...structuralProblems(node[keyword], `${path}[]`));
  }
  return problems;
}
