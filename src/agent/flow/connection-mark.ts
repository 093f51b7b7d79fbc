/**
 * What a connection remembers of itself, in its ct_mark, and the bits of ct_state (OVS `lib/packets.h`). The mark is always
 * written under a mask: the other bits are not ours.
 *
 * ```
 * ct_mark   31                  16 15      2       1           0
 *          +----------------------+---------+------------+---------+
 *          |  leg for the replies |    -    | redirected | blocked |
 *          +----------------------+---------+------------+---------+
 * ```
 */
import type { Action } from '../../openflow/action.ts';
import type { MatchField } from '../../openflow/match.ts';

/** Bits of ct_state. */
export const CT = { new: 0x01, est: 0x02, rel: 0x04, rpl: 0x08, inv: 0x10, trk: 0x20 } as const;

/** Matches a tracked packet with the bits `set`, and without those of `clear`. */
export function ctState(set: number, clear = 0): MatchField {
  return { field: 'ctState', value: set | CT.trk, mask: set | clear | CT.trk };
}

const BLOCKED = 1;
const REDIRECTED = 2;
const LEG_SHIFT = 16;
const LEG_MASK = 0xffff0000;
const OWN_MASK = LEG_MASK + REDIRECTED + BLOCKED;

/** Matches a part of the mark; with `leg` all of it: redirected, replies go into this leg, not blocked. */
export function ctMarkOf(
  part: { readonly blocked: true } | { readonly redirected: true } | { readonly leg: number },
): MatchField {
  if ('leg' in part) {
    const value = part.leg * 2 ** LEG_SHIFT + REDIRECTED;
    return { field: 'ctMark', value, mask: OWN_MASK };
  }
  const bit = 'blocked' in part ? BLOCKED : REDIRECTED;
  return { field: 'ctMark', value: bit, mask: bit };
}

const mark = (value: number, mask: number): Action => ({
  type: 'setField',
  field: 'ctMark',
  value,
  mask,
});

/** Changes of the mark, for `exec` of ct(commit). */
export const MARK: Readonly<Record<'block' | 'unblock' | 'clear' | 'redirect', readonly Action[]>> =
  {
    block: [mark(BLOCKED, BLOCKED)],
    unblock: [mark(0, BLOCKED)],
    clear: [mark(0, OWN_MASK)],
    // The leg stands in reg6.
    redirect: [
      mark(REDIRECTED, REDIRECTED | BLOCKED),
      {
        type: 'move',
        from: { field: 'reg6', start: 0, bits: 16 },
        to: { field: 'ctMark', start: LEG_SHIFT },
      },
    ],
  };
