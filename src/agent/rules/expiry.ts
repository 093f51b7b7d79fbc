/**
 * `expiresAt`: which entries of the rules are past their time at a moment, and when the next one will be. Pure; the moment is
 * an argument. An entry that is past its time has the verdict `Expired` in place of its network, so it compiles to nothing.
 */
import type { DpuRule } from '../../api/dpu-rule.ts';
import type { EntryVerdict, RuleInput } from '../flow/model.ts';

/** Rules as they are at a moment. */
export interface RulesInTime {
  readonly rules: readonly RuleInput[];
  /** When the next entry expires, in milliseconds since the epoch; undefined when none will. */
  readonly nextExpiryMs: number | undefined;
}

/** By rule: when each of its entries expires, NaN for never; undefined where none does. Parsed once. */
const known = new WeakMap<DpuRule, readonly number[] | 'never'>();

function expiriesOf(object: DpuRule): readonly number[] | 'never' {
  let expiries = known.get(object);
  if (expiries === undefined) {
    const times = object.spec.rules.map(({ expiresAt }) => Date.parse(expiresAt ?? ''));
    expiries = times.every(Number.isNaN) ? 'never' : times;
    known.set(object, expiries);
  }
  return expiries;
}

/** Takes what is past its time out of force. `nowMs` is wall-clock time in milliseconds since the epoch. */
export function rulesAt(rules: readonly RuleInput[], nowMs: number): RulesInTime {
  let nextExpiryMs: number | undefined;
  const inTime = rules.map((rule) => {
    const expiries = expiriesOf(rule.object);
    if (expiries === 'never') return rule;
    let expired = false;
    for (const time of expiries) {
      if (time <= nowMs) expired = true;
      else if (time > nowMs) nextExpiryMs = Math.min(nextExpiryMs ?? time, time);
    }
    if (!expired) return rule;
    return {
      ...rule,
      verdicts: rule.verdicts.map((verdict, index) =>
        (expiries[index] ?? NaN) <= nowMs ? expiredVerdict(rule, verdict, index) : verdict,
      ),
    };
  });
  return { rules: inTime, nextExpiryMs };
}

function expiredVerdict({ object }: RuleInput, verdict: EntryVerdict, index: number): EntryVerdict {
  // What was never allowed does not become anything else by the passing of time.
  if (verdict.vni === undefined) return verdict;
  return {
    reason: 'Expired',
    message: `not in force since ${object.spec.rules[index]?.expiresAt ?? ''}`,
  };
}
