/**
 * Which DPUEndpointSlices this DPU should have, and what to change for it. Pure. An endpoint stays in the slice that it is in,
 * so that a pod which comes or goes changes one small object; the first slice is always there, since it says that the VTEP is.
 */
import { isDeepStrictEqual } from 'node:util';
import { type DpuEndpointSlice, SLICE_ENDPOINTS_MAX } from '../../api/dpu-endpoint-slice.ts';
import { formatIp, formatMac } from '../../base/address.ts';
import type { LocalEndpoint } from '../flow/model.ts';

/** `spec` of a slice. */
export type SliceSpec = DpuEndpointSlice['spec'];
type SliceEndpoint = SliceSpec['endpoints'][number];

/** What this DPU is and has. */
export interface SliceWish {
  readonly node: string;
  /** VTEP as text. */
  readonly vtepIP: string;
  readonly locals: readonly LocalEndpoint[];
}

/** What to write. */
export interface SlicePlan {
  /** Slices by name. */
  readonly apply: ReadonlyMap<string, SliceSpec>;
  readonly remove: readonly string[];
}

/** Name of a slice. No two DPUs share one: what stands before the last hyphen is the whole name of the DPU. */
function sliceName(node: string, index: number): string {
  return `${node}-${index}`;
}

/** The index in a name of ours; undefined for any other. */
function sliceIndex(node: string, name: string): number | undefined {
  const digits = name.slice(node.length + 1);
  const isOurs = name.startsWith(`${node}-`) && /^(0|[1-9][0-9]{0,3})$/.test(digits);
  return isOurs ? Number(digits) : undefined;
}

function toEndpoint({ vni, mac, ips, sequence = 0 }: LocalEndpoint): SliceEndpoint {
  const texts = ips.map(({ family, value }) => formatIp(family, value)).sort();
  return { vni, mac: formatMac(mac), ips: texts, sequence };
}

function keyOf({ vni, mac }: SliceEndpoint): string {
  return `${vni}/${mac}`;
}

/** Compares what should be with `present`, our own slices by name as the API server has them. */
export function planSlices(wish: SliceWish, present: ReadonlyMap<string, SliceSpec>): SlicePlan {
  const { node, vtepIP, locals } = wish;
  const waiting = new Map(locals.map(toEndpoint).map((endpoint) => [keyOf(endpoint), endpoint]));
  const slices: SliceEndpoint[][] = [[]];
  for (const [name, spec] of [...present].sort(([one], [other]) => (one < other ? -1 : 1))) {
    const index = sliceIndex(node, name);
    // A name that we would not give goes, and its endpoints move.
    if (index === undefined) continue;
    for (const endpoint of spec.endpoints) {
      const key = keyOf(endpoint);
      const wanted = waiting.get(key);
      if (wanted === undefined) continue;
      waiting.delete(key);
      (slices[index] ??= []).push(wanted);
    }
  }
  for (const endpoint of waiting.values()) {
    let index = slices.findIndex((slice = []) => slice.length < SLICE_ENDPOINTS_MAX);
    if (index < 0) index = slices.length;
    (slices[index] ??= []).push(endpoint);
  }
  const apply = new Map<string, SliceSpec>();
  const kept = new Set<string>();
  for (const [index, endpoints = []] of slices.entries()) {
    if (endpoints.length === 0 && index > 0) continue;
    const name = sliceName(node, index);
    kept.add(name);
    const spec = { node, vtepIP, endpoints };
    if (!isDeepStrictEqual(spec, present.get(name))) apply.set(name, spec);
  }
  return { apply, remove: [...present.keys()].filter((name) => !kept.has(name)) };
}
