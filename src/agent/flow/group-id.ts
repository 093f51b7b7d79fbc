/**
 * Which OpenFlow groups of the bridge are ours. Groups have no cookie, so the top seven bits of the number are a tag; the
 * files of `tables/` say what stands below it. Numbers follow from what a group is for, and need no memory.
 *
 * ```
 *  31      25 24                                 0
 * +----------+------------------------------------+
 * |   tag    | 0x5a: VNI, source; 0x5b: leg, stage |
 * +----------+------------------------------------+
 * ```
 */

/** Tag of the groups that flood. */
export const FLOOD_GROUP_TAG = 0x5a;
/** Tag of the groups that watch over the legs of devices. */
export const LEG_GROUP_TAG = 0x5b;
/** Value of the tag's lowest bit. */
export const GROUP_TAG_UNIT = 2 ** 25;

/** True when a group with this id is ours. */
export function isOwnGroup(groupId: number): boolean {
  const tag = Math.floor(groupId / GROUP_TAG_UNIT);
  return tag === FLOOD_GROUP_TAG || tag === LEG_GROUP_TAG;
}

/** What a group of ours is for: a network, or the leg of a device; undefined when it is not ours. */
export function groupSubject(
  groupId: number,
): { readonly vni: number } | { readonly ofport: number } | undefined {
  const tag = Math.floor(groupId / GROUP_TAG_UNIT);
  const subject = Math.floor((groupId % GROUP_TAG_UNIT) / 2);
  if (tag === FLOOD_GROUP_TAG) return { vni: subject };
  return tag === LEG_GROUP_TAG ? { ofport: subject } : undefined;
}
