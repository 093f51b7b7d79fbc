/**
 * Sets of addresses as lists of prefixes: OpenFlow has no negation, so "these but not those" becomes prefixes again.
 */
import { prefixContains, type IpPrefix } from './address.ts';

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
  return excluded.reduce<IpPrefix[]>(
    (left, hole) => left.flatMap((prefix) => without(prefix, hole)),
    [...included],
  );
}

/** `prefix` without `hole`: the siblings on the way down from the one to the other. */
function without(prefix: IpPrefix, hole: IpPrefix): IpPrefix[] {
  if (prefixContains(hole, prefix)) return [];
  if (!prefixContains(prefix, hole)) return [prefix];
  const { family } = prefix;
  const siblings: IpPrefix[] = [];
  for (let length = prefix.length + 1; length <= hole.length; length++) {
    const bit = 1n << BigInt(WIDTH[family] - length);
    const kept = (hole.value >> BigInt(WIDTH[family] - length)) << BigInt(WIDTH[family] - length);
    siblings.push({ family, length, value: kept ^ bit });
  }
  return siblings;
}
