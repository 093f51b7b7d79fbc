/**
 * Sets of packets as masked fields, and whether an entry of a rule can match one of them. Pure. The answer is of the entry
 * alone: what stands before it in the pipeline is not asked, so "it can" is an upper bound.
 */
import type { EncodedFlow } from '../../openflow/flow.ts';
import { matchOf } from '../../openflow/flow.ts';
import { decodeMatch, type Match } from '../../openflow/match.ts';
import type { FieldName } from '../../openflow/oxm-fields.ts';
import { clauseOf } from '../flow/conjunction.ts';
import type { CompiledEntry } from '../flow/rule-flows.ts';
import { EGRESS_CHAIN, INGRESS_CHAIN } from '../flow/tables/tiers.ts';

/** A masked value. */
export interface MaskedValue {
  readonly value: bigint;
  /** Bits that count. */
  readonly mask: bigint;
}

/** Packets that have these fields; a field that is not named may be anything. */
export type Region = ReadonlyMap<FieldName, MaskedValue>;

/** Flows of an entry that see the packet's own fields. */
export interface Classifiers {
  /** Each matches by itself. */
  readonly plain: readonly Match[];
  /** By table and conjunction: the choices of each dimension. */
  readonly conjunctions: readonly (readonly Match[])[][];
}

const ALL_BITS = (1n << 128n) - 1n;
const TIER_TABLES: ReadonlySet<number> = new Set(
  [EGRESS_CHAIN, INGRESS_CHAIN].flatMap(({ tiers }) => tiers.map(({ id }) => Number(id))),
);

/** The flows of an entry that match packets; not those that carry out what was decided. */
export function classifiersOf(entry: Pick<CompiledEntry, 'flows' | 'clauses'>): Classifiers {
  const plain = entry.flows
    .filter(({ tableId }) => TIER_TABLES.has(tableId))
    .map(matchOfFlow)
    .filter((match) => !match.some(({ field }) => field === 'conjId'));
  const conjunctions = new Map<string, Match[][]>();
  for (const flow of entry.clauses) {
    const clause = clauseOf(flow);
    if (clause === undefined) continue;
    const key = `${flow.tableId}/${clause.id}/${familyOf(flow)}`;
    const dimensions = conjunctions.get(key) ?? Array.from({ length: clause.clauses }, () => []);
    dimensions[clause.clause]?.push(matchOfFlow(flow));
    conjunctions.set(key, dimensions);
  }
  return { plain, conjunctions: [...conjunctions.values()] };
}

function matchOfFlow(flow: EncodedFlow): Match {
  return decodeMatch(matchOf(flow));
}

/** Clauses of both address families may share a conjunction's id: no packet is of both. */
function familyOf(flow: EncodedFlow): string {
  const family = matchOfFlow(flow).find(({ field }) => field === 'ethType');
  return String(family?.value ?? 'any');
}

/** True when a packet can be in the region and match. Fields that only one of both names do not matter. */
export function overlaps(match: Match, region: Region): boolean {
  return match.every(({ field, value, mask }) => {
    if (field === 'unknown') return true;
    const other = region.get(field);
    if (other === undefined) return true;
    const both = other.mask & (mask === undefined ? ALL_BITS : BigInt(mask));
    return ((BigInt(value) ^ other.value) & both) === 0n;
  });
}

/** True when some packet of the region can match the entry. */
export function entryOverlaps({ plain, conjunctions }: Classifiers, region: Region): boolean {
  return (
    plain.some((match) => overlaps(match, region)) ||
    conjunctions.some((dimensions) =>
      dimensions.every((choices) => choices.some((match) => overlaps(match, region))),
    )
  );
}
