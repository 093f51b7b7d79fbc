/**
 * From a decoded document (YAML, JSON, or what an API server sent) to a typed object or a list of problems. Input is
 * hostile until it has passed here: nothing in it makes this throw, and no name in it reaches a prototype.
 */
import type { Problem } from '../base/error.ts';
import { type DpuEndpointSlice, dpuEndpointSliceSchema } from './dpu-endpoint-slice.ts';
import { type DpuGroup, dpuGroupSchema } from './dpu-group.ts';
import { type DpuGroupSlice, dpuGroupSliceSchema } from './dpu-group-slice.ts';
import { checkDpuNetworkSpec } from './dpu-network-check.ts';
import { type DpuNetwork, dpuNetworkSchema } from './dpu-network.ts';
import { checkDpuRuleSpec } from './dpu-rule-check.ts';
import { type DpuRule, dpuRuleSchema } from './dpu-rule.ts';
import { API_VERSION } from './labels.ts';
import { nearestWord } from './nearest.ts';
import { boundProblems, parseWithSchema, refusal } from './schema-problem.ts';

/** Every kind that the agent reads. */
export type DpuObject = DpuRule | DpuNetwork | DpuGroup | DpuGroupSlice | DpuEndpointSlice;

/** An object, or the reasons why there is none; never both. */
export interface ParsedObject {
  readonly object?: DpuObject;
  readonly problems: readonly Problem[];
}

type Parser = (value: unknown) => ParsedObject;

function outcome(object: DpuObject, problems: readonly Problem[]): ParsedObject {
  return problems.length > 0 ? { problems: boundProblems(problems) } : { object, problems: [] };
}

function parseRule(value: unknown): ParsedObject {
  const { value: parsed, problems } = parseWithSchema(dpuRuleSchema, value);
  if (parsed === undefined) return { problems };
  const { apiVersion, kind, metadata, spec } = parsed;
  const rules = spec.rules.map((rule, index) => ({ ...rule, name: rule.name ?? `r${index}` }));
  const object: DpuRule = { apiVersion, kind, metadata, spec: { ...spec, rules } };
  return outcome(object, checkDpuRuleSpec(object.spec));
}

function parseNetwork(value: unknown): ParsedObject {
  const { value: parsed, problems } = parseWithSchema(dpuNetworkSchema, value);
  if (parsed === undefined) return { problems };
  const { apiVersion, kind, metadata, spec } = parsed;
  return outcome({ apiVersion, kind, metadata, spec }, checkDpuNetworkSpec(spec));
}

function parseGroup(value: unknown): ParsedObject {
  const { value: parsed, problems } = parseWithSchema(dpuGroupSchema, value);
  if (parsed === undefined) return { problems };
  const { apiVersion, kind, metadata, spec } = parsed;
  return { object: { apiVersion, kind, metadata, spec }, problems: [] };
}

function parseGroupSlice(value: unknown): ParsedObject {
  const { value: object, problems } = parseWithSchema(dpuGroupSliceSchema, value);
  return object === undefined ? { problems } : { object, problems };
}

function parseEndpointSlice(value: unknown): ParsedObject {
  const { value: object, problems } = parseWithSchema(dpuEndpointSliceSchema, value);
  return object === undefined ? { problems } : { object, problems };
}

const PARSERS: ReadonlyMap<string, Parser> = new Map([
  ['DPURule', parseRule],
  ['DPUNetwork', parseNetwork],
  ['DPUGroup', parseGroup],
  ['DPUGroupSlice', parseGroupSlice],
  ['DPUEndpointSlice', parseEndpointSlice],
]);

function refused(path: string, message: string): ParsedObject {
  return { problems: [{ path, message }] };
}

function field(value: object, name: string): unknown {
  return Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined;
}

/** Parses one object of a known kind: `object` when all of it is valid, else every problem with path and accepted values. */
export function parseObject(value: unknown): ParsedObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return refused('', refusal(value, 'an object with apiVersion, kind, metadata and spec'));
  }
  const apiVersion = field(value, 'apiVersion');
  if (apiVersion !== API_VERSION) return refused('apiVersion', refusal(apiVersion, API_VERSION));
  const kind = field(value, 'kind');
  const parser = typeof kind === 'string' ? PARSERS.get(kind) : undefined;
  if (parser !== undefined) return parser(value);
  const near = typeof kind === 'string' ? nearestWord(kind, PARSERS.keys()) : undefined;
  const hint = near === undefined ? '' : `; did you mean ${near}?`;
  return refused('kind', `${refusal(kind, [...PARSERS.keys()].join(', '))}${hint}`);
}

/** What an object is called across kinds: `DPURule/tenant-a/web-deny`, `DPUNetwork/tenant-a`. */
export function objectKey(object: DpuObject): string {
  return object.kind === 'DPUNetwork' || object.kind === 'DPUEndpointSlice'
    ? nameKey(object.kind, object.metadata.name)
    : nameKey(object.kind, object.metadata.name, object.metadata.namespace);
}

/** The same from the names; `namespace` is left out for kinds that stand in none. */
export function nameKey(kind: DpuObject['kind'], name: string, namespace?: string): string {
  return namespace === undefined ? `${kind}/${name}` : `${kind}/${namespace}/${name}`;
}

/** The kind of an object that is not valid, and whether it stands in a namespace; undefined for no kind of ours. */
export function knownKind(
  kind: unknown,
): { readonly kind: DpuObject['kind']; readonly namespaced: boolean } | undefined {
  switch (kind) {
    case 'DPUNetwork':
    case 'DPUEndpointSlice':
      return { kind, namespaced: false };
    case 'DPURule':
    case 'DPUGroup':
    case 'DPUGroupSlice':
      return { kind, namespaced: true };
    default:
      return undefined;
  }
}
