/**
 * `enforcement: DryRun` without tables of its own: a rule on trial stands at its rank in its tier, notes what it would do and
 * looks the packet up in the same table again, where the rules in force decide. Two bits of reg0 and reg4 belong to it; table
 * 49 clears them between egress and ingress (`tables/output.ts`).
 *
 * ```
 * reg0      11        10
 *          +--------+---------+
 *          | shadow | decided |      0: no rule on trial has matched yet
 *          +--------+---------+
 * reg4 the rule by which the trial would have decided
 * ```
 * Decided: rules on trial match no more. Shadow: a `pass` on trial sends the packet through the tiers behind its own first;
 * whatever decides there only fills reg4 (the verdict tables do so by {@link shadowVerdict}), and the packet comes back.
 */
import type { Action } from '../../openflow/action.ts';
import type { Instructions } from '../../openflow/instruction.ts';
import type { MatchField } from '../../openflow/match.ts';
import type { FlowList } from './flow-list.ts';
import type { PipelineTable } from './pipeline.ts';
import { VERDICT_REGISTER } from './registers.ts';
import { TIER_CHAINS } from './tables/tiers.ts';

const DECIDED = 0x400;
const SHADOW = 0x800;
const STATE_MASK = DECIDED | SHADOW;
const SHADOW_PRIORITY = 200;
const REGISTER_BITS = 32;

/** One way in which the flows of an entry stand in a table: what they match beside the entry's match, and what they do. */
export interface FlowForm {
  readonly guard: readonly MatchField[];
  readonly instructions: Instructions;
}

/** What an entry on trial needs to know of its place. */
export interface DryRunPlace {
  readonly table: PipelineTable;
  /** Where a pass goes on. */
  readonly next: PipelineTable;
  /** What goes into reg4. */
  readonly verdictId: number;
}

const matchState = (value: number): MatchField => ({ field: 'reg0', value, mask: STATE_MASK });
const setState = (value: number): Action => ({
  type: 'setField',
  field: 'reg0',
  value,
  mask: STATE_MASK,
});
const resubmit = (table: PipelineTable): Action => ({ type: 'resubmit', table: table.id });

/** The two forms of an entry on trial: for a packet that no trial has looked at, and for one in a shadow. */
export function dryRunForms(action: string, place: DryRunPlace): readonly FlowForm[] {
  const { table, next, verdictId } = place;
  if (action === 'pass') {
    const look = [
      setState(SHADOW),
      resubmit(next),
      // Back from the shadow: the rules in force decide, from here on.
      setState(DECIDED),
      resubmit(table),
    ];
    return [
      { guard: [matchState(0)], instructions: { applyActions: look } },
      { guard: [matchState(SHADOW)], instructions: { gotoTable: next.id } },
    ];
  }
  const note: Action = { type: 'setField', field: 'reg4', value: verdictId };
  return [
    {
      guard: [matchState(0)],
      instructions: { applyActions: [note, setState(DECIDED), resubmit(table)] },
    },
    { guard: [matchState(SHADOW)], instructions: { applyActions: [note] } },
  ];
}

/** In a shadow a verdict only says by which rule. */
export function shadowVerdict(list: FlowList): void {
  for (const { verdict, direction } of TIER_CHAINS) {
    list.add(
      verdict,
      SHADOW_PRIORITY,
      [{ field: 'reg0', value: SHADOW, mask: SHADOW }],
      [
        {
          type: 'move',
          from: { field: VERDICT_REGISTER[direction], start: 0, bits: REGISTER_BITS },
          to: { field: 'reg4', start: 0 },
        },
      ],
    );
  }
}

/** Makes ready for the trials of the other direction. */
export const CLEAR_DRY_RUN: readonly Action[] = [
  setState(0),
  { type: 'setField', field: 'reg4', value: 0 },
];
