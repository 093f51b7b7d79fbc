/**
 * The legs of the devices that redirecting rules name, by port name. A port counts only when it is a leg in the rule's own
 * VNI; whether there is one of that name in another VNI is not this rule's writer's to learn. Pure.
 */
import type { RuleEntry } from '../../api/dpu-rule.ts';
import type { Vni } from '../../base/brand.ts';
import type { DeviceLeg, RedirectLegs, RuleInput } from '../flow/model.ts';
import type { OwnedRule } from './rule-set.ts';

/** A rule for the compiler, with the legs that its redirects name or what is missing. */
export function withLegs(owned: OwnedRule, legs: readonly DeviceLeg[]): RuleInput {
  const { rule, verdicts, redirects } = owned;
  if (!redirects) return { object: rule, verdicts };
  return {
    object: rule,
    verdicts: verdicts.map((verdict, index) => {
      const entry = rule.spec.rules[index];
      if (entry?.redirectPort === undefined || verdict.vni === undefined) return verdict;
      return { ...verdict, legs: legsOf(entry, entry.redirectPort, verdict.vni, legs) };
    }),
  };
}

function legsOf(
  entry: RuleEntry,
  redirectPort: string,
  vni: Vni,
  legs: readonly DeviceLeg[],
): RedirectLegs | string {
  const find = (name: string): DeviceLeg | undefined =>
    legs.find((leg) => leg.port === name && leg.vni === vni);
  const near = find(redirectPort);
  const far = entry.returnPort === undefined ? near : find(entry.returnPort);
  if (near !== undefined && far !== undefined) return { near: near.ofport, far: far.ofport };
  const [field, name] =
    near === undefined ? ['redirectPort', redirectPort] : ['returnPort', entry.returnPort];
  const meanwhile =
    entry.onMissing === 'Allow' ? 'pass to the next tier' : 'are dropped as RedirectDown';
  return `${field} ${name} is no device's port in VNI ${vni} on this DPU; packets ${meanwhile} until it is`;
}
