/**
 * Flows by their identity in the switch (table, priority, match): a hash table in typed arrays over the flows' own bytes, so
 * that no key is ever made into a string. A flow keeps its slot as long as it is in the index, whatever else comes and
 * goes: who walks over the slots, with pauses, misses nothing that was there all the time.
 */
import type { EncodedFlow } from '../../openflow/encoded-flow.ts';

const FIRST_CAPACITY = 16;
/** In the table: no slot here, and none behind it. */
const EMPTY = 0;
/** In the table: a slot was here. */
const GONE = -1;
/** What {@link FlowIndex.slotOf} answers where there is none. */
export const NO_SLOT = -1;

/** A set of flows, at most one for each key. */
export class FlowIndex {
  /** Slot + 1, or EMPTY or GONE, at the flow's hash or the next free place behind it. A power of two long. */
  #table = new Int32Array(FIRST_CAPACITY);
  readonly #flows: (EncodedFlow | undefined)[] = [];
  readonly #free: number[] = [];
  #gone = 0;

  /** Number of flows. */
  get size(): number {
    return this.#flows.length - this.#free.length;
  }

  /** Slots are numbered from 0 to below this. */
  get slotCount(): number {
    return this.#flows.length;
  }

  /** The flow in a slot; undefined where there is none. */
  at(slot: number): EncodedFlow | undefined {
    return this.#flows[slot];
  }

  /** The slot of the flow with the key of `flow`, or {@link NO_SLOT}. */
  slotOf(flow: EncodedFlow): number {
    const place = this.#placeOf(flow);
    return place < 0 ? NO_SLOT : (this.#table[place] ?? 0) - 1;
  }

  /** The flow with the key of `flow`. */
  get(flow: EncodedFlow): EncodedFlow | undefined {
    const slot = this.slotOf(flow);
    return slot === NO_SLOT ? undefined : this.#flows[slot];
  }

  /** True when there is a flow with the key of `flow`. */
  has(flow: EncodedFlow): boolean {
    return this.slotOf(flow) !== NO_SLOT;
  }

  /** Puts a flow in, in place of one with its key. The index keeps it: a lent flow must be copied. @returns its slot. */
  put(flow: EncodedFlow): number {
    const known = this.slotOf(flow);
    if (known !== NO_SLOT) {
      this.#flows[known] = flow;
      return known;
    }
    return this.add(flow);
  }

  /** Puts in a flow whose key is not there yet. @returns its slot. */
  add(flow: EncodedFlow): number {
    // At most two thirds of the places are taken.
    if (3 * (this.size + this.#gone + 1) > 2 * this.#table.length) this.#rebuild();
    const slot = this.#free.pop() ?? this.#flows.length;
    this.#flows[slot] = flow;
    this.#place(flow.hash, slot);
    return slot;
  }

  /** Takes the flow with the key of `flow` out. @returns the slot that it had, or {@link NO_SLOT}. */
  delete(flow: EncodedFlow): number {
    const place = this.#placeOf(flow);
    if (place < 0) return NO_SLOT;
    const slot = (this.#table[place] ?? 0) - 1;
    this.#table[place] = GONE;
    this.#gone++;
    this.#flows[slot] = undefined;
    this.#free.push(slot);
    return slot;
  }

  /** Every flow. */
  *[Symbol.iterator](): IterableIterator<EncodedFlow> {
    for (const flow of this.#flows) if (flow !== undefined) yield flow;
  }

  #placeOf(flow: EncodedFlow): number {
    const last = this.#table.length - 1;
    for (let place = flow.hash & last; ; place = (place + 1) & last) {
      const entry = this.#table[place] ?? EMPTY;
      if (entry === EMPTY) return -1;
      if (entry === GONE) continue;
      const found = this.#flows[entry - 1];
      if (found === flow) return place;
      if (found?.hash === flow.hash && found.sameKey(flow)) return place;
    }
  }

  #place(hash: number, slot: number): void {
    const last = this.#table.length - 1;
    let place = hash & last;
    while ((this.#table[place] ?? EMPTY) > 0) place = (place + 1) & last;
    if (this.#table[place] === GONE) this.#gone--;
    this.#table[place] = slot + 1;
  }

  /** Makes room: twice as much where that is needed, else the places of what is gone. */
  #rebuild(): void {
    const capacity = this.#table.length;
    this.#table = new Int32Array(3 * (this.size + 1) > capacity ? 2 * capacity : capacity);
    this.#gone = 0;
    this.#flows.forEach((flow, slot) => {
      if (flow !== undefined) this.#place(flow.hash, slot);
    });
  }
}
