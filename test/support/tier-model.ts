/**
 * What DPURules with groups say about the first packet of a connection, by the words of the API: tiers in order, lower
 * priority first, deny before allow at equal priority, the network's default at the end. A plain walk through all entries;
 * it shares no code with the compiler.
 */
import ipaddr from 'ipaddr.js';
import type { DpuGroupSlice } from '../../src/api/dpu-group-slice.ts';
import type { DpuRuleManifest, RuleMatchManifest } from '../../src/hub/translate/manifest.ts';
import type { Connection } from './policy-evaluator.ts';

type GroupEntry = DpuGroupSlice['spec']['entries'][number];

const TIER_ORDER = ['platform', 'admin', 'tenant', 'policy', 'isolation', 'baseline'];

/** Answers of `isWithin`: the same few questions come a million times. */
const WITHIN = new Map<string, boolean>();

function isWithin(ip: string, prefix: string): boolean {
  const question = `${ip} ${prefix}`;
  let answer = WITHIN.get(question);
  if (answer === undefined) {
    const address = ipaddr.parse(ip);
    const whole = `${prefix}/${prefix.includes(':') ? 128 : 32}`;
    const [base, length] = ipaddr.parseCIDR(prefix.includes('/') ? prefix : whole);
    answer = address.kind() === base.kind() && address.match(base, length);
    WITHIN.set(question, answer);
  }
  return answer;
}

function hasPort(ports: readonly (number | string)[], port: number): boolean {
  return ports.some((text) => {
    const [first = 0, last = first] = String(text).split('-').map(Number);
    return port >= first && port <= last;
  });
}

/** Addresses of groups by `namespace/name`. */
export type Groups = ReadonlyMap<string, readonly GroupEntry[]>;

/** The addresses of all groups, by `namespace/name`. */
export function groupsOf(slices: readonly DpuGroupSlice[]): Groups {
  const groups = new Map<string, GroupEntry[]>();
  for (const { metadata, spec } of slices) {
    const key = `${metadata.namespace}/${metadata.labels['dpu.network/group']}`;
    groups.set(key, [...(groups.get(key) ?? []), ...spec.entries]);
  }
  return groups;
}

/** Fields that the model understands; another one would be overlooked. */
const KNOWN: ReadonlySet<string> = new Set([
  ...['srcGroup', 'dstGroup', 'srcIPs', 'notSrcIPs', 'dstIPs', 'notDstIPs'],
  ...['protocol', 'dstPorts', 'dstPortName'],
]);

function matches(
  match: RuleMatchManifest,
  namespace: string,
  groups: Groups,
  { from, to, protocol, port }: Connection,
): boolean {
  const strange = Object.keys(match).find((field) => !KNOWN.has(field));
  if (strange !== undefined) throw new Error(`the model knows no ${strange}`);
  const isMember = (group: string, ip: string): boolean => {
    const entries = groups.get(`${namespace}/${group}`);
    if (entries === undefined) throw new Error(`no group ${namespace}/${group}`);
    return entries.some((entry) => entry.ip === ip);
  };
  const within = (list: readonly string[] | undefined, ip: string): boolean | undefined =>
    list?.some((prefix) => isWithin(ip, prefix));
  if (match.srcGroup !== undefined && !isMember(match.srcGroup, from.ip)) return false;
  if (match.dstGroup !== undefined && !isMember(match.dstGroup, to.ip)) return false;
  if (within(match.srcIPs, from.ip) === false || within(match.notSrcIPs, from.ip) === true)
    return false;
  if (within(match.dstIPs, to.ip) === false || within(match.notDstIPs, to.ip) === true)
    return false;
  if (match.protocol !== undefined && match.protocol !== protocol) return false;
  if (match.dstPorts !== undefined && !hasPort(match.dstPorts, port)) return false;
  if (match.dstPortName === undefined) return true;
  const { dstPortName } = match;
  return (groups.get(`${namespace}/${match.dstGroup}`) ?? []).some(({ ip, ports }) => {
    const named = ports?.[dstPortName];
    return ip === to.ip && named?.[0] === protocol && named[1] === port;
  });
}

/** Whether `rules` let a connection pass in one direction. */
export function decide(
  rules: readonly DpuRuleManifest[],
  groups: Groups,
  connection: Connection,
  direction: 'Ingress' | 'Egress',
): boolean {
  for (const tier of TIER_ORDER) {
    const verdicts = rules
      .filter(({ spec }) => (spec.tier ?? 'tenant') === tier)
      .flatMap(({ metadata, spec }) =>
        spec.rules
          .filter((entry) => [direction, 'Both'].includes(entry.direction ?? 'Both'))
          .filter(({ match }) => matches(match ?? {}, metadata.namespace, groups, connection))
          .map(({ priority, action }) => ({ rank: priority ?? spec.priority ?? 500, action })),
      );
    if (verdicts.length === 0) continue;
    const first = Math.min(...verdicts.map(({ rank }) => rank));
    return !verdicts.some(({ rank, action }) => rank === first && action === 'deny');
  }
  return true;
}
