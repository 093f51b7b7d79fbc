/**
 * The cookie of every flow that the agent owns. It says whose flow it is, so that counters survive a restart and nothing
 * of anybody else is ever touched.
 *
 * ```
 *  63           48 47   44 43      40 39                              0
 * +---------------+-------+----------+---------------------------------+
 * |     magic     | format| category |            object id            |
 * +---------------+-------+----------+---------------------------------+
 * ```
 */
import { hash } from 'node:crypto';

/** Marks a flow as ours. */
export const COOKIE_MAGIC = 0xd9a6n;
/** Version of the layout above. */
export const COOKIE_FORMAT = 1n;
/** Selects the magic alone: our flows of any format. */
export const COOKIE_OWNER_MASK = 0xffff_0000_0000_0000n;
/** What to compare with under {@link COOKIE_OWNER_MASK}. */
export const COOKIE_OWNER = COOKIE_MAGIC << 48n;

/** What a flow was made from. The number is on the wire: never reuse one. */
export const COOKIE_CATEGORY = {
  pipeline: 1n,
  drop: 2n,
  peer: 3n,
  network: 4n,
  endpoint: 5n,
  rule: 6n,
  shared: 7n,
  device: 8n,
  /** A learn flow, and what it has learned in table 41. */
  learned: 9n,
} as const;

/** Name of a category. */
export type CookieCategory = keyof typeof COOKIE_CATEGORY;

const OBJECT_BITS = 40n;
const OBJECT_BYTES = 5;
const OBJECT_MASK = (1n << OBJECT_BITS) - 1n;

/** All of a cookie but its object id, by category. */
const COOKIE_HEADS = Object.fromEntries(
  Object.entries(COOKIE_CATEGORY).map(([name, category]) => [
    name,
    COOKIE_OWNER | (COOKIE_FORMAT << 44n) | (category << OBJECT_BITS),
  ]),
) as Record<CookieCategory, bigint>;

/** Packs a cookie. `objectId` has 40 bits. */
export function makeCookie(category: CookieCategory, objectId: bigint): bigint {
  return COOKIE_HEADS[category] | (objectId & OBJECT_MASK);
}

/** True when the flow with this cookie is ours. */
export function isOwnCookie(cookie: bigint): boolean {
  return cookie >> 48n === COOKIE_MAGIC;
}

/**
 * 40 bits that depend on the name alone (first bytes of its SHA-256): the same after a restart, and for an object that was
 * deleted and made again. `salt` gives another value where two names collide.
 */
export function hashName(name: string, salt = 0): bigint {
  // One character for each byte: a Buffer would cost more than the hash itself.
  const digest = hash('sha256', salt === 0 ? name : `${name}\0${salt}`, 'binary');
  let value = 0;
  for (let index = 0; index < OBJECT_BYTES; index++) value = value * 256 + digest.charCodeAt(index);
  return BigInt(value);
}

/** As {@link isOwnCookie}, by the upper 32 bits of the cookie. */
export function isOwnCookieHigh(cookieHigh: number): boolean {
  return cookieHigh >>> 16 === Number(COOKIE_MAGIC);
}

function isOfCategory(cookie: bigint, category: CookieCategory): boolean {
  return isOwnCookie(cookie) && ((cookie >> OBJECT_BITS) & 0xfn) === COOKIE_CATEGORY[category];
}

/** True when the flow with this cookie was made from an entry of a rule. */
export function isRuleCookie(cookie: bigint): boolean {
  return isOfCategory(cookie, 'rule');
}

/** True when the flow with this cookie is a clause of conjunctions, whoever has them. */
export function isSharedCookie(cookie: bigint): boolean {
  return isOfCategory(cookie, 'shared');
}

/** True when the flow with this cookie learns, or was learned. */
export function isLearnedCookie(cookie: bigint): boolean {
  return isOfCategory(cookie, 'learned');
}

/** True when the flow with this cookie is of the pipeline as a whole. */
export function isPipelineCookie(cookie: bigint): boolean {
  return isOwnCookie(cookie) && ((cookie >> OBJECT_BITS) & 0xfn) === COOKIE_CATEGORY.pipeline;
}
