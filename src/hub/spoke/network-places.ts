/**
 * Which DPUNetwork the pods and policies of a namespace belong to. Pure. A namespace that two networks name has no clear
 * answer for a policy; its pods stand in the network whose name comes first, so that the answer does not depend on order.
 */
import type { DpuNetwork } from '../../api/dpu-network.ts';
import type { PodNetwork } from './pod-view.ts';
import type { NamespaceView } from './resolve.ts';

/** Remembers its answers; made anew when a network or a namespace changes. */
export class NetworkPlaces {
  readonly #networks: readonly DpuNetwork[];
  readonly #namespaceOf: (name: string) => NamespaceView | undefined;
  readonly #known = new Map<string, readonly DpuNetwork[]>();

  constructor(
    networks: Iterable<DpuNetwork>,
    namespaceOf: (name: string) => NamespaceView | undefined,
  ) {
    this.#networks = [...networks].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
    this.#namespaceOf = namespaceOf;
  }

  /** Networks that name the namespace, in the order of their names. */
  networksOf(namespace: string): readonly DpuNetwork[] {
    const known = this.#known.get(namespace);
    if (known !== undefined) return known;
    const labels = this.#namespaceOf(namespace)?.labels;
    const found = this.#networks.filter(({ spec }) => {
      if (spec.namespaces.includes(namespace)) return true;
      if (spec.namespaceSelector === undefined) return false;
      const wanted = Object.entries(spec.namespaceSelector.matchLabels);
      return wanted.every(([key, value]) => labels?.get(key) === value);
    });
    this.#known.set(namespace, found);
    return found;
  }

  /** Where the pods of a namespace stand; undefined for nowhere in our networks. */
  placeOf(namespace: string): PodNetwork | undefined {
    const [network] = this.networksOf(namespace);
    if (network === undefined) return undefined;
    const { vni, attachment } = network.spec;
    const secondary = attachment?.secondary;
    return secondary === undefined ? { vni } : { vni, secondary };
  }
}
