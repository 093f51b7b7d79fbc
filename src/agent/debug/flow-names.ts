/**
 * Whose a flow is, from its cookie: the rule entry, drop reason or part of the configuration that it was made from. The
 * names come from what is desired now, whatever made it; a cookie of ours that nothing desires any more says so.
 */
import { COOKIE_CATEGORY, isOwnCookie } from '../flow/cookie.ts';
import type { DesiredState } from '../flow/desired.ts';
import { DROP_REASONS, dropReasonOf, type DropReason } from '../flow/drop-reason.ts';
import type { Snapshot } from '../flow/model.ts';

/** Whose a flow is. */
export type FlowOwner =
  /** An entry of a DPURule, as `namespace/name/rule`. */
  | { readonly kind: 'rule'; readonly name: string }
  | { readonly kind: 'drop'; readonly name: DropReason; readonly meaning: string }
  /** A part of the configuration: `network`, `local`, `remote`, `peer`, `base`, ... */
  | { readonly kind: 'part'; readonly name: string }
  /** Ours, and not desired any more. */
  | { readonly kind: 'stale'; readonly name: string }
  /** Somebody else's. */
  | { readonly kind: 'foreign'; readonly name: string };

/** Prefix of the names of rule entries in the desired state. */
export const RULE_PREFIX = 'DPURule/';
const OBJECT_BITS = 40n;

/** The owners of cookies. One walk over the desired flows, however many cookies are asked for. */
export function flowOwners(
  cookies: Iterable<bigint>,
  desired: DesiredState,
  snapshot: Snapshot | undefined,
): Map<bigint, FlowOwner> {
  const owners = new Map<bigint, FlowOwner>();
  const wanted = new Set<bigint>();
  for (const cookie of cookies) {
    const reason = dropReasonOf(cookie);
    if (reason !== undefined) {
      owners.set(cookie, { kind: 'drop', name: reason, meaning: DROP_REASONS[reason] });
    } else if (isOwnCookie(cookie)) {
      wanted.add(cookie);
      owners.set(cookie, { kind: 'stale', name: categoryOf(cookie) });
    } else {
      owners.set(cookie, { kind: 'foreign', name: `cookie 0x${cookie.toString(16)}` });
    }
  }
  for (const [, { flow, owner }] of desired.flows()) {
    if (wanted.size === 0) break;
    if (!wanted.delete(flow.cookie)) continue;
    owners.set(flow.cookie, ownerOf(owner, snapshot));
  }
  return owners;
}

/** An owner of the desired state as people call it. */
export function ownerOf(owner: string, snapshot: Snapshot | undefined): FlowOwner {
  if (owner.startsWith(RULE_PREFIX)) return { kind: 'rule', name: owner.slice(RULE_PREFIX.length) };
  const [kind = '', vni] = owner.split('/');
  if (kind !== 'network') return { kind: 'part', name: owner };
  const network = snapshot?.networks.find((candidate) => String(candidate.vni) === vni);
  return { kind: 'part', name: network === undefined ? owner : `network/${network.name}` };
}

function categoryOf(cookie: bigint): string {
  const number = (cookie >> OBJECT_BITS) & 0xfn;
  const found = Object.entries(COOKIE_CATEGORY).find(([, value]) => value === number);
  return found?.[0] ?? `category ${number}`;
}
