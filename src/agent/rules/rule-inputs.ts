/**
 * Rules for the compiler, with what their verdicts rest on beside ownership: connection tracking of their network, and the
 * legs of the devices that redirects and mirrors name, by port name. A port counts only when it is a leg in the rule's own VNI; whether
 * there is one of that name in another VNI is not this rule's writer's to learn. Pure.
 */
import type { RuleEntry } from '../../api/dpu-rule.ts';
import type { OfPort, Vni } from '../../base/brand.ts';
import type { DeviceLeg, Network, RedirectLegs, RuleInput, Tracking } from '../flow/model.ts';
import type { OwnedRule } from './rule-set.ts';

/** The rules for the compiler. */
export function ruleInputs(
  rules: Iterable<OwnedRule>,
  legs: readonly DeviceLeg[],
  networks: readonly Network[],
): RuleInput[] {
  const tracking = new Map<number, Tracking>();
  for (const network of networks) {
    if (network.tracking !== undefined) tracking.set(network.vni, network.tracking);
  }
  return [...rules].map((owned) => ruleInput(owned, legs, tracking));
}

function ruleInput(
  owned: OwnedRule,
  legs: readonly DeviceLeg[],
  tracking: ReadonlyMap<number, Tracking>,
): RuleInput {
  const { rule, verdicts, namesPorts } = owned;
  if (!namesPorts && tracking.size === 0) return { object: rule, verdicts };
  return {
    object: rule,
    verdicts: verdicts.map((verdict, index) => {
      if (verdict.vni === undefined) return verdict;
      const entry = rule.spec.rules[index];
      const tracked = tracking.get(verdict.vni);
      return {
        ...verdict,
        ...(tracked === undefined ? {} : { tracking: tracked }),
        ...(entry?.redirectPort === undefined
          ? {}
          : { legs: legsOf(entry, entry.redirectPort, verdict.vni, legs) }),
        ...(entry?.mirror === undefined
          ? {}
          : { mirror: mirrorOf(entry.mirror.port, verdict.vni, legs) }),
      };
    }),
  };
}

function legsOf(
  entry: RuleEntry,
  redirectPort: string,
  vni: Vni,
  legs: readonly DeviceLeg[],
): RedirectLegs | string {
  const find = (name: string): DeviceLeg | undefined => findLeg(name, vni, legs);
  const near = find(redirectPort);
  const far = entry.returnPort === undefined ? near : find(entry.returnPort);
  if (near !== undefined && far !== undefined) return { near: near.ofport, far: far.ofport };
  const [field, name] =
    near === undefined ? ['redirectPort', redirectPort] : ['returnPort', entry.returnPort];
  const meanwhile =
    entry.onMissing === 'Allow' ? 'pass to the next tier' : 'are dropped as RedirectDown';
  return `${field} ${name} is no device's port in VNI ${vni} on this DPU; packets ${meanwhile} until it is`;
}

function mirrorOf(port: string, vni: Vni, legs: readonly DeviceLeg[]): OfPort | string {
  return (
    findLeg(port, vni, legs)?.ofport ??
    `mirror.port ${port} is no device's port in VNI ${vni} on this DPU; the rule is in force, without copies`
  );
}

function findLeg(port: string, vni: Vni, legs: readonly DeviceLeg[]): DeviceLeg | undefined {
  return legs.find((leg) => leg.port === port && leg.vni === vni);
}
