/**
 * What the registers of the pipeline mean (docs/pipeline.md). None of them reaches the datapath.
 *
 * ```
 * metadata  63            24 23                     0
 *          +----------------+------------------------+
 *          |       0        |          VNI           |   set once, never rewritten
 *          +----------------+------------------------+
 * reg0      31   15 14     13       12        11..10    9          8      7         4 3         0
 *          +-------+------+--------+---------+---------+----------+------+-----------+-----------+
 *          |   0   | copy | remote | reverse | dry run | redirect | skip | dst class | src class |
 *          +-------+------+--------+---------+---------+----------+------+-----------+-----------+
 * reg1 output ofport    reg2 rule that decided at egress    reg3 rule that decided at ingress
 * reg0[10..11] and reg4 belong to rules on trial (dry-run.ts)
 * reg5      31                  16 15                   0
 *          +----------------------+----------------------+
 *          | leg that must be up  | leg to go out by     |   of a redirected packet: ofports
 *          +----------------------+----------------------+
 * reg6 leg for the replies of a redirected packet, where they are found by connection tracking
 * reg7      31                  16 15                   0
 *          +----------------------+----------------------+
 *          | port that has a copy | port to get a copy   |   of a mirrored packet: ofports
 *          +----------------------+----------------------+
 * ```
 */
import type { Vni } from '../../base/brand.ts';
import type { Action } from '../../openflow/action.ts';
import type { LearnSpec } from '../../openflow/learn.ts';
import type { MatchField } from '../../openflow/match.ts';

/** Where a packet comes from, in reg0[0..3]; `returned`: from the device that a redirect had sent it to. */
export const SOURCE_CLASS = { tunnel: 1, local: 2, returned: 3 } as const;
/** Where a packet goes to, in reg0[4..7]. */
export const DESTINATION_CLASS = { tunnel: 1, local: 2 } as const;

/** Single bits of reg0. */
export const FLAG = {
  /** Of a known connection, or our own: passes no rules. */
  skipPolicy: 1 << 8,
  /** On its way to a device. */
  redirected: 1 << 9,
  /** Admitted, or redirected, as a reply by a rule's reverse flows: only while connection tracking warms up. */
  byReverse: 1 << 12,
  /** Returned by a device to which it had come through the tunnel. */
  fromTunnel: 1 << 13,
  /** A copy on its way to the port that a rule mirrors to. */
  copy: 1 << 14,
} as const;

const SOURCE_MASK = 0xf;
const DESTINATION_SHIFT = 4;
const DESTINATION_BITS = 4;
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

/**
 * Matches what began on this DPU, also after its way through a device. The classes are chosen so that one mask does it:
 * bit 1 is set for local and returned alike, and bit 13 tells a returned packet that came through the tunnel.
 */
export function matchOutbound(): MatchField {
  return { field: 'reg0', value: SOURCE_CLASS.local, mask: SOURCE_CLASS.local | FLAG.fromTunnel };
}

/** Matches what a device has returned, by where it began. */
export function matchReturned(origin: 'local' | 'remote'): MatchField {
  const flag = origin === 'remote' ? FLAG.fromTunnel : 0;
  return {
    field: 'reg0',
    value: SOURCE_CLASS.returned | flag,
    mask: SOURCE_MASK | FLAG.fromTunnel,
  };
}

/** Matches one bit of reg0. */
export function matchFlag(flag: keyof typeof FLAG): MatchField {
  return { field: 'reg0', value: FLAG[flag], mask: FLAG[flag] };
}

/** Sets or clears one bit of reg0. */
export function setFlag(flag: keyof typeof FLAG, on = true): Action {
  return { type: 'setField', field: 'reg0', value: on ? FLAG[flag] : 0, mask: FLAG[flag] };
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

/** Matches where the packet goes to. */
export function matchDestination(destination: keyof typeof DESTINATION_CLASS): MatchField {
  return {
    field: 'reg0',
    value: DESTINATION_CLASS[destination] << DESTINATION_SHIFT,
    mask: DESTINATION_MASK,
  };
}

/** As {@link setDestination}, by a learned flow. */
export function learnDestination(destination: keyof typeof DESTINATION_CLASS): LearnSpec {
  return {
    use: 'load',
    to: { field: 'reg0', start: DESTINATION_SHIFT, bits: DESTINATION_BITS },
    from: BigInt(DESTINATION_CLASS[destination]),
  };
}

/** Chooses the port that Output sends to. */
export function setOutputPort(ofport: number): Action {
  return { type: 'setField', field: 'reg1', value: ofport };
}

/** Register that names the deciding rule, by direction. */
export const VERDICT_REGISTER = { egress: 'reg2', ingress: 'reg3' } as const;

const LEG_SHIFT = 16;

/** The legs of a redirected packet, in reg5. */
export interface LegRegister {
  /** The leg that must be up beside the one that the packet goes out by; 0: none. */
  readonly toCheck: number;
  /** The leg that the packet goes out by; 0: it is not there, or down. */
  readonly out: number;
}

function legValue({ toCheck, out }: LegRegister): number {
  return toCheck * 2 ** LEG_SHIFT + out;
}

/** Chooses the legs. reg1 is left alone: the packet may have to go on without the device. */
export function setLegs(legs: LegRegister): Action {
  return { type: 'setField', field: 'reg5', value: legValue(legs) };
}

/** Matches the legs. */
export function matchLegs(legs: LegRegister): MatchField {
  return { field: 'reg5', value: legValue(legs) };
}

/** Matches the leg that is still to be checked. */
export function matchLegToCheck(ofport: number): MatchField {
  return { field: 'reg5', value: legValue({ toCheck: ofport, out: 0 }), mask: 0xffff0000 };
}

/** The leg has been checked. */
export function clearLegToCheck(): Action {
  return { type: 'setField', field: 'reg5', value: 0, mask: 0xffff0000 };
}

/** Names the leg that the replies of a redirected connection go into. */
export function setReplyLeg(ofport: number): Action {
  return { type: 'setField', field: 'reg6', value: ofport };
}

/** Matches the leg for the replies. */
export function matchReplyLeg(ofport: number): MatchField {
  return { field: 'reg6', value: ofport };
}

const COPY_DONE_SHIFT = 16;
const COPY_PORT_MASK = 0xffff;
const COPY_DONE_MASK = 0xffff0000;

/** Chooses the port that gets a copy. Which one has had a copy stays known. */
export function setCopyPort(ofport: number): Action {
  return { type: 'setField', field: 'reg7', value: ofport, mask: COPY_PORT_MASK };
}

/** Notes that a port has got its copy. */
export function setCopyDone(ofport: number): Action {
  const value = ofport * 2 ** COPY_DONE_SHIFT;
  return { type: 'setField', field: 'reg7', value, mask: COPY_DONE_MASK };
}

/** Matches a copy for a port. */
export function matchCopyPort(ofport: number): MatchField {
  return { field: 'reg7', value: ofport, mask: COPY_PORT_MASK };
}

/** Matches a copy for a port that has had one. */
export function matchCopyDone(ofport: number): MatchField {
  return { field: 'reg7', value: ofport * 2 ** COPY_DONE_SHIFT + ofport };
}

/** Matches what a rule redirects by its own match, not as a reply. */
export function matchForwardRedirect(): MatchField {
  return { field: 'reg0', value: FLAG.redirected, mask: FLAG.redirected | FLAG.byReverse };
}
