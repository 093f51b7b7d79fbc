/**
 * The flow table that the configuration asks for, kept up to date by units: a unit is compiled again only when its inputs
 * changed, and only the keys that it touched become dirty. The content is a function of the last snapshot alone; the
 * history only decides how much work an update is.
 */
import type { DpuRule } from '../../api/dpu-rule.ts';
import type { EncodedFlow } from '../../openflow/flow.ts';
import type { EncodedGroup } from '../../openflow/group-mod.ts';
import type { EntryVerdict, RuleInput, Snapshot } from './model.ts';
import { objectName, ruleChanges, type RuleChanges } from './rule-changes.ts';
import { clauseFlow, type Clause } from './conjunction.ts';
import { compileRule, type CompiledEntry } from './rule-flows.ts';
import { defaultActionName, replyName, RuleIds, ruleEntryName } from './rule-id.ts';
import { pipelineUnits, type UnitOutput } from './units.ts';

/** A flow with the unit that claims it. */
export interface DesiredFlow {
  readonly flow: EncodedFlow;
  /** Unit name, or the key of a rule entry (`DPURule/...`). */
  readonly owner: string;
}

/** What a unit or an entry says about a key. */
interface Claim extends DesiredFlow {
  /** Set for a clause of a conjunction: all clauses of a key are in force together, in one flow. */
  readonly clause?: Clause;
}

/** What an update changed. The sets are the caller's. */
export interface DesiredChange {
  /** Keys of flows to compare with the switch. */
  readonly dirtyFlows: Set<string>;
  /** Ids of groups to compare with the switch. */
  readonly dirtyGroups: Set<number>;
  /** Units that were compiled, for tests and metrics. */
  readonly compiled: number;
}

interface CompiledUnit {
  readonly signature: string;
  readonly output: UnitOutput;
}

interface CompiledRule {
  readonly object: DpuRule;
  readonly verdicts: readonly EntryVerdict[];
  entries: readonly CompiledEntry[];
}

/** The desired state. */
export class DesiredState {
  readonly #units = new Map<string, CompiledUnit>();
  readonly #rules = new Map<string, CompiledRule>();
  #snapshotRules: readonly RuleInput[] = [];
  readonly #ids = new RuleIds();
  readonly #defaultNames = new Set<string>();
  /** Key -> the claim that has it. */
  readonly #claims = new Map<string, Claim>();
  /** Key -> all its claims, the winner first, where there is more than one. */
  readonly #contested = new Map<string, readonly Claim[]>();
  /** Key -> the flow of clauses that several entries share. */
  readonly #shared = new Map<string, DesiredFlow>();
  readonly #groups = new Map<number, EncodedGroup>();
  #dirtyFlows = new Set<string>();
  #dirtyGroups = new Set<number>();
  #compiled = 0;

  /** Number of flows that the switch should hold. */
  get flowCount(): number {
    return this.#claims.size;
  }

  /** Number of groups that the switch should hold. */
  get groupCount(): number {
    return this.#groups.size;
  }

  /** The flow that stands at a key; undefined when none should. */
  flow(key: string): DesiredFlow | undefined {
    return this.#shared.get(key) ?? this.#claims.get(key);
  }

  /** Every flow that should be in the switch, with its key. */
  *flows(): IterableIterator<readonly [string, DesiredFlow]> {
    for (const [key, winner] of this.#claims) yield [key, this.#shared.get(key) ?? winner];
  }

  /** The group with an id; undefined when none should be. */
  group(id: number): EncodedGroup | undefined {
    return this.#groups.get(id);
  }

  /** Every group that should be in the switch. */
  groups(): IterableIterator<EncodedGroup> {
    return this.#groups.values();
  }

  /** Every rule entry, accepted or not. */
  *entries(): IterableIterator<CompiledEntry> {
    for (const rule of this.#rules.values()) yield* rule.entries;
  }

  /** The owner that keeps an entry from a flow that it also claims; undefined when all its flows are its own. */
  shadowedBy(entry: CompiledEntry): string | undefined {
    for (const flow of entry.flows) {
      const winner = this.#claims.get(flow.key);
      if (winner !== undefined && winner.owner !== entry.key) return winner.owner;
    }
    return undefined;
  }

  /** Brings the state to a snapshot. */
  update(snapshot: Snapshot): DesiredChange {
    // New ones: the sets of the update before belong to whoever asked for it.
    this.#dirtyFlows = new Set();
    this.#dirtyGroups = new Set();
    this.#compiled = 0;
    const changes = ruleChanges(this.#snapshotRules, snapshot.rules);
    const displaced = this.#updateIds(snapshot, changes);
    this.#updateUnits(snapshot);
    this.#updateRules(changes, displaced);
    // Last: after a failure the next update sees the same differences again.
    this.#snapshotRules = snapshot.rules;
    return {
      dirtyFlows: this.#dirtyFlows,
      dirtyGroups: this.#dirtyGroups,
      compiled: this.#compiled,
    };
  }

  /** Adds and forgets the names of rule entries and default actions. @returns names whose id moved: hash collisions only. */
  #updateIds(snapshot: Snapshot, changes: RuleChanges): ReadonlySet<string> {
    const displaced = new Set<string>();
    const note = (names: readonly string[]): void => names.forEach((name) => displaced.add(name));
    const defaults = new Set(
      snapshot.networks.flatMap(({ name }) => [
        defaultActionName(name, 'egress'),
        defaultActionName(name, 'ingress'),
      ]),
    );
    for (const name of this.#defaultNames) if (!defaults.has(name)) note(this.#ids.delete(name));
    for (const name of defaults) if (!this.#defaultNames.has(name)) note(this.#ids.add(name));
    this.#defaultNames.clear();
    defaults.forEach((name) => this.#defaultNames.add(name));

    for (const { object } of changes.changed) {
      const names = new Set(entryNames(object));
      const known = this.#rules.get(objectName(object));
      const old = known === undefined ? [] : entryNames(known.object);
      for (const name of old) if (!names.has(name)) note(this.#ids.delete(name));
      for (const name of names) note(this.#ids.add(name));
    }
    for (const key of changes.removed) {
      const known = this.#rules.get(key);
      if (known !== undefined)
        entryNames(known.object).forEach((name) => note(this.#ids.delete(name)));
    }
    return displaced;
  }

  #updateUnits(snapshot: Snapshot): void {
    const present = new Set<string>();
    for (const unit of pipelineUnits(snapshot, (name) => this.#ids.idOf(name))) {
      if (present.has(unit.name)) continue;
      present.add(unit.name);
      const known = this.#units.get(unit.name);
      if (known?.signature === unit.signature) continue;
      const output = unit.compile();
      this.#compiled++;
      this.#replaceClaims(unit.name, known?.output.flows ?? [], output.flows);
      this.#replaceGroups(known?.output.groups ?? [], output.groups);
      this.#units.set(unit.name, { signature: unit.signature, output });
    }
    for (const [name, { output }] of this.#units) {
      if (present.has(name)) continue;
      this.#replaceClaims(name, output.flows, []);
      this.#replaceGroups(output.groups, []);
      this.#units.delete(name);
    }
  }

  #updateRules(changes: RuleChanges, displaced: ReadonlySet<string>): void {
    for (const key of changes.removed) {
      this.#replaceEntries(this.#rules.get(key)?.entries ?? [], []);
      this.#rules.delete(key);
    }
    for (const { object, verdicts } of changes.changed) this.#compileRule(object, verdicts);
    if (displaced.size === 0) return;
    for (const { object, verdicts } of [...this.#rules.values()]) {
      if (entryNames(object).some((name) => displaced.has(name)))
        this.#compileRule(object, verdicts);
    }
  }

  #compileRule(object: DpuRule, verdicts: readonly EntryVerdict[]): void {
    const key = objectName(object);
    const entries = compileRule(object, verdicts, (name) => this.#ids.idOf(name));
    this.#compiled++;
    this.#replaceEntries(this.#rules.get(key)?.entries ?? [], entries);
    this.#rules.set(key, { object, verdicts, entries });
  }

  #replaceEntries(old: readonly CompiledEntry[], next: readonly CompiledEntry[]): void {
    for (const { key, flows, clauses } of old) {
      for (const flow of flows) this.#unclaim(key, flow.key);
      for (const { flow } of clauses) this.#unclaim(key, flow.key);
    }
    for (const { key, flows, clauses } of next) {
      for (const flow of flows) this.#claim({ flow, owner: key });
      for (const clause of clauses) this.#claim({ flow: clause.flow, owner: key, clause });
    }
  }

  #replaceClaims(owner: string, old: readonly EncodedFlow[], next: readonly EncodedFlow[]): void {
    for (const flow of old) this.#unclaim(owner, flow.key);
    for (const flow of next) this.#claim({ flow, owner });
  }

  #unclaim(owner: string, key: string): void {
    this.#dirtyFlows.add(key);
    const contested = this.#contested.get(key);
    if (contested !== undefined)
      this.#settle(
        key,
        contested.filter((claim) => claim.owner !== owner),
      );
    else if (this.#claims.get(key)?.owner === owner) this.#claims.delete(key);
  }

  #claim(claim: Claim): void {
    const { key } = claim.flow;
    this.#dirtyFlows.add(key);
    const winner = this.#claims.get(key);
    if (winner === undefined) {
      this.#claims.set(key, claim);
      return;
    }
    const claims = this.#contested.get(key) ?? [winner];
    // An entry may claim a key twice: for a clause of its own, and for one of its replies.
    if (!claims.some((other) => isSameClaim(other, claim))) this.#settle(key, [...claims, claim]);
  }

  /** Gives a key to the first of its claims by name, and makes the flow that clauses share. */
  #settle(key: string, claims: readonly Claim[]): void {
    const sorted = [...claims].sort((a, b) => (a.owner < b.owner ? -1 : 1));
    const [winner] = sorted;
    this.#shared.delete(key);
    if (winner === undefined) this.#claims.delete(key);
    else this.#claims.set(key, winner);
    if (sorted.length < 2) {
      this.#contested.delete(key);
      return;
    }
    this.#contested.set(key, sorted);
    const clauses = sorted.flatMap(({ clause }) => clause ?? []);
    const [first] = clauses;
    if (first === undefined) return;
    const flow = clauseFlow(
      first.place,
      clauses.map(({ action }) => action),
    );
    this.#shared.set(key, { flow, owner: 'shared' });
  }

  #replaceGroups(old: readonly EncodedGroup[], next: readonly EncodedGroup[]): void {
    for (const group of old) {
      this.#groups.delete(group.groupId);
      this.#dirtyGroups.add(group.groupId);
    }
    for (const group of next) {
      this.#groups.set(group.groupId, group);
      this.#dirtyGroups.add(group.groupId);
    }
  }
}

function isSameClaim(one: Claim, other: Claim): boolean {
  const [a, b] = [one.clause?.action, other.clause?.action];
  return one.owner === other.owner && a?.id === b?.id && a?.clause === b?.clause;
}

/** Every name of an object that needs an id. */
function entryNames(object: DpuRule): string[] {
  const { namespace, name } = object.metadata;
  return object.spec.rules.flatMap((entry) => {
    const entryName = ruleEntryName(namespace, name, entry.name);
    return entry.reverse ? [entryName, replyName(entryName)] : [entryName];
  });
}
