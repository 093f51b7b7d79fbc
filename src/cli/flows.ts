/**
 * `dpuctl flows`: the agent's flows as they stand in the switch, in the words of ovs-ofctl, each with the rule that it is
 * from. Layout and the query only: the agent filters.
 */
import type { FlowRow } from './answer.ts';
import { formatCount, formatTable, paint, plain, type Column, type Layout } from './terminal.ts';

/** Which flows are asked for. */
export interface FlowFilter {
  readonly table?: number;
  /** `namespace/name` or `namespace/name/rule`. */
  readonly rule?: string;
}

/** The path and query that ask for these flows. */
export function flowsPath({ table, rule }: FlowFilter): string {
  const query = new URLSearchParams();
  if (table !== undefined) query.set('table', String(table));
  if (rule !== undefined) query.set('rule', rule);
  return query.size === 0 ? '/flows' : `/flows?${query.toString()}`;
}

const COLUMNS: readonly Column<FlowRow>[] = [
  { title: 'TABLE', cell: (row) => String(row.table), right: true },
  { title: 'PRIO', cell: (row) => String(row.priority), right: true },
  { title: 'PACKETS', cell: (row) => formatCount(row.packets), right: true },
  { title: 'BYTES', cell: (row) => formatCount(row.bytes), right: true },
  { title: 'MATCH', cell: (row) => plain(row.match), wrapTo: 14 },
  { title: 'ACTIONS', cell: (row) => plain(row.actions), wrapTo: 14 },
  { title: 'RULE', cell: (row) => plain(row.rule), wrapTo: 16, tone: () => 'quiet' },
];

const COOKIE: Column<FlowRow> = { title: 'COOKIE', cell: (row) => plain(row.cookie), right: true };

/** The flows by table and falling priority; an unbounded width also shows cookies. */
export function formatFlows(rows: readonly FlowRow[], layout: Layout): string {
  if (rows.length === 0) return 'no flows\n';
  const sorted = rows.toSorted((a, b) => a.table - b.table || b.priority - a.priority);
  const columns = layout.width === Infinity ? [COOKIE, ...COLUMNS] : COLUMNS;
  const total = `${formatCount(rows.length)} ${rows.length === 1 ? 'flow' : 'flows'}`;
  return `${formatTable(columns, sorted, layout)}${paint(total, 'quiet', layout)}\n`;
}
