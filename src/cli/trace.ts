/**
 * `dpuctl trace`: what the switch would do with a packet, step by step and by names. The agent resolves and asks; here are
 * the options and the layout.
 */
import { Option, type Command } from 'commander';
import * as z from 'zod';
import { parseAnswer } from './answer.ts';
import { EXIT } from './errors.ts';
import {
  formatFields,
  formatTable,
  paint,
  plain,
  wrapFields,
  type Column,
  type Layout,
  type Tone,
} from './terminal.ts';
import { addVerb, type VerbContext, type WideOption } from './verb.ts';

const end = z.looseObject({
  name: z.string().nullish(),
  place: z.string().nullish(),
  ip: z.string().nullish(),
  mac: z.string(),
});
/** The answer to `/trace`. */
export const traceSchema = z.object({
  packet: z.object({
    flow: z.string(),
    vni: z.number().optional(),
    from: end,
    to: end,
    protocol: z.string(),
    assumed: z.array(z.string()).default([]),
  }),
  verdict: z.string(),
  summary: z.string(),
  decisions: z
    .array(
      z.object({
        direction: z.string(),
        tier: z.string(),
        by: z.string(),
        trial: z.boolean().default(false),
        copy: z.string(),
      }),
    )
    .default([]),
  steps: z
    .array(
      z.object({
        copy: z.string().default(''),
        table: z.number().nullish(),
        name: z.string(),
        match: z.string().nullish(),
        owner: z.object({ kind: z.string(), name: z.string() }).nullish(),
        actions: z.array(z.string()).default([]),
        remarks: z.array(z.string()).default([]),
      }),
    )
    .default([]),
  datapathActions: z.array(z.string()).default([]),
  notes: z.array(z.string()).default([]),
});
type TraceAnswer = z.infer<typeof traceSchema>;
type TraceStep = TraceAnswer['steps'][number];

/** Flags of options that go into the question as they are. */
export const PARAMETERS: readonly (readonly [flags: string, says: string])[] = [
  ['--from <endpoint>', 'source: port, iface-id (pod), IP or MAC address of an endpoint'],
  ['--to <endpoint>', 'destination, as --from; also any IP address, or broadcast'],
  ['--vni <number>', 'network, where a name or address is in several'],
  ['--tcp <port>', 'TCP to this destination port'],
  ['--udp <port>', 'UDP to this destination port'],
  ['--sctp <port>', 'SCTP to this destination port'],
  ['--icmp', 'an echo request; the default'],
  ['--arp', 'an ARP request (IPv6: a neighbour solicitation) for --to'],
  ['--protocol <number>', 'another IP protocol'],
  ['--sport <port>', 'source port; default 40000'],
  ['--in-port <port>', 'comes in here, whoever it says it is: name or ofport'],
  ['--from-peer <vtep>', 'comes through the tunnel from this VTEP'],
  ['--from-ip <address>', "source address instead of the endpoint's own"],
  ['--from-mac <address>', "source MAC address instead of the endpoint's own"],
  ['--to-ip <address>', "destination address instead of the endpoint's own"],
  ['--to-mac <address>', 'destination MAC address: of a gateway, for example'],
  ['--fragment <which>', 'first or later'],
  ['--ct <state>', 'what connection tracking says: new, established or reply'],
];
const VERDICTS = ['allowed', 'denied', 'dropped'];

/** Adds `trace`. */
export function addTraceVerb(program: Command, context: VerbContext): void {
  const verb = addVerb(
    program,
    'trace',
    'what the switch would do with a packet, and by which rule',
    [
      'dpuctl trace --from pod-a --to 10.1.0.25 --tcp 81',
      'dpuctl trace --from-peer 192.168.1.12 --from 10.1.0.25 --to rep1a --udp 53',
      'dpuctl trace --from rep1a --to 10.1.0.25 --tcp 81 --expect denied && echo as intended',
    ],
  );
  for (const [flags, says] of PARAMETERS) verb.option(flags, says);
  verb
    .addOption(
      new Option('--expect <verdict>', 'exit 1 unless this is the verdict').choices(VERDICTS),
    )
    .option('--wide', 'do not wrap: one line for each step, with its actions')
    .action(async (options: Readonly<Record<string, string | true>> & WideOption) => {
      const body = await context.ask(tracePath(options));
      if (context.json()) context.print(body);
      const answer = parseAnswer(traceSchema, body, '/trace');
      if (!context.json()) context.print(formatTrace(answer, context.layoutFor(options)));
      const expected = options['expect'];
      context.end(expected === undefined || expected === answer.verdict ? EXIT.OK : EXIT.UNWELL);
    });
}

function tracePath(options: Readonly<Record<string, string | true>>): string {
  const query = new URLSearchParams();
  for (const [flags] of PARAMETERS) {
    const name = /^--([a-z-]+)/.exec(flags)?.[1] ?? '';
    const value = options[name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())];
    if (value !== undefined) query.set(name, value === true ? '' : value);
  }
  return `/trace?${query.toString()}`;
}

const TONES: ReadonlyMap<string, Tone> = new Map([
  ['allowed', 'good'],
  ['denied', 'bad'],
  ['dropped', 'bad'],
]);

const STEPS: readonly Column<TraceStep>[] = [
  { title: 'TABLE', cell: tableCell },
  { title: 'FLOW OF', cell: ownerCell, wrapTo: 20, tone: ({ owner }) => ownerTone(owner?.kind) },
  { title: 'MATCH', cell: ({ match }) => plain(match === '' ? 'any' : (match ?? '')), wrapTo: 20 },
];
const ACTIONS: Column<TraceStep> = {
  title: 'ACTIONS',
  cell: ({ actions, remarks }) =>
    plain(actions.join(',') + remarks.map((remark) => ` (${remark})`).join('')),
  wrapTo: 20,
};

function tableCell({ copy, table, name }: TraceStep): string {
  const indent = '  '.repeat(copy === '' ? 0 : copy.split('.').length);
  return indent + (typeof table === 'number' ? `${String(table).padStart(2)} ` : '') + plain(name);
}

function ownerCell({ owner, actions, table, match }: TraceStep): string {
  if (owner) return plain(owner.kind === 'part' ? owner.name : `${owner.kind} ${owner.name}`);
  if (typeof table === 'number' && typeof match !== 'string') return 'no flow matches';
  return plain(actions.join(','));
}

function ownerTone(kind: string | undefined): Tone | undefined {
  if (kind === 'rule') return 'heading';
  return kind === 'drop' || kind === 'foreign' || kind === 'stale' ? 'bad' : undefined;
}

/** The story as fields and a table of steps; an unbounded width also shows actions. */
function formatTrace(answer: TraceAnswer, layout: Layout): string {
  const { packet, verdict, summary, decisions, notes } = answer;
  const fields: (readonly [string, string])[] = [
    ['packet', packetText(packet)],
    ['verdict', plain(verdict)],
    ['', plain(summary)],
  ];
  // Copies are decided each for itself: those of the packet come first, and a few say enough.
  decisions.slice(0, 8).forEach(({ direction, tier, by, trial, copy }, index) => {
    const which = copy === '' ? '' : `copy ${copy}: `;
    fields.push([
      index === 0 ? 'decided' : '',
      plain(`${which}${direction}, tier ${tier}: ${by}${trial ? ' would have (on trial)' : ''}`),
    ]);
  });
  answer.datapathActions.forEach((actions, index) => {
    fields.push([index === 0 ? 'datapath' : '', plain(actions)]);
  });
  packet.assumed.forEach((text, index) => fields.push([index === 0 ? 'assumed' : '', plain(text)]));
  notes.forEach((text, index) => fields.push([index === 0 ? 'notes' : '', plain(text)]));
  const columns = layout.width === Infinity ? [...STEPS, ACTIONS] : STEPS;
  const tone = TONES.get(verdict) ?? 'waiting';
  const lines = wrapFields(fields, layout).map(
    ([key, value]) => [key, key === 'verdict' ? paint(value, tone, layout) : value] as const,
  );
  return `${formatFields(lines, layout)}\n${formatTable(columns, answer.steps, layout)}`;
}

function packetText({ from, to, protocol, vni }: TraceAnswer['packet']): string {
  const text = ({ name, place, ip, mac }: TraceAnswer['packet']['from']): string =>
    [
      name === ip ? null : name,
      ip ?? mac,
      place && place !== `port ${name ?? ''}` ? `(${place})` : null,
    ]
      .filter(Boolean)
      .join(' ');
  const network = vni === undefined ? '' : `, VNI ${vni}`;
  return plain(`${protocol} from ${text(from)} to ${text(to)}${network}`);
}
