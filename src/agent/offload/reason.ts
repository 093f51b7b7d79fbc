/**
 * Why a packet is not handled by the hardware: the reason codes (docs/offload.md, whose table is checked against this file)
 * and what each of them says of a rule. Names are an interface for scripts: change none.
 */

/** What forwards packets: the kernel's datapath with tc, DOCA, or ovs-vswitchd itself. */
export type DatapathKind = 'kernel' | 'doca' | 'userspace';

/** Every kind of datapath. */
export const DATAPATH_KINDS: readonly DatapathKind[] = ['kernel', 'doca', 'userspace'];

/** A code of this file. */
export type ReasonCode = keyof typeof REASONS;

/** What a code means, and on which datapaths it holds. */
interface ReasonText {
  readonly summary: string;
  readonly kinds: readonly DatapathKind[];
  /** `driver`: some cards and drivers can do it. `counters`: packets are offloaded, a counter misses them. */
  readonly certainty: 'certain' | 'driver' | 'counters';
}

const HARDWARE: readonly DatapathKind[] = ['kernel', 'doca'];
const KERNEL: readonly DatapathKind[] = ['kernel'];

/** The codes. */
export const REASONS = {
  UserspaceDatapath: {
    summary: 'the bridge is of datapath_type netdev: ovs-vswitchd forwards every packet itself',
    kinds: ['userspace'],
    certainty: 'certain',
  },
  StatefulICMP: {
    summary: 'ICMP through connection tracking stays in software',
    kinds: HARDWARE,
    certainty: 'certain',
  },
  Recirculation: {
    summary: 'connection tracking recirculates packets, which some drivers do not take',
    kinds: KERNEL,
    certainty: 'driver',
  },
  Logging: {
    summary: 'a copy of each packet goes to the agent, which hardware cannot send',
    kinds: HARDWARE,
    certainty: 'certain',
  },
  DSCPMask: {
    summary: 'DSCP is a part of the TOS byte, and hardware may match the whole byte only',
    kinds: KERNEL,
    certainty: 'driver',
  },
  PacketMark: {
    summary: 'pkt_mark exists in the kernel only',
    kinds: HARDWARE,
    certainty: 'certain',
  },
  TooManyActions: {
    summary: 'more than 16 actions for one packet, which is the most that a tc filter holds',
    kinds: KERNEL,
    certainty: 'certain',
  },
  UnsupportedAction: {
    summary: 'an action that has no form in tc or DOCA',
    kinds: HARDWARE,
    certainty: 'certain',
  },
  RedirectPortNotRepresentor: {
    summary: 'packets are redirected to a port that is no representor of the card',
    kinds: HARDWARE,
    certainty: 'certain',
  },
  EndpointNotRepresentor: {
    summary: 'an endpoint of the network is an internal, tap or veth port',
    kinds: HARDWARE,
    certainty: 'certain',
  },
  MixedSwitches: {
    summary: 'the ports of the path belong to different cards',
    kinds: HARDWARE,
    certainty: 'driver',
  },
  MeterByteCount: {
    summary: 'a meter does not count the bytes that hardware forwards',
    kinds: KERNEL,
    certainty: 'counters',
  },
} as const satisfies Readonly<Record<string, ReasonText>>;

/** How much of what a rule matches stays in software. */
export type ReasonScope = 'all' | 'some' | 'none';

/** A reason that holds for a rule. */
export interface Reason {
  readonly code: ReasonCode;
  readonly scope: ReasonScope;
  readonly certainty: ReasonText['certainty'];
  /** What it is in this case: a port, a number, or the summary. */
  readonly detail: string;
}

/** A reason by its code, or none where the datapath does not care. */
export function reason(
  kind: DatapathKind,
  code: ReasonCode,
  scope: ReasonScope,
  detail?: string,
): Reason[] {
  const { kinds, certainty, summary }: ReasonText = REASONS[code];
  return kinds.includes(kind) ? [{ code, scope, certainty, detail: detail ?? summary }] : [];
}
