/**
 * Sets of addresses as lists of prefixes: OpenFlow has no negation, so "these but not those" becomes prefixes again.
 */
import { prefixContains, prefixMask, type IpPrefix } from './address.ts';

const WIDTH = { 4: 32, 6: 128 } as const;

/** Every IPv4 and every IPv6 address. */
export const ALL_ADDRESSES: readonly IpPrefix[] = [
  { family: 4, value: 0n, length: 0 },
  { family: 6, value: 0n, length: 0 },
];

/**
 * The addresses of `included` that are in none of `excluded`, as prefixes that do not overlap where `included` does not.
 * An excluded address costs at most 32 (IPv4) or 128 (IPv6) prefixes.
 */
export function subtractPrefixes(
  included: readonly IpPrefix[],
  excluded: readonly IpPrefix[],
): IpPrefix[] {
  return included.flatMap((prefix) => without(prefix, excluded));
}

/** `prefix` without `holes`: halved until each half is either whole or gone. */
function without(prefix: IpPrefix, holes: readonly IpPrefix[]): IpPrefix[] {
  if (holes.some((hole) => prefixContains(hole, prefix))) return [];
  const inside = holes.filter((hole) => prefixContains(prefix, hole));
  if (inside.length === 0) return [prefix];
  const { family, value } = prefix;
  const length = prefix.length + 1;
  const upper = value | (1n << BigInt(WIDTH[family] - length));
  return [
    ...without({ family, length, value }, inside),
    ...without({ family, length, value: upper }, inside),
  ];
}

/** The same addresses without the prefixes that others of the list contain; each once. */
export function widestPrefixes(prefixes: readonly IpPrefix[]): readonly IpPrefix[] {
  if (prefixes.length < 2) return prefixes;
  const seen = new Set<string>();
  /** Lengths of what was seen: nearly always few. */
  const lengths = new Set<number>();
  const name = ({ family }: IpPrefix, value: bigint, length: number): string =>
    `${family} ${value}/${length}`;
  return prefixes
    .toSorted((a, b) => a.length - b.length)
    .filter((prefix) => {
      for (const length of lengths) {
        const value = prefix.value & prefixMask(prefix.family, length);
        if (seen.has(name(prefix, value, length))) return false;
      }
      seen.add(name(prefix, prefix.value, prefix.length));
      lengths.add(prefix.length);
      return true;
    });
}
