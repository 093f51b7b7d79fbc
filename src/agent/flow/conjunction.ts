/**
 * A rule with several choices in several dimensions as a conjunction (ovs-actions(7)): N + M + K clause flows and one flow
 * for the verdict, instead of N x M x K flows. Every clause carries every condition of the rule, the VNI above all: with
 * it only in the verdict's flow, a packet of another VNI could complete the conjunction and lose what stands below it.
 *
 * Clauses of different rules with one match at one priority are one flow with several conjunction() actions.
 */
import { encodeFlow, type EncodedFlow } from '../../openflow/flow.ts';
import { decodeInstructions } from '../../openflow/instruction.ts';
import { decodeMatch, type Match } from '../../openflow/match.ts';
import type { Action } from '../../openflow/action.ts';
import { hashName, isSharedCookie, makeCookie } from './cookie.ts';

/** The action of a clause. */
type ConjunctionAction = Extract<Action, { readonly type: 'conjunction' }>;

/** Where a clause stands. */
interface ClausePlace {
  readonly tableId: number;
  readonly priority: number;
  readonly match: Match;
}

/** The flow of all clauses that share a place. Its cookie follows from the place, so it does not depend on who shares it. */
function clauseFlow(place: ClausePlace, actions: readonly ConjunctionAction[]): EncodedFlow {
  const { tableId, priority, match } = place;
  const sorted = [...actions].sort((a, b) => a.id - b.id || a.clause - b.clause);
  const spec = { tableId, priority, match, instructions: { applyActions: sorted } };
  const bare = encodeFlow({ ...spec, cookie: 0n });
  return encodeFlow({ ...spec, cookie: makeCookie('shared', hashName(bare.key)) });
}

/** What a clause does; undefined for a flow that is none. */
export function clauseOf(flow: EncodedFlow): ConjunctionAction | undefined {
  if (!isSharedCookie(flow.cookie)) return undefined;
  const { applyActions } = decodeInstructions(flow.instructions);
  return applyActions?.find((action) => action.type === 'conjunction');
}

/** The flow that stands for a clause and for others of its key. */
export function shareClause(flow: EncodedFlow, actions: readonly ConjunctionAction[]): EncodedFlow {
  const { tableId, priority } = flow;
  return clauseFlow({ tableId, priority, match: decodeMatch(flow.match) }, actions);
}

/**
 * The clauses, as flows that nobody shares yet, of a match that has `dimensions` beside what is `common`. A dimension of one choice is folded into the
 * common part, so at least two with several choices are needed.
 */
export function makeClauses(
  place: { readonly tableId: number; readonly priority: number },
  id: number,
  common: Match,
  dimensions: readonly (readonly Match[])[],
): EncodedFlow[] {
  const wide = dimensions.filter((choices) => choices.length > 1);
  const folded = [...common, ...dimensions.filter((choices) => choices.length === 1).flat(2)];
  return wide.flatMap((choices, clause) =>
    choices.map((choice) => {
      const full = { ...place, match: [...folded, ...choice] };
      return clauseFlow(full, [{ type: 'conjunction', id, clause, clauses: wide.length }]);
    }),
  );
}

/** True when a conjunction needs fewer flows than the plain product, and there are two dimensions to make one of. */
export function conjunctionPays(sizes: readonly number[]): boolean {
  const product = sizes.reduce((all, size) => all * size, 1);
  const sum = sizes.reduce((all, size) => all + (size > 1 ? size : 0), 0);
  return sizes.filter((size) => size > 1).length >= 2 && product > sum + 1;
}
