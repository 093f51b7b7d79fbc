/**
 * What has to change in the switch: desired against actual, as whole messages in an order that holds inside one bundle.
 * Only keys that are asked about are looked at. Flows of others never appear here: the mirror leaves them out.
 */
import { encodeFlowDelete } from '../../openflow/flow-mod.ts';
import { sameActions, type EncodedFlow } from '../../openflow/flow.ts';
import {
  encodeGroupDelete,
  encodeGroupModify,
  type EncodedGroup,
} from '../../openflow/group-mod.ts';
import type { DesiredState } from './desired.ts';

/** The switch as far as it is ours. */
export interface ActualState {
  flow(key: string): EncodedFlow | undefined;
  group(id: number): { readonly buckets: Uint8Array } | undefined;
  flowKeys(): Iterable<string>;
  groupIds(): Iterable<number>;
}

/** One message with what it does, so that an answer can be attributed and the mirror brought up to date. */
export type Change =
  | {
      readonly kind: 'add';
      readonly message: Uint8Array;
      readonly flow: EncodedFlow;
      readonly owner: string;
    }
  | {
      readonly kind: 'modify';
      readonly message: Uint8Array;
      readonly flow: EncodedFlow;
      readonly owner: string;
    }
  | { readonly kind: 'delete'; readonly message: Uint8Array; readonly flow: EncodedFlow }
  | {
      readonly kind: 'group_add' | 'group_modify';
      readonly message: Uint8Array;
      readonly group: EncodedGroup;
    }
  | { readonly kind: 'group_delete'; readonly message: Uint8Array; readonly groupId: number };

/** The keys to compare. */
export interface DiffScope {
  readonly flows: Iterable<string>;
  readonly groups: Iterable<number>;
}

/** Everything that either side holds. */
export function fullScope(desired: DesiredState, actual: ActualState): DiffScope {
  const flows = new Set(actual.flowKeys());
  for (const [key] of desired.flows()) flows.add(key);
  const groups = new Set(actual.groupIds());
  for (const group of desired.groups()) groups.add(group.groupId);
  return { flows, groups };
}

/**
 * The changes of a scope, ordered: groups that flows will use, flows that go, flows that come (the pipeline's end before
 * its beginning, so that a packet never meets a half-built path even where a first sync is cut into several bundles),
 * groups that nothing uses any more.
 */
export function diff(desired: DesiredState, actual: ActualState, scope: DiffScope): Change[] {
  const groups: Change[] = [];
  const groupDeletes: Change[] = [];
  for (const id of scope.groups) {
    const want = desired.group(id);
    const have = actual.group(id);
    if (want === undefined) {
      if (have !== undefined) {
        groupDeletes.push({ kind: 'group_delete', message: encodeGroupDelete(id), groupId: id });
      }
    } else if (have === undefined) {
      groups.push({ kind: 'group_add', message: want.message, group: want });
    } else if (!sameBytes(want.buckets, have.buckets)) {
      groups.push({ kind: 'group_modify', message: encodeGroupModify(want), group: want });
    }
  }
  const deletes: Change[] = [];
  const adds: Extract<Change, { kind: 'add' | 'modify' }>[] = [];
  for (const key of scope.flows) {
    const want = desired.flow(key);
    const have = actual.flow(key);
    if (want === undefined) {
      if (have !== undefined)
        deletes.push({ kind: 'delete', message: encodeFlowDelete(have), flow: have });
    } else if (have === undefined || !sameActions(want.flow, have)) {
      const kind = have === undefined ? 'add' : 'modify';
      adds.push({ kind, message: want.flow.message, flow: want.flow, owner: want.owner });
    }
  }
  adds.sort((a, b) => b.flow.tableId - a.flow.tableId);
  return [...groups, ...deletes, ...adds, ...groupDeletes];
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
