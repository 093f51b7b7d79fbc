/**
 * `dpuctl status`: is the agent ready, connected and without problems. Layout only; the answer is the agent's.
 */
import { formatProblem } from '../base/error.ts';
import type { StatusAnswer } from './answer.ts';
import { EXIT } from './errors.ts';
import { formatCount, formatFields, formatSpan, paint, plain, type Layout } from './terminal.ts';

/** 0 when the agent is ready, else 1. Problems do not count: whoever writes a broken rule must not fail a machine's check. */
export function statusExit({ ready }: Pick<StatusAnswer, 'ready'>): number {
  return ready ? EXIT.OK : EXIT.UNWELL;
}

/** The status as lines for people. */
export function formatStatus(status: StatusAnswer, layout: Layout): string {
  const { bridge, source, rules, flows, endpoints } = status;
  const fields: (readonly [string, string])[] = [
    ['node', `${plain(status.node)}   dpu-agent ${plain(status.version)}`],
    ['ready', ready(status, layout)],
    ['up', `${formatSpan(status.uptimeSeconds)}, since ${plain(status.startedAt)}`],
    ['bridge', words([bridge.name, bridge.datapathType, bridge.datapathId])],
    ['vtep', vtep(status, layout)],
    ['ovsdb', connected(status.ovsdb.connected, layout) + lock(status, layout)],
    ['openflow', connected(status.openflow.connected, layout)],
    ['source', `${words([source.kind, source.path])}   ${sourceCounts(status, layout)}`],
    [
      'rules',
      [
        `${formatCount(rules.programmed)} of ${formatCount(rules.total)} programmed`,
        toned(rules.pending, 'pending', 'waiting', layout),
        toned(rules.refused, 'refused', 'bad', layout),
      ].join(', '),
    ],
    [
      'flows',
      [
        `${formatCount(flows.installed)} of ${formatCount(flows.desired)} installed`,
        toned(flows.foreign, 'foreign', 'waiting', layout),
      ].join(', '),
    ],
    ['endpoints', `${formatCount(endpoints.local)} local, ${formatCount(endpoints.remote)} remote`],
    ['last sync', lastSync(status)],
  ];
  const problems = status.problems.map(({ file, line, path, message }) => {
    const place = file === '' ? path : file;
    const problem = {
      path: file === '' ? '' : path,
      message,
      ...(line === undefined ? {} : { line }),
    };
    return plain(place === '' ? message : formatProblem(place, problem));
  });
  problems.forEach((problem, index) => {
    fields.push([index === 0 ? 'problems' : '', paint(problem, 'bad', layout)]);
  });
  if (problems.length === 0) fields.push(['problems', 'none']);
  return formatFields(fields, layout);
}

function words(parts: readonly (string | null | undefined)[]): string {
  return parts
    .filter((part) => typeof part === 'string' && part !== '')
    .map((part) => plain(part ?? ''))
    .join('  ');
}

function ready({ ready, notReady }: StatusAnswer, layout: Layout): string {
  if (ready) return paint('yes', 'good', layout);
  const why = notReady.length === 0 ? '' : `: ${notReady.map(plain).join('; ')}`;
  return paint(`no${why}`, 'bad', layout);
}

function vtep({ vtep }: StatusAnswer, layout: Layout): string {
  const place = words([
    vtep.ip ?? 'none',
    typeof vtep.ofport === 'number' ? `ofport ${vtep.ofport}` : null,
  ]);
  return vtep.problem ? `${place}   ${paint(plain(vtep.problem), 'bad', layout)}` : place;
}

function connected(is: boolean, layout: Layout): string {
  return is ? 'connected' : paint('not connected', 'bad', layout);
}

function lock({ ovsdb }: StatusAnswer, layout: Layout): string {
  if (!ovsdb.connected) return '';
  return ovsdb.lock ? ', holds the lock' : `, ${paint('waits for the lock', 'waiting', layout)}`;
}

function sourceCounts({ source }: StatusAnswer, layout: Layout): string {
  const counts = `revision ${plain(String(source.revision))}, ${formatCount(source.objects)} objects`;
  if (!source.staleSince) return counts;
  return `${counts}, ${paint(`stale since ${plain(source.staleSince)}`, 'waiting', layout)}`;
}

/** A count that is worth a colour when it is not 0. */
function toned(value: number, word: string, tone: 'waiting' | 'bad', layout: Layout): string {
  const shown = `${formatCount(value)} ${word}`;
  return value === 0 ? shown : paint(shown, tone, layout);
}

function lastSync({ lastSync }: StatusAnswer): string {
  if (!lastSync) return 'never';
  const at = typeof lastSync.at === 'number' ? new Date(lastSync.at).toISOString() : lastSync.at;
  const took =
    lastSync.durationMs < 10 ? lastSync.durationMs.toFixed(1) : lastSync.durationMs.toFixed(0);
  return `${plain(at)}, ${formatCount(lastSync.flowMods)} flow_mods in ${took} ms`;
}
