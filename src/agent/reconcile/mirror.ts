/**
 * What the switch holds of ours, in memory: read by a dump, kept up to date by acknowledged bundles and by what the flow
 * monitor tells. Flows of others are counted and otherwise left alone.
 */
import type { EncodedFlow } from '../../openflow/flow.ts';
import type { MeterDesc } from '../../openflow/meter-mod.ts';
import { isOwnCookieHigh } from '../flow/cookie.ts';
import type { ActualState, Change } from '../flow/diff.ts';
import { FlowIndex, NO_SLOT } from '../flow/flow-index.ts';
import { isOwnGroup } from '../flow/group-id.ts';
import { isOwnMeter } from '../flow/meter-id.ts';

/** Keys of foreign flows that are remembered, so that none is counted twice; about 100 bytes each. */
const FOREIGN_KEYS_MAX = 100_000;

/** Cookies that are remembered until their flows are deleted; the next dump finds more. */
const ORPHANS_MAX = 10_000;

/** The mirror of one dump. */
export class Mirror implements ActualState {
  readonly #flows = new FlowIndex();
  readonly #groups = new Map<number, { readonly buckets: Uint8Array }>();
  readonly #meters = new Map<number, Pick<MeterDesc, 'flags' | 'bands'>>();
  readonly #orphans = new Set<bigint>();
  readonly #foreign = new Set<string>();
  /** Foreign flows beyond those remembered: as good as the last dump. */
  #moreForeign = 0;

  /** Number of our flows in the switch. */
  get flowCount(): number {
    return this.#flows.size;
  }

  /** Number of flows of others; beyond 100,000 exact at each dump only. */
  get foreignCount(): number {
    return this.#foreign.size + this.#moreForeign;
  }

  /** The flows, for a walk with pauses. */
  get index(): Pick<FlowIndex, 'size' | 'slotCount' | 'at'> {
    return this.#flows;
  }

  flow(flow: EncodedFlow): EncodedFlow | undefined {
    return this.#flows.get(flow);
  }

  /** Cookies of learned flows under which nothing is to learn. */
  get orphans(): ReadonlySet<bigint> {
    return this.#orphans;
  }

  /** There are learned flows of a cookie that is no learner's. */
  addOrphan(cookie: bigint): void {
    if (this.#orphans.size < ORPHANS_MAX) this.#orphans.add(cookie);
  }

  group(id: number): { readonly buckets: Uint8Array } | undefined {
    return this.#groups.get(id);
  }

  meter(id: number): Pick<MeterDesc, 'flags' | 'bands'> | undefined {
    return this.#meters.get(id);
  }

  groupIds(): IterableIterator<number> {
    return this.#groups.keys();
  }

  meterIds(): IterableIterator<number> {
    return this.#meters.keys();
  }

  /**
   * The switch holds this flow, whosever it is: a dump or the flow monitor says so. The flow may be a lent one. Of
   * `desired`, where that does the same, no second copy is made.
   */
  putFlow(flow: EncodedFlow, desired?: EncodedFlow): void {
    if (isOwnCookieHigh(flow.cookieHigh)) {
      this.#flows.put(desired?.sameActions(flow) === true ? desired : flow.copy());
      if (this.#foreign.size > 0) this.#foreign.delete(flow.key);
      return;
    }
    this.#flows.delete(flow);
    const { key } = flow;
    if (this.#foreign.has(key)) return;
    if (this.#foreign.size < FOREIGN_KEYS_MAX) this.#foreign.add(key);
    else this.#moreForeign++;
  }

  /** The switch holds no flow of this key. */
  deleteFlow(flow: EncodedFlow): void {
    if (this.#flows.delete(flow) !== NO_SLOT || this.#foreign.delete(flow.key)) return;
    if (this.#moreForeign > 0) this.#moreForeign--;
  }

  /** Takes in a group of a dump. */
  addDumpedGroup(id: number, buckets: Uint8Array): void {
    if (isOwnGroup(id)) this.#groups.set(id, { buckets });
  }

  /** Takes in a meter of a dump. */
  addDumpedMeter({ meterId, flags, bands }: MeterDesc): void {
    // The bands are a view into the message that they came in.
    if (isOwnMeter(meterId)) this.#meters.set(meterId, { flags, bands: Uint8Array.from(bands) });
  }

  /** The switch has acknowledged these changes. */
  apply(changes: readonly Change[]): void {
    for (const change of changes) {
      switch (change.kind) {
        case 'add':
        case 'modify':
          this.putFlow(change.flow, change.flow);
          break;
        case 'delete':
          this.deleteFlow(change.flow);
          break;
        case 'forget':
          this.#orphans.delete(change.cookie);
          break;
        case 'group_add':
        case 'group_modify':
          this.#groups.set(change.group.groupId, change.group);
          break;
        case 'group_delete':
          this.#groups.delete(change.groupId);
          break;
        case 'meter_add':
        case 'meter_modify':
          this.#meters.set(change.meter.meterId, change.meter);
          break;
        case 'meter_delete':
          this.#meters.delete(change.meterId);
          break;
      }
    }
  }
}
