/**
 * A rule with several choices in several dimensions as a conjunction (ovs-actions(7)): N + M + K clause flows and one flow
 * for the verdict, instead of N x M x K flows. Every clause carries every condition of the rule, the VNI above all: with
 * it only in the verdict's flow, a packet of another VNI could complete the conjunction and lose what stands below it.
 *
 * Clauses of different rules with one match at one priority are one flow with several conjunction() actions.
 */
import { encodeFlow, type EncodedFlow } from '../../openflow/flow.ts';
import type { Match } from '../../openflow/match.ts';
import type { Action } from '../../openflow/action.ts';
import { hashName, makeCookie } from './cookie.ts';

/** The action of a clause. */
export type ConjunctionAction = Extract<Action, { readonly type: 'conjunction' }>;

/** Where a clause stands. */
export interface ClausePlace {
  readonly tableId: number;
  readonly priority: number;
  readonly match: Match;
}

/** One clause of one rule. */
export interface Clause {
  readonly place: ClausePlace;
  readonly action: ConjunctionAction;
  /** The clause as a flow of its own, as long as nobody shares it. */
  readonly flow: EncodedFlow;
}

/** The flow of all clauses that share a place. Its cookie follows from the place, so it does not depend on who shares it. */
export function clauseFlow(place: ClausePlace, actions: readonly ConjunctionAction[]): EncodedFlow {
  const { tableId, priority, match } = place;
  const sorted = [...actions].sort((a, b) => a.id - b.id || a.clause - b.clause);
  const bare = encodeFlow({
    tableId,
    priority,
    cookie: 0n,
    match,
    instructions: { applyActions: sorted },
  });
  return encodeFlow({
    tableId,
    priority,
    cookie: makeCookie('shared', hashName(bare.key)),
    match,
    instructions: { applyActions: sorted },
  });
}

/**
 * The clauses of a match that has `dimensions` beside what is `common`. A dimension of one choice is folded into the
 * common part, so at least two with several choices are needed.
 */
export function makeClauses(
  place: { readonly tableId: number; readonly priority: number },
  id: number,
  common: Match,
  dimensions: readonly (readonly Match[])[],
): Clause[] {
  const wide = dimensions.filter((choices) => choices.length > 1);
  const folded = [...common, ...dimensions.filter((choices) => choices.length === 1).flat(2)];
  return wide.flatMap((choices, clause) =>
    choices.map((choice) => {
      const full = { ...place, match: [...folded, ...choice] };
      const action: ConjunctionAction = { type: 'conjunction', id, clause, clauses: wide.length };
      return { place: full, action, flow: clauseFlow(full, [action]) };
    }),
  );
}

/** True when a conjunction needs fewer flows than the plain product, and there are two dimensions to make one of. */
export function conjunctionPays(sizes: readonly number[]): boolean {
  const product = sizes.reduce((all, size) => all * size, 1);
  const sum = sizes.reduce((all, size) => all + (size > 1 ? size : 0), 0);
  return sizes.filter((size) => size > 1).length >= 2 && product > sum + 1;
}
