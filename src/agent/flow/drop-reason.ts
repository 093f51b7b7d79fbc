/**
 * Every way in which the pipeline itself drops a packet. Each reason has flows of its own with a cookie that names it:
 * "what dropped it?" always has an answer. Drops by a rule are counted with the rule as well.
 */
import { hashName, makeCookie } from './cookie.ts';

/** Reason -> what it means to an operator. */
export const DROP_REASONS = {
  UnknownPort: 'came in on a port that is no endpoint',
  UnknownPeer:
    'came through the tunnel from an address that is no peer, or was not sent to our VTEP',
  UnknownVni: 'came through the tunnel with a VNI that is not configured here',
  VlanTagged: 'an endpoint sent an 802.1Q frame',
  MulticastSource: 'the source MAC is a multicast address',
  DhcpServer: 'an endpoint answered as a DHCP server',
  RouterAdvertisement: 'an endpoint sent an IPv6 router advertisement',
  SpoofedSource: 'the source MAC or IP address is not that of the port',
  RemoteSpoof:
    'came through the tunnel with the MAC of a local endpoint, or of one behind another peer',
  UnknownReturned: 'a device returned a frame whose source MAC is no known endpoint',
  DeviceFrame: 'a device sent something that is no untagged IP packet',
  UnknownEtherType: 'neither IPv4, IPv6 nor ARP',
  NoZone: 'reached connection tracking without a zone: a fault of the pipeline',
  InvalidState: 'belongs to no connection as its protocol would have it (ct_state +inv)',
  BlockedConnection: 'a reply of a connection that a rule has denied meanwhile',
  UnknownClass: 'lost its source class: a fault of the pipeline',
  NotLocal: 'came through the tunnel for a MAC that is not here: never sent back to the tunnel',
  UnknownUnicast: 'the destination MAC is no known endpoint of the network',
  UnicastInMulticast:
    'a unicast IP destination inside a multicast frame, which would slip past policy',
  Fragment: 'a later fragment that no allow rule covers, in a network that denies by default',
  RedirectDown: 'a leg of the device that a rule redirects to is missing or down',
  RedirectMulticast:
    'a multicast copy that a rule redirects where it arrives, which would multiply it',
  MirrorDown: 'a copy for a port that is not there: the packet itself went its way',
  OwnFlood: 'a flooded packet that came back from a device, at the port that it began at',
  NoVerdict: 'no rule and no default action decided: a fault of the pipeline',
  NoOutput: 'reached the output without a port: a fault of the pipeline',
  RuleDeny: 'denied by a rule',
  RuleReject: 'rejected by a rule, and answered where that may be',
  RateLimited: 'over the rateLimit of the rule that allowed it',
  DefaultDeny: "denied by the network's default action",
} as const;

/** Name of a reason. */
export type DropReason = keyof typeof DROP_REASONS;

/** The cookie of the drop flows of a reason. */
export function dropCookie(reason: DropReason): bigint {
  return makeCookie('drop', hashName(`drop/${reason}`));
}

const REASON_BY_COOKIE: ReadonlyMap<bigint, DropReason> = new Map(
  (Object.keys(DROP_REASONS) as DropReason[]).map((reason) => [dropCookie(reason), reason]),
);

/** The reason that a cookie names; undefined when it is no drop of the pipeline. */
export function dropReasonOf(cookie: bigint): DropReason | undefined {
  return REASON_BY_COOKIE.get(cookie);
}
