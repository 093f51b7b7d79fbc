/**
 * Names of what a NetworkPolicy becomes: readable, valid, and never those of another policy. A name that is too long, or
 * that could be read as another's, carries a hash of the policy's name. Stable: the name of a policy is all that counts.
 */
import { createHash } from 'node:crypto';

/** Longest name of a DPURule that is made here; room for the longest suffix is kept. */
const RULE_NAME_MAX = 253;
/** Longest name of a DPUGroup that is made here: it may stand in a label. */
const GROUP_NAME_MAX = 63;
const SUFFIX_MAX = 8;
const HASH_DIGITS = 16;
/** Ends of names that this file itself makes. */
const RESERVED_END = /-(iso|part[0-9]+|x[0-9a-f]{16})$/;
const PEER_PREFIX = 'peer-';

/** The first 64 bits of a SHA-256, as text: enough that two names of one namespace do not meet by accident. */
function hashText(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, HASH_DIGITS);
}

function withHash(name: string, most: number): string {
  const room = most - `np--x${''.padEnd(HASH_DIGITS)}`.length;
  // A DNS-1123 name may not have a dot or a hyphen at the end of a part.
  const head = name.slice(0, room).replace(/[-.]+$/, '');
  return `np-${head}-x${hashText(name)}`;
}

function policyName(name: string, most: number): string {
  const isClear = !RESERVED_END.test(name) && !name.startsWith(PEER_PREFIX);
  return isClear && name.length + 'np-'.length <= most ? `np-${name}` : withHash(name, most);
}

/** Name of the DPURule with the allows of a policy; `part` counts from 0 where one object has no room for all. */
export function allowRuleName(policy: string, part: number): string {
  const base = policyName(policy, RULE_NAME_MAX - SUFFIX_MAX);
  return part === 0 ? base : `${base}-part${part + 1}`;
}

/** Name of the DPURule that isolates the pods of a policy. */
export function isolationRuleName(policy: string): string {
  return `${policyName(policy, RULE_NAME_MAX - SUFFIX_MAX)}-iso`;
}

/** Name of the DPUGroup with the pods that a policy applies to. */
export function subjectGroupName(policy: string): string {
  return policyName(policy, GROUP_NAME_MAX);
}

/**
 * Name of a DPUGroup of peers, by its content. By content, and not by place in the policy: the members of a group change
 * some time after its selectors do, and a rule must not meanwhile allow what its group had selected before.
 */
export function peerGroupName(content: string): string {
  return `np-${PEER_PREFIX}${hashText(content)}`;
}
