/**
 * The match of a rule as a set of packets, and whether one set holds another. The answer is cautious: "yes" is always true,
 * "no" may be a set that is too odd to tell. Knows no ranks.
 */
import type { RuleEntry, RuleMatch } from '../../api/dpu-rule.ts';
import { parsePortRange, type PortRange } from '../../api/port-range.ts';
import type { IpFamily } from '../../base/address.ts';
import { type AddressRanges, rangesContain, rangesOf } from '../../base/address-range.ts';
import { ALL_ADDRESSES } from '../../base/prefix-set.ts';
import { IP_PROTO } from './flow-list.ts';
import type { EntryGroups } from './model.ts';
import { etherTypeFamily, prefixesOf, protocolsOf } from './rule-match.ts';

/** Sources and destinations of one family. */
interface AddressSets {
  readonly family: IpFamily;
  readonly sources: AddressRanges;
  readonly destinations: AddressRanges;
}

/** A set of packets. */
export interface MatchSet {
  /** For each family that can match. */
  readonly addresses: readonly AddressSets[];
  /** Undefined for any. */
  readonly protocols: readonly number[] | undefined;
  readonly sourcePorts: readonly PortRange[] | undefined;
  readonly destinationPorts: readonly PortRange[] | undefined;
  /** Fields that are compared as they are written. */
  readonly others: ReadonlyMap<string, string>;
  /** True when a field of the transport header is in it: a later fragment has none. */
  readonly readsHeader: boolean;
  /** True for a set that is larger than what the rule matches: a named port stands for any. */
  readonly tooLarge: boolean;
}

/** Compared as text. What restricts the family is in `addresses`. */
const OTHER_FIELDS = ['dscp', 'srcMAC', 'dstMAC', 'icmpType', 'icmpCode', 'tcpFlags'] as const;
const HEADER_FIELDS = ['icmpType', 'icmpCode', 'tcpFlags', 'dstPortName'] as const;
const ICMP_FAMILY: ReadonlyMap<number, IpFamily> = new Map([
  [IP_PROTO.icmp, 4],
  [IP_PROTO.icmpv6, 6],
]);

/** The packets that an entry matches, its replies apart; undefined when there are none. */
export function matchSet(
  { match }: RuleEntry,
  groups: EntryGroups | undefined,
): MatchSet | undefined {
  const { srcIP, srcIPs, notSrcIPs, dstIP, dstIPs, notDstIPs } = match;
  const from = prefixesOf(srcIP, srcIPs, notSrcIPs, groups?.source?.addresses) ?? ALL_ADDRESSES;
  const to = prefixesOf(dstIP, dstIPs, notDstIPs, groups?.destination?.addresses) ?? ALL_ADDRESSES;
  const protocols = protocolsOf(match);
  const etherFamily = etherTypeFamily(match);
  const addresses = ([4, 6] as const)
    .filter((family) => etherFamily === undefined || etherFamily === family)
    .filter(
      (family) =>
        protocols?.some((protocol) => (ICMP_FAMILY.get(protocol) ?? family) === family) ?? true,
    )
    .map((family) => ({
      family,
      sources: rangesOf(from, family),
      destinations: rangesOf(to, family),
    }))
    .filter(({ sources, destinations }) => sources.length > 0 && destinations.length > 0);
  if (addresses.length === 0) return undefined;
  const sourcePorts = portRanges(match.srcPort, match.srcPorts);
  const destinationPorts = portRanges(match.dstPort, match.dstPorts);
  return {
    addresses,
    protocols,
    sourcePorts,
    destinationPorts,
    others: new Map(OTHER_FIELDS.flatMap((field) => textOf(match, field))),
    readsHeader:
      sourcePorts !== undefined ||
      destinationPorts !== undefined ||
      HEADER_FIELDS.some((field) => match[field] !== undefined),
    tooLarge: match.dstPortName !== undefined,
  };
}

function textOf(match: RuleMatch, field: (typeof OTHER_FIELDS)[number]): [string, string][] {
  const value = match[field];
  return value === undefined ? [] : [[field, String(value).toLowerCase()]];
}

/** Ports as sorted ranges that do not touch. */
function portRanges(
  one: number | string | undefined,
  many: readonly (number | string)[] | undefined,
): PortRange[] | undefined {
  const given = one === undefined ? many : [one];
  if (given === undefined) return undefined;
  const sorted = given
    .map(parsePortRange)
    .filter((range) => range !== undefined)
    .sort((a, b) => a.first - b.first);
  const merged: { first: number; last: number }[] = [];
  for (const { first, last } of sorted) {
    const open = merged.at(-1);
    if (open === undefined || first > open.last + 1) merged.push({ first, last });
    else open.last = Math.max(open.last, last);
  }
  return merged;
}

/** True when every packet of `inner` is in `outer`, later fragments apart. */
export function holds(outer: MatchSet, inner: MatchSet): boolean {
  if (outer.tooLarge) return false;
  for (const [field, value] of outer.others) if (inner.others.get(field) !== value) return false;
  return (
    isWithin(inner.protocols, outer.protocols, (some, all) =>
      some.every((protocol) => all.includes(protocol)),
    ) &&
    isWithin(inner.sourcePorts, outer.sourcePorts, portsWithin) &&
    isWithin(inner.destinationPorts, outer.destinationPorts, portsWithin) &&
    inner.addresses.every(({ family, sources, destinations }) =>
      outer.addresses.some(
        (sets) =>
          sets.family === family &&
          rangesContain(sets.sources, sources) &&
          rangesContain(sets.destinations, destinations),
      ),
    )
  );
}

function isWithin<Value>(
  inner: Value | undefined,
  outer: Value | undefined,
  compare: (inner: Value, outer: Value) => boolean,
): boolean {
  return outer === undefined || (inner !== undefined && compare(inner, outer));
}

function portsWithin(inner: readonly PortRange[], outer: readonly PortRange[]): boolean {
  return inner.every(({ first, last }) =>
    outer.some((range) => range.first <= first && last <= range.last),
  );
}
