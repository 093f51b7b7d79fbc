/**
 * Action redirect as flows (docs/pipeline.md, "Redirect"). It acts once, on this DPU: where a packet leaves its local
 * endpoint, or with direction Ingress where it arrives. What the device returns is of class 3 and runs the chain again;
 * there each redirect has a twin that passes to the next tier. Without connection tracking the replies are sent into the
 * other leg by flows of their own, at the other end of the chain, so that they visit the same device.
 */
import type { RuleEntry } from '../../api/dpu-rule.ts';
import type { Action } from '../../openflow/action.ts';
import { encodeFlow, type EncodedFlow } from '../../openflow/flow.ts';
import type { Instructions } from '../../openflow/instruction.ts';
import type { Match, MatchField } from '../../openflow/match.ts';
import { makeCookie } from './cookie.ts';
import type { FlowForm } from './dry-run.ts';
import { dropCookie } from './drop-reason.ts';
import type { RedirectLegs, Tracking } from './model.ts';
import { TABLE, type PipelineTable } from './pipeline.ts';
import {
  matchFlag,
  matchLegs,
  matchSource,
  setFlag,
  setLegs,
  setReplyLeg,
  VERDICT_REGISTER,
  type SOURCE_CLASS,
} from './registers.ts';
import { EGRESS_CHAIN, INGRESS_CHAIN, type TierChain } from './tables/tiers.ts';
import { FIRST_OF_CONNECTION, FIRST_PRIORITY } from './verdict-flows.ts';
import type { Verbs } from './verbs.ts';

const GROUP_BIT = 0x010000000000n;
const VERDICT_PRIORITY = 100;
const MULTICAST_PRIORITY = 110;
const ALLOW_PRIORITY = 115;

/** What is known of the entry. */
export interface RedirectInput {
  readonly entry: RuleEntry;
  /** Place of the tier in its chain. */
  readonly tier: number;
  readonly network: MatchField;
  readonly cookie: bigint;
  /** What goes into the verdict register: 32 bits. */
  readonly verdictId: number;
  /** Undefined when a leg is missing on this DPU. */
  readonly legs: RedirectLegs | undefined;
  /** Connection tracking of the network: it remembers which leg the replies go into. */
  readonly tracking: Tracking | undefined;
  /** False where connection tracking sees to the replies, or where there are none. */
  readonly hasReplies: boolean;
  readonly verbs: Verbs;
}

/** The rule's own match, or that of its replies, once more: in one chain, from one kind of source. */
export interface RedirectStep extends FlowForm {
  readonly chain: TierChain;
  readonly isReply: boolean;
  /** The rule's, but for the twin: what comes back is not counted again. */
  readonly cookie: bigint;
}

/** How a redirect is compiled: the steps in its tier, and the flows that follow from a verdict. */
export interface RedirectPlan {
  readonly steps: readonly RedirectStep[];
  readonly flows: readonly EncodedFlow[];
}

/** Plans a redirect. Its tier must not be the last: the twin needs a next one. */
export function planRedirect(input: RedirectInput): RedirectPlan {
  const forward = input.entry.direction === 'Ingress' ? INGRESS_CHAIN : EGRESS_CHAIN;
  const steps = stepsOf(input, forward, false);
  const flows = verdictsOf(input, forward, false);
  if (!input.hasReplies) return { steps, flows };
  const backward = forward === EGRESS_CHAIN ? INGRESS_CHAIN : EGRESS_CHAIN;
  return {
    steps: [...steps, ...stepsOf(input, backward, true)],
    flows: [...flows, ...verdictsOf(input, backward, true)],
  };
}

function nextTier({ tier }: RedirectInput, chain: TierChain): PipelineTable {
  return chain.tiers[tier + 1] ?? chain.verdict;
}

function stepsOf(input: RedirectInput, chain: TierChain, isReply: boolean): RedirectStep[] {
  const { entry, verdictId } = input;
  // A reply is never a multicast; without this a broad match would take what others flood for one.
  const unicast: MatchField[] =
    isReply && chain === INGRESS_CHAIN && entry.match.srcMAC === undefined
      ? [{ field: 'ethDst', value: 0n, mask: GROUP_BIT }]
      : [];
  const step = (
    source: keyof typeof SOURCE_CLASS,
    cookie: bigint,
    instructions: Instructions,
  ): RedirectStep => ({
    chain,
    isReply,
    cookie,
    guard: [matchSource(source), ...unicast],
    instructions,
  });
  const decide: Instructions = {
    applyActions: [
      { type: 'setField', field: VERDICT_REGISTER[chain.direction], value: verdictId },
    ],
    gotoTable: chain.verdict.id,
  };
  const sources = chain === EGRESS_CHAIN ? (['local'] as const) : (['tunnel', 'local'] as const);
  return [
    ...sources.map((source) => step(source, input.cookie, decide)),
    step('returned', makeCookie('device', input.cookie), { gotoTable: nextTier(input, chain).id }),
  ];
}

/** What becomes of a packet for which the verdict is this redirect. */
function verdictsOf(input: RedirectInput, chain: TierChain, isReply: boolean): EncodedFlow[] {
  const { network, cookie, verdictId, legs, entry, tracking, verbs } = input;
  const register = VERDICT_REGISTER[chain.direction];
  const decided: Match = [network, { field: register, value: verdictId }];
  const divert: Instructions = {
    applyActions: [
      setFlag('redirected'),
      ...(isReply && tracking !== undefined ? [setFlag('byReverse')] : []),
      ...legActions(legs, isReply),
      ...(isReply || tracking === undefined || legs === undefined ? [] : [setReplyLeg(legs.far)]),
    ],
    gotoTable: TABLE.divert.id,
  };
  const verdict = (priority: number, more: Match, isFirst: boolean): EncodedFlow =>
    encodeFlow({
      tableId: chain.verdict.id,
      priority,
      cookie,
      match: [...decided, ...more],
      instructions: verbs.on(chain.direction, divert, isFirst),
    });
  const flows = [verdict(VERDICT_PRIORITY, [], false)];
  if (verbs.tellsFirst && !isReply) {
    flows.push(verdict(FIRST_PRIORITY, [FIRST_OF_CONNECTION], true));
  }
  if (chain === INGRESS_CHAIN && !isReply) {
    flows.push(
      encodeFlow({
        tableId: chain.verdict.id,
        priority: MULTICAST_PRIORITY,
        cookie: dropCookie('RedirectMulticast'),
        match: [...decided, { field: 'ethDst', value: GROUP_BIT, mask: GROUP_BIT }],
        instructions: {},
      }),
    );
  }
  if (entry.onMissing === 'Allow') {
    // As if the device had returned the packet at once. The verdict must go: the next one is another rule's.
    flows.push(
      encodeFlow({
        tableId: TABLE.divert.id,
        priority: ALLOW_PRIORITY,
        cookie,
        match: [...decided, matchFlag('redirected'), matchLegs({ toCheck: 0, out: 0 })],
        instructions: {
          applyActions: [
            setFlag('redirected', false),
            { type: 'setField', field: register, value: 0 },
            { type: 'resubmit', table: nextTier(input, chain).id },
          ],
        },
      }),
    );
  }
  return flows;
}

/** Names the leg to go out by, and the other one of two. */
function legActions(legs: RedirectLegs | undefined, isReply: boolean): Action[] {
  if (legs === undefined) return [setLegs({ toCheck: 0, out: 0 })];
  const [out, other] = isReply ? [legs.far, legs.near] : [legs.near, legs.far];
  return [setLegs({ toCheck: out === other ? 0 : other, out })];
}
