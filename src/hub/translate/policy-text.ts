/**
 * The text of a file to policies and networks: several YAML documents or JSON, each an object or a List. Every fault has
 * its file, document, line and field. Pure: reads no file.
 */
import { type PathSegment, formatPath, parsePath } from '../../api/field-path.ts';
import type { DpuNetwork } from '../../api/dpu-network.ts';
import { API_VERSION } from '../../api/labels.ts';
import { parseObject } from '../../api/object.ts';
import { refusal } from '../../api/schema-problem.ts';
import { DOCUMENT_BYTES_MAX, PAUSE, readYaml, type YamlDocument } from '../../api/yaml-document.ts';
import { errorMessage, type Problem } from '../../base/error.ts';
import {
  NETWORK_POLICY_API_VERSION,
  parseNetworkPolicy,
  type NetworkPolicy,
} from './network-policy.ts';

/** Most faults kept for one file. */
const PROBLEMS_MAX = 100;
const KINDS = 'NetworkPolicy, NetworkPolicyList, DPUNetwork, List';

/** Where an object stands. */
export interface Place {
  readonly file: string;
  /** Number of the document in its file, from 1. */
  readonly document: number;
  /** Path of the object in its document; empty unless it stands in a List. */
  readonly prefix: readonly PathSegment[];
  /** Line of the field at `path` of the object; undefined where it is not known. */
  readonly lineOf: (path: readonly PathSegment[]) => number | undefined;
}

/** A policy with the place that it comes from. */
export interface PlacedPolicy {
  readonly policy: NetworkPolicy;
  readonly place: Place;
}

/** What a text says. `problems` and `notes` are whole lines. */
export interface PolicyText {
  readonly policies: readonly PlacedPolicy[];
  readonly networks: readonly DpuNetwork[];
  readonly problems: readonly string[];
  readonly notes: readonly string[];
}

/** `file:line: document N: path: message`. */
export function formatPlaced({ file, document, prefix, lineOf }: Place, problem: Problem): string {
  const inner = parsePath(problem.path);
  const line = problem.line ?? lineOf(inner);
  const path = formatPath([...prefix, ...inner]);
  const where = `${line === undefined ? file : `${file}:${line}`}: document ${document}`;
  return path === '' ? `${where}: ${problem.message}` : `${where}: ${path}: ${problem.message}`;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** One large JSON document, such as a List of a whole cluster, which the YAML reader would refuse for its size. */
function readLargeJson(text: string): YamlDocument {
  const lineOf = (): number => 1;
  try {
    const value: unknown = JSON.parse(text);
    return { value, problems: [], line: 1, lineOf };
  } catch (error) {
    const problems = [{ path: '', message: `is not JSON: ${errorMessage(error)}`, line: 1 }];
    return { value: undefined, problems, line: 1, lineOf };
  }
}

function* documentsOf(text: string): Generator<YamlDocument> {
  if (text.length > DOCUMENT_BYTES_MAX && /^\s*[{[]/.test(text)) {
    yield readLargeJson(text);
    return;
  }
  for (const step of readYaml(text)) if (step !== PAUSE) yield step;
}

/** Collects what a file says. */
class Reading {
  readonly policies: PlacedPolicy[] = [];
  readonly networks: DpuNetwork[] = [];
  readonly problems: string[] = [];
  readonly notes: string[] = [];
  readonly #namespace: string;

  constructor(namespace: string) {
    this.#namespace = namespace;
  }

  get full(): boolean {
    return this.problems.length >= PROBLEMS_MAX;
  }

  report(place: Place, problems: readonly Problem[]): void {
    for (const problem of problems.slice(0, PROBLEMS_MAX - this.problems.length)) {
      this.problems.push(formatPlaced(place, problem));
    }
  }

  /** Takes an object, or the items of a List; Lists do not stand in Lists. */
  take(value: unknown, place: Place): void {
    if (!isRecord(value)) {
      this.report(place, [{ path: '', message: refusal(value, `an object of kind ${KINDS}`) }]);
      return;
    }
    const { kind, items } = value;
    const isList = kind === 'List' || kind === 'NetworkPolicyList';
    if (!isList || place.prefix.length > 0) {
      this.#takeObject(value, place);
      return;
    }
    if (!Array.isArray(items)) {
      this.report(place, [{ path: 'items', message: refusal(items, 'a list of objects') }]);
      return;
    }
    const list: readonly unknown[] = items;
    for (const [index, item] of list.entries()) {
      if (this.full) return;
      // The items of a NetworkPolicyList need not say what they are.
      const isBare = kind === 'NetworkPolicyList' && isRecord(item) && item['kind'] === undefined;
      const type = { apiVersion: NETWORK_POLICY_API_VERSION, kind: 'NetworkPolicy' };
      const prefix = ['items', index];
      this.take(isBare ? { ...type, ...item } : item, {
        ...place,
        prefix,
        lineOf: (path) => place.lineOf([...prefix, ...path]),
      });
    }
  }

  #takeObject(value: Readonly<Record<string, unknown>>, place: Place): void {
    const { apiVersion, kind } = value;
    if (kind === 'NetworkPolicy') {
      const parsed = parseNetworkPolicy(withNamespace(value, this.#namespace));
      this.report(place, parsed.problems);
      if (parsed.policy !== undefined) this.policies.push({ policy: parsed.policy, place });
      for (const note of parsed.notes) this.notes.push(formatPlaced(place, note));
    } else if (kind === 'DPUNetwork' && apiVersion === API_VERSION) {
      const { object, problems } = parseObject(value);
      this.report(place, problems);
      if (object?.kind === 'DPUNetwork') this.networks.push(object);
    } else {
      this.report(place, [{ path: 'kind', message: refusal(kind, KINDS) }]);
    }
  }
}

/** An object that names no namespace stands in the one that the caller works in, as for kubectl. */
function withNamespace(value: Readonly<Record<string, unknown>>, namespace: string): unknown {
  const { metadata } = value;
  if (!isRecord(metadata)) return value;
  const given = metadata['namespace'];
  if (given !== undefined && given !== null && given !== '') return value;
  return { ...value, metadata: { ...metadata, namespace } };
}

/** Reads `text`, which is called `file` in messages; `namespace` is that of objects which name none. Never throws. */
export function readPolicyText(text: string, file: string, namespace: string): PolicyText {
  const reading = new Reading(namespace);
  let number = 0;
  for (const document of documentsOf(text)) {
    if (reading.full) break;
    number++;
    const place: Place = {
      ...{ file, document: number, prefix: [] },
      lineOf: (path) => document.lineOf(path),
    };
    if (document.problems.length > 0) reading.report(place, document.problems);
    else reading.take(document.value, place);
  }
  return reading;
}
