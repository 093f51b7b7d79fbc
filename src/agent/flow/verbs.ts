/**
 * What a rule does beside its decision: which meters it needs, and how its verdict flows grow. One file per verb; here they
 * are put together. Verbs act in the verdict tables, so that a packet in the shadow of a dry run meets none of them.
 */
import type { DpuRule, RuleEntry } from '../../api/dpu-rule.ts';
import type { Vni } from '../../base/brand.ts';
import type { Instructions } from '../../openflow/instruction.ts';
import type { EncodedMeter } from '../../openflow/meter-mod.ts';
import type { EntryVerdict } from './model.ts';
import { rateLimitProblem, rateMeter } from './rate-limit.ts';
import { rejectMeter, rejectMeterName, sendUp } from './reject.ts';
import { ruleEntryName } from './rule-id.ts';
import type { PolicyDirection } from './tables/tiers.ts';

/** What a meter is for. */
export type MeterUse = 'rateLimit' | 'reject';

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
  };
}

/** The verbs of one entry, ready to be put on its verdict flows. */
export class Verbs {
  /** What is wrong with them; undefined when all can act. */
  readonly problem: string | undefined;
  readonly meters: readonly UsedMeter[];
  /** Set when packets are answered. */
  readonly reject: RejectTarget | undefined;
  readonly #rate: EncodedMeter | undefined;
  readonly #rejected: EncodedMeter | undefined;

  constructor(
    object: DpuRule,
    entry: RuleEntry,
    place: { readonly key: string; readonly vni: Vni | undefined },
    meterIdOf: MeterIdOf,
  ) {
    const names = namesOf(object, entry, place.key, place.vni);
    const idOf = (use: MeterUse): number | undefined =>
      names[use] === undefined ? undefined : meterIdOf(names[use]);
    const full = Object.values(names).some((name) => meterIdOf(name) === undefined);
    this.problem =
      rateLimitProblem(entry) ?? (full ? 'there are more meters than this agent has' : undefined);
    const [rateId, rejectId] = [idOf('rateLimit'), idOf('reject')];
    if (rateId !== undefined && entry.rateLimit !== undefined) {
      this.#rate = rateMeter(entry.rateLimit, rateId);
    }
    if (rejectId !== undefined && place.vni !== undefined) {
      this.#rejected = rejectMeter(rejectId);
      this.reject = { vni: place.vni };
    }
    this.meters = [
      ...(this.#rate === undefined ? [] : [{ ...this.#rate, use: 'rateLimit' } as const]),
      ...(this.#rejected === undefined ? [] : [{ ...this.#rejected, use: 'reject' } as const]),
    ];
  }

  /** The instructions of a verdict flow with what the verbs add to them. */
  on(direction: PolicyDirection, verdict: Instructions): Instructions {
    if (this.#rejected !== undefined) {
      return { ...verdict, applyActions: [sendUp(this.#rejected.meterId)] };
    }
    return this.#rate !== undefined && direction === 'egress'
      ? { ...verdict, meter: this.#rate.meterId }
      : verdict;
  }
}
