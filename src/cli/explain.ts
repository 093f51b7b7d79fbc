/**
 * `dpuctl explain` and `dpuctl rule`: one rule, what was written and every flow that it became. Layout only.
 */
import { Argument, type Command } from 'commander';
import { stringify } from 'yaml';
import * as z from 'zod';
import { parseAnswer } from './answer.ts';
import { parseRule } from './argument.ts';
import { formatRules, stateOf } from './rules.ts';
import { ruleSchema } from './answer.ts';
import { toneOf } from './table-verb.ts';
import {
  formatCount,
  formatFields,
  formatTable,
  paint,
  plain,
  wrapFields,
  type Column,
  type Layout,
} from './terminal.ts';
import { addVerb, type VerbContext, type WideOption } from './verb.ts';

const count = z.number().default(0);
const flowSchema = z.object({
  table: z.number(),
  tableName: z.string().default(''),
  priority: z.number(),
  cookie: z.string(),
  match: z.string(),
  actions: z.string(),
  state: z.string(),
  message: z.string().default(''),
  clause: z.boolean().default(false),
  sharedWith: z.array(z.string()).default([]),
  packets: count,
  bytes: count,
});
const entrySchema = ruleSchema.extend({
  action: z.string().default(''),
  flows: z.array(flowSchema).default([]),
});
/** The answer to `/explain`. */
export const explainSchema = z.object({
  origin: z.string(),
  tier: z.string().default(''),
  entries: z.array(entrySchema).default([]),
});
/** The answer to `/rule`. */
export const ruleAnswerSchema = z.object({
  origin: z.string(),
  object: z.looseObject({}),
  entries: z.array(ruleSchema).default([]),
});
type ExplainedFlow = z.infer<typeof flowSchema>;

/** Adds `explain` and `rule`. */
export function addExplainVerbs(program: Command, context: VerbContext): void {
  const name = (): Argument =>
    new Argument('<rule>', 'NAMESPACE/NAME or NAMESPACE/NAME/RULE').argParser(parseRule);
  addVerb(
    program,
    'explain',
    'each flow that a rule became, its counters, and what is not in the switch',
    ['dpuctl explain tenant-a/no-metrics', 'dpuctl explain tenant-a/no-metrics/tcp-81 --wide'],
  )
    .addArgument(name())
    .option('--wide', 'do not wrap: one line for each flow, with cookie and actions')
    .action(async (rule: string, options: WideOption) => {
      const body = await context.ask(`/explain?${new URLSearchParams({ rule }).toString()}`);
      if (context.json()) {
        context.print(body);
        return;
      }
      const { origin, tier, entries } = parseAnswer(explainSchema, body, '/explain');
      const layout = context.layoutFor(options);
      for (const entry of entries) context.print(formatEntry(entry, origin, tier, layout));
      if (entries.length === 0) context.print('the rule has no entry of that name\n');
    });
  addVerb(program, 'rule', 'one rule as it was read, and the state of its entries', [
    'dpuctl rule tenant-a/no-metrics',
  ])
    .addArgument(name())
    .option('--wide', 'do not wrap: one line for each entry')
    .action(async (rule: string, options: WideOption) => {
      const body = await context.ask(`/rule?${new URLSearchParams({ name: rule }).toString()}`);
      if (context.json()) {
        context.print(body);
        return;
      }
      const { origin, object, entries } = parseAnswer(ruleAnswerSchema, body, '/rule');
      const layout = context.layoutFor(options);
      const yaml = stringify(object).split('\n').map(plain).join('\n');
      context.print(`${paint(plain(`# ${origin}`), 'quiet', layout)}\n${yaml}\n`);
      context.print(formatRules(entries, layout));
    });
}

const COLUMNS: readonly Column<ExplainedFlow>[] = [
  {
    title: 'TABLE',
    cell: ({ table, tableName }) => `${String(table).padStart(2)} ${plain(tableName)}`,
  },
  { title: 'PRIO', cell: ({ priority }) => String(priority), right: true },
  { title: 'STATE', cell: ({ state }) => plain(state), tone: ({ state }) => toneOf(state) },
  { title: 'PACKETS', cell: ({ packets }) => formatCount(packets), right: true },
  { title: 'BYTES', cell: ({ bytes }) => formatCount(bytes), right: true },
  { title: 'MATCH', cell: ({ match }) => plain(match), wrapTo: 18 },
  { title: 'NOTE', cell: noteText, wrapTo: 14 },
];
const WIDE: readonly Column<ExplainedFlow>[] = [
  { title: 'COOKIE', cell: ({ cookie }) => plain(cookie), right: true },
  ...COLUMNS,
  { title: 'ACTIONS', cell: ({ actions }) => plain(actions) },
];

function noteText({ message, clause, sharedWith }: ExplainedFlow): string {
  const shared = sharedWith.length === 0 ? '' : `, shared with ${sharedWith.join(', ')}`;
  return plain([clause ? `clause${shared}` : '', message].filter((part) => part !== '').join('; '));
}

function formatEntry(
  entry: z.infer<typeof entrySchema>,
  origin: string,
  tier: string,
  layout: Layout,
): string {
  const { namespace, name, rule, action, reason, message, flows } = entry;
  const why = [reason, message].filter((part) => part !== '').join(': ');
  const fields = wrapFields(
    [
      ['rule', plain(`${namespace}/${name}/${rule}`)],
      ['from', plain(origin)],
      ['does', plain(`${action}, tier ${tier}`)],
      ['state', stateOf({ ...entry, flows: flows.length }) + (why === '' ? '' : plain(`: ${why}`))],
    ],
    layout,
  );
  const table =
    flows.length === 0
      ? 'no flows\n'
      : formatTable(layout.width === Infinity ? WIDE : COLUMNS, flows, layout);
  return `${formatFields(fields, layout)}${table}\n`;
}
