/**
 * Which entries of rules can never decide, because one that comes before them takes every packet that they match. Looked up
 * when somebody asks, in an index that is brought up to date by what changed since; a lookup visits a bounded number of
 * candidates, so asking for all entries is not quadratic.
 *
 * Cautious: an entry that is named is never reached; one that is not named may be, or may be covered by several together,
 * or by one that the bounds left out.
 */
import { TIERS, type DpuRule, type RuleEntry } from '../../api/dpu-rule.ts';
import { type AddressRanges, commonLength } from '../../base/address-range.ts';
import type { IpFamily } from '../../base/address.ts';
import { holds, matchSet, type MatchSet } from './match-set.ts';
import type { EntryVerdict } from './model.ts';
import { rankOf, takesFragments, type CompiledEntry } from './rule-flows.ts';

/** What decides before an entry. */
export interface Decider {
  /** Name of the deciding entry: `DPURule/namespace/name/rule`. */
  readonly name: string;
  /** True when later fragments may still reach the entry. */
  readonly fragmentsPass: boolean;
}

/** Comparisons of one lookup. */
const COMPARISONS_MAX = 256;
/** Candidates of one bucket that a lookup looks at. */
const BUCKET_MAX = 64;
/** Lengths of common prefixes are rounded down to steps of this many bits: at most 81 shapes for each family. */
const LENGTH_STEP: Readonly<Record<IpFamily, number>> = { 4: 4, 6: 16 };
const WIDTH: Readonly<Record<IpFamily, number>> = { 4: 32, 6: 128 };
const ANY_SERVICE = '*';

/** An entry in the index. */
interface Placed {
  readonly key: string;
  readonly entry: RuleEntry;
  readonly vni: number;
  /** Position of its tier. */
  readonly tier: number;
  readonly rank: number;
  readonly set: MatchSet;
  /** True when it takes packets from what comes after it. */
  readonly decides: boolean;
  /** True when it leads packets past what comes after it in its tier. */
  readonly bypasses: boolean;
}

/** Entries of one VNI whose addresses have common prefixes of about these lengths. */
interface Shape {
  readonly name: string;
  readonly family: IpFamily;
  readonly sourceLength: number;
  readonly destinationLength: number;
  /** By the common prefixes and, where the entry has just one, the destination port; each in the order of evaluation. */
  readonly buckets: Map<string, Placed[]>;
}

interface Source {
  readonly object: DpuRule;
  readonly verdicts: readonly EntryVerdict[];
  readonly entries: readonly CompiledEntry[];
}

/** See the head of the file. */
export class Coverage {
  readonly #changed = new Map<string, Source | undefined>();
  readonly #objects = new Map<string, readonly Placed[]>();
  readonly #placed = new Map<string, Placed>();
  /** By VNI, in the order of their names. */
  readonly #shapes = new Map<number, Shape[]>();
  /** By VNI and tier: ranks of what leads past the rest of the tier, with how many have them. */
  readonly #bypasses = new Map<string, Map<number, number>>();
  readonly #known = new Map<string, Decider | undefined>();

  /** Takes note of an object of rules as it was compiled; undefined when it is gone. */
  put(name: string, source: Source | undefined): void {
    this.#changed.set(name, source);
  }

  /** What keeps the entry with this name from ever deciding; undefined when nothing is known to. */
  deciderBefore(key: string): Decider | undefined {
    this.#catchUp();
    if (this.#known.has(key)) return this.#known.get(key);
    const placed = this.#placed.get(key);
    const decider = placed === undefined ? undefined : this.#find(placed);
    this.#known.set(key, decider);
    return decider;
  }

  #catchUp(): void {
    if (this.#changed.size === 0) return;
    this.#known.clear();
    for (const [name, source] of this.#changed) {
      for (const placed of this.#objects.get(name) ?? []) {
        this.#placed.delete(placed.key);
        this.#countBypass(placed, -1);
        for (const bucket of this.#bucketsOf(placed)) {
          const at = position(bucket, placed);
          if (bucket[at] === placed) bucket.splice(at, 1);
        }
      }
      const next = source === undefined ? [] : placedEntries(source);
      for (const placed of next) {
        this.#placed.set(placed.key, placed);
        this.#countBypass(placed, 1);
        for (const bucket of this.#bucketsOf(placed)) {
          bucket.splice(position(bucket, placed), 0, placed);
        }
      }
      if (next.length === 0) this.#objects.delete(name);
      else this.#objects.set(name, next);
    }
    this.#changed.clear();
  }

  #countBypass({ vni, tier, rank, bypasses }: Placed, change: number): void {
    if (!bypasses) return;
    const place = `${vni}/${tier}`;
    const ranks = this.#bypasses.get(place) ?? new Map<number, number>();
    this.#bypasses.set(place, ranks);
    const count = (ranks.get(rank) ?? 0) + change;
    if (count > 0) ranks.set(rank, count);
    else ranks.delete(rank);
  }

  /** True when something before it may lead packets past it into the next tier. */
  #mayBeBypassed({ vni, tier, rank }: Placed): boolean {
    const ranks = this.#bypasses.get(`${vni}/${tier}`);
    if (ranks === undefined) return false;
    for (const other of ranks.keys()) if (other > rank) return true;
    return false;
  }

  /** Where an entry stands that others may come after. */
  *#bucketsOf({ vni, set, decides }: Placed): Generator<Placed[]> {
    if (!decides) return;
    for (const { family, sources, destinations } of set.addresses) {
      const shape = this.#shapeOf(vni, family, sources, destinations);
      const key = bucketKey(shape, sources, destinations, serviceOf(set));
      let bucket = shape.buckets.get(key);
      if (bucket === undefined) {
        bucket = [];
        shape.buckets.set(key, bucket);
      }
      yield bucket;
    }
  }

  #shapeOf(
    vni: number,
    family: IpFamily,
    sources: AddressRanges,
    destinations: AddressRanges,
  ): Shape {
    const step = LENGTH_STEP[family];
    const sourceLength = Math.floor(commonLength(sources, family) / step) * step;
    const destinationLength = Math.floor(commonLength(destinations, family) / step) * step;
    const name = `${family}/${sourceLength}/${destinationLength}`;
    const shapes = this.#shapes.get(vni) ?? [];
    this.#shapes.set(vni, shapes);
    const known = shapes.find((shape) => shape.name === name);
    if (known !== undefined) return known;
    const shape = { name, family, sourceLength, destinationLength, buckets: new Map() };
    shapes.push(shape);
    shapes.sort((a, b) => (a.name < b.name ? -1 : 1));
    return shape;
  }

  #find(inner: Placed): Decider | undefined {
    // Replies to it are matches of its own.
    if (inner.entry.reverse || inner.entry.action === 'redirect') return undefined;
    // Whatever holds the whole set holds its first family.
    const [addresses] = inner.set.addresses;
    if (addresses === undefined) return undefined;
    const { family, sources, destinations } = addresses;
    let best: Placed | undefined;
    let room = COMPARISONS_MAX;
    for (const shape of this.#shapes.get(inner.vni) ?? []) {
      if (shape.family !== family) continue;
      for (const service of new Set([ANY_SERVICE, serviceOf(inner.set)])) {
        const bucket = shape.buckets.get(bucketKey(shape, sources, destinations, service)) ?? [];
        for (const outer of bucket.slice(0, BUCKET_MAX)) {
          if (!isEvaluatedBefore(outer, inner) || room === 0) break;
          if (!takesFrom(outer, inner)) continue;
          if (outer.tier < inner.tier && this.#mayBeBypassed(outer)) continue;
          room--;
          if (holds(outer.set, inner.set) && (best === undefined || order(outer, best) < 0)) {
            best = outer;
          }
        }
      }
    }
    return best && deciderOf(best, inner);
  }
}

function placedEntries({ object, verdicts, entries }: Source): Placed[] {
  const { tier, priority, enforcement, rules } = object.spec;
  if (enforcement === 'Suspended') return [];
  return rules.flatMap((entry, index) => {
    const compiled = entries[index];
    const { vni, groups } = verdicts[index] ?? {};
    if (compiled === undefined || vni === undefined) return [];
    if (compiled.flows.length + compiled.clauses.length === 0) return [];
    const set = matchSet(entry, groups);
    if (set === undefined) return [];
    return [
      {
        key: compiled.key,
        entry,
        vni,
        tier: TIERS.indexOf(tier),
        rank: rankOf(entry.priority ?? priority, entry.action),
        set,
        bypasses:
          enforcement === 'Enforce' && (entry.action === 'pass' || entry.action === 'redirect'),
        // A redirect acts once: what it sends back meets the others.
        decides: enforcement === 'Enforce' && entry.action !== 'redirect' && !set.tooLarge,
      },
    ];
  });
}

/** Order of evaluation; names only make it total. */
function order(one: Placed, other: Placed): number {
  return (
    one.tier - other.tier ||
    other.rank - one.rank ||
    (one.key < other.key ? -1 : Number(one.key > other.key))
  );
}

/** Where `placed` is, or belongs, in a bucket. */
function position(bucket: readonly Placed[], placed: Placed): number {
  let [low, high] = [0, bucket.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const there = bucket[middle];
    if (there !== undefined && order(there, placed) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function isEvaluatedBefore(outer: Placed, inner: Placed): boolean {
  return outer.tier < inner.tier || (outer.tier === inner.tier && outer.rank > inner.rank);
}

/** True when what `outer` matches does not get to `inner` wherever that is enforced. */
function takesFrom(outer: Placed, inner: Placed): boolean {
  const { action, direction } = outer.entry;
  if (direction !== 'Both' && direction !== inner.entry.direction) return false;
  // A pass goes on in the next tier.
  return action !== 'pass' || outer.tier === inner.tier;
}

function deciderOf(outer: Placed, inner: Placed): Decider {
  const fragmentsPass =
    takesFragments(inner.entry.action) &&
    !takesFragments(outer.entry.action) &&
    inner.set.addresses.some(
      ({ family }) => missesFragments(inner.set, family) && missesFragments(outer.set, family),
    );
  return { name: outer.key, fragmentsPass };
}

/** True when a later fragment lacks what the set reads: with IPv6 it does not say its protocol either. */
function missesFragments({ readsHeader, protocols }: MatchSet, family: IpFamily): boolean {
  return readsHeader || (family === 6 && protocols !== undefined);
}

/** The one destination port of a set. */
function serviceOf({ destinationPorts }: MatchSet): string {
  const [only, ...others] = destinationPorts ?? [];
  const single = only !== undefined && others.length === 0 && only.first === only.last;
  return single ? String(only.first) : ANY_SERVICE;
}

function bucketKey(
  { family, sourceLength, destinationLength }: Shape,
  sources: AddressRanges,
  destinations: AddressRanges,
  service: string,
): string {
  const top = (ranges: AddressRanges, length: number): bigint =>
    (ranges[0]?.first ?? 0n) >> BigInt(WIDTH[family] - length);
  return `${top(sources, sourceLength)} ${top(destinations, destinationLength)} ${service}`;
}
