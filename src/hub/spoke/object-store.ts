/**
 * The objects of one kind as a list and its watch tell them, each reduced to what is kept of it. A list that would take away
 * most of them is not believed for a while (src/kube/mass-removal.ts). Does no I/O; time is an argument.
 */
import type { KubeError } from '../../kube/error.ts';
import { HOLD_MS, isMassRemoval } from '../../kube/mass-removal.ts';
import type { ReflectorSink } from '../../kube/reflector.ts';
import { isBehind, type RawObject } from '../../kube/watch.ts';

/** How a kind is kept. */
export interface StoreOptions<Kept> {
  /** What is kept of an object; undefined for one that is as good as none. Must not throw. */
  readonly read: (raw: RawObject) => Kept | undefined;
  /** Something is kept, is another, or is gone. */
  readonly changed: (before: Kept | undefined, after: Kept | undefined) => void;
  /** Something else changed: a list is complete, a fault came or went. */
  readonly told: () => void;
  /** A clock in milliseconds. Default: performance.now. */
  readonly now?: () => number;
}

interface Entry<Kept> {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly kept: Kept;
}

/** `namespace/name`, or the name alone. */
export function storeKey({ namespace, name }: Pick<RawObject, 'namespace' | 'name'>): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}

/** See the head of the file. */
export class ObjectStore<Kept> implements ReflectorSink {
  readonly #options: StoreOptions<Kept>;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry<Kept>>();
  /** When objects that a list missed go. */
  readonly #held = new Map<string, number>();
  #listed: Set<string> | undefined;
  #synced = false;
  #error: KubeError | undefined;

  constructor(options: StoreOptions<Kept>) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** True once a list has been complete. */
  get synced(): boolean {
    return this.#synced;
  }

  /** What keeps this kind from being up to date. */
  get error(): KubeError | undefined {
    return this.#error;
  }

  /** Objects. */
  get size(): number {
    return this.#entries.size;
  }

  /** Objects that a list missed and that stay for a while. */
  get held(): number {
    return this.#held.size;
  }

  /** The object called {@link storeKey}. */
  get(key: string): Kept | undefined {
    return this.#entries.get(key)?.kept;
  }

  /** What is kept, in no order. */
  *values(): Generator<Kept> {
    for (const { kept } of this.#entries.values()) yield kept;
  }

  listBegin(): void {
    this.#listed = new Set();
  }

  listAbort(): void {
    this.#listed = undefined;
  }

  listEnd(): void {
    const listed = this.#listed;
    this.#listed = undefined;
    if (listed === undefined) return;
    const missing = [...this.#entries.keys()].filter((key) => !listed.has(key));
    if (isMassRemoval(missing.length, this.#entries.size)) {
      const untilMs = this.#now() + HOLD_MS;
      for (const key of missing) if (!this.#held.has(key)) this.#held.set(key, untilMs);
      this.release();
    } else {
      for (const key of missing) this.#forget(key);
    }
    this.#synced = true;
    this.#options.told();
  }

  put(raw: RawObject): void {
    const key = storeKey(raw);
    this.#listed?.add(key);
    this.#held.delete(key);
    const known = this.#entries.get(key);
    if (known !== undefined && known.uid === raw.uid) {
      if (known.resourceVersion === raw.resourceVersion) return;
      // An echo of what was before a write of our own. A list is believed: its server may be restored.
      if (this.#listed === undefined && isBehind(raw.resourceVersion, known.resourceVersion))
        return;
    }
    const kept = this.#options.read(raw);
    if (kept === undefined) {
      this.#forget(key);
      return;
    }
    const { uid, resourceVersion } = raw;
    this.#entries.set(key, { uid, resourceVersion, kept });
    this.#options.changed(known?.kept, kept);
  }

  remove(raw: RawObject): void {
    const key = storeKey(raw);
    if (this.#entries.get(key)?.uid === raw.uid) this.#forget(key);
  }

  trouble(error: KubeError | undefined): void {
    const before = this.#error;
    this.#error = error;
    if (before?.code !== error?.code || before?.status !== error?.status) this.#options.told();
  }

  /** Gives up what has been held long enough. */
  release(): void {
    const now = this.#now();
    for (const [key, untilMs] of this.#held) if (untilMs <= now) this.#forget(key);
  }

  #forget(key: string): void {
    const known = this.#entries.get(key);
    this.#entries.delete(key);
    this.#held.delete(key);
    if (known !== undefined) this.#options.changed(known.kept, undefined);
  }
}
