/**
 * Objects from the API server of the customer's cluster: one reflector for each kind, one snapshot of all. Whatever happens
 * to the server (down, slow, 403, 404, 410, restored from a backup), what is in force stays in force: only a delete that was
 * watched, or a list that is believed, takes an object away.
 */
import { EventEmitter } from 'node:events';
import { API_VERSION } from '../../api/labels.ts';
import { type DpuObject, nameKey, objectKey } from '../../api/object.ts';
import type { Logger } from '../../base/logger.ts';
import { KubeApi, type KubeApiOptions } from '../../kube/api.ts';
import type { KubeTarget } from '../../kube/config.ts';
import type { KubeError } from '../../kube/error.ts';
import { KubeObjects } from './kube-objects.ts';
import { KubeReflector, type ReflectorOptions, type ReflectorSink } from '../../kube/reflector.ts';
import { VersionMark } from './kube-version-mark.ts';
import type {
  RuleSource,
  RuleSourceEvents,
  SourceObject,
  SourceProblem,
  SourceSnapshot,
} from './source.ts';

/** How a cluster is followed. */
export interface KubeSourceOptions extends KubeApiOptions {
  readonly logger?: Logger;
  /** Whether DPUEndpointSlices are followed too. Default false. */
  readonly endpointSlices?: boolean;
  /** Objects that were in force when the agent last ran: the first list is held against them. */
  readonly lastGood?: () => Promise<ReadonlyMap<string, SourceObject>>;
  readonly reflector?: Pick<ReflectorOptions, 'minBackoffMs' | 'maxBackoffMs' | 'random'>;
}

/** Problems that a snapshot carries at most. */
const PROBLEMS_MAX = 1000;

/** A kind that is followed. */
interface FollowedKind {
  readonly kind: DpuObject['kind'];
  readonly plural: string;
  /** A server that does not know the kind has none of its objects: the source does not wait for it. */
  readonly optional?: boolean;
}

const NETWORKS: FollowedKind = { kind: 'DPUNetwork', plural: 'dpunetworks' };
const RULES: FollowedKind = { kind: 'DPURule', plural: 'dpurules' };
const GROUPS: FollowedKind = { kind: 'DPUGroup', plural: 'dpugroups', optional: true };
const SLICES: FollowedKind = { kind: 'DPUGroupSlice', plural: 'dpugroupslices', optional: true };
const ENDPOINT_SLICES: FollowedKind = {
  kind: 'DPUEndpointSlice',
  plural: 'dpuendpointslices',
  optional: true,
};

/** One kind: its objects, its reflector, and how the two are. */
class Followed implements ReflectorSink {
  readonly kind: DpuObject['kind'];
  readonly objects: KubeObjects;
  readonly reflector: KubeReflector;
  readonly #path: string;
  readonly #optional: boolean;
  readonly #api: KubeApi;
  readonly #changed: () => void;
  readonly #marked: () => void;
  readonly #listedOnce: () => void;
  #trouble: KubeError | undefined;
  listed = false;
  readonly #mark = new VersionMark();

  constructor(
    api: KubeApi,
    { kind, plural, optional = false }: FollowedKind,
    options: KubeSourceOptions,
    hooks: {
      changed: () => void;
      marked: () => void;
      listed: () => void;
      doubt?: (missing: readonly SourceObject[]) => boolean;
    },
  ) {
    const { logger, reflector } = options;
    this.kind = kind;
    this.#api = api;
    this.#optional = optional;
    this.#path = `/apis/${API_VERSION}/${plural}`;
    this.#changed = hooks.changed;
    this.#marked = hooks.marked;
    this.#listedOnce = hooks.listed;
    const { doubt } = hooks;
    this.objects = new KubeObjects({
      kind,
      url: () => this.#url,
      ...(doubt === undefined ? {} : { doubt }),
    });
    this.reflector = new KubeReflector(api, this, {
      path: this.#path,
      apiVersion: API_VERSION,
      kind,
      ...(logger === undefined ? {} : { logger }),
      ...reflector,
    });
  }

  get #url(): string {
    return `${this.#api.name}${this.#path}`;
  }

  /** See {@link VersionMark}. */
  get mark(): string | undefined {
    return this.#mark.version;
  }

  get problem(): SourceProblem | undefined {
    if (this.#trouble === undefined) return undefined;
    const message = `${this.#trouble.message}; what was read before stays in force`;
    return { file: this.#url, path: '', message };
  }

  listBegin(): void {
    this.objects.listBegin();
  }

  listAbort(): void {
    this.objects.listAbort();
  }

  listEnd(): void {
    const changed = this.objects.listEnd(performance.now());
    this.listed = true;
    this.#listedOnce();
    if (changed) this.#changed();
  }

  put(...[object]: Parameters<ReflectorSink['put']>): void {
    // Until the first list is complete there is nothing to show.
    if (!this.objects.put(object)) return;
    this.#mark.specChanged();
    if (this.listed) this.#changed();
  }

  remove(...[object]: Parameters<ReflectorSink['remove']>): void {
    if (!this.objects.remove(object)) return;
    this.#mark.specChanged();
    this.#changed();
  }

  version(...[resourceVersion, event]: Parameters<NonNullable<ReflectorSink['version']>>): void {
    if (this.#mark.advance(resourceVersion, event)) this.#marked();
  }

  trouble(error: KubeError | undefined): void {
    const before = this.#trouble;
    this.#trouble = error;
    if (this.#optional && !this.listed && error?.status === 404) {
      // An older cluster. What the last good state has of the kind stays in force.
      this.listed = true;
      this.#listedOnce();
    }
    // Each attempt fails with another text; one snapshot for each would be noise.
    if (before?.code !== error?.code || before?.status !== error?.status) this.#changed();
  }
}

/** See the head of the file. */
export class KubeSource extends EventEmitter<RuleSourceEvents> implements RuleSource {
  readonly #options: KubeSourceOptions;
  readonly #networks: Followed;
  readonly #rules: Followed;
  /** All kinds; what refers to others comes after them. */
  readonly #all: readonly Followed[];
  readonly #firstRead = Promise.withResolvers<void>();
  #snapshot: SourceSnapshot = { objects: new Map(), problems: [], revision: 0, changedAtMs: 0 };
  #changedAtMs: number | undefined;
  #publishing: NodeJS.Immediate | undefined;
  #holdTimer: NodeJS.Timeout | undefined;
  #read = false;
  #closed = false;

  constructor(target: KubeTarget, options: KubeSourceOptions = {}) {
    super();
    this.#options = options;
    const api = new KubeApi(target, options);
    const changed = (): void => this.#onChange();
    const listed = (): void => this.#onListed();
    const marked = (): void => this.#onMark();
    this.#networks = new Followed(api, NETWORKS, options, {
      changed,
      marked,
      listed,
      // A network that rules in force need is not believed gone before the rules are.
      doubt: (missing) => this.#areNeeded(missing),
    });
    const groups = new Followed(api, GROUPS, options, {
      changed,
      marked,
      listed,
      doubt: (missing) => this.#groupsAreNeeded(missing),
    });
    const slices = new Followed(api, SLICES, options, { changed, marked, listed });
    const endpointSlices: Followed = new Followed(api, ENDPOINT_SLICES, options, {
      changed,
      marked,
      listed,
      // There are too few of them to wait for twenty: without most VTEPs the network falls apart.
      doubt: (missing) => missing.length * 2 > [...endpointSlices.objects.good()].length,
    });
    this.#rules = new Followed(api, RULES, options, {
      changed,
      marked,
      listed: () => {
        for (const { objects } of [this.#networks, groups]) {
          if (objects.reconsider(performance.now())) this.#onChange();
        }
        this.#onListed();
      },
    });
    this.#all = [
      this.#networks,
      groups,
      slices,
      ...(options.endpointSlices === true ? [endpointSlices] : []),
      this.#rules,
    ];
  }

  /** The newest snapshot. */
  get snapshot(): SourceSnapshot {
    return this.#snapshot;
  }

  /** Begins to follow. Resolves when every kind has been listed once, however long that takes. */
  async start(): Promise<void> {
    const lastGood = await this.#options.lastGood?.();
    if (this.#closed) return;
    for (const followed of this.#all) {
      if (lastGood !== undefined) followed.objects.seed(lastGood);
      followed.reflector.start();
    }
    return this.#firstRead.promise;
  }

  /** Stops following. A `start` that still waits resolves. */
  async close(): Promise<void> {
    this.#closed = true;
    clearImmediate(this.#publishing);
    clearTimeout(this.#holdTimer);
    await Promise.all(this.#all.map(({ reflector }) => reflector.close()));
    this.#firstRead.resolve();
  }

  #areNeeded(networks: readonly SourceObject[]): boolean {
    const names = new Set(networks.map(({ object }) => object.metadata.name));
    for (const [, { object }] of this.#rules.objects.good()) {
      if (object.kind !== 'DPURule') continue;
      if (object.spec.networkRef !== undefined && names.has(object.spec.networkRef)) return true;
    }
    return false;
  }

  #groupsAreNeeded(groups: readonly SourceObject[]): boolean {
    const keys = new Set(groups.map(({ object }) => objectKey(object)));
    for (const [, { object }] of this.#rules.objects.good()) {
      if (object.kind !== 'DPURule') continue;
      const { namespace } = object.metadata;
      for (const { match } of object.spec.rules) {
        for (const group of [match.srcGroup, match.dstGroup]) {
          if (group !== undefined && keys.has(nameKey('DPUGroup', group, namespace))) return true;
        }
      }
    }
    return false;
  }

  #onListed(): void {
    if (this.#read || this.#closed || !this.#all.every(({ listed }) => listed)) return;
    this.#read = true;
    this.#publish();
    this.#firstRead.resolve();
  }

  /** A mark alone is no news: whoever looks next finds it. With changes on their way it comes with them. */
  #onMark(): void {
    if (this.#read && this.#publishing === undefined) {
      this.#snapshot = { ...this.#snapshot, marks: this.#marks() };
    }
  }

  #marks(): ReadonlyMap<DpuObject['kind'], string> {
    return new Map(
      this.#all.flatMap(({ kind, mark }) => (mark === undefined ? [] : [[kind, mark] as const])),
    );
  }

  /** Events of one turn of the loop become one snapshot. */
  #onChange(): void {
    if (this.#closed) return;
    this.#changedAtMs ??= performance.now();
    this.#publishing ??= setImmediate(() => this.#publish());
  }

  #publish(): void {
    clearImmediate(this.#publishing);
    this.#publishing = undefined;
    const followed = this.#all;
    const objects = new Map<string, SourceObject>();
    // Half a list is no answer: the source has not spoken yet.
    if (this.#read) {
      for (const { objects: known } of followed) {
        for (const [key, object] of known.good()) objects.set(key, object);
      }
    }
    this.#snapshot = {
      objects,
      ...(this.#read ? { marks: this.#marks() } : {}),
      problems: [...boundedProblems(followed)],
      revision: this.#snapshot.revision + 1,
      changedAtMs: this.#changedAtMs ?? performance.now(),
    };
    this.#changedAtMs = undefined;
    this.#armHold();
    this.emit('change');
  }

  #armHold(): void {
    clearTimeout(this.#holdTimer);
    const untilMs = this.#all.flatMap(({ objects }) => objects.heldUntilMs ?? []);
    if (untilMs.length === 0) return;
    const now = performance.now();
    this.#holdTimer = setTimeout(
      () => {
        const due = performance.now();
        const released = this.#all.filter(({ objects }) => objects.release(due));
        if (released.length > 0) this.#onChange();
        else this.#armHold();
      },
      Math.max(1, Math.min(...untilMs) - now),
    );
  }
}

function* boundedProblems(followed: readonly Followed[]): Generator<SourceProblem> {
  let room = PROBLEMS_MAX;
  for (const { problem } of followed) if (problem !== undefined) yield problem;
  for (const { objects } of followed) {
    for (const problem of objects.problems()) {
      if (room-- === 0) return;
      yield problem;
    }
  }
}
