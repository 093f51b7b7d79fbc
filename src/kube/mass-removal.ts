/**
 * When a complete list is not believed. Objects that are missing from it may be gone because an etcd was restored from a
 * backup or a CRD was made anew: when they are many, and most of what there is, they stay for a while. Pure.
 */

/** How long objects that are missing from a list stay when they are too many, in milliseconds. */
export const HOLD_MS = 600_000;
/** A list may take away fewer than this without being doubted. */
const HOLD_COUNT = 20;

/** Whether a list that misses `missing` of `known` objects is to be doubted. */
export function isMassRemoval(missing: number, known: number): boolean {
  return missing >= HOLD_COUNT && missing * 2 > known;
}
