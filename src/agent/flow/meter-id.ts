/**
 * Numbers of meters. A meter has no cookie, so a range of numbers says which are ours; within it a number follows from the
 * name, and names that would like the same number are told apart by their sort order. 131071 is less than what the userspace
 * datapath (2^18) and the kernel's (about 200,000) offer.
 *
 * ```
 *  31                    17 16 15              0
 * +------------------------+--+-----------------+
 * |           0            |1 |  hash of name   |
 * +------------------------+--+-----------------+
 * ```
 */
import { hashName } from './cookie.ts';

const OWN_METER = 0x10000;
const HASH_MASK = 0xffffn;
/** Half of the numbers: then a free one is found at the second look, on average. */
const METERS_MAX = 0x8000;

/** True when a meter with this number is ours. */
export function isOwnMeter(meterId: number): boolean {
  return meterId >>> 16 === 1;
}

/** Gives numbers to names; which, depends on the set of names alone. */
export class MeterIds {
  readonly #hash: (name: string, salt: number) => bigint;
  /** Name -> how many ask for it. */
  readonly #uses = new Map<string, number>();
  #ids: ReadonlyMap<string, number> = new Map();
  #changed = false;

  constructor(hash: (name: string, salt: number) => bigint = hashName) {
    this.#hash = hash;
  }

  /** Somebody needs a meter of this name. */
  add(name: string): void {
    const uses = this.#uses.get(name) ?? 0;
    this.#uses.set(name, uses + 1);
    if (uses === 0) this.#changed = true;
  }

  /** One of those does no more. */
  delete(name: string): void {
    const uses = this.#uses.get(name) ?? 0;
    if (uses > 1) this.#uses.set(name, uses - 1);
    else if (this.#uses.delete(name)) this.#changed = true;
  }

  /** Gives the numbers out again after names have come or gone. @returns names that had another number before. */
  settle(): string[] {
    if (!this.#changed) return [];
    this.#changed = false;
    const before = this.#ids;
    const taken = new Set<number>();
    const ids = new Map<string, number>();
    for (const name of [...this.#uses.keys()].sort().slice(0, METERS_MAX)) {
      let salt = 0;
      let id = this.#choice(name, salt);
      while (taken.has(id)) id = this.#choice(name, ++salt);
      taken.add(id);
      ids.set(name, id);
    }
    this.#ids = ids;
    return [...new Set([...before.keys(), ...ids.keys()])].filter(
      (name) => before.has(name) && before.get(name) !== ids.get(name),
    );
  }

  /** The number of a name that was there when they were given out; undefined when there were too many. */
  idOf(name: string): number | undefined {
    return this.#ids.get(name);
  }

  #choice(name: string, salt: number): number {
    return OWN_METER + Number(this.#hash(name, salt) & HASH_MASK);
  }
}
