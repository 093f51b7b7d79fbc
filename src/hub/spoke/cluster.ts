/**
 * A customer's cluster as its spoke sees it: each kind followed by a reflector, and of each object what is needed and no
 * more. Says what changed; decides and writes nothing.
 */
import type { DpuGroup } from '../../api/dpu-group.ts';
import { type DpuGroupSlice, dpuGroupSliceSchema } from '../../api/dpu-group-slice.ts';
import type { DpuNetwork } from '../../api/dpu-network.ts';
import { API_VERSION, GROUP_LABEL } from '../../api/labels.ts';
import { parseObject } from '../../api/object.ts';
import type { Problem } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';
import type { KubeApi } from '../../kube/api.ts';
import { KubeReflector } from '../../kube/reflector.ts';
import type { RawObject } from '../../kube/watch.ts';
import { type StoredObject, storedObject } from '../apply/customer.ts';
import {
  NETWORK_POLICY_API_VERSION,
  type ParsedNetworkPolicy,
  parseNetworkPolicy,
} from '../translate/network-policy.ts';
import { ObjectStore } from './object-store.ts';
import { podRecord, type PodRecord } from './pod-view.ts';
import type { NamespaceView } from './resolve.ts';

/** A NetworkPolicy with what names it, whether it is accepted or not. */
export interface PolicyView extends ParsedNetworkPolicy {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** A DPUGroup as it stands there. */
export interface GroupView {
  readonly stored: StoredObject;
  /** Undefined when it is not valid. */
  readonly group: DpuGroup | undefined;
  readonly problems: readonly Problem[];
  readonly generation: number;
  readonly status: unknown;
}

/** A DPURule as it stands there. */
export interface RuleView {
  readonly stored: StoredObject;
}

/** A DPUGroupSlice as it stands there. */
export interface SliceView {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly group: string;
  readonly slice: DpuGroupSlice;
}

/** What a change is about. */
export interface ClusterHooks {
  pod(before: PodRecord | undefined, after: PodRecord | undefined): void;
  namespace(before: NamespaceView | undefined, after: NamespaceView | undefined): void;
  network(): void;
  policy(): void;
  group(before: GroupView | undefined, after: GroupView | undefined): void;
  rule(before: RuleView | undefined, after: RuleView | undefined): void;
  slice(before: SliceView | undefined, after: SliceView | undefined): void;
  /** A kind has been listed, or its fault came or went. */
  told(): void;
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  return Reflect.get(value, name);
}

function stringMap(value: unknown): ReadonlyMap<string, string> {
  if (typeof value !== 'object' || value === null) return new Map();
  const entries: [string, unknown][] = Object.entries(value);
  return new Map(
    entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

function readNamespace({ name, value }: RawObject): NamespaceView {
  return { name, labels: stringMap(field(field(value, 'metadata'), 'labels')) };
}

function readNetwork({ value }: RawObject): DpuNetwork | undefined {
  const { object } = parseObject(value);
  return object?.kind === 'DPUNetwork' ? object : undefined;
}

function readPolicy({ namespace, name, uid, value }: RawObject): PolicyView {
  return { ...parseNetworkPolicy(value), namespace, name, uid };
}

function readGroup({ value }: RawObject): GroupView | undefined {
  const stored = storedObject(value, 'DPUGroup');
  if (stored === undefined) return undefined;
  const { object, problems } = parseObject(value);
  const generation = field(field(value, 'metadata'), 'generation');
  return {
    stored,
    group: object?.kind === 'DPUGroup' ? object : undefined,
    problems,
    generation: typeof generation === 'number' ? generation : 0,
    status: field(value, 'status'),
  };
}

function readRule({ value }: RawObject): RuleView | undefined {
  const stored = storedObject(value, 'DPURule');
  return stored && { stored };
}

function readSlice({ uid, resourceVersion, value }: RawObject): SliceView | undefined {
  const { data: slice } = dpuGroupSliceSchema.safeParse(value);
  if (slice === undefined) return undefined;
  return { uid, resourceVersion, group: slice.metadata.labels[GROUP_LABEL], slice };
}

type FollowedStore = Pick<ObjectStore<unknown>, 'synced' | 'error' | 'size' | 'held' | 'release'>;

/** See the head of the file. */
export class Cluster {
  readonly pods: ObjectStore<PodRecord>;
  readonly namespaces: ObjectStore<NamespaceView>;
  readonly networks: ObjectStore<DpuNetwork>;
  readonly policies: ObjectStore<PolicyView>;
  readonly groups: ObjectStore<GroupView>;
  readonly rules: ObjectStore<RuleView>;
  readonly slices: ObjectStore<SliceView>;
  readonly #stores: ReadonlyMap<string, FollowedStore>;
  readonly #reflectors: readonly KubeReflector[];

  constructor(api: KubeApi, hooks: ClusterHooks, logger: Logger) {
    const told = (): void => hooks.told();
    const stores = new Map<string, FollowedStore>();
    const reflectors: KubeReflector[] = [];
    const follow = <Kept>(
      [apiVersion, plural, kind]: readonly [string, string, string],
      read: (raw: RawObject) => Kept | undefined,
      changed: (before: Kept | undefined, after: Kept | undefined) => void,
    ): ObjectStore<Kept> => {
      const store = new ObjectStore<Kept>({ read, changed, told });
      const path = `${apiVersion === 'v1' ? '/api' : '/apis'}/${apiVersion}/${plural}`;
      reflectors.push(new KubeReflector(api, store, { path, apiVersion, kind, logger }));
      stores.set(plural, store);
      return store;
    };
    this.namespaces = follow(['v1', 'namespaces', 'Namespace'], readNamespace, (before, after) =>
      hooks.namespace(before, after),
    );
    this.networks = follow([API_VERSION, 'dpunetworks', 'DPUNetwork'], readNetwork, () =>
      hooks.network(),
    );
    this.policies = follow(
      [NETWORK_POLICY_API_VERSION, 'networkpolicies', 'NetworkPolicy'],
      readPolicy,
      () => hooks.policy(),
    );
    this.groups = follow([API_VERSION, 'dpugroups', 'DPUGroup'], readGroup, (before, after) =>
      hooks.group(before, after),
    );
    this.rules = follow([API_VERSION, 'dpurules', 'DPURule'], readRule, (before, after) =>
      hooks.rule(before, after),
    );
    this.slices = follow(
      [API_VERSION, 'dpugroupslices', 'DPUGroupSlice'],
      readSlice,
      (before, after) => hooks.slice(before, after),
    );
    this.pods = follow(
      ['v1', 'pods', 'Pod'],
      ({ value }) => podRecord(value),
      (before, after) => hooks.pod(before, after),
    );
    this.#stores = stores;
    this.#reflectors = reflectors;
  }

  /** Begins to follow. */
  start(): void {
    for (const reflector of this.#reflectors) reflector.start();
  }

  /** Stops following. */
  async close(): Promise<void> {
    await Promise.all(this.#reflectors.map((reflector) => reflector.close()));
  }

  /** Kinds of which nothing complete is known yet. */
  get unknown(): string[] {
    return [...this.#stores].filter(([, { synced }]) => !synced).map(([plural]) => plural);
  }

  /** Kinds that cannot be followed now, and why. */
  get faults(): string[] {
    return [...this.#stores].flatMap(([plural, { error }]) =>
      error === undefined ? [] : [`${plural}: ${error.message}`],
    );
  }

  /** Objects of each kind. */
  sizes(): Map<string, number> {
    return new Map([...this.#stores].map(([plural, { size }]) => [plural, size]));
  }

  /** Objects that lists have missed and that stay for a while. */
  get held(): number {
    return [...this.#stores.values()].reduce((sum, { held }) => sum + held, 0);
  }

  /** Gives up what lists have missed for long enough. */
  release(): void {
    for (const store of this.#stores.values()) store.release();
  }

  /** Takes note of a DPUGroupSlice that we wrote, ahead of the watch. */
  learnSlice(value: unknown): void {
    const metadata = field(value, 'metadata');
    const text = (name: string): string => {
      const found = field(metadata, name);
      return typeof found === 'string' ? found : '';
    };
    this.slices.put({
      ...{ name: text('name'), namespace: text('namespace'), uid: text('uid') },
      ...{ resourceVersion: text('resourceVersion'), value },
    });
  }

  /** Takes note of a DPUGroupSlice that we deleted. */
  forgetSlice({ uid, resourceVersion, slice }: SliceView): void {
    const { name, namespace } = slice.metadata;
    this.slices.remove({ name, namespace, uid, resourceVersion, value: undefined });
  }
}
