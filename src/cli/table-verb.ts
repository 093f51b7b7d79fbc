/**
 * Verbs that are one question and one table: their columns and what stands below. Layout only.
 */
import type { Command } from 'commander';
import * as z from 'zod';
import { parseAnswer } from './answer.ts';
import { EXIT } from './errors.ts';
import {
  formatCount,
  formatTable,
  paint,
  plain,
  type Column,
  type Layout,
  type Tone,
} from './terminal.ts';
import { addVerb, type VerbContext, type WideOption } from './verb.ts';

/** A verb that prints a table. */
interface TableVerb<Row> {
  readonly name: string;
  readonly path: string;
  readonly summary: string;
  readonly examples: readonly string[];
  readonly row: z.ZodType<Row>;
  readonly columns: readonly Column<Row>[];
  /** What there are several of. */
  readonly noun: string;
  /** Rows that are left out without --all. */
  readonly hide?: {
    readonly flag: string;
    readonly says: string;
    readonly is: (row: Row) => boolean;
  };
}

const count = z.number().default(0);
const text = z.string().default('');
const optional = z.string().nullish();
const list = z.array(z.string()).default([]);

/** Adds a table verb to the program. */
function add<Row>(program: Command, context: VerbContext, verb: TableVerb<Row>): void {
  const { name, path, summary, examples, row, columns, noun, hide } = verb;
  const command = addVerb(program, name, summary, examples).option(
    '--wide',
    'do not wrap: one line for each',
  );
  if (hide !== undefined) command.option(hide.flag, hide.says);
  command.action(async (options: WideOption & { readonly all?: true }) => {
    const body = await context.ask(path);
    if (context.json()) {
      context.print(body);
      return;
    }
    const rows = parseAnswer(z.array(row), body, path);
    const shown = rows.filter((one) => options.all === true || hide?.is(one) !== true);
    context.print(tableText(columns, shown, rows.length, noun, context.layoutFor(options)));
  });
}

function tableText<Row>(
  columns: readonly Column<Row>[],
  shown: readonly Row[],
  all: number,
  noun: string,
  layout: Layout,
): string {
  const hidden = all - shown.length;
  const more = hidden === 0 ? '' : `, ${formatCount(hidden)} more with --all`;
  if (shown.length === 0) return `no ${noun}s${more}\n`;
  const total = `${formatCount(shown.length)} ${noun}${shown.length === 1 ? '' : 's'}${more}`;
  return `${formatTable(columns, shown, layout)}${paint(total, 'quiet', layout)}\n`;
}

/** One row of `/ports`. */
export const portRow = z.object({
  port: z.string(),
  kind: z.string(),
  ofport: z.number().nullish(),
  ifaceId: optional,
  vni: z.number().nullish(),
  mac: optional,
  ips: list,
  problem: optional,
});
/** One row of `/peers`. */
export const peerRow = z.object({
  vtep: z.string(),
  packetsFrom: z.number().nullish(),
  vnis: z.array(z.number()).default([]),
  endpoints: z.array(z.object({ vni: z.number(), mac: z.string(), ips: list })).default([]),
});
/** One row of `/networks`. */
export const networkRow = z.object({
  vni: z.number(),
  name: z.string(),
  namespaces: list,
  subnets: list,
  ingress: text,
  egress: text,
  rules: count,
  local: list,
  remote: list,
});
/** One row of `/groups`. */
export const groupRow = z.object({ group: z.number(), state: z.string(), text: z.string() });
/** One row of `/drops`. */
export const dropRow = z.object({
  reason: z.string(),
  meaning: text,
  rule: text,
  packets: count,
  bytes: count,
});
/** One row of `/events`. */
export const eventRow = z.object({
  id: z.number(),
  at: z.string(),
  level: z.string(),
  message: z.string(),
  fields: z.record(z.string(), z.string()).default({}),
});

/** Colours of states and levels. */
const TONES: ReadonlyMap<string, Tone> = new Map([
  ['installed', 'good'],
  ['missing', 'bad'],
  ['differs', 'bad'],
  ['extra', 'waiting'],
  ['foreign', 'waiting'],
  ['warn', 'waiting'],
  ['error', 'bad'],
]);

/** The colour of a state or level. */
export function toneOf(state: string): Tone | undefined {
  return TONES.get(state);
}

function numberText(value: number | null | undefined): string {
  return typeof value === 'number' ? String(value) : '-';
}

/** Adds ports, peers, networks, groups, drops and events. */
export function addTableVerbs(program: Command, context: VerbContext): void {
  add(program, context, {
    name: 'ports',
    path: '/ports',
    summary: 'ports of the bridge, and which endpoint each of them is',
    examples: ['dpuctl ports', "dpuctl ports --json | jq '.[] | select(.problem)'"],
    row: portRow,
    noun: 'port',
    columns: [
      { title: 'PORT', cell: ({ port }) => plain(port) },
      { title: 'OFPORT', cell: ({ ofport }) => numberText(ofport), right: true },
      { title: 'KIND', cell: ({ kind }) => plain(kind) },
      { title: 'VNI', cell: ({ vni }) => numberText(vni), right: true },
      { title: 'MAC', cell: ({ mac }) => mac ?? '' },
      { title: 'IPS', cell: ({ ips }) => plain(ips.join(', ')), wrapTo: 15 },
      { title: 'IFACE-ID', cell: ({ ifaceId }) => plain(ifaceId ?? ''), wrapTo: 12 },
      {
        title: 'PROBLEM',
        cell: ({ problem }) => plain(problem ?? ''),
        wrapTo: 20,
        tone: () => 'bad',
      },
    ],
  });
  add(program, context, {
    name: 'peers',
    path: '/peers',
    summary: 'the other DPUs, and the endpoints behind each',
    examples: ['dpuctl peers', 'dpuctl peers --json | jq .[].endpoints'],
    row: peerRow,
    noun: 'peer',
    columns: [
      { title: 'VTEP', cell: ({ vtep }) => plain(vtep) },
      {
        title: 'PACKETS FROM',
        cell: ({ packetsFrom }) =>
          typeof packetsFrom === 'number' ? formatCount(packetsFrom) : '-',
        right: true,
      },
      { title: 'VNIS', cell: ({ vnis }) => vnis.join(', '), wrapTo: 12 },
      { title: 'ENDPOINTS', cell: ({ endpoints }) => formatCount(endpoints.length), right: true },
      {
        title: 'ADDRESSES',
        cell: ({ endpoints }) => plain(endpoints.map(({ mac, ips }) => ips[0] ?? mac).join(', ')),
        wrapTo: 20,
      },
    ],
  });
  add(program, context, {
    name: 'networks',
    path: '/networks',
    summary: 'tenant networks: defaults, rules, and who is in them',
    examples: ['dpuctl networks'],
    row: networkRow,
    noun: 'network',
    columns: [
      { title: 'VNI', cell: ({ vni }) => String(vni), right: true },
      { title: 'NAME', cell: ({ name }) => plain(name), wrapTo: 10 },
      { title: 'NAMESPACES', cell: ({ namespaces }) => plain(namespaces.join(', ')), wrapTo: 10 },
      { title: 'SUBNETS', cell: ({ subnets }) => plain(subnets.join(', ')), wrapTo: 14 },
      { title: 'INGRESS', cell: ({ ingress }) => plain(ingress) },
      { title: 'EGRESS', cell: ({ egress }) => plain(egress) },
      { title: 'RULES', cell: ({ rules }) => formatCount(rules), right: true },
      { title: 'LOCAL', cell: ({ local }) => plain(local.join(', ')), wrapTo: 10 },
      { title: 'REMOTE', cell: ({ remote }) => formatCount(remote.length), right: true },
    ],
  });
  add(program, context, {
    name: 'groups',
    path: '/groups',
    summary: 'OpenFlow groups of the switch: who gets a copy of flooded packets',
    examples: ['dpuctl groups', 'dpuctl groups --wide'],
    row: groupRow,
    noun: 'group',
    columns: [
      { title: 'GROUP', cell: ({ group }) => String(group), right: true },
      { title: 'STATE', cell: ({ state }) => plain(state), tone: ({ state }) => toneOf(state) },
      { title: 'BUCKETS', cell: ({ text }) => plain(text), wrapTo: 30 },
    ],
  });
  add(program, context, {
    name: 'drops',
    path: '/drops',
    summary: 'what drops packets, the most first: reasons of the pipeline and rules',
    examples: ['dpuctl drops', 'dpuctl drops --all'],
    row: dropRow,
    noun: 'reason',
    hide: {
      flag: '--all',
      says: 'also what dropped nothing yet',
      is: ({ packets }) => packets === 0,
    },
    columns: [
      { title: 'PACKETS', cell: ({ packets }) => formatCount(packets), right: true },
      { title: 'BYTES', cell: ({ bytes }) => formatCount(bytes), right: true },
      { title: 'REASON', cell: ({ reason }) => plain(reason) },
      { title: 'RULE', cell: ({ rule }) => plain(rule), wrapTo: 14 },
      { title: 'MEANING', cell: ({ meaning }) => plain(meaning), wrapTo: 24, tone: () => 'quiet' },
    ],
  });
  add(program, context, {
    name: 'events',
    path: '/events',
    summary: 'what the agent logged lately, oldest first',
    examples: ['dpuctl events', 'dpuctl events --json | jq \'.[] | select(.level != "info")\''],
    row: eventRow,
    noun: 'event',
    columns: [
      { title: 'AT', cell: ({ at }) => plain(at) },
      { title: 'LEVEL', cell: ({ level }) => plain(level), tone: ({ level }) => toneOf(level) },
      { title: 'EVENT', cell: ({ message }) => plain(message), wrapTo: 24 },
      { title: 'FIELDS', cell: fieldsText, wrapTo: 24, tone: () => 'quiet' },
    ],
  });
  addDiffVerb(program, context);
}

function fieldsText({ fields }: z.infer<typeof eventRow>): string {
  return plain(
    Object.entries(fields)
      .map(([name, value]) => `${name}=${value}`)
      .join(' '),
  );
}

/** The answer to `/diff`. */
export const diffSchema = z.object({
  missing: count,
  extra: count,
  differs: count,
  foreign: count,
  equal: count,
  groups: z.array(groupRow).default([]),
  rows: z
    .array(
      z.object({
        kind: z.string(),
        table: z.number(),
        priority: z.number(),
        match: z.string(),
        actions: z.string(),
        desired: z.string(),
        owner: text,
      }),
    )
    .default([]),
});
type DiffRow = z.infer<typeof diffSchema>['rows'][number];

const DIFF_COLUMNS: readonly Column<DiffRow>[] = [
  { title: 'KIND', cell: ({ kind }) => plain(kind), tone: ({ kind }) => toneOf(kind) },
  { title: 'TABLE', cell: ({ table }) => String(table), right: true },
  { title: 'PRIO', cell: ({ priority }) => String(priority), right: true },
  { title: 'MATCH', cell: ({ match }) => plain(match), wrapTo: 14 },
  { title: 'IN THE SWITCH', cell: ({ actions }) => plain(actions), wrapTo: 14 },
  { title: 'DESIRED', cell: ({ desired }) => plain(desired), wrapTo: 14 },
  { title: 'FROM', cell: ({ owner }) => plain(owner), wrapTo: 12, tone: () => 'quiet' },
];

function addDiffVerb(program: Command, context: VerbContext): void {
  addVerb(
    program,
    'diff',
    'desired flows and groups against those in the switch; exit 1 when they differ',
    ['dpuctl diff', 'dpuctl diff --json | jq .missing'],
  )
    .option('--wide', 'do not wrap: one line for each')
    .action(async (options: WideOption) => {
      const body = await context.ask('/diff');
      if (context.json()) context.print(body);
      const answer = parseAnswer(diffSchema, body, '/diff');
      const { missing, extra, differs, foreign, equal, rows, groups } = answer;
      const wrong =
        missing + extra + differs + groups.filter(({ state }) => state !== 'foreign').length;
      context.end(wrong === 0 ? EXIT.OK : EXIT.UNWELL);
      if (context.json()) return;
      const layout = context.layoutFor(options);
      if (rows.length > 0) context.print(formatTable(DIFF_COLUMNS, rows, layout));
      for (const { group, state, text } of groups) {
        context.print(plain(`group ${group} ${state}: ${text}`) + '\n');
      }
      const total =
        `${formatCount(equal)} as desired, ${formatCount(missing)} missing, ${formatCount(differs)} that differ, ` +
        `${formatCount(extra)} extra, ${formatCount(foreign)} foreign`;
      context.print(`${paint(total, wrong === 0 ? 'quiet' : 'bad', layout)}\n`);
    });
}
