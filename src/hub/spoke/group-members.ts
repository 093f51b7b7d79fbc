/**
 * Which groups have to be resolved anew, and what their slices should be. A pod that comes or goes touches the groups that
 * select it and no others; labels of namespaces and networks touch all. Does no I/O.
 */
import { isDeepStrictEqual } from 'node:util';
import type { DpuGroupSlice } from '../../api/dpu-group-slice.ts';
import type { Cluster, GroupView } from './cluster.ts';
import type { NetworkPlaces } from './network-places.ts';
import { placePod, type PodRecord } from './pod-view.ts';
import { groupSelects, type PodView, resolveGroups } from './resolve.ts';

/** The part of the cluster that is looked at. */
export type MemberCluster = Pick<Cluster, 'groups' | 'namespaces'>;

/** `namespace/name` of a group. */
export function groupKeyOf({ stored }: GroupView): string {
  return `${stored.metadata.namespace}/${stored.metadata.name}`;
}

/** See the head of the file. */
export class GroupMembers {
  readonly #pods = new Map<string, Set<PodRecord>>();
  readonly #dirty = new Set<string>();
  #allDirty = true;

  /** A pod has come, changed or gone. True when a group has to be resolved anew. */
  podChanged(
    cluster: MemberCluster,
    before: PodRecord | undefined,
    after: PodRecord | undefined,
  ): boolean {
    if (before !== undefined) this.#pods.get(before.namespace)?.delete(before);
    if (after !== undefined) {
      const there = this.#pods.get(after.namespace);
      if (there === undefined) this.#pods.set(after.namespace, new Set([after]));
      else there.add(after);
    }
    // Most events of a pod are about what does not count here.
    if (this.#allDirty || isDeepStrictEqual(before, after)) return false;
    const known = this.#dirty.size;
    for (const view of cluster.groups.values()) {
      const { group } = view;
      if (group === undefined) continue;
      const selects = (pod: PodRecord | undefined): boolean =>
        pod !== undefined && groupSelects(group, pod, cluster.namespaces.get(pod.namespace));
      if (selects(before) || selects(after)) this.#dirty.add(groupKeyOf(view));
    }
    return this.#dirty.size > known;
  }

  /** A group, or one of its slices, is another one by now. */
  touch(key: string): void {
    this.#dirty.add(key);
  }

  /** Namespaces or networks are others by now, or nothing is known of what was written. */
  touchAll(): void {
    this.#allDirty = true;
  }

  /** Whether anything is to be resolved. */
  get pending(): boolean {
    return this.#allDirty || this.#dirty.size > 0;
  }

  /** Keys of the groups to be resolved; they count as done unless they are touched again. */
  take(cluster: MemberCluster): string[] {
    const keys = this.#allDirty
      ? [...cluster.groups.values()].map(groupKeyOf)
      : [...this.#dirty].filter((key) => cluster.groups.get(key) !== undefined);
    this.#allDirty = false;
    this.#dirty.clear();
    return keys;
  }

  /** The slices that `groups` should have; `previous` are those that they have. */
  resolve(
    cluster: MemberCluster,
    groups: readonly GroupView[],
    places: NetworkPlaces,
    previous: readonly DpuGroupSlice[],
  ): DpuGroupSlice[] {
    const valid = groups.flatMap(({ group }) => group ?? []);
    const isWide = valid.some(({ spec }) => spec.namespaceSelector !== undefined);
    const spaces = isWide
      ? this.#pods.keys()
      : new Set(valid.map(({ metadata }) => metadata.namespace));
    const pods: PodView[] = [];
    for (const space of spaces) {
      const place = places.placeOf(space);
      if (place === undefined) continue;
      for (const pod of this.#pods.get(space) ?? []) pods.push(placePod(pod, place));
    }
    return resolveGroups(pods, [...cluster.namespaces.values()], valid, previous);
  }
}
