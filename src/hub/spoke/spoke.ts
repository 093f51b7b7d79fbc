/**
 * The spoke: keeps what its cluster's NetworkPolicies and DPUGroups become as it should be. Level-triggered: an event says
 * that something is to be looked at; a pass compares what should be with what is there and writes the difference, so a
 * restart writes nothing. Only the leader writes; the others follow, so that one of them can go on at once.
 */
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { HUB_LABEL, LARGE_PRUNE_ANNOTATION, SPOKE_LABEL } from '../../api/labels.ts';
import { isBaseError, toError } from '../../base/error.ts';
import { silentLogger, type Logger } from '../../base/logger.ts';
import { KubeApi } from '../../kube/api.ts';
import type { KubeTarget } from '../../kube/config.ts';
import { applySet, formatName, type ObjectKeeper } from '../apply/apply-set.ts';
import { Customer, type StoredObject } from '../apply/customer.ts';
import { holds } from '../apply/object-diff.ts';
import { HubError } from '../errors.ts';
import { fence, Leader, type LeaderOptions } from '../leader.ts';
import { Cluster, type GroupView, type SliceView } from './cluster.ts';
import { keepsOf, type RefusedPolicy, translateCluster } from './cluster-policies.ts';
import { GroupMembers, groupKeyOf } from './group-members.ts';
import { groupStatus } from './group-status.ts';
import { NetworkPlaces } from './network-places.ts';
import { OwnClient } from './own-client.ts';
import { SPOKE_MANAGER, SpokeWriter } from './spoke-writer.ts';

/** How a spoke runs. */
export interface SpokeOptions extends Pick<LeaderOptions, 'namespace' | 'identity' | 'durationMs'> {
  readonly target: KubeTarget;
  /** Name of the Lease, and the id on everything that is written. Default dpu-spoke. */
  readonly name?: string;
  readonly logger?: Logger;
  /** Shortest time between two writes of statuses, in milliseconds. Default 5000. */
  readonly statusEveryMs?: number;
}

/** What a spoke counts. */
export interface SpokeCounts {
  /** Writes by what and how they ended. */
  readonly writes: ReadonlyMap<string, number>;
  readonly passes: number;
  readonly policies: Readonly<Record<'translated' | 'refused' | 'elsewhere', number>>;
}

/** Events of this long join. */
const JOIN_MS = 20;
/** Groups that are resolved between two pauses. */
const GROUPS_AT_ONCE = 20;
const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 30_000;
/** How often it is looked what lists have missed for long enough. */
const TICK_MS = 1000;

/** See the head of the file. */
export class Spoke {
  readonly cluster: Cluster;
  readonly leader: Leader;
  readonly #logger: Logger;
  readonly #id: string;
  readonly #statusEveryMs: number;
  readonly #client: OwnClient;
  readonly #keeper: ObjectKeeper;
  readonly #writer: SpokeWriter;
  readonly #members = new GroupMembers();
  readonly #stop = new AbortController();
  readonly #writes = new Map<string, number>();
  /** What was said of a policy or an object, so that it is said once. */
  readonly #said = new Map<string, string>();
  readonly #statuses = new Set<string>();
  #places: NetworkPlaces | undefined;
  #policiesPending = true;
  #policies = { translated: 0, refused: 0, elsewhere: 0 };
  #passes = 0;
  #failures = 0;
  #retryAtMs = Infinity;
  #statusAtMs = -Infinity;
  #wake = Promise.withResolvers<void>();
  #running: Promise<void> | undefined;

  constructor(options: SpokeOptions) {
    const { target, name = 'dpu-spoke', namespace, identity, durationMs = 15_000 } = options;
    this.#logger = options.logger ?? silentLogger;
    this.#id = name;
    this.#statusEveryMs = options.statusEveryMs ?? 5000;
    // A third of the Lease: what is sent while it is valid has ended when another may lead.
    this.#client = new OwnClient(target, durationMs / 3);
    this.leader = new Leader(this.#client, {
      ...{ namespace, name, identity, durationMs, logger: this.#logger },
      changed: () => this.#everything(),
    });
    this.cluster = new Cluster(
      new KubeApi(target),
      {
        pod: (before, after) => {
          if (this.#members.podChanged(this.cluster, before, after)) this.#notify();
        },
        namespace: (before, after) => {
          if (!isDeepStrictEqual(before, after)) this.#everything();
        },
        network: () => this.#everything(),
        policy: () => this.#translateAnew(),
        group: (before, after) => this.#onGroup(before, after),
        rule: (before, after) => {
          if (isDeepStrictEqual(wish(before?.stored), wish(after?.stored))) return;
          if (isOurs(before?.stored) || isOurs(after?.stored)) this.#translateAnew();
        },
        slice: (before, after) => this.#onSlice(before, after),
        told: () => this.#notify(),
      },
      this.#logger,
    );
    this.#writer = new SpokeWriter(this.#client, this.leader, name);
    this.#keeper = this.#makeKeeper(new Customer(this.#client, SPOKE_MANAGER));
  }

  /** Why this spoke is not up to date; undefined when it is. A spoke that does not lead can be. */
  get notReady(): string | undefined {
    const { unknown, faults } = this.cluster;
    if (faults.length > 0) return faults.join('; ');
    if (unknown.length > 0) return `not listed yet: ${unknown.join(', ')}`;
    return undefined;
  }

  /** What happened so far. */
  get counts(): SpokeCounts {
    return { writes: this.#writes, passes: this.#passes, policies: this.#policies };
  }

  /** Begins to follow the cluster and to try for the Lease. */
  start(): void {
    this.cluster.start();
    this.leader.start();
    this.#running ??= this.#run();
  }

  /** Ends; what was written stays. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#notify();
    await this.#running;
    await this.leader.close();
    await this.cluster.close();
    this.#client.close();
  }

  #makeKeeper(customer: Customer): ObjectKeeper {
    return {
      list: async () => [...this.#ours()],
      get: (name) => customer.get(name),
      apply: async (manifest, how) => {
        fence(this.leader);
        const applied = await customer.apply(manifest, how);
        this.#count(manifest.kind, 'conflicts' in applied ? 'conflict' : 'written');
        return applied;
      },
      delete: async (object) => {
        fence(this.leader);
        await customer.delete(object);
        this.#count(object.kind, 'deleted');
      },
    };
  }

  *#ours(): Generator<StoredObject> {
    for (const { stored } of this.cluster.groups.values())
      if (isOurs(stored, this.#id)) yield stored;
    for (const { stored } of this.cluster.rules.values())
      if (isOurs(stored, this.#id)) yield stored;
  }

  #count(what: string, result: string): void {
    const key = `${what} ${result}`;
    this.#writes.set(key, (this.#writes.get(key) ?? 0) + 1);
  }

  #notify(): void {
    this.#wake.resolve();
  }

  #translateAnew(): void {
    this.#policiesPending = true;
    this.#notify();
  }

  #everything(): void {
    this.#places = undefined;
    this.#members.touchAll();
    for (const view of this.cluster.groups.values()) this.#statuses.add(groupKeyOf(view));
    this.#translateAnew();
  }

  #onGroup(before: GroupView | undefined, after: GroupView | undefined): void {
    const either = after ?? before;
    if (either === undefined) return;
    const isSpec = before?.generation !== after?.generation || before === undefined;
    if (isSpec) {
      this.#members.touch(groupKeyOf(either));
      if (isOurs(before?.stored) || isOurs(after?.stored)) this.#policiesPending = true;
    }
    if (after !== undefined && (isSpec || !isDeepStrictEqual(before.status, after.status))) {
      this.#statuses.add(groupKeyOf(after));
    }
    this.#notify();
  }

  #onSlice(before: SliceView | undefined, after: SliceView | undefined): void {
    for (const view of [before, after]) {
      if (view !== undefined) this.#members.touch(`${view.slice.metadata.namespace}/${view.group}`);
    }
    this.#notify();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const now = performance.now();
      const statusMs =
        this.#statuses.size > 0 ? this.#statusAtMs + this.#statusEveryMs - now : Infinity;
      const waitMs = Math.min(TICK_MS, Math.max(0, Math.min(this.#retryAtMs - now, statusMs)));
      await Promise.race([
        this.#wake.promise,
        sleep(waitMs, undefined, { signal, ref: true }),
      ]).catch(() => undefined);
      await sleep(JOIN_MS, undefined, { signal }).catch(() => undefined);
      this.#wake = Promise.withResolvers();
      this.cluster.release();
      if (signal.aborted || !this.leader.valid || this.cluster.unknown.length > 0) continue;
      if (this.#failures > 0 && performance.now() < this.#retryAtMs) continue;
      await this.#tryPass();
    }
  }

  async #tryPass(): Promise<void> {
    let isClean = false;
    try {
      isClean = await this.#pass();
    } catch (error) {
      const level = isBaseError(error) ? 'warn' : 'error';
      this.#logger[level]({ err: toError(error) }, 'pass not finished');
      this.#policiesPending = true;
      this.#members.touchAll();
    }
    this.#failures = isClean ? 0 : this.#failures + 1;
    const backoffMs = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** (this.#failures - 1));
    this.#retryAtMs = isClean
      ? Infinity
      : performance.now() + backoffMs * (0.5 + Math.random() / 2);
  }

  /** True when nothing is left to do. */
  async #pass(): Promise<boolean> {
    this.#passes++;
    this.#places ??= new NetworkPlaces(this.cluster.networks.values(), (name) =>
      this.cluster.namespaces.get(name),
    );
    const policiesAreWell = this.#policiesPending ? await this.#applyPolicies(this.#places) : true;
    const slicesAreWell = this.#members.pending ? await this.#resolve(this.#places) : true;
    const now = performance.now();
    const statusesAreDue = now >= this.#statusAtMs + this.#statusEveryMs;
    if (this.#statuses.size > 0 && statusesAreDue) {
      this.#statusAtMs = now;
      await this.#writeStatuses();
    }
    return policiesAreWell && slicesAreWell;
  }

  async #applyPolicies(places: NetworkPlaces): Promise<boolean> {
    this.#policiesPending = false;
    const { policies } = this.cluster;
    const made = translateCluster(policies.values(), places);
    const refused = made.refused.length;
    const { elsewhere } = made;
    this.#policies = { translated: policies.size - refused - elsewhere, refused, elsewhere };
    const ours = [...this.#ours()];
    const outcomes = await applySet(this.#keeper, made.objects, {
      ...{ hubId: this.#id, ownerLabel: SPOKE_LABEL, dryRun: false, prune: true },
      keeps: keepsOf(made.refused, ours),
      allowLargePrune: this.leader.annotations[LARGE_PRUNE_ANNOTATION] === 'true',
    });
    await this.#sayRefused(made.refused);
    const bad = outcomes.filter(({ outcome }) => ['conflict', 'failed', 'kept'].includes(outcome));
    for (const one of bad) {
      this.#say(formatName(one), one.message, { outcome: one.outcome });
      if (one.outcome === 'failed') this.#count(one.kind, 'failed');
    }
    const isWell = bad.length === 0;
    // Tried again after a while: what others hold may be let go.
    if (!isWell) this.#policiesPending = true;
    return isWell;
  }

  async #sayRefused(refused: readonly RefusedPolicy[]): Promise<void> {
    for (const one of refused) {
      const { namespace, name } = one.policy;
      const key = `NetworkPolicy ${namespace}/${name}`;
      if (!this.#say(key, `${one.reason}: ${one.message}`, {})) continue;
      try {
        await this.#writer.refusal(one);
      } catch (error) {
        if (!(error instanceof HubError) || error.status === undefined) throw error;
        this.#logger.debug({ err: error }, 'event not written');
      }
    }
  }

  /** One line for each new thing; true when it is new. */
  #say(about: string, message: string, fields: Readonly<Record<string, unknown>>): boolean {
    if (this.#said.get(about) === message) return false;
    if (this.#said.size > 10_000) this.#said.clear();
    this.#said.set(about, message);
    this.#logger.warn({ ...fields, object: about, reason: message }, 'not as it should be');
    return true;
  }

  async #resolve(places: NetworkPlaces): Promise<boolean> {
    const { groups, slices } = this.cluster;
    const keys = this.#members.take(this.cluster);
    let isWell = await this.#deleteOrphans();
    for (let start = 0; start < keys.length; start += GROUPS_AT_ONCE) {
      const views = keys
        .slice(start, start + GROUPS_AT_ONCE)
        .flatMap((key) => groups.get(key) ?? []);
      const chunk = new Set(views.map(groupKeyOf));
      const known = new Map<string, SliceView>();
      for (const view of slices.values()) {
        const { namespace, name } = view.slice.metadata;
        if (chunk.has(`${namespace}/${view.group}`) && this.#isOurSlice(view)) {
          known.set(`${namespace}/${name}`, view);
        }
      }
      const previous = [...known.values()].map(({ slice }) => slice);
      const wanted = this.#members.resolve(this.cluster, views, places, previous);
      for (const slice of wanted) {
        const { namespace, name, labels } = slice.metadata;
        const key = `${namespace}/${name}`;
        const before = known.get(key);
        known.delete(key);
        if (before !== undefined && isDeepStrictEqual(before.slice.spec, slice.spec)) continue;
        const owner = groups.get(`${namespace}/${labels['dpu.network/group']}`);
        if (owner === undefined) continue;
        const work = async (): Promise<void> =>
          this.cluster.learnSlice(await this.#writer.putSlice(slice, owner, before));
        isWell = (await this.#attempt(`DPUGroupSlice ${key}`, 'written', work)) && isWell;
        this.#statuses.add(groupKeyOf(owner));
      }
      // What is left has no entries any more, or belongs to a group that is not valid: that one keeps its slices.
      for (const [key, view] of known) {
        const group = groups.get(`${view.slice.metadata.namespace}/${view.group}`);
        if (group?.group === undefined) continue;
        isWell = (await this.#deleteSlice(key, view)) && isWell;
        this.#statuses.add(groupKeyOf(group));
      }
      await setImmediate();
    }
    return isWell;
  }

  #isOurSlice({ slice }: SliceView): boolean {
    return slice.metadata.labels[SPOKE_LABEL] === this.#id;
  }

  async #deleteOrphans(): Promise<boolean> {
    const { groups, slices } = this.cluster;
    const orphans = [...slices.values()].filter(
      (view) =>
        this.#isOurSlice(view) &&
        groups.get(`${view.slice.metadata.namespace}/${view.group}`) === undefined,
    );
    let isWell = true;
    for (const view of orphans) {
      const { namespace, name } = view.slice.metadata;
      isWell = (await this.#deleteSlice(`${namespace}/${name}`, view)) && isWell;
    }
    return isWell;
  }

  #deleteSlice(key: string, view: SliceView): Promise<boolean> {
    return this.#attempt(`DPUGroupSlice ${key}`, 'deleted', async () => {
      await this.#writer.deleteSlice(view);
      this.cluster.forgetSlice(view);
    });
  }

  /** An object's own fault does not keep the others; a fault of the connection ends the pass. */
  async #attempt(name: string, result: string, work: () => Promise<void>): Promise<boolean> {
    const kind = name.slice(0, name.indexOf(' '));
    try {
      await work();
      this.#count(kind, result);
      return true;
    } catch (error) {
      if (!(error instanceof HubError) || error.status === undefined) throw error;
      this.#count(kind, 'failed');
      this.#say(name, error.message, {});
      this.#members.touchAll();
      return false;
    }
  }

  async #writeStatuses(): Promise<void> {
    const slicesByGroup = Map.groupBy(
      this.cluster.slices.values(),
      ({ slice, group }) => `${slice.metadata.namespace}/${group}`,
    );
    for (const key of [...this.#statuses]) {
      const view = this.cluster.groups.get(key);
      if (view !== undefined) {
        const slices = (slicesByGroup.get(key) ?? []).map(({ slice }) => slice);
        const status = groupStatus(view, slices, new Date().toISOString());
        if (!holds(view.status, status)) {
          const { metadata } = view.stored;
          const work = (): Promise<void> => this.#writer.putStatus('dpugroups', metadata, status);
          await this.#attempt(`DPUGroupStatus ${key}`, 'written', work);
        }
      }
      this.#statuses.delete(key);
    }
  }
}

/** What a spoke would put right; a status is not among it. */
function wish(stored: StoredObject | undefined): unknown {
  if (stored === undefined) return undefined;
  const { labels, annotations, uid } = stored.metadata;
  return { labels, annotations, uid, spec: stored.spec };
}

/** Whether a spoke wrote the object, the one called `id` if that is given; a hub's is never ours. */
function isOurs(stored: StoredObject | undefined, id?: string): boolean {
  const labels = stored?.metadata.labels ?? {};
  const spoke = labels[SPOKE_LABEL];
  return labels[HUB_LABEL] === undefined && spoke !== undefined && (id ?? spoke) === spoke;
}
