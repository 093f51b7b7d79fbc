/**
 * What `dpctl/dump-flows -m` answers (OVS `lib/dpctl.c` format_dpif_flow, `lib/odp-util.c` odp_flow_format), from 3.1 on: one
 * datapath flow a line, the datapath's own headlines between them. Bounded, in steps, without recursion. What a mark means for
 * hardware is not decided here.
 *
 * ```
 * ufid:U, KEY(...),KEY(...), packets:N, bytes:N, used:S|never[, flags:F][, offloaded:yes|partial][, dp:LAYER], actions:A[, dp-extra-info:X]
 * ```
 */
import { DecodeError } from '../base/error.ts';

/** One flow of the datapath. */
export interface DatapathFlow {
  /** Undefined in a dump without `-m`. */
  readonly ufid: string | undefined;
  /** The match as it stands there, which `ofproto/trace` reads. */
  readonly key: string;
  readonly packets: number;
  readonly bytes: number;
  /** Seconds since the last packet; undefined for `never`. */
  readonly usedSeconds: number | undefined;
  /** `offloaded:` as it stands there: `yes` or `partial`. Undefined when the datapath sets no mark. */
  readonly offloaded: string | undefined;
  /** `dp:` as it stands there: `ovs`, `tc`, `doca`, ... */
  readonly layer: string | undefined;
  /** The actions, those within others left as they are. `drop` alone drops. */
  readonly actions: readonly string[];
  /** Attributes that this version does not know, such as those of a later Open vSwitch. */
  readonly others: ReadonlyMap<string, string>;
}

/** A dump. */
export interface DatapathFlowDump {
  readonly flows: readonly DatapathFlow[];
  /** Lines that are neither a flow nor a headline. */
  readonly unread: number;
}

const TEXT_MAX = 64 * 1024 * 1024;
const FLOWS_MAX = 1_000_000;
const LINE_MAX = 64 * 1024;
const PARTS_MAX = 1024;
const DEPTH_MAX = 32;
/** Lines from one pause to the next: about a tenth of a millisecond. */
const STEP_LINES = 32;
const HEADLINE = /^flow-dump from .*:$/;
const PACKETS = ', packets:';
const ACTIONS = ', actions:';
const EXTRA = ', dp-extra-info:';

/**
 * Reads a dump, with a pause every few lines.
 * @throws DecodeError `DECODE_TOO_LARGE` when it is longer than 64 MiB or has more than a million flows.
 */
export function* datapathFlowSteps(text: string): Generator<void, DatapathFlowDump, void> {
  if (text.length > TEXT_MAX) throw tooLarge(`answer is longer than ${TEXT_MAX} characters`);
  const flows: DatapathFlow[] = [];
  let unread = 0;
  let lines = 0;
  for (let start = 0; start < text.length;) {
    const found = text.indexOf('\n', start);
    const end = found < 0 ? text.length : found;
    const line = text.slice(start, end);
    start = end + 1;
    if (++lines % STEP_LINES === 0) yield;
    if (line.trim() === '' || HEADLINE.test(line)) continue;
    const flow = parseDatapathFlow(line);
    if (flow === undefined) unread++;
    else if (flows.push(flow) > FLOWS_MAX) throw tooLarge(`more than ${FLOWS_MAX} flows`);
  }
  return { flows, unread };
}

function tooLarge(message: string): DecodeError {
  return new DecodeError('DECODE_TOO_LARGE', message, {
    protocol: 'ovsdb',
    op: 'unixctl.dpctl/dump-flows',
    offset: TEXT_MAX,
  });
}

/** Reads one line; undefined when it is no flow. */
export function parseDatapathFlow(line: string): DatapathFlow | undefined {
  if (line.length > LINE_MAX) return undefined;
  const packetsAt = line.indexOf(PACKETS);
  const actionsAt = packetsAt < 0 ? -1 : line.indexOf(ACTIONS, packetsAt);
  if (actionsAt < 0) return undefined;
  const extraAt = line.lastIndexOf(EXTRA);
  const actionsEnd = extraAt < actionsAt ? line.length : extraAt;
  const attributes = readAttributes(line.slice(packetsAt + 2, actionsAt));
  const packets = readCount(attributes?.get('packets'));
  const bytes = readCount(attributes?.get('bytes'));
  const actions = splitParts(line.slice(actionsAt + ACTIONS.length, actionsEnd));
  const used = readUsed(attributes?.get('used'));
  if (attributes === undefined || packets === undefined || bytes === undefined) return undefined;
  if (actions === undefined || actions.length === 0 || used === undefined) return undefined;
  const head = /^ufid:([0-9a-f-]{36}), /.exec(line);
  const key = line.slice(head?.[0].length ?? 0, packetsAt);
  if (key === '') return undefined;
  const others = new Map([...attributes].filter(([name]) => !KNOWN.has(name)));
  return {
    ufid: head?.[1],
    key,
    packets,
    bytes,
    usedSeconds: used === 'never' ? undefined : used,
    offloaded: attributes.get('offloaded'),
    layer: attributes.get('dp'),
    actions,
    others,
  };
}

const KNOWN: ReadonlySet<string> = new Set([
  ...['packets', 'bytes', 'used', 'flags', 'offloaded', 'dp'],
]);

/** `name:value, name:value`; undefined when a part has no name or there are too many. */
function readAttributes(text: string): Map<string, string> | undefined {
  const attributes = new Map<string, string>();
  for (const part of text.split(', ', PARTS_MAX)) {
    const colon = part.indexOf(':');
    if (colon <= 0) return undefined;
    attributes.set(part.slice(0, colon), part.slice(colon + 1));
  }
  return attributes;
}

function readCount(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,20}$/.test(text) ? Number(text) : undefined;
}

function readUsed(text: string | undefined): number | 'never' | undefined {
  if (text === 'never') return text;
  return text !== undefined && /^\d{1,12}(\.\d{1,9})?s$/.test(text) ? parseFloat(text) : undefined;
}

/**
 * The parts of a match or of actions between commas that stand in no brackets; undefined when brackets do not close, or there
 * are more parts or deeper brackets than any real flow has.
 */
export function splitParts(text: string): string[] | undefined {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at <= text.length; at++) {
    const char = text[at];
    if (char === '(' || char === '{') depth++;
    else if (char === ')' || char === '}') depth--;
    if (depth < 0 || depth > DEPTH_MAX) return undefined;
    if (at < text.length && (char !== ',' || depth > 0)) continue;
    const part = text.slice(start, at).trim();
    if (part !== '' && parts.push(part) > PARTS_MAX) return undefined;
    start = at + 1;
  }
  return depth === 0 ? parts : undefined;
}

/** A match of the datapath by name: `in_port`, `ipv4`, ...; what stands in the brackets is left as it is. */
export type DatapathKey = ReadonlyMap<string, string>;

/** Reads the match of a flow; undefined when it is not `name(value),name(value)`. The first of two equal names counts. */
export function parseDatapathKey(text: string): DatapathKey | undefined {
  const parts = splitParts(text);
  if (parts === undefined) return undefined;
  const key = new Map<string, string>();
  for (const part of parts) {
    const found = /^([a-z_0-9]{1,32})\((.*)\)$/s.exec(part);
    if (found === null) return undefined;
    const [, name = '', value = ''] = found;
    // `encap` holds the rest of a match behind a VLAN tag.
    const inner = name === 'encap' ? splitParts(value) : undefined;
    for (const one of inner ?? []) {
      const nested = /^([a-z_0-9]{1,32})\((.*)\)$/s.exec(one);
      if (nested !== null && !key.has(nested[1] ?? '')) key.set(nested[1] ?? '', nested[2] ?? '');
    }
    if (!key.has(name)) key.set(name, value);
  }
  return key;
}

/** The fields of one part of a match, such as those of `ipv4(src=...,dst=...)`. */
export function parseKeyFields(value: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const part of splitParts(value) ?? []) {
    const equals = part.indexOf('=');
    if (equals > 0) fields.set(part.slice(0, equals), part.slice(equals + 1));
  }
  return fields;
}
