/**
 * What the datapath has done, by rule: pure sums over datapath flows whose rules are known. "In tc" is not "in hardware": only
 * the mark `offloaded:yes` counts as that, and a flow that tc holds in software (`not_in_hw`) has none.
 */
import type { DatapathFlow } from '../../ovsdb/datapath-flow.ts';

/** Where a datapath flow is handled. */
export type FlowPlace = 'hardware' | 'partial' | 'tc' | 'software';

const FLOW_PLACES: readonly FlowPlace[] = ['hardware', 'partial', 'tc', 'software'];

/** What evidence says of a rule; weighted by packets. */
export type OffloadVerdict = 'full' | 'partial' | 'none' | 'notObserved';

/** Flows and packets. */
interface PlaceCount {
  flows: number;
  packets: number;
}

/** Flows and packets by place. */
export type PlaceCounts = Record<FlowPlace, PlaceCount>;

/** Nothing yet. */
export function emptyCounts(): PlaceCounts {
  const none = (): PlaceCount => ({ flows: 0, packets: 0 });
  return { hardware: none(), partial: none(), tc: none(), software: none() };
}

/**
 * Where a flow is handled, by its marks (OVS `lib/dpctl.c`). `offloaded:yes` needs another layer than `ovs`: with that one
 * Open vSwitch itself says `partial`, the card only helps it to classify.
 */
export function placeOf({ offloaded, layer }: DatapathFlow): FlowPlace {
  if (offloaded === 'yes' && layer !== 'ovs') return 'hardware';
  if (offloaded !== undefined) return 'partial';
  return layer === 'tc' ? 'tc' : 'software';
}

/** Takes a flow into a sum. */
export function addFlow(counts: PlaceCounts, flow: DatapathFlow): void {
  const count = counts[placeOf(flow)];
  count.flows++;
  count.packets += flow.packets;
}

/** The verdict of a rule. A flow that no packet has met yet says nothing. */
export function verdictOf(counts: PlaceCounts | undefined): OffloadVerdict {
  if (counts === undefined) return 'notObserved';
  const { hardware, partial, tc, software } = counts;
  const soft = tc.packets + software.packets;
  if (hardware.packets + partial.packets + soft === 0) return 'notObserved';
  if (hardware.packets + partial.packets === 0) return 'none';
  return partial.packets + soft === 0 ? 'full' : 'partial';
}

/** Share of the packets that hardware alone has handled, 0..1; undefined without packets. */
export function hardwareShare(counts: PlaceCounts | undefined): number | undefined {
  if (counts === undefined) return undefined;
  const all = FLOW_PLACES.reduce((sum, place) => sum + counts[place].packets, 0);
  return all === 0 ? undefined : counts.hardware.packets / all;
}
