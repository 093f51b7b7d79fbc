/**
 * `dpuctl offload`: by rule, whether its packets were handled in hardware and why they would not be; with `--what-if`, what a
 * rule that is not applied yet would take out of it. Layout only.
 */
import { readFile } from 'node:fs/promises';
import { Option, type Command } from 'commander';
import * as z from 'zod';
import { errorMessage } from '../base/error.ts';
import { parseAnswer } from './answer.ts';
import { DpuctlError, EXIT } from './errors.ts';
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

const count = z.object({ flows: z.number(), packets: z.number() });
const places = z.object({ hardware: count, partial: count, tc: count, software: count });
const reason = z.object({
  code: z.string(),
  scope: z.string(),
  certainty: z.string().default(''),
  detail: z.string().default(''),
});
const looked = {
  datapath: z.string(),
  assumed: z.boolean().default(false),
  at: z.string(),
  unattributed: count,
};
const row = z.object({
  namespace: z.string(),
  name: z.string(),
  rule: z.string(),
  verdict: z.string(),
  share: z.number().nullish(),
  places: places.nullish(),
  reasons: z.array(reason).default([]),
});
/** The answer to `/offload`. */
export const offloadSchema = z.object({
  ...looked,
  places,
  unread: z.number().default(0),
  milliseconds: z.number().default(0),
  rules: z.array(row),
});
/** The answer to `/offload/what-if`. */
export const whatIfSchema = z.object({
  ...looked,
  leaving: count,
  touched: count,
  entries: z.array(
    z.object({ rule: z.string(), refusal: z.string().nullish(), reasons: z.array(reason) }),
  ),
  flows: z.array(
    z.object({
      key: z.string(),
      packets: z.number(),
      place: z.string(),
      because: z.array(z.object({ rule: z.string(), reasons: z.array(reason) })),
    }),
  ),
});
type Row = z.infer<typeof row>;
type Reason = z.infer<typeof reason>;
type WhatIf = z.infer<typeof whatIfSchema>;
type TouchedFlow = WhatIf['flows'][number];

const KINDS = ['kernel', 'doca', 'userspace'];
/** A question is a line of HTTP, of which the agent takes 16 KiB. */
const QUESTION_MAX = 15_000;
const TONES: ReadonlyMap<string, Tone> = new Map([
  ['full', 'good'],
  ['partial', 'waiting'],
  ['none', 'bad'],
  ['notObserved', 'quiet'],
  ['hardware', 'good'],
]);

interface OffloadOptions extends WideOption {
  readonly whatIf?: true;
  readonly file?: string;
  readonly assume?: string;
}

/** Adds `offload`. */
export function addOffloadVerb(program: Command, context: VerbContext): void {
  addVerb(
    program,
    'offload',
    'which rules are handled in hardware, and why others are not; exit 1 when a rule would leave it',
    ['dpuctl offload', 'dpuctl offload --assume kernel', 'dpuctl offload --what-if -f rule.yaml'],
  )
    .option('--what-if', 'what a rule that is not applied yet would take out of hardware')
    .option('-f, --file <path>', 'the rule of --what-if, as YAML or JSON')
    .addOption(
      new Option('--assume <kind>', 'reasons as on another kind of datapath').choices(KINDS),
    )
    .option('--wide', 'do not wrap: one line for each')
    .action((options: OffloadOptions) =>
      options.whatIf === true ? askWhatIf(context, options) : askOffload(context, options),
    );
}

async function askOffload(context: VerbContext, options: OffloadOptions): Promise<void> {
  if (options.file !== undefined) {
    throw new DpuctlError('DPUCTL_USAGE', '--file is the rule of --what-if: give both');
  }
  const path = pathOf('/offload', options, {});
  const body = await context.ask(path);
  if (context.json()) {
    context.print(body);
    return;
  }
  const answer = parseAnswer(offloadSchema, body, '/offload');
  const layout = context.layoutFor(options);
  if (answer.rules.length > 0) context.print(formatTable(COLUMNS, answer.rules, layout));
  const { hardware, partial, tc, software } = answer.places;
  const sum =
    `datapath ${answer.datapath}${answer.assumed ? ' (assumed)' : ''}: ${formatCount(hardware.packets)} packets in hardware, ` +
    `${formatCount(partial.packets)} in part, ${formatCount(tc.packets)} in tc without it, ${formatCount(software.packets)} in software`;
  context.print(`${paint(sum, 'quiet', layout)}\n${unknownText(answer.unattributed, layout)}`);
}

function unknownText(
  { flows, packets }: { readonly flows: number; readonly packets: number },
  layout: Layout,
): string {
  if (flows === 0) return '';
  const text = `${formatCount(flows)} flows with ${formatCount(packets)} packets are not attributed to rules yet: ask again`;
  return `${paint(text, 'waiting', layout)}\n`;
}

function pathOf(
  path: string,
  { assume }: OffloadOptions,
  parameters: Readonly<Record<string, string>>,
): string {
  const query = new URLSearchParams(parameters);
  if (assume !== undefined) query.set('assume', assume);
  const text = query.toString();
  return text === '' ? path : `${path}?${text}`;
}

function reasonsText(reasons: readonly Reason[]): string {
  return plain(
    reasons
      .map(({ code, scope, certainty, detail }) => {
        const driver = certainty === 'driver' ? ', depends on the driver' : '';
        return `${code} (${scope}${driver}): ${detail}`;
      })
      .join('; '),
  );
}

function shareText({ share }: Row): string {
  return typeof share === 'number' ? `${Math.floor(share * 100)}%` : '-';
}

function packetsOf({ places: seen }: Row): number {
  if (seen === null || seen === undefined) return 0;
  return Object.values(seen).reduce((sum, { packets }) => sum + packets, 0);
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'RULE', cell: (row) => plain(`${row.namespace}/${row.name}/${row.rule}`), wrapTo: 14 },
  {
    title: 'OFFLOAD',
    cell: ({ verdict }) => plain(verdict),
    tone: ({ verdict }) => TONES.get(verdict),
  },
  { title: 'HARDWARE', cell: shareText, right: true },
  { title: 'PACKETS', cell: (row) => formatCount(packetsOf(row)), right: true },
  { title: 'REASONS', cell: ({ reasons }) => reasonsText(reasons), wrapTo: 30 },
];

const FLOW_COLUMNS: readonly Column<TouchedFlow>[] = [
  { title: 'PACKETS', cell: ({ packets }) => formatCount(packets), right: true },
  { title: 'NOW', cell: ({ place }) => plain(place), tone: ({ place }) => TONES.get(place) },
  { title: 'DATAPATH FLOW', cell: ({ key }) => plain(key), wrapTo: 30 },
  {
    title: 'WOULD STAY IN SOFTWARE',
    cell: ({ because }) =>
      because.length === 0
        ? 'no'
        : plain(
            because
              .map(({ rule, reasons }) => `${rule}: ${reasons.map(({ code }) => code).join(', ')}`)
              .join('; '),
          ),
    wrapTo: 20,
  },
];

async function readRule(file: string | undefined): Promise<string> {
  if (file === undefined) {
    throw new DpuctlError('DPUCTL_USAGE', '--what-if needs a rule: -f FILE');
  }
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new DpuctlError('DPUCTL_USAGE', `${file} cannot be read: ${errorMessage(error)}`);
  }
}

async function askWhatIf(context: VerbContext, options: OffloadOptions): Promise<void> {
  const path = pathOf('/offload/what-if', options, { rule: await readRule(options.file) });
  if (path.length > QUESTION_MAX) {
    throw new DpuctlError(
      'DPUCTL_USAGE',
      `${options.file ?? ''} is too long for one question; accepted: about 12 KiB`,
      'ask about a few entries at a time',
    );
  }
  const body = await context.ask(path);
  if (context.json()) context.print(body);
  const answer = parseAnswer(whatIfSchema, body, '/offload/what-if');
  context.end(answer.leaving.packets > 0 ? EXIT.UNWELL : EXIT.OK);
  if (!context.json()) context.print(whatIfText(answer, context.layoutFor(options)));
}

function whatIfText(answer: WhatIf, layout: Layout): string {
  const { leaving, touched, entries, flows } = answer;
  const lines = entries.map(({ rule, refusal, reasons }) => {
    if (typeof refusal === 'string') return `${plain(rule)} would be refused: ${plain(refusal)}`;
    const why = reasons.length === 0 ? 'nothing keeps it out of hardware' : reasonsText(reasons);
    return `${plain(rule)}: ${why}`;
  });
  const sum = `${formatCount(leaving.packets)} packets in ${formatCount(leaving.flows)} flows would leave hardware, of ${formatCount(touched.packets)} in ${formatCount(touched.flows)} that the rule may match`;
  const table = flows.length === 0 ? '' : formatTable(FLOW_COLUMNS, flows, layout);
  const tone = leaving.packets > 0 ? 'bad' : 'good';
  return `${lines.join('\n')}\n${table}${paint(sum, tone, layout)}\n${unknownText(answer.unattributed, layout)}`;
}
