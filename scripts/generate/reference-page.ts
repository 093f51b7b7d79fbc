/**
 * A schema as a Markdown table: one line for each field, with its path, what it accepts, its default and what it is for.
 */
import type { SchemaNode } from '../../src/api/structural-schema.ts';

function asNode(value: unknown): SchemaNode | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value))
    : undefined;
}

function code(text: string): string {
  return `\`${text.replaceAll('|', '\\|')}\``;
}

function bounds(node: SchemaNode, low: string, high: string, unit: string): string {
  const [least, most] = [node[low], node[high]].map((bound) =>
    typeof bound === 'number' ? bound : undefined,
  );
  const units = unit === '' ? '' : ` ${unit}`;
  if (least !== undefined && most !== undefined) return ` ${least}..${most}${units}`;
  if (most !== undefined) return `, at most ${most}${units}`;
  return least === undefined ? '' : `, at least ${least}${units}`;
}

/** What a field accepts, in a few words. */
function accepted(node: SchemaNode): string {
  const { enum: words } = node;
  if (Array.isArray(words)) return words.map((word) => code(String(word))).join(', ');
  if (node['x-kubernetes-int-or-string'] === true) {
    return `number${bounds(node, 'minimum', 'maximum', '')} or text`;
  }
  switch (node['type']) {
    case 'integer':
      return `number${bounds(node, 'minimum', 'maximum', '')}`;
    case 'string':
      return node['format'] === 'date-time' ? 'time (RFC 3339)' : 'text';
    case 'boolean':
      return '`true`, `false`';
    case 'array':
      return `list${bounds(node, 'minItems', 'maxItems', 'entries')}`;
    default:
      return node['additionalProperties'] === undefined || node['additionalProperties'] === false
        ? 'object'
        : 'map of text';
  }
}

/** A default worth showing: that of an object follows from its fields. */
function defaultOf(node: SchemaNode, required: boolean): string {
  if (required) return '**required**';
  const value = node['default'];
  if (value === undefined || JSON.stringify(value) === '{}') return '';
  return code(typeof value === 'string' ? value : JSON.stringify(value));
}

function* rows(node: SchemaNode, path: string): Generator<string> {
  const required = Array.isArray(node['required']) ? node['required'] : [];
  for (const [name, value] of Object.entries(asNode(node['properties']) ?? {})) {
    const child = asNode(value);
    if (child === undefined) continue;
    const at = path === '' ? name : `${path}.${name}`;
    const description = typeof child['description'] === 'string' ? child['description'] : '';
    yield `| ${code(at)} | ${accepted(child)} | ${defaultOf(child, required.includes(name))} | ${description.replaceAll('|', '\\|')} |`;
    yield* rows(child, at);
    const items = asNode(child['items']);
    if (items !== undefined) yield* rows(items, `${at}[]`);
  }
}

/** The table of all fields of `schema`. */
export function fieldTable(schema: SchemaNode): string {
  return ['| field | accepts | default | meaning |', '|---|---|---|---|', ...rows(schema, '')].join(
    '\n',
  );
}
