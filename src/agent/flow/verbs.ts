/**
 * What a rule does beside its decision: which meters it needs, and how its verdict flows grow. One file per verb; here they
 * are put together. Verbs act in the verdict tables, so that a packet in the shadow of a dry run meets none of them.
 */
import type { DpuRule, RuleEntry } from '../../api/dpu-rule.ts';
import type { Vni } from '../../base/brand.ts';
import type { Action } from '../../openflow/action.ts';
import type { Instructions } from '../../openflow/instruction.ts';
import type { EncodedMeter } from '../../openflow/meter-mod.ts';
import type { EntryVerdict } from './model.ts';
import {
  logMeter,
  logMeterName,
  logProblem,
  logScope,
  sendToLog,
  type LogTarget,
} from './packet-logging.ts';
import { copyTo, mirrorProblem } from './port-mirror.ts';
import { rateLimitProblem, rateMeter } from './rate-limit.ts';
import { rejectMeter, rejectMeterName, sendUp } from './reject.ts';
import { ruleEntryName } from './rule-id.ts';
import type { PolicyDirection } from './tables/tiers.ts';

/** What a meter is for. */
export type MeterUse = 'rateLimit' | 'reject' | 'log';

/** A meter that an entry uses. */
export interface UsedMeter extends EncodedMeter {
  readonly use: MeterUse;
}

/** Where the answers to the packets of an entry go. */
export interface RejectTarget {
  readonly vni: Vni;
}

/** Gives the number of a meter by its name. */
export type MeterIdOf = (name: string) => number | undefined;

/** The names of the meters that the entries of a rule need, each as often as it is needed. */
export function meterNames(object: DpuRule, verdicts: readonly EntryVerdict[]): string[] {
  const { namespace, name } = object.metadata;
  return object.spec.rules.flatMap((entry, index) => {
    const vni = verdicts[index]?.vni;
    const key = ruleEntryName(namespace, name, entry.name);
    return Object.values(namesOf(object, entry, key, vni));
  });
}

function namesOf(
  object: DpuRule,
  entry: RuleEntry,
  key: string,
  vni: Vni | undefined,
): Partial<Record<MeterUse, string>> {
  if (vni === undefined || object.spec.enforcement !== 'Enforce') return {};
  return {
    ...(entry.rateLimit === undefined ? {} : { rateLimit: key }),
    ...(entry.action === 'reject' ? { reject: rejectMeterName(vni) } : {}),
    ...(logScope(entry) === undefined ? {} : { log: logMeterName(vni) }),
  };
}

/** The verbs of one entry, ready to be put on its verdict flows. */
export class Verbs {
  /** What is wrong with them; undefined when all can act. */
  readonly problem: string | undefined;
  /** A verb that cannot act for now: a reason of the API and a sentence. What the entry decides is in force nevertheless. */
  readonly pending: { readonly reason: string; readonly message: string } | undefined;
  readonly meters: readonly UsedMeter[];
  /** Set when packets are answered. */
  readonly reject: RejectTarget | undefined;
  /** Set when packets are logged. */
  readonly log: LogTarget | undefined;
  /** True when the first packet of a connection has more done to it than the others. */
  readonly tellsFirst: boolean;
  readonly #rate: EncodedMeter | undefined;
  readonly #answer: readonly Action[];
  readonly #log: readonly Action[];
  readonly #copy: readonly Action[];

  constructor(
    object: DpuRule,
    entry: RuleEntry,
    place: { readonly key: string; readonly verdict: EntryVerdict },
    meterIdOf: MeterIdOf,
  ) {
    const { vni, mirror, tracking } = place.verdict;
    const names = namesOf(object, entry, place.key, vni);
    const idOf = (use: MeterUse): number | undefined =>
      names[use] === undefined ? undefined : meterIdOf(names[use]);
    const full = Object.values(names).some((name) => meterIdOf(name) === undefined);
    this.problem =
      rateLimitProblem(entry) ??
      logProblem(entry) ??
      mirrorProblem(entry) ??
      (full ? 'there are more meters than this agent has' : undefined);
    const meters: UsedMeter[] = [];
    const [rateId, rejectId, logId] = [idOf('rateLimit'), idOf('reject'), idOf('log')];
    if (rateId !== undefined && entry.rateLimit !== undefined) {
      this.#rate = rateMeter(entry.rateLimit, rateId);
      meters.push({ ...this.#rate, use: 'rateLimit' });
    }
    if (rejectId !== undefined && vni !== undefined) {
      this.reject = { vni };
      meters.push({ ...rejectMeter(rejectId), use: 'reject' });
    }
    if (logId !== undefined && vni !== undefined) {
      this.log = { vni, label: entry.log?.label ?? '', action: entry.action };
      meters.push({ ...logMeter(logId), use: 'log' });
    }
    this.meters = meters;
    this.#answer = rejectId === undefined ? [] : [sendUp(rejectId)];
    this.#log = logId === undefined ? [] : [sendToLog(logId)];
    const mirrors = object.spec.enforcement === 'Enforce' ? mirror : undefined;
    this.#copy = typeof mirrors === 'number' ? copyTo(mirrors) : [];
    this.tellsFirst = this.log !== undefined && logScope(entry) === 'first';
    if (typeof mirrors === 'string') this.pending = { reason: 'PortNotFound', message: mirrors };
    else if (this.tellsFirst && tracking === undefined) {
      const message =
        'log.mode first needs connection tracking, which the network does not have; the rule is in force, without log';
      this.pending = { reason: 'ConntrackOff', message };
    }
  }

  /** What is done with a packet beside its verdict, before it. `isFirst`: it is the first of its connection. */
  actions(isFirst = false): readonly Action[] {
    const log = this.tellsFirst && !isFirst ? [] : this.#log;
    return [...this.#answer, ...log, ...this.#copy];
  }

  /** The instructions of a verdict flow with what the verbs add to them. */
  on(direction: PolicyDirection, verdict: Instructions, isFirst = false): Instructions {
    const actions = [...this.actions(isFirst), ...(verdict.applyActions ?? [])];
    return {
      ...verdict,
      ...(actions.length === 0 ? {} : { applyActions: actions }),
      ...(this.#rate !== undefined && direction === 'egress' ? { meter: this.#rate.meterId } : {}),
    };
  }
}
