/**
 * Tables 20-29 and 50-59: a table per tier and direction, and the verdicts. What a rule becomes in them is made by
 * `rule-flows.ts`; here stand the ways between the tables, and the default action of each network as a rule of its own.
 */
import { dropCookie } from '../drop-reason.ts';
import { blockFlows } from './commit.ts';
import { ETH_TYPE, ethType, type FlowList } from '../flow-list.ts';
import type { Network } from '../model.ts';
import { TABLE, type PipelineTable } from '../pipeline.ts';
import { matchVni, VERDICT_REGISTER } from '../registers.ts';

/** The two places where policy acts. */
export type PolicyDirection = 'egress' | 'ingress';

/** The chain of one direction, in the order of evaluation. */
export interface TierChain {
  readonly direction: PolicyDirection;
  /** By position in the tier order of the API: platform, admin, tenant, policy, isolation, baseline. */
  readonly tiers: readonly PipelineTable[];
  readonly verdict: PipelineTable;
  /** Where an allowed packet goes on. */
  readonly allowed: PipelineTable;
}

/** Where a packet leaves its endpoint. */
export const EGRESS_CHAIN: TierChain = {
  direction: 'egress',
  tiers: [
    TABLE.egressPlatform,
    TABLE.egressAdmin,
    TABLE.egressTenant,
    TABLE.egressPolicy,
    TABLE.egressIsolation,
    TABLE.egressBaseline,
  ],
  verdict: TABLE.egressVerdict,
  allowed: TABLE.forward,
};

/** Where a packet reaches its endpoint. */
export const INGRESS_CHAIN: TierChain = {
  direction: 'ingress',
  tiers: [
    TABLE.ingressPlatform,
    TABLE.ingressAdmin,
    TABLE.ingressTenant,
    TABLE.ingressPolicy,
    TABLE.ingressIsolation,
    TABLE.ingressBaseline,
  ],
  verdict: TABLE.ingressVerdict,
  allowed: TABLE.divert,
};

/** Both chains. */
export const TIER_CHAINS: readonly TierChain[] = [EGRESS_CHAIN, INGRESS_CHAIN];

const DEFAULT_ACTION_PRIORITY = 1;
const FRAGMENT_PRIORITY = 2;
const FRAGMENT_LATER = 3;

/** From tier to tier, and the misses: nothing is let through without a verdict. */
export function tierBase(list: FlowList): void {
  for (const chain of TIER_CHAINS) {
    chain.tiers.forEach((tier, index) => {
      const next = chain.tiers[index + 1];
      if (next === undefined) list.drop(tier, 0, [], 'NoVerdict');
      else list.goto(tier, 0, [], next);
    });
    list.drop(chain.verdict, 0, [], 'NoVerdict');
  }
}

/** The default action of a network in one direction; `verdictId` is the id of that default as a rule. */
export function tierDefault(
  list: FlowList,
  network: Network,
  chain: TierChain,
  verdictId: number,
): void {
  const baseline = chain.tiers.at(-1);
  if (baseline === undefined) return;
  const register = VERDICT_REGISTER[chain.direction];
  list.add(
    baseline,
    DEFAULT_ACTION_PRIORITY,
    [matchVni(network.vni)],
    [{ type: 'setField', field: register, value: verdictId }],
    chain.verdict,
  );
  const decided = [matchVni(network.vni), { field: register, value: verdictId } as const];
  if (network.defaultAction[chain.direction] === 'allow') {
    list.goto(chain.verdict, 100, decided, chain.allowed);
    return;
  }
  list.drop(chain.verdict, 100, decided, 'DefaultDeny');
  const { tracking } = network;
  if (tracking?.warming === false) {
    list.addAll(blockFlows(chain.verdict, dropCookie('DefaultDeny'), decided, tracking.zone));
  }
  for (const family of [ETH_TYPE.ipv4, ETH_TYPE.ipv6]) {
    const later = [
      matchVni(network.vni),
      ethType(family),
      { field: 'ipFrag', value: FRAGMENT_LATER, mask: FRAGMENT_LATER } as const,
    ];
    list.drop(baseline, FRAGMENT_PRIORITY, later, 'Fragment');
  }
}
