/**
 * The state of each rule entry: accepted or not, in the switch or not, and why. Derived from the desired state, the mirror
 * and the refusals; nothing is remembered here.
 */
import type { DesiredState } from '../flow/desired.ts';
import type { ActualState } from '../flow/diff.ts';
import type { CompiledEntry } from '../flow/rule-flows.ts';
import type { Steps } from '../flow/steps.ts';

/** Entries that are counted between two pauses: some hundred microseconds. */
const ENTRIES_PER_STEP = 128;

/** One row of `/rules`, counters apart. */
export interface RuleStatus {
  readonly namespace: string;
  readonly name: string;
  readonly rule: string;
  readonly accepted: boolean;
  readonly programmed: boolean;
  /** Empty when accepted and programmed, read from the source itself, and in force. */
  readonly reason: string;
  readonly message: string;
  /** Number of flows in the switch. */
  readonly flows: number;
  readonly cookie: bigint;
}

/** States of a rule that metrics count. */
export type RuleState = 'programmed' | 'pending' | 'refused';

/** The state of a status for metrics: `refused` when not accepted or refused by the switch. */
function ruleState(status: RuleStatus): RuleState {
  if (status.programmed) return 'programmed';
  return !status.accepted || status.reason === 'SwitchRefused' ? 'refused' : 'pending';
}

/** What {@link ruleStatus} judges by. */
export interface RuleStatusContext {
  readonly desired: DesiredState;
  /** Undefined while the switch cannot be reached. */
  readonly actual: ActualState | undefined;
  /** Error text by flow key, for flows that the switch refused. */
  readonly refused: ReadonlyMap<string, string>;
  /** When the objects were saved, while they come from the last good state. */
  readonly staleSince: string | undefined;
}

/** How many entries are in each state, with pauses. An entry that changes meanwhile counts as it was, or as it is. */
export function* countStatesSteps(context: RuleStatusContext): Steps<Record<RuleState, number>> {
  const counts: Record<RuleState, number> = { programmed: 0, pending: 0, refused: 0 };
  let counted = 0;
  for (const entry of context.desired.entries()) {
    counts[ruleState(statusByItself(entry, context))]++;
    if (++counted % ENTRIES_PER_STEP === 0) yield;
  }
  return counts;
}

/** Entries that are not in force: some of them, and how many there are. */
export interface NotReady {
  /** All entries. */
  readonly entries: number;
  readonly rows: readonly RuleStatus[];
  readonly total: number;
}

/** Finds at most `most` entries that are not in force, and counts all, with pauses as {@link countStatesSteps}. */
export function* notReadySteps(context: RuleStatusContext, most: number): Steps<NotReady> {
  const rows: RuleStatus[] = [];
  let entries = 0;
  let total = 0;
  for (const entry of context.desired.entries()) {
    const status = statusByItself(entry, context);
    if (!status.programmed && ++total <= most) rows.push(status);
    if (++entries % ENTRIES_PER_STEP === 0) yield;
  }
  return { entries, rows, total };
}

/** The status of one entry. */
export function ruleStatus(entry: CompiledEntry, context: RuleStatusContext): RuleStatus {
  const status = statusByItself(entry, context);
  if (!status.programmed || status.reason !== '') return status;
  const decider = context.desired.deciderBefore(entry);
  if (decider === undefined) return status;
  const most = decider.fragmentsPass ? ', later fragments apart,' : '';
  const message = `every packet that it matches${most} is decided before it by ${decider.name}`;
  return { ...status, reason: 'Unreachable', message };
}

/** The status but for what other rules decide before, which is much work to find out and changes no state. */
function statusByItself(entry: CompiledEntry, context: RuleStatusContext): RuleStatus {
  const { namespace, name, rule, cookie } = entry;
  const row = (
    accepted: boolean,
    programmed: boolean,
    reason: string,
    message: string,
    flows: number,
  ): RuleStatus => ({
    namespace,
    name,
    rule,
    accepted,
    programmed,
    reason,
    message,
    flows,
    cookie,
  });
  // Nothing is asked for any more, and nothing is there.
  if (entry.refusal?.reason === 'Expired')
    return row(true, true, 'Expired', entry.refusal.message, 0);
  if (entry.refusal !== undefined) {
    return row(false, false, entry.refusal.reason, entry.refusal.message, 0);
  }
  const { actual } = context;
  if (actual === undefined) {
    return row(
      true,
      false,
      'SwitchDown',
      'no connection to the switch; its flows stay as they are',
      0,
    );
  }
  const flows = [...entry.flows, ...entry.clauses];
  let installed = 0;
  let refusal: string | undefined;
  for (const flow of flows) {
    if (context.refused.size > 0) refusal ??= context.refused.get(flow.key);
    const want = context.desired.flow(flow);
    const have = actual.flow(flow);
    if (want !== undefined && have !== undefined && want.sameActions(have)) installed++;
  }
  if (refusal !== undefined) return row(true, false, 'SwitchRefused', refusal, installed);
  const winner = context.desired.shadowedBy(entry);
  if (winner !== undefined) {
    return row(
      false,
      false,
      'Shadowed',
      `an equal match at equal rank belongs to ${winner}`,
      installed,
    );
  }
  const unmetered = entry.meters.filter(({ meterId, flags, bands }) => {
    const have = actual.meter(meterId);
    return have?.flags !== flags || Buffer.compare(have.bands, bands) !== 0;
  });
  if (unmetered.length > 0) {
    return row(true, false, 'Pending', 'its meter is not in the switch yet', installed);
  }
  if (installed < flows.length) {
    return row(
      true,
      false,
      'Pending',
      `${installed} of ${flows.length} flows in the switch`,
      installed,
    );
  }
  if (entry.pending !== undefined) {
    return row(true, false, entry.pending.reason, entry.pending.message, installed);
  }
  if (context.staleSince !== undefined) {
    return row(true, true, 'Stale', `from the last good state of ${context.staleSince}`, installed);
  }
  if (entry.dryRun !== undefined) {
    return row(true, true, 'DryRun', `would ${entry.dryRun}, decides nothing`, installed);
  }
  return row(true, true, '', '', installed);
}
