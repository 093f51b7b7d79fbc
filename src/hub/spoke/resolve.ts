/**
 * From the pods of a cluster to DPUGroupSlices: which addresses, networks and named ports the selectors of each DPUGroup
 * mean. Pure: what the spoke runs on its cluster. Placement is stable: an entry stays in its slice as long as it is in the
 * group, so that a pod that comes or goes changes one small object. Prefixes of a group are the agents' to read.
 */
import { API_VERSION, GROUP_LABEL } from '../../api/labels.ts';
import { type DpuGroupSlice, SLICE_ENTRIES_MAX } from '../../api/dpu-group-slice.ts';
import { type Labels, selectorMatches } from '../translate/label-selector.ts';
import type { DpuGroupManifest } from '../translate/manifest.ts';

/** Most named ports of one entry. */
const NAMED_PORTS_MAX = 32;

type GroupEntry = DpuGroupSlice['spec']['entries'][number];
type NamedPorts = NonNullable<GroupEntry['ports']>;

/** A container port that has a name. */
export interface NamedPort {
  readonly name: string;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly port: number;
}

/** What counts of a pod. */
export interface PodView {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  /** Addresses in the network; none before the pod has an interface. */
  readonly ips: readonly string[];
  /** VNI of its network; undefined when it is in none of ours. */
  readonly vni: number | undefined;
  /** True when it has the node's own network: policies do not apply to it, and its addresses are the node's. */
  readonly hostNetwork: boolean;
  /** True when it has ended (Succeeded, Failed): its addresses may be another pod's by now. */
  readonly ended: boolean;
  /** In the order of its containers; of two with one name and protocol the first counts. */
  readonly ports: readonly NamedPort[];
}

/** A namespace with its labels. */
export interface NamespaceView {
  readonly name: string;
  readonly labels: Labels;
}

/**
 * The slices of every group, at least one for each: an empty one says that nothing is selected, which is not the same as
 * not to know. `previous` are the slices that are there now, of these groups or others; what is not in the result is to be
 * deleted.
 */
export function resolveGroups(
  pods: readonly PodView[],
  namespaces: readonly NamespaceView[],
  groups: readonly DpuGroupManifest[],
  previous: readonly DpuGroupSlice[] = [],
): DpuGroupSlice[] {
  const eligible = pods.filter(
    ({ vni, hostNetwork, ended, ips }) =>
      vni !== undefined && !hostNetwork && !ended && ips.length > 0,
  );
  const podsByNamespace = Map.groupBy(eligible, ({ namespace }) => namespace);
  const slicesByGroup = Map.groupBy(previous, (slice) =>
    groupKey(slice.metadata.namespace, slice.metadata.labels[GROUP_LABEL]),
  );
  return groups.flatMap((group) => {
    const { namespace, name } = group.metadata;
    const entries = new Map<string, GroupEntry>();
    for (const place of selectedNamespaces(group, namespaces)) {
      for (const pod of podsByNamespace.get(place) ?? []) {
        if (!selectorMatches(group.spec.podSelector ?? {}, pod.labels)) continue;
        for (const entry of podEntries(pod)) entries.set(JSON.stringify(entry), entry);
      }
    }
    const known = slicesByGroup.get(groupKey(namespace, name)) ?? [];
    return placeEntries(namespace, name, entries, known);
  });
}

/** Whether a group takes this pod, given the labels of the pod's namespace; a namespace that is not known has none. */
export function groupSelects(
  { metadata, spec }: DpuGroupManifest,
  pod: Pick<PodView, 'namespace' | 'labels'>,
  namespace: NamespaceView | undefined,
): boolean {
  const { podSelector, namespaceSelector } = spec;
  if (namespaceSelector === undefined) {
    if (podSelector === undefined || pod.namespace !== metadata.namespace) return false;
  } else if (namespace === undefined || !selectorMatches(namespaceSelector, namespace.labels)) {
    return false;
  }
  return selectorMatches(podSelector ?? {}, pod.labels);
}

function groupKey(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

/** Names of the namespaces that a group takes pods from; none when it selects no pods at all. */
function selectedNamespaces(
  { metadata, spec }: DpuGroupManifest,
  namespaces: readonly NamespaceView[],
): string[] {
  const { podSelector, namespaceSelector } = spec;
  if (namespaceSelector === undefined) {
    return podSelector === undefined ? [] : [metadata.namespace];
  }
  return namespaces
    .filter(({ labels }) => selectorMatches(namespaceSelector, labels))
    .map(({ name }) => name);
}

/** The entries of a pod: one for each address, and more where one name of a port has more than one protocol. */
function* podEntries({ ips, vni, ports }: PodView): Generator<GroupEntry> {
  if (vni === undefined) return;
  const layers = portLayers(ports);
  for (const ip of ips) {
    if (layers.length === 0) yield { ip, vni };
    for (const layer of layers) yield { ip, vni, ports: layer };
  }
}

/** Named ports as objects in which each name stands once, names in order. */
function portLayers(ports: readonly NamedPort[]): NamedPorts[] {
  const unique = new Map<string, NamedPort>();
  for (const port of ports) {
    const key = `${port.name}/${port.protocol}`;
    if (!unique.has(key)) unique.set(key, port);
  }
  const layers: Map<string, [NamedPort['protocol'], number]>[] = [];
  const sorted = [...unique].sort(([one], [other]) => (one < other ? -1 : 1));
  for (const [, { name, protocol, port }] of sorted) {
    const room = layers.find((layer) => !layer.has(name) && layer.size < NAMED_PORTS_MAX);
    if (room === undefined) layers.push(new Map([[name, [protocol, port]]]));
    else room.set(name, [protocol, port]);
  }
  return layers.map((layer) => Object.fromEntries(layer));
}

/** Puts entries where they were, then where there is room, then into new slices. */
function placeEntries(
  namespace: string,
  group: string,
  entries: ReadonlyMap<string, GroupEntry>,
  previous: readonly DpuGroupSlice[],
): DpuGroupSlice[] {
  const missing = new Map(entries);
  const slices = new Map<string, GroupEntry[]>();
  const inOrder = [...previous].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  for (const slice of inOrder) {
    const kept: GroupEntry[] = [];
    for (const old of slice.spec.entries) {
      // Written anew, so that the order of fields in what the server sent back does not matter.
      const { ip, vni, ports } = old;
      const key = JSON.stringify(ports === undefined ? { ip, vni } : { ip, vni, ports });
      const entry = missing.get(key);
      if (entry === undefined || kept.length >= SLICE_ENTRIES_MAX) continue;
      kept.push(entry);
      missing.delete(key);
    }
    if (kept.length > 0) slices.set(slice.metadata.name, kept);
  }
  const rest = [...missing]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([, entry]) => entry);
  for (const kept of slices.values()) kept.push(...rest.splice(0, SLICE_ENTRIES_MAX - kept.length));
  for (let index = 0; rest.length > 0 || slices.size === 0; index++) {
    const name = `${group}-${index}`;
    if (!slices.has(name)) slices.set(name, rest.splice(0, SLICE_ENTRIES_MAX));
  }
  return [...slices].map(([name, list]) => ({
    apiVersion: API_VERSION,
    kind: 'DPUGroupSlice',
    metadata: { name, namespace, labels: { [GROUP_LABEL]: group } },
    spec: { entries: list },
  }));
}
