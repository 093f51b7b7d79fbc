/**
 * `dpuctl doctor`: is this DPU set up right? One row for each check, with what to do; a report in one HTML file. Layout only.
 */
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import * as z from 'zod';
import { errorMessage } from '../base/error.ts';
import { parseAnswer } from './answer.ts';
import { DpuctlError, EXIT } from './errors.ts';
import { formatTable, paint, plain, type Column, type Tone } from './terminal.ts';
import { addVerb, type VerbContext, type WideOption } from './verb.ts';

const check = z.object({
  id: z.string(),
  title: z.string(),
  verdict: z.string(),
  evidence: z.string(),
  remedy: z.string().default(''),
});
/** The answer to `/doctor`. */
export const doctorSchema = z.object({
  node: z.string(),
  at: z.string(),
  milliseconds: z.number().default(0),
  checks: z.array(check),
});
type Doctor = z.infer<typeof doctorSchema>;
type CheckRow = Doctor['checks'][number];

const TONES: ReadonlyMap<string, Tone> = new Map([
  ['ok', 'good'],
  ['warn', 'waiting'],
  ['fail', 'bad'],
  ['unknown', 'quiet'],
]);
const COLUMNS: readonly Column<CheckRow>[] = [
  { title: 'CHECK', cell: ({ id }) => plain(id) },
  {
    title: 'VERDICT',
    cell: ({ verdict }) => plain(verdict),
    tone: ({ verdict }) => TONES.get(verdict),
  },
  { title: 'SEEN', cell: ({ evidence }) => plain(evidence), wrapTo: 24 },
  { title: 'REMEDY', cell: ({ remedy }) => plain(remedy), wrapTo: 24 },
];

/** Adds `doctor`. */
export function addDoctorVerb(program: Command, context: VerbContext): void {
  addVerb(program, 'doctor', 'is this DPU set up right; exit 1 when a check fails', [
    'dpuctl doctor',
    'dpuctl doctor --report doctor.html',
  ])
    .option('--report <file>', 'also write a report as one HTML file')
    .option('--wide', 'do not wrap: one line for each')
    .action(async (options: WideOption & { readonly report?: string }) => {
      const body = await context.ask('/doctor');
      if (context.json()) context.print(body);
      const answer = parseAnswer(doctorSchema, body, '/doctor');
      const failed = answer.checks.some(({ verdict }) => verdict === 'fail');
      context.end(failed ? EXIT.UNWELL : EXIT.OK);
      if (options.report !== undefined) await writeReport(options.report, answer);
      if (context.json()) return;
      const layout = context.layoutFor(options);
      context.print(formatTable(COLUMNS, answer.checks, layout));
      context.print(`${paint(sumText(answer), failed ? 'bad' : 'quiet', layout)}\n`);
    });
}

function sumText({ checks }: Doctor): string {
  const of = (verdict: string): number => checks.filter((row) => row.verdict === verdict).length;
  return `${checks.length} checks: ${of('ok')} ok, ${of('warn')} warn, ${of('fail')} fail, ${of('unknown')} unknown`;
}

async function writeReport(file: string, answer: Doctor): Promise<void> {
  try {
    await writeFile(file, reportHtml(answer), { mode: 0o600 });
  } catch (error) {
    throw new DpuctlError('DPUCTL_USAGE', `${file} cannot be written: ${errorMessage(error)}`);
  }
}

/** Text of others must not become markup. */
function escaped(text: string): string {
  return plain(text).replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

function reportHtml(answer: Doctor): string {
  const rows = answer.checks.map(({ id, title, verdict, evidence, remedy }) => {
    const cells = [id, title, verdict, evidence, remedy].map((cell) => `<td>${escaped(cell)}</td>`);
    return `<tr class="${TONES.get(verdict) ?? ''}">${cells.join('')}</tr>`;
  });
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>dpuctl doctor: ${escaped(answer.node)}</title>
<style>body{font-family:sans-serif}td,th{border:1px solid #999;padding:4px;text-align:left}table{border-collapse:collapse}
.bad{background:#fcc}.waiting{background:#ffc}.good{background:#dfd}</style></head>
<body><h1>${escaped(answer.node)}</h1><p>${escaped(answer.at)}. ${sumText(answer)}.</p>
<table><tr><th>check</th><th>should hold</th><th>verdict</th><th>seen</th><th>remedy</th></tr>
${rows.join('\n')}
</table></body></html>
`;
}
