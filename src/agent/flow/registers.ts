/**
 * What the registers of the pipeline mean (docs/pipeline.md). None of them reaches the datapath.
 *
 * ```
 * metadata  63            24 23                     0
 *          +----------------+------------------------+
 *          |       0        |          VNI           |   set once, never rewritten
 *          +----------------+------------------------+
 * reg0      31        9   8    7         4 3         0
 *          +-----------+------+-----------+-----------+
 *          |     0     | skip | dst class | src class |
 *          +-----------+------+-----------+-----------+
 * reg1 output ofport    reg2 rule that decided at egress    reg3 rule that decided at ingress
 * reg0[10..11] and reg4 belong to rules on trial (dry-run.ts)
 * ```
 */
import type { Vni } from '../../base/brand.ts';
import type { Action } from '../../openflow/action.ts';
import type { MatchField } from '../../openflow/match.ts';

/** Where a packet comes from, in reg0[0..3]. */
export const SOURCE_CLASS = { tunnel: 1, local: 2 } as const;
/** Where a packet goes to, in reg0[4..7]. */
export const DESTINATION_CLASS = { tunnel: 1, local: 2 } as const;

const SOURCE_MASK = 0xf;
const DESTINATION_SHIFT = 4;
const DESTINATION_MASK = 0xf0;

/** Matches the tenant network. */
export function matchVni(vni: Vni): MatchField {
  return { field: 'metadata', value: vni };
}

/** Puts the packet into a tenant network. Only Classify and Network do so. */
export function setVni(vni: Vni): Action {
  return { type: 'setField', field: 'metadata', value: vni };
}

/** Matches where the packet came from. */
export function matchSource(source: keyof typeof SOURCE_CLASS): MatchField {
  return { field: 'reg0', value: SOURCE_CLASS[source], mask: SOURCE_MASK };
}

/** Notes where the packet came from. */
export function setSource(source: keyof typeof SOURCE_CLASS): Action {
  return { type: 'setField', field: 'reg0', value: SOURCE_CLASS[source], mask: SOURCE_MASK };
}

/** Notes where the packet goes to. */
export function setDestination(destination: keyof typeof DESTINATION_CLASS): Action {
  return {
    type: 'setField',
    field: 'reg0',
    value: DESTINATION_CLASS[destination] << DESTINATION_SHIFT,
    mask: DESTINATION_MASK,
  };
}

/** Chooses the port that Output sends to. */
export function setOutputPort(ofport: number): Action {
  return { type: 'setField', field: 'reg1', value: ofport };
}

/** Register that names the deciding rule, by direction. */
export const VERDICT_REGISTER = { egress: 'reg2', ingress: 'reg3' } as const;
