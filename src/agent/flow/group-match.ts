/**
 * The match of an entry that names groups. A named port may be another number on each endpoint, so the destinations fall
 * apart into sets of one protocol and port; each is a product of its own with the sources.
 *
 * All these products are clauses of one conjunction, and must not complete each other: each has one choice of protocol and
 * ports, which is folded into every clause.
 */
import type { RuleMatch } from '../../api/dpu-rule.ts';
import { protocolNumber } from '../../api/field.ts';
import type { IpPrefix } from '../../base/address.ts';
import { widestPrefixes } from '../../base/prefix-set.ts';
import type { EntryGroups } from './model.ts';
import { IP_PROTO } from './flow-list.ts';
import {
  replyDimensions,
  ruleDimensions,
  UnsupportedMatch,
  type RuleDimensions,
  type SideAddresses,
} from './rule-match.ts';

type Outcome = RuleDimensions[] | UnsupportedMatch;
type MakeDimensions = (match: RuleMatch, sides: SideAddresses) => Outcome;

/** Endpoints that have the named port at one protocol and number. */
interface PortSet {
  readonly protocol: number;
  readonly port: number;
  readonly addresses: readonly IpPrefix[];
}

/** What {@link ruleDimensions} says, with the groups put in. */
export function entryDimensions(match: RuleMatch, groups: EntryGroups | undefined): Outcome {
  return withGroups(match, groups, ruleDimensions);
}

/** What {@link replyDimensions} says, with the groups put in. */
export function entryReplies(
  match: RuleMatch,
  groups: EntryGroups | undefined,
): readonly RuleDimensions[] {
  const replies = withGroups(match, groups, replyDimensions);
  return replies instanceof UnsupportedMatch ? [] : replies;
}

function withGroups(
  match: RuleMatch,
  groups: EntryGroups | undefined,
  make: MakeDimensions,
): Outcome {
  const sides: SideAddresses = {
    source: groups?.source?.addresses,
    destination: groups?.destination?.addresses,
  };
  const { dstPortName, ...rest } = match;
  if (dstPortName === undefined) return make(match, sides);
  const all: RuleDimensions[] = [];
  const sets = portSets(match, dstPortName, groups);
  for (const { protocol, port, addresses } of sets) {
    const own = { ...rest, protocol, dstPort: port };
    const made = make(own, { ...sides, destination: addresses });
    if (made instanceof UnsupportedMatch) return made;
    for (const dimensions of made) {
      for (const { match: transport } of dimensions.transports) {
        all.push({ ...dimensions, transports: [{ match: transport }] });
      }
    }
  }
  // Later fragments carry no ports: one set for each protocol.
  for (const [protocol, alike] of Map.groupBy(sets, (set) => set.protocol)) {
    const addresses = widestPrefixes(alike.flatMap((set) => set.addresses));
    const own = { ...rest, protocol, dstPort: alike[0]?.port ?? 0 };
    const made = make(own, { ...sides, destination: addresses });
    if (made instanceof UnsupportedMatch) return made;
    for (const dimensions of made) {
      const later = dimensions.transports[0]?.fragmentMatch;
      if (later === undefined) continue;
      all.push({ ...dimensions, transports: [{ match: later }], fragmentsOnly: true });
    }
  }
  return all;
}

/** The endpoints by what the name stands for on them, in a fixed order. */
function portSets(
  match: RuleMatch,
  name: string,
  groups: EntryGroups | undefined,
): readonly PortSet[] {
  const wanted =
    match.protocol !== undefined
      ? protocolNumber(match.protocol)
      : match.tcpFlags !== undefined
        ? IP_PROTO.tcp
        : undefined;
  const sets = new Map<number, PortSet & { addresses: IpPrefix[] }>();
  for (const { address, ports } of groups?.destination?.endpoints ?? []) {
    const found = ports.get(name);
    if (found === undefined || (wanted !== undefined && found.protocol !== wanted)) continue;
    const { protocol, port } = found;
    const key = protocol * 0x1_0000 + port;
    const set = sets.get(key);
    if (set === undefined) sets.set(key, { protocol, port, addresses: [address] });
    else set.addresses.push(address);
  }
  return [...sets.entries()].sort(([a], [b]) => a - b).map(([, set]) => set);
}
