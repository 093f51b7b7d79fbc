/**
 * Ids of rules: 32 bits in reg2 and reg3, 40 in the cookie. An id follows from the name. Two names with equal low 32 bits
 * are told apart by their sort order, never by who came first.
 */
import { hashName } from './cookie.ts';

/** Name of one entry of a rule, as ids, counters and people use it. */
export function ruleEntryName(namespace: string, name: string, entry: string): string {
  return `DPURule/${namespace}/${name}/${entry}`;
}

/** Name of the replies to an entry: their conjunctions must not mix with those of the entry itself. */
export function replyName(entryName: string): string {
  return `${entryName}#reply`;
}

/** Name of a network's default action as a rule. */
export function defaultActionName(network: string, direction: 'egress' | 'ingress'): string {
  return `DPUNetwork/${network}/default-${direction}`;
}

const LOW = 0xffff_ffffn;

/** The part of an id that fits into a register. */
export function registerId(id: bigint): number {
  return Number(id & LOW);
}

/**
 * Gives ids to names. Register 0 means "no rule", so an id whose low 32 bits are 0 is skipped.
 */
export class RuleIds {
  readonly #hash: (name: string, salt: number) => bigint;
  /** First choice of an id -> the names that would like it, sorted. */
  readonly #claims = new Map<number, string[]>();

  constructor(hash: (name: string, salt: number) => bigint = hashName) {
    this.#hash = hash;
  }

  /** Makes a name known. @returns the names whose id changed by that, apart from `name` itself. */
  add(name: string): readonly string[] {
    const key = registerId(this.#hash(name, 0));
    const names = this.#claims.get(key);
    if (names === undefined) {
      this.#claims.set(key, [name]);
      return [];
    }
    if (names.includes(name)) return [];
    names.push(name);
    names.sort();
    return names.slice(names.indexOf(name) + 1);
  }

  /** Forgets a name. @returns the names whose id changed by that. */
  delete(name: string): readonly string[] {
    const key = registerId(this.#hash(name, 0));
    const names = this.#claims.get(key);
    const index = names?.indexOf(name) ?? -1;
    if (names === undefined || index < 0) return [];
    names.splice(index, 1);
    if (names.length === 0) this.#claims.delete(key);
    return names.slice(index);
  }

  /** The id of a name that was added: 40 bits. */
  idOf(name: string): bigint {
    const names = this.#claims.get(registerId(this.#hash(name, 0)));
    const rank = Math.max(0, names?.indexOf(name) ?? 0);
    let salt = rank;
    let id = this.#hash(name, salt);
    // The first in sort order keeps its own hash; the others look for a place that nobody claims.
    while (registerId(id) === 0 || (salt > 0 && this.#claims.has(registerId(id)))) {
      id = this.#hash(name, ++salt);
    }
    return id;
  }
}
