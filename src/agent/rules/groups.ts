/**
 * DPUGroups with the DPUGroupSlices that belong to them, as the rules of one VNI see them. Pure; a group that did not change
 * keeps its identity, and so do its views: only rules that refer to a changed group are compiled again.
 */
import type { RuleEntry } from '../../api/dpu-rule.ts';
import type { DpuGroup } from '../../api/dpu-group.ts';
import type { DpuGroupSlice } from '../../api/dpu-group-slice.ts';
import { protocolNumber } from '../../api/field.ts';
import { GROUP_LABEL } from '../../api/labels.ts';
import { nameKey, objectKey } from '../../api/object.ts';
import { parseIp, parsePrefix, type IpPrefix } from '../../base/address.ts';
import { subtractPrefixes, widestPrefixes } from '../../base/prefix-set.ts';
import type { EntryVerdict, GroupEndpoint, GroupView } from '../flow/model.ts';

/** Groups by object key. */
export type GroupIndex = ReadonlyMap<string, Group>;

/** A group with its slices, in the order of their names. */
export class Group {
  readonly object: DpuGroup;
  readonly slices: readonly DpuGroupSlice[];
  readonly #views = new Map<number, GroupView>();

  constructor(object: DpuGroup, slices: readonly DpuGroupSlice[]) {
    this.object = object;
    this.slices = slices;
  }

  /** True while nobody has said which pods its selectors find: not the same as none. */
  get unresolved(): boolean {
    const { podSelector, namespaceSelector } = this.object.spec;
    const selects = podSelector !== undefined || namespaceSelector !== undefined;
    return selects && this.slices.length === 0;
  }

  /** What the group is in a VNI. */
  view(vni: number): GroupView {
    let view = this.#views.get(vni);
    if (view === undefined) {
      view = this.#makeView(vni);
      this.#views.set(vni, view);
    }
    return view;
  }

  #makeView(vni: number): GroupView {
    const { cidrs, except } = this.object.spec;
    const endpoints: GroupEndpoint[] = [];
    let leftOut = 0;
    for (const slice of this.slices) {
      for (const entry of slice.spec.entries) {
        const address = parseIp(entry.ip);
        if (entry.vni !== vni) leftOut++;
        else if (address !== undefined) endpoints.push({ address, ports: portsOf(entry.ports) });
      }
    }
    const listed = subtractPrefixes(prefixes(cidrs), prefixes(except));
    const addresses = widestPrefixes([...listed, ...endpoints.map(({ address }) => address)]);
    return { addresses, endpoints, leftOut };
  }
}

function prefixes(texts: readonly string[]): readonly IpPrefix[] {
  return widestPrefixes(texts.map(parsePrefix).filter((prefix) => prefix !== undefined));
}

const NO_PORTS: GroupEndpoint['ports'] = new Map();

function portsOf(
  ports: Readonly<Record<string, readonly [string, number]>> | undefined,
): GroupEndpoint['ports'] {
  if (ports === undefined) return NO_PORTS;
  return new Map(
    Object.entries(ports).map(([name, [protocol, port]]) => [
      name,
      { protocol: protocolNumber(protocol) ?? 0, port },
    ]),
  );
}

/** All groups. From `previous` it takes those that are the same. */
export function collectGroups(
  groups: readonly DpuGroup[],
  slices: readonly DpuGroupSlice[],
  previous: GroupIndex = new Map(),
): GroupIndex {
  const slicesOf = Map.groupBy(slices, ({ metadata }) =>
    nameKey('DPUGroup', metadata.labels[GROUP_LABEL], metadata.namespace),
  );
  const index = new Map<string, Group>();
  for (const object of groups) {
    const key = objectKey(object);
    const own = (slicesOf.get(key) ?? []).sort((a, b) =>
      a.metadata.name < b.metadata.name ? -1 : 1,
    );
    const known = previous.get(key);
    const same =
      known?.object === object &&
      known.slices.length === own.length &&
      own.every((slice, position) => slice === known.slices[position]);
    index.set(key, same ? known : new Group(object, own));
  }
  return index;
}

/** Keys of the groups that entries refer to. */
export function groupKeys(entries: readonly RuleEntry[], namespace: string): string[] {
  const keys = new Set<string>();
  for (const { match } of entries) {
    for (const name of [match.srcGroup, match.dstGroup]) {
      if (name !== undefined) keys.add(nameKey('DPUGroup', name, namespace));
    }
  }
  return [...keys];
}

/** The verdict on an entry that ownership lets pass, with the groups it names or the reason why one cannot be used. */
export function withGroups(
  verdict: EntryVerdict,
  { match }: RuleEntry,
  namespace: string,
  index: GroupIndex,
): EntryVerdict {
  const { vni } = verdict;
  if (vni === undefined || (match.srcGroup === undefined && match.dstGroup === undefined)) {
    return verdict;
  }
  const views: { source?: GroupView; destination?: GroupView } = {};
  for (const [side, field] of [
    ['source', 'srcGroup'],
    ['destination', 'dstGroup'],
  ] as const) {
    const name = match[field];
    if (name === undefined) continue;
    const group = index.get(nameKey('DPUGroup', name, namespace));
    if (group === undefined) {
      const message = `there is no DPUGroup ${name} in namespace ${namespace} (match.${field})`;
      return { reason: 'GroupNotFound', message };
    }
    if (group.unresolved) {
      const message = `DPUGroup ${name} selects pods and has no DPUGroupSlice yet: dpu-spoke has to write them (match.${field})`;
      return { reason: 'GroupNotFound', message };
    }
    views[side] = group.view(vni);
  }
  return { ...verdict, groups: views };
}
