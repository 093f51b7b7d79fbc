/**
 * The flow table that the configuration asks for, kept up to date by units: a unit is compiled again only when its inputs
 * changed, and only the keys that it touched become dirty. The content is a function of the last snapshot alone; the
 * history only decides how much work an update is.
 */
import type { DpuRule } from '../../api/dpu-rule.ts';
import type { EncodedFlow } from '../../openflow/flow.ts';
import type { EncodedGroup } from '../../openflow/group-mod.ts';
import type { EntryVerdict, RuleInput, Snapshot } from './model.ts';
import { faultText } from './isolation.ts';
import { objectName, ruleChanges, type RuleChanges } from './rule-changes.ts';
import { clauseOf, shareClause } from './conjunction.ts';
import { Coverage, type Decider } from './coverage.ts';
import { FlowIndex, NO_SLOT } from './flow-index.ts';
import { MeterIds } from './meter-id.ts';
import { compileRule, type CompiledEntry } from './rule-flows.ts';
import { matchesLaterFragments } from './rule-match.ts';
import { defaultActionName, replyName, RuleIds, ruleEntryName } from './rule-id.ts';
import { allSteps, type Steps } from './steps.ts';
import { meterNames, type UsedMeter } from './verbs.ts';
import { pipelineUnits, type UnitOutput } from './units.ts';

/** A flow with the unit that claims it. */
export interface DesiredFlow {
  readonly flow: EncodedFlow;
  /** Unit name, or the key of a rule entry (`DPURule/...`). */
  readonly owner: string;
}

/** Owner of a flow that clauses of several entries share. */
const SHARED_OWNER = 'shared';

/** What a unit or an entry says about a key. */
type Claim = DesiredFlow;

/** What an update changed. The sets are the caller's. */
export interface DesiredChange {
  /** Flows to compare with the switch, by their keys: what they do may be out of date. */
  readonly dirtyFlows: FlowIndex;
  /** Ids of groups to compare with the switch. */
  readonly dirtyGroups: Set<number>;
  /** Ids of meters to compare with the switch. */
  readonly dirtyMeters: Set<number>;
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
  #units = new Map<string, CompiledUnit>();
  #rules = new Map<string, CompiledRule>();
  #snapshotRules: readonly RuleInput[] = [];
  #ids = new RuleIds();
  #meterIds = new MeterIds();
  #defaultNames = new Set<string>();
  /** The flow that stands at each claimed key. */
  #flows = new FlowIndex();
  /** Cookies under which flows learn. */
  #learners = new Set<bigint>();
  /** By slot: the owner, or all claims, the winner first, where there is more than one. */
  #claims: (string | readonly Claim[])[] = [];
  #coverage = new Coverage();
  #groups = new Map<number, EncodedGroup>();
  /** Id -> the meter, once for each entry that uses it. */
  #meters = new Map<number, readonly UsedMeter[]>();
  #dirtyMeters = new Set<number>();
  #dirtyFlows = new FlowIndex();
  #dirtyGroups = new Set<number>();
  #compiled = 0;

  /** The flows that the switch should hold. Whoever walks over it with pauses sees each slot as it is at that time. */
  get index(): Pick<FlowIndex, 'size' | 'slotCount' | 'at'> {
    return this.#flows;
  }

  /** Number of flows that the switch should hold. */
  get flowCount(): number {
    return this.#flows.size;
  }

  /** Number of groups that the switch should hold. */
  get groupCount(): number {
    return this.#groups.size;
  }

  /** The flow that should stand at the key of `flow`; undefined when none should. */
  flow(flow: EncodedFlow): EncodedFlow | undefined {
    return this.#flows.get(flow);
  }

  /** True while there are to be flows that learn under this cookie. */
  isLearner(cookie: bigint): boolean {
    return this.#learners.has(cookie);
  }

  /** The unit or entry that has the key of `flow`; `shared` for a flow of several. */
  ownerOf(flow: EncodedFlow): string | undefined {
    const slot = this.#flows.slotOf(flow);
    return slot === NO_SLOT ? undefined : this.#ownerAt(slot);
  }

  /** Every flow that should be in the switch, with its key. */
  *flows(): IterableIterator<readonly [string, DesiredFlow]> {
    for (let slot = 0; slot < this.#flows.slotCount; slot++) {
      const flow = this.#flows.at(slot);
      if (flow !== undefined) yield [flow.key, { flow, owner: this.#ownerAt(slot) }];
    }
  }

  /** The group with an id; undefined when none should be. */
  group(id: number): EncodedGroup | undefined {
    return this.#groups.get(id);
  }

  /** Every group that should be in the switch. */
  groups(): IterableIterator<EncodedGroup> {
    return this.#groups.values();
  }

  /** The meter with an id; undefined when none should be. */
  meter(id: number): UsedMeter | undefined {
    return this.#meters.get(id)?.[0];
  }

  /** Ids of the meters that should be in the switch. */
  meterIds(): IterableIterator<number> {
    return this.#meters.keys();
  }

  /** Every rule entry, accepted or not. */
  *entries(): IterableIterator<CompiledEntry> {
    for (const rule of this.#rules.values()) yield* rule.entries;
  }

  /** The owner that keeps an entry from a flow that it also claims; undefined when all its flows are its own. */
  shadowedBy(entry: CompiledEntry): string | undefined {
    for (const flow of entry.flows) {
      const slot = this.#flows.slotOf(flow);
      const winner = slot === NO_SLOT ? undefined : this.#claimsAt(slot)[0]?.owner;
      if (winner === undefined || winner === entry.key) continue;
      // Allows that differ in their ports share the flow for later fragments, which have none: that takes nothing away.
      if (!matchesLaterFragments(flow)) return winner;
    }
    return undefined;
  }

  /** What the pipeline's own flows would have done against the isolation of networks, in sentences; empty as it should be. */
  get faults(): readonly string[] {
    return [...this.#units.values()].flatMap(({ output }) => (output.faults ?? []).map(faultText));
  }

  /** The entry that takes every packet which another matches, before that one is met; undefined when none is known to. */
  deciderBefore(entry: CompiledEntry): Decider | undefined {
    return this.#coverage.deciderBefore(entry.key);
  }

  /** Brings the state to a snapshot. */
  update(snapshot: Snapshot): DesiredChange {
    return allSteps(this.updateSteps(snapshot));
  }

  /**
   * As {@link update}, with a pause after each unit and each rule. Until the last step the state is that of no snapshot:
   * what is written to the switch has to wait for it, and nobody else may update meanwhile.
   */
  *updateSteps(snapshot: Snapshot): Steps<DesiredChange> {
    // New ones: the sets of the update before belong to whoever asked for it.
    this.#dirtyFlows = new FlowIndex();
    this.#dirtyGroups = new Set();
    this.#dirtyMeters = new Set();
    this.#compiled = 0;
    const changes = ruleChanges(this.#snapshotRules, snapshot.rules);
    const displaced = yield* this.#updateIds(snapshot, changes);
    yield* this.#updateUnits(snapshot);
    yield* this.#updateRules(changes, displaced);
    // Last: after a failure the next update sees the same differences again.
    this.#snapshotRules = snapshot.rules;
    return {
      dirtyFlows: this.#dirtyFlows,
      dirtyGroups: this.#dirtyGroups,
      dirtyMeters: this.#dirtyMeters,
      compiled: this.#compiled,
    };
  }

  /** Takes over what another state holds, which must not be used any more. The keys of both are to be compared afterwards. */
  adopt(other: DesiredState): void {
    this.#units = other.#units;
    this.#rules = other.#rules;
    this.#snapshotRules = other.#snapshotRules;
    this.#ids = other.#ids;
    this.#meterIds = other.#meterIds;
    this.#meters = other.#meters;
    this.#defaultNames = other.#defaultNames;
    this.#flows = other.#flows;
    this.#claims = other.#claims;
    this.#learners = other.#learners;
    this.#coverage = other.#coverage;
    this.#groups = other.#groups;
  }

  /** Adds and forgets the names of rule entries and default actions. @returns names whose id moved: hash collisions only. */
  *#updateIds(snapshot: Snapshot, changes: RuleChanges): Steps<ReadonlySet<string>> {
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

    for (const { object, verdicts } of changes.changed) {
      const names = new Set(entryNames(object));
      const known = this.#rules.get(objectName(object));
      const old = known === undefined ? [] : entryNames(known.object);
      for (const name of old) if (!names.has(name)) note(this.#ids.delete(name));
      for (const name of names) note(this.#ids.add(name));
      this.#dropMeterNames(known);
      for (const name of meterNames(object, verdicts)) this.#meterIds.add(name);
      yield;
    }
    for (const key of changes.removed) {
      const known = this.#rules.get(key);
      if (known !== undefined)
        entryNames(known.object).forEach((name) => note(this.#ids.delete(name)));
      this.#dropMeterNames(known);
      yield;
    }
    note(this.#meterIds.settle());
    return displaced;
  }

  #dropMeterNames(rule: CompiledRule | undefined): void {
    if (rule === undefined) return;
    for (const name of meterNames(rule.object, rule.verdicts)) this.#meterIds.delete(name);
  }

  *#updateUnits(snapshot: Snapshot): Steps<void> {
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
      this.#replaceLearners(known?.output.learners, output.learners);
      this.#units.set(unit.name, { signature: unit.signature, output });
      yield;
    }
    for (const [name, { output }] of this.#units) {
      if (present.has(name)) continue;
      this.#replaceClaims(name, output.flows, []);
      this.#replaceGroups(output.groups, []);
      this.#replaceLearners(output.learners, []);
      this.#units.delete(name);
      yield;
    }
  }

  *#updateRules(changes: RuleChanges, displaced: ReadonlySet<string>): Steps<void> {
    for (const key of changes.removed) {
      this.#replaceEntries(this.#rules.get(key)?.entries ?? [], []);
      this.#rules.delete(key);
      this.#coverage.put(key, undefined);
      yield;
    }
    for (const { object, verdicts } of changes.changed) {
      this.#compileRule(object, verdicts);
      yield;
    }
    if (displaced.size === 0) return;
    for (const { object, verdicts } of [...this.#rules.values()]) {
      const names = [...entryNames(object), ...meterNames(object, verdicts)];
      if (names.some((name) => displaced.has(name))) this.#compileRule(object, verdicts);
    }
  }

  #compileRule(object: DpuRule, verdicts: readonly EntryVerdict[]): void {
    const key = objectName(object);
    const entries = compileRule(
      object,
      verdicts,
      (name) => this.#ids.idOf(name),
      (name) => this.#meterIds.idOf(name),
    );
    this.#compiled++;
    this.#replaceEntries(this.#rules.get(key)?.entries ?? [], entries);
    this.#rules.set(key, { object, verdicts, entries });
    this.#coverage.put(key, { object, verdicts, entries });
  }

  #replaceEntries(old: readonly CompiledEntry[], next: readonly CompiledEntry[]): void {
    for (const { key, flows, clauses, meters } of old) {
      for (const meter of meters) this.#replaceMeter(meter.meterId, meter, undefined);
      for (const flow of flows) this.#unclaim(key, flow);
      for (const flow of clauses) this.#unclaim(key, flow);
    }
    for (const { key, flows, clauses, meters } of next) {
      for (const meter of meters) this.#replaceMeter(meter.meterId, undefined, meter);
      for (const flow of flows) this.#claim(key, flow);
      for (const flow of clauses) this.#claim(key, flow);
    }
  }

  #replaceClaims(owner: string, old: readonly EncodedFlow[], next: readonly EncodedFlow[]): void {
    for (const flow of old) this.#unclaim(owner, flow);
    for (const flow of next) this.#claim(owner, flow);
  }

  #unclaim(owner: string, flow: EncodedFlow): void {
    this.#dirtyFlows.put(flow);
    const slot = this.#flows.slotOf(flow);
    if (slot === NO_SLOT) return;
    const claims = this.#claims[slot];
    if (claims === owner) this.#flows.delete(flow);
    else if (typeof claims === 'object') {
      this.#settle(
        flow,
        claims.filter((claim) => claim.owner !== owner),
      );
    }
  }

  #claim(owner: string, flow: EncodedFlow): void {
    this.#dirtyFlows.put(flow);
    const slot = this.#flows.slotOf(flow);
    if (slot === NO_SLOT) {
      this.#claims[this.#flows.add(flow)] = owner;
      return;
    }
    const claims = this.#claimsAt(slot);
    const claim = { flow, owner };
    // An entry may claim a key twice: for a clause of its own, and for one of its replies.
    if (!claims.some((other) => isSameClaim(other, claim))) this.#settle(flow, [...claims, claim]);
  }

  #claimsAt(slot: number): readonly Claim[] {
    const claims = this.#claims[slot] ?? [];
    const flow = this.#flows.at(slot);
    if (typeof claims !== 'string') return claims;
    return flow === undefined ? [] : [{ flow, owner: claims }];
  }

  #ownerAt(slot: number): string {
    const [first, ...others] = this.#claimsAt(slot);
    if (others.length > 0 && this.#flows.at(slot) !== first?.flow) return SHARED_OWNER;
    return first?.owner ?? '';
  }

  /** Gives a key to the first of its claims by name, and makes the flow that clauses share. */
  #settle(flow: EncodedFlow, claims: readonly Claim[]): void {
    const sorted = [...claims].sort((a, b) => (a.owner < b.owner ? -1 : 1));
    const [winner, ...others] = sorted;
    if (winner === undefined) {
      this.#flows.delete(flow);
    } else if (others.length === 0) {
      this.#claims[this.#flows.put(winner.flow)] = winner.owner;
    } else {
      const clauses = sorted.flatMap((claim) => clauseOf(claim.flow) ?? []);
      const stands = clauses.length === 0 ? winner.flow : shareClause(flow, clauses);
      this.#claims[this.#flows.put(stands)] = sorted;
    }
  }

  #replaceMeter(id: number, old: UsedMeter | undefined, next: UsedMeter | undefined): void {
    const rest = (this.#meters.get(id) ?? []).filter((meter) => meter !== old);
    const all = next === undefined ? rest : [...rest, next];
    if (all.length === 0) this.#meters.delete(id);
    else this.#meters.set(id, all);
    this.#dirtyMeters.add(id);
  }

  #replaceLearners(old: readonly bigint[] = [], next: readonly bigint[] = []): void {
    for (const cookie of old) this.#learners.delete(cookie);
    for (const cookie of next) this.#learners.add(cookie);
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
  if (one.owner !== other.owner) return false;
  const [a, b] = [clauseOf(one.flow), clauseOf(other.flow)];
  return a?.id === b?.id && a?.clause === b?.clause;
}

/** Every name of an object that needs an id. */
function entryNames(object: DpuRule): string[] {
  const { namespace, name } = object.metadata;
  return object.spec.rules.flatMap((entry) => {
    const entryName = ruleEntryName(namespace, name, entry.name);
    return entry.reverse ? [entryName, replyName(entryName)] : [entryName];
  });
}
