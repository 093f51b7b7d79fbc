/**
 * Tables 29 and 59: where the decision of a rule is carried out, and counted, and where its verbs act. Redirects have flows of
 * their own (`redirect.ts`).
 */
import type { RuleEntry } from '../../api/dpu-rule.ts';
import { encodeFlow, type EncodedFlow } from '../../openflow/flow.ts';
import type { Match, MatchField } from '../../openflow/match.ts';
import { CT, ctState } from './connection-mark.ts';
import type { Tracking } from './model.ts';
import { VERDICT_REGISTER } from './registers.ts';
import { blockFlows } from './tables/commit.ts';
import type { TierChain } from './tables/tiers.ts';
import type { Verbs } from './verbs.ts';

const VERDICT_PRIORITY = 100;
/** Of a flow for the first packet of a connection; below that of a deny that marks a live one. */
export const FIRST_PRIORITY = 105;
/** What the first packet of a connection has in its state. */
export const FIRST_OF_CONNECTION: MatchField = ctState(CT.new);

/** A rule that has decided. */
export interface DecidedRule {
  readonly chain: TierChain;
  readonly action: RuleEntry['action'];
  readonly network: MatchField;
  readonly cookie: bigint;
  /** What stands in the verdict register: 32 bits. */
  readonly verdictId: number;
  readonly tracking: Tracking | undefined;
}

/** What becomes of the packets that a rule allows, denies or rejects, in one direction. */
export function verdictFlows(rule: DecidedRule, verbs: Verbs): EncodedFlow[] {
  const { chain, action, network, cookie, verdictId, tracking } = rule;
  const decided: Match = [{ field: VERDICT_REGISTER[chain.direction], value: verdictId }, network];
  const verdict = action === 'allow' ? { gotoTable: chain.allowed.id } : {};
  const flow = (priority: number, more: Match, isFirst: boolean): EncodedFlow =>
    encodeFlow({
      tableId: chain.verdict.id,
      priority,
      cookie,
      match: [...decided, ...more],
      instructions: verbs.on(chain.direction, verdict, isFirst),
    });
  const flows = [flow(VERDICT_PRIORITY, [], false)];
  if (verbs.tellsFirst) flows.push(flow(FIRST_PRIORITY, [FIRST_OF_CONNECTION], true));
  // While tracking warms up the mark of a connection means nothing yet.
  if (action !== 'allow' && tracking?.warming === false) {
    flows.push(...blockFlows(chain.verdict, cookie, decided, tracking.zone, verbs.actions()));
  }
  return flows;
}
