/**
 * What the switch holds of ours, in memory: read by a dump, kept up to date by acknowledged bundles. Flows of others are
 * counted and otherwise left alone.
 */
import type { EncodedFlow } from '../../openflow/flow.ts';
import { isOwnCookie } from '../flow/cookie.ts';
import type { ActualState, Change } from '../flow/diff.ts';
import { isOwnGroup } from '../flow/tables/flood.ts';

/** The mirror of one dump. */
export class Mirror implements ActualState {
  readonly #flows = new Map<string, EncodedFlow>();
  readonly #groups = new Map<number, { readonly buckets: Uint8Array }>();
  #foreign = 0;

  /** Number of our flows in the switch. */
  get flowCount(): number {
    return this.#flows.size;
  }

  /** Number of flows of others, as of the last dump. */
  get foreignCount(): number {
    return this.#foreign;
  }

  flow(key: string): EncodedFlow | undefined {
    return this.#flows.get(key);
  }

  group(id: number): { readonly buckets: Uint8Array } | undefined {
    return this.#groups.get(id);
  }

  flowKeys(): IterableIterator<string> {
    return this.#flows.keys();
  }

  groupIds(): IterableIterator<number> {
    return this.#groups.keys();
  }

  /** Takes in a flow of a dump. */
  addDumpedFlow(flow: EncodedFlow): void {
    if (isOwnCookie(flow.cookie)) this.#flows.set(flow.key, flow);
    else this.#foreign++;
  }

  /** Takes in a group of a dump. */
  addDumpedGroup(id: number, buckets: Uint8Array): void {
    if (isOwnGroup(id)) this.#groups.set(id, { buckets });
  }

  /** The switch has acknowledged these changes. */
  apply(changes: readonly Change[]): void {
    for (const change of changes) {
      switch (change.kind) {
        case 'add':
        case 'modify':
          this.#flows.set(change.flow.key, change.flow);
          break;
        case 'delete':
          this.#flows.delete(change.flow.key);
          break;
        case 'group_add':
        case 'group_modify':
          this.#groups.set(change.group.groupId, change.group);
          break;
        case 'group_delete':
          this.#groups.delete(change.groupId);
          break;
      }
    }
  }
}
