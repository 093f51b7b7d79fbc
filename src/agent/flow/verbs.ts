/**
 * What a rule does beside its decision: which meters it needs, and how its verdict flows grow. One file per verb; here they
 * are put together. Verbs act in the verdict tables, so that a packet in the shadow of a dry run meets none of them.
 */
import type { DpuRule, RuleEntry } from '../../api/dpu-rule.ts';
import type { Instructions } from '../../openflow/instruction.ts';
import type { EncodedMeter } from '../../openflow/meter-mod.ts';
import type { EntryVerdict } from './model.ts';
import { rateLimitProblem, rateMeter } from './rate-limit.ts';
import { ruleEntryName } from './rule-id.ts';
import type { PolicyDirection } from './tables/tiers.ts';

/** What a meter is for. */
export type MeterUse = 'rateLimit';

/** A meter that an entry uses. */
export interface UsedMeter extends EncodedMeter {
  readonly use: MeterUse;
}

/** Gives the number of a meter by its name. */
export type MeterIdOf = (name: string) => number | undefined;

/** The names of the meters that the entries of a rule need, each as often as it is needed. */
export function meterNames(object: DpuRule, verdicts: readonly EntryVerdict[]): string[] {
  const { namespace, name } = object.metadata;
  if (object.spec.enforcement === 'Suspended') return [];
  return object.spec.rules.flatMap((entry, index) =>
    verdicts[index]?.vni === undefined
      ? []
      : entryMeterNames(object, entry, ruleEntryName(namespace, name, entry.name)),
  );
}

function entryMeterNames(object: DpuRule, entry: RuleEntry, key: string): string[] {
  const limited = entry.rateLimit !== undefined && object.spec.enforcement === 'Enforce';
  return limited ? [key] : [];
}

/** The verbs of one entry, ready to be put on its verdict flows. */
export class Verbs {
  /** What is wrong with them; undefined when all can act. */
  readonly problem: string | undefined;
  readonly meters: readonly UsedMeter[];
  readonly #rate: EncodedMeter | undefined;

  constructor(object: DpuRule, entry: RuleEntry, key: string, meterIdOf: MeterIdOf) {
    const names = entryMeterNames(object, entry, key);
    const full = names.some((name) => meterIdOf(name) === undefined);
    this.problem =
      rateLimitProblem(entry) ?? (full ? 'there are more meters than this agent has' : undefined);
    const meterId = names.includes(key) ? meterIdOf(key) : undefined;
    const { rateLimit } = entry;
    this.#rate =
      rateLimit === undefined || meterId === undefined ? undefined : rateMeter(rateLimit, meterId);
    this.meters = this.#rate === undefined ? [] : [{ ...this.#rate, use: 'rateLimit' }];
  }

  /** The instructions of a verdict flow with what the verbs add to them. */
  on(direction: PolicyDirection, verdict: Instructions): Instructions {
    return this.#rate !== undefined && direction === 'egress'
      ? { ...verdict, meter: this.#rate.meterId }
      : verdict;
  }
}
