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
  /** Name -> its first choice of an id. */
  readonly #choices = new Map<string, bigint>();
  /** Low 32 bits of a first choice -> the name that would like it, or several names, sorted. */
  readonly #claims = new Map<number, string | string[]>();

  constructor(hash: (name: string, salt: number) => bigint = hashName) {
    this.#hash = hash;
  }

  /** Makes a name known. @returns the names whose id changed by that, apart from `name` itself. */
  add(name: string): readonly string[] {
    if (this.#choices.has(name)) return [];
    const choice = this.#hash(name, 0);
    this.#choices.set(name, choice);
    const key = registerId(choice);
    const claims = this.#claims.get(key);
    if (claims === undefined) {
      this.#claims.set(key, name);
      return [];
    }
    const names = [claims, name].flat().sort();
    this.#claims.set(key, names);
    return names.slice(names.indexOf(name) + 1);
  }

  /** Forgets a name. @returns the names whose id changed by that. */
  delete(name: string): readonly string[] {
    const choice = this.#choices.get(name);
    if (choice === undefined) return [];
    this.#choices.delete(name);
    const key = registerId(choice);
    const claims = this.#claims.get(key);
    if (claims === undefined || claims === name) {
      this.#claims.delete(key);
      return [];
    }
    const names = [claims].flat();
    const index = names.indexOf(name);
    names.splice(index, 1);
    this.#claims.set(key, names);
    return names.slice(index);
  }

  /** The id of a name that was added: 40 bits. */
  idOf(name: string): bigint {
    const choice = this.#choices.get(name) ?? this.#hash(name, 0);
    const claims = this.#claims.get(registerId(choice));
    let salt = typeof claims === 'object' ? claims.indexOf(name) : 0;
    let id = salt > 0 ? this.#hash(name, salt) : choice;
    // The first in sort order keeps its own hash; the others look for a place that nobody claims.
    while (registerId(id) === 0 || (salt > 0 && this.#claims.has(registerId(id)))) {
      id = this.#hash(name, ++salt);
    }
    return id;
  }
}
