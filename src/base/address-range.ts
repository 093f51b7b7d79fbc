/**
 * Sets of addresses of one family as sorted ranges that do not touch: whether one set holds another is one walk over both.
 * For arithmetic only; flows are made of prefixes (prefix-set.ts).
 */
import type { IpFamily, IpPrefix } from './address.ts';

/** Addresses from `first` to `last`, both included. */
interface AddressRange {
  readonly first: bigint;
  readonly last: bigint;
}

/** A set of addresses. */
export type AddressRanges = readonly AddressRange[];

const WIDTH: Record<IpFamily, bigint> = { 4: 32n, 6: 128n };

/** The addresses of `family` in `prefixes`. */
export function rangesOf(prefixes: readonly IpPrefix[], family: IpFamily): AddressRanges {
  const sorted = prefixes
    .filter((prefix) => prefix.family === family)
    .map(({ value, length }) => {
      const size = 1n << (WIDTH[family] - BigInt(length));
      return { first: value, last: value + size - 1n };
    })
    .sort((a, b) => (a.first < b.first ? -1 : 1));
  const ranges: { first: bigint; last: bigint }[] = [];
  for (const { first, last } of sorted) {
    const open = ranges.at(-1);
    if (open === undefined || first > open.last + 1n) ranges.push({ first, last });
    else if (last > open.last) open.last = last;
  }
  return ranges;
}

/** True when every address of `inner` is in `outer`. */
export function rangesContain(outer: AddressRanges, inner: AddressRanges): boolean {
  let at = 0;
  for (const { first, last } of inner) {
    while ((outer[at]?.last ?? last) < first) at++;
    const range = outer[at];
    if (range === undefined || first < range.first || last > range.last) return false;
  }
  return true;
}

/** Length of the longest prefix that holds the whole set, which is not empty. */
export function commonLength(ranges: AddressRanges, family: IpFamily): number {
  const differing = (ranges[0]?.first ?? 0n) ^ (ranges.at(-1)?.last ?? 0n);
  return Number(WIDTH[family]) - (differing === 0n ? 0 : differing.toString(2).length);
}
