/**
 * `dpuctl top`: rules and drop reasons by packets a second, again and again. The rates are made here, from two answers of
 * the agent; the screen is cleared by hand, on a terminal only.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import * as z from 'zod';
import { parseAnswer, parseRules } from './answer.ts';
import { parseSeconds } from './argument.ts';
import { formatCount, formatTable, paint, plain, type Column, type Layout } from './terminal.ts';
import { addVerb, type VerbContext } from './verb.ts';

const DEFAULT_INTERVAL_S = 2;
const ROWS_MAX = 20;
/** Cursor home, and clear to the end of the screen (ECMA-48 CUP and ED). */
const CLEAR = '\u001b[H\u001b[J';

const dropSchema = z.array(
  z.object({
    reason: z.string(),
    rule: z.string().default(''),
    packets: z.number().default(0),
    bytes: z.number().default(0),
  }),
);

/** Counters by name, at one moment. */
interface Sample {
  readonly atMs: number;
  readonly counts: ReadonlyMap<string, { readonly packets: number; readonly bytes: number }>;
}

/** One line of the screen. */
export interface TopRow {
  readonly name: string;
  /** Packets a second. */
  readonly packetRate: number;
  /** Bits a second. */
  readonly bitRate: number;
  readonly packets: number;
}

/** Rates between two samples, the highest first; what fell was another flow of the name and counts from 0. */
export function topRows(before: Sample, after: Sample): TopRow[] {
  const seconds = Math.max(0.001, (after.atMs - before.atMs) / 1000);
  return [...after.counts]
    .map(([name, { packets, bytes }]) => {
      const old = before.counts.get(name) ?? { packets: 0, bytes: 0 };
      const more = (now: number, then: number): number => (now >= then ? now - then : now);
      return {
        name,
        packetRate: more(packets, old.packets) / seconds,
        bitRate: (more(bytes, old.bytes) * 8) / seconds,
        packets,
      };
    })
    .sort((a, b) => b.packetRate - a.packetRate || b.packets - a.packets);
}

/** Adds `top`. */
export function addTopVerb(program: Command, context: VerbContext): void {
  addVerb(program, 'top', 'rules and drops by packets a second, until Ctrl-C', [
    'dpuctl top',
    'dpuctl top --once --interval 5',
  ])
    .option('--once', 'one picture, then end')
    .option('--interval <seconds>', 'time between two looks', parseSeconds, DEFAULT_INTERVAL_S)
    .action(async ({ once, interval }: { once?: true; interval: number }) => {
      const layout = context.layoutFor({});
      let before = await sample(context);
      do {
        await sleep(interval * 1000);
        const after = await sample(context);
        const rows = topRows(before, after);
        before = after;
        if (context.json()) context.print(`${JSON.stringify(rows)}\n`);
        else
          context.print(
            (layout.colours && once !== true ? CLEAR : '') + formatTop(rows, interval, layout),
          );
      } while (once !== true);
    });
}

async function sample(context: VerbContext): Promise<Sample> {
  const rules = parseRules(await context.ask('/rules'));
  const drops = parseAnswer(dropSchema, await context.ask('/drops'), '/drops');
  const counts = new Map<string, { packets: number; bytes: number }>();
  for (const { namespace, name, rule, packets, bytes } of rules) {
    counts.set(`${namespace}/${name}/${rule}`, { packets, bytes });
  }
  for (const { reason, rule, packets, bytes } of drops) {
    // What a rule denied is counted with the rule already.
    if (rule === '') counts.set(`drop/${reason}`, { packets, bytes });
  }
  return { atMs: performance.now(), counts };
}

const COLUMNS: readonly Column<TopRow>[] = [
  { title: 'PACKETS/S', cell: ({ packetRate }) => rate(packetRate), right: true },
  { title: 'KBIT/S', cell: ({ bitRate }) => rate(bitRate / 1000), right: true },
  { title: 'PACKETS', cell: ({ packets }) => formatCount(packets), right: true },
  {
    title: 'RULE OR REASON',
    cell: ({ name }) => plain(name),
    wrapTo: 20,
    tone: ({ name }) => (name.startsWith('drop/') ? 'bad' : undefined),
  },
];

function rate(value: number): string {
  return value < 10 ? value.toFixed(1) : formatCount(Math.round(value));
}

function formatTop(rows: readonly TopRow[], interval: number, layout: Layout): string {
  const busy = rows.filter(({ packets }) => packets > 0).slice(0, ROWS_MAX);
  const total = rows.reduce((sum, { packetRate }) => sum + packetRate, 0);
  const headline = paint(
    `${rate(total)} packets/s by rules and drops, over ${interval} s`,
    'quiet',
    layout,
  );
  return `${headline}\n${busy.length === 0 ? 'nothing has been counted yet\n' : formatTable(COLUMNS, busy, layout)}`;
}
