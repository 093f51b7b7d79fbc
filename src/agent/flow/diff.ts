/**
 * What has to change in the switch: desired against actual, as whole messages in an order that holds inside one bundle.
 * Only keys that are asked about are looked at. Flows of others never appear here: the mirror leaves them out.
 */
import { encodeCookieDelete, encodeFlowDelete } from '../../openflow/flow-mod.ts';
import type { BundleMessage } from '../../openflow/bundle.ts';
import type { EncodedFlow } from '../../openflow/flow.ts';
import {
  encodeGroupDelete,
  encodeGroupModify,
  type EncodedGroup,
} from '../../openflow/group-mod.ts';
import {
  encodeMeterDelete,
  encodeMeterModify,
  type EncodedMeter,
  type MeterDesc,
} from '../../openflow/meter-mod.ts';
import { isLearnedCookie } from './cookie.ts';
import type { DesiredState } from './desired.ts';
import type { FlowIndex } from './flow-index.ts';
import { TABLE } from './pipeline.ts';
import { allSteps, type Steps } from './steps.ts';

/** Keys that are compared between two pauses: some tens of microseconds. */
export const KEYS_PER_STEP = 256;
const TABLES = 255;

/** The switch as far as it is ours. */
export interface ActualState {
  /** The flow that stands at the key of `flow`. */
  flow(flow: EncodedFlow): EncodedFlow | undefined;
  group(id: number): { readonly buckets: Uint8Array } | undefined;
  readonly index: Pick<FlowIndex, 'size' | 'slotCount' | 'at'>;
  meter(id: number): Pick<MeterDesc, 'flags' | 'bands'> | undefined;
  groupIds(): Iterable<number>;
  meterIds(): Iterable<number>;
  /** Cookies of learned flows that were seen although nothing learns under them. */
  readonly orphans?: Iterable<bigint>;
}

/** One message with what it does, so that an answer can be attributed and the mirror brought up to date. */
export type Change =
  | {
      readonly kind: 'add';
      readonly message: BundleMessage;
      readonly flow: EncodedFlow;
      readonly owner: string;
    }
  | {
      readonly kind: 'modify';
      readonly message: BundleMessage;
      readonly flow: EncodedFlow;
      readonly owner: string;
    }
  | { readonly kind: 'delete'; readonly message: Uint8Array; readonly flow: EncodedFlow }
  /** Deletes all flows that were learned under a cookie. */
  | { readonly kind: 'forget'; readonly message: Uint8Array; readonly cookie: bigint }
  | {
      readonly kind: 'group_add' | 'group_modify';
      readonly message: Uint8Array;
      readonly group: EncodedGroup;
    }
  | { readonly kind: 'group_delete'; readonly message: Uint8Array; readonly groupId: number }
  | {
      readonly kind: 'meter_add' | 'meter_modify';
      readonly message: Uint8Array;
      readonly meter: EncodedMeter;
    }
  | { readonly kind: 'meter_delete'; readonly message: Uint8Array; readonly meterId: number };

/** What to compare. */
export interface DiffScope {
  /** Flows by their keys; undefined for everything that either side holds. */
  readonly flows: Iterable<EncodedFlow> | undefined;
  readonly groups: Iterable<number>;
  /** Absent: none. */
  readonly meters?: Iterable<number>;
}

/** Everything that either side holds. */
export function fullScope(desired: DesiredState, actual: ActualState): DiffScope {
  const groups = new Set(actual.groupIds());
  for (const group of desired.groups()) groups.add(group.groupId);
  const meters = new Set([...actual.meterIds(), ...desired.meterIds()]);
  return { flows: undefined, groups, meters };
}

/**
 * The changes of a scope, ordered: meters and groups that flows will use, flows that go, what those have learned (which
 * would come back before), flows that come (the pipeline's
 * end before its beginning, so that a packet never meets a half-built path even where a first sync is cut into several bundles),
 * groups and meters that nothing uses any more. Whether a meter_mod goes into a bundle is the writer's business.
 */
export function diff(desired: DesiredState, actual: ActualState, scope: DiffScope): Change[] {
  return allSteps(diffSteps(desired, actual, scope));
}

/** As {@link diff}, with a pause after some keys: meanwhile `actual` may change, `desired` must not. */
export function* diffSteps(
  desired: DesiredState,
  actual: ActualState,
  scope: DiffScope,
): Steps<Change[]> {
  const { changed, removed } = diffGroups(desired, actual, scope.groups);
  const deletes: Change[] = [];
  /** By table. */
  const adds: Change[][] = Array.from({ length: TABLES }, () => []);
  const learners = new Set<bigint>(actual.orphans);
  const compare = (want: EncodedFlow | undefined, have: EncodedFlow | undefined): void => {
    if (have?.tableId === TABLE.remoteGuard.id && isLearnedCookie(have.cookie)) {
      learners.add(have.cookie);
    }
    if (want === undefined) {
      if (have !== undefined)
        deletes.push({ kind: 'delete', message: encodeFlowDelete(have), flow: have });
    } else if (have === undefined || !want.sameActions(have)) {
      const kind = have === undefined ? 'add' : 'modify';
      const owner = desired.ownerOf(want) ?? '';
      adds[want.tableId]?.push({ kind, message: want, flow: want, owner });
    }
  };
  let compared = 0;
  if (scope.flows === undefined) {
    for (let slot = 0; slot < desired.index.slotCount; slot++) {
      const want = desired.index.at(slot);
      if (want !== undefined) compare(want, actual.flow(want));
      if (++compared % KEYS_PER_STEP === 0) yield;
    }
    for (let slot = 0; slot < actual.index.slotCount; slot++) {
      const have = actual.index.at(slot);
      if (have !== undefined && desired.flow(have) === undefined) compare(undefined, have);
      if (++compared % KEYS_PER_STEP === 0) yield;
    }
  } else {
    for (const flow of scope.flows) {
      compare(desired.flow(flow), actual.flow(flow));
      if (++compared % KEYS_PER_STEP === 0) yield;
    }
  }
  const meters = meterChanges(desired, actual, scope.meters);
  const gone = [...learners].filter((cookie) => !desired.isLearner(cookie));
  const forgets = gone.map((cookie): Change => {
    return { kind: 'forget', message: encodeCookieDelete(TABLE.learned.id, cookie), cookie };
  });
  const flows = [...deletes, ...forgets, ...adds.reverse().flat()];
  return [...meters.before, ...changed, ...flows, ...removed, ...meters.after];
}

/** Groups to make or change before flows use them, and groups to remove when no flow uses them any more. */
function diffGroups(
  desired: DesiredState,
  actual: ActualState,
  ids: Iterable<number>,
): { readonly changed: Change[]; readonly removed: Change[] } {
  const changed: Change[] = [];
  const removed: Change[] = [];
  for (const id of ids) {
    const want = desired.group(id);
    const have = actual.group(id);
    if (want === undefined) {
      if (have !== undefined) {
        removed.push({ kind: 'group_delete', message: encodeGroupDelete(id), groupId: id });
      }
    } else if (have === undefined) {
      changed.push({ kind: 'group_add', message: want.message, group: want });
    } else if (!sameBytes(want.buckets, have.buckets)) {
      changed.push({ kind: 'group_modify', message: encodeGroupModify(want), group: want });
    }
  }
  return { changed, removed };
}

function meterChanges(
  desired: DesiredState,
  actual: ActualState,
  ids: Iterable<number> = [],
): { before: Change[]; after: Change[] } {
  const before: Change[] = [];
  const after: Change[] = [];
  for (const id of ids) {
    const want = desired.meter(id);
    const have = actual.meter(id);
    if (want === undefined) {
      if (have === undefined) continue;
      after.push({ kind: 'meter_delete', message: encodeMeterDelete(id), meterId: id });
    } else if (have === undefined) {
      before.push({ kind: 'meter_add', message: want.message, meter: want });
    } else if (want.flags !== have.flags || !sameBytes(want.bands, have.bands)) {
      before.push({ kind: 'meter_modify', message: encodeMeterModify(want), meter: want });
    }
  }
  return { before, after };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
