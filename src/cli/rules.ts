/**
 * `dpuctl rules`: each rule entry, whether it is in the switch, and why not. Layout and filters only.
 */
import type { RuleRow } from './answer.ts';
import {
  formatCount,
  formatTable,
  paint,
  plain,
  type Column,
  type Layout,
  type Tone,
} from './terminal.ts';

/** Which entries are shown. */
export interface RuleFilter {
  readonly namespace?: string;
  /** Only entries that are not (wholly) in the switch. */
  readonly notProgrammed?: boolean;
}

/** The entries that pass the filter, in the agent's order. */
export function filterRules<Row extends Pick<RuleRow, 'namespace' | 'programmed'>>(
  rows: readonly Row[],
  { namespace, notProgrammed = false }: RuleFilter,
): Row[] {
  return rows.filter(
    (row) =>
      (namespace === undefined || row.namespace === namespace) &&
      !(notProgrammed && row.programmed),
  );
}

/** The state of an entry in one word, as the metric `dpu_agent_rules` counts it. */
export function stateOf(row: RuleRow): 'programmed' | 'pending' | 'refused' {
  if (row.programmed) return 'programmed';
  return !row.accepted || row.reason === 'SwitchRefused' ? 'refused' : 'pending';
}

const TONES: Readonly<Record<ReturnType<typeof stateOf>, Tone>> = {
  programmed: 'good',
  pending: 'waiting',
  refused: 'bad',
};

const COLUMNS: readonly Column<RuleRow>[] = [
  { title: 'NAMESPACE', cell: (row) => plain(row.namespace), wrapTo: 9 },
  { title: 'NAME', cell: (row) => plain(row.name), wrapTo: 12 },
  { title: 'RULE', cell: (row) => plain(row.rule), wrapTo: 12 },
  { title: 'STATE', cell: stateOf, tone: (row) => TONES[stateOf(row)] },
  { title: 'FLOWS', cell: (row) => formatCount(row.flows), right: true },
  { title: 'PACKETS', cell: (row) => formatCount(row.packets), right: true },
  { title: 'BYTES', cell: (row) => formatCount(row.bytes), right: true },
  {
    title: 'REASON',
    cell: (row) => plain(reasonOf(row)),
    wrapTo: 20,
  },
];

/** Why the entry is not (quite) in force, and what it held back. */
function reasonOf({ reason, message, rateLimited }: RuleRow): string {
  const why = [reason, message].filter((part) => part !== '').join(': ');
  const limited = rateLimited > 0 ? `${formatCount(rateLimited)} packets over the rateLimit` : '';
  return [why, limited].filter((part) => part !== '').join('; ');
}

/** The entries as a table, with the totals behind it. */
export function formatRules(rows: readonly RuleRow[], layout: Layout): string {
  if (rows.length === 0) return 'no rules\n';
  const counts = new Map<string, number>();
  for (const row of rows) counts.set(stateOf(row), (counts.get(stateOf(row)) ?? 0) + 1);
  const parts = [...counts].map(([state, count]) => `${formatCount(count)} ${state}`);
  const total = `${formatCount(rows.length)} ${rows.length === 1 ? 'rule' : 'rules'}: ${parts.join(', ')}`;
  return `${formatTable(COLUMNS, rows, layout)}${paint(total, 'quiet', layout)}\n`;
}
