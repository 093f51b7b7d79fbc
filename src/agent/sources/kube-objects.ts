/**
 * The objects of one kind as a list and its watch tell them: validated, the last good version of each, and the guard against
 * a list that would take away most of them. Pure: does no I/O, and time is an argument.
 *
 * A delete that came as a watch event is somebody's will. Objects that are merely missing from a complete list may be gone
 * because an etcd was restored from a backup or a CRD was made anew: when that is most of what is in force, they stay for a
 * while, and a problem says so.
 */
import { isDeepStrictEqual } from 'node:util';
import { type DpuObject, objectKey, parseObject } from '../../api/object.ts';
import { HOLD_MS, isMassRemoval } from '../../kube/mass-removal.ts';
import type { RawObject } from '../../kube/watch.ts';
import type { SourceObject, SourceProblem } from './source.ts';

/** Most objects of one kind. */
const OBJECTS_MAX = 100_000;

/** How the objects of a kind are kept. */
export interface KubeObjectsOptions {
  readonly kind: DpuObject['kind'];
  /** URL of the kind's list, for origins. */
  readonly url: () => string;
  /** Whether the absence of these objects is to be doubted beyond {@link isMassRemoval}. */
  readonly doubt?: (missing: readonly SourceObject[]) => boolean;
  /** Default 100,000. */
  readonly objectsMax?: number;
}

interface Entry {
  readonly uid: string;
  /** Version that was looked at last, whether it was good or not. */
  readonly resourceVersion: string;
  /** The last good version. */
  readonly good: SourceObject | undefined;
  readonly problems: readonly SourceProblem[];
}

/** See the head of the file. */
export class KubeObjects {
  readonly #options: Required<KubeObjectsOptions>;
  readonly #entries = new Map<string, Entry>();
  /** When objects that a list missed go, by key. */
  readonly #held = new Map<string, number>();
  /** Keys that the list under way has shown; undefined between lists. */
  #listed: Set<string> | undefined;
  /** Objects for which there was no room, since the last list began. */
  #overflow = 0;

  constructor(options: KubeObjectsOptions) {
    this.#options = { doubt: () => false, objectsMax: OBJECTS_MAX, ...options };
  }

  /** Takes over objects that were in force before the first list: the guard compares that list with them. */
  seed(objects: ReadonlyMap<string, SourceObject>): void {
    for (const [key, good] of objects) {
      if (good.object.kind !== this.#options.kind || this.#entries.has(key)) continue;
      const uid = good.object.metadata.uid ?? '';
      this.#entries.set(key, { uid, resourceVersion: '', good, problems: [] });
    }
  }

  /** Objects in force with their keys. */
  *good(): Generator<[string, SourceObject]> {
    for (const [key, { good }] of this.#entries) if (good !== undefined) yield [key, good];
  }

  /** Everything that is wrong with what is there. */
  *problems(): Generator<SourceProblem> {
    const { kind, objectsMax } = this.#options;
    if (this.#held.size > 0) {
      const { size } = this.#held;
      yield this.#problem(
        `${size} ${kind} objects are missing from a complete list, which would take away too much to be believed: they stay in force for up to ${HOLD_MS / 60_000} minutes (was the cluster restored, or the CRD made anew?)`,
      );
    }
    if (this.#overflow > 0) {
      yield this.#problem(
        `${this.#overflow} ${kind} objects are left out; accepted: at most ${objectsMax}`,
      );
    }
    for (const entry of this.#entries.values()) yield* entry.problems;
  }

  /** When held objects are to be given up, on the clock of the calls; undefined when none is held. */
  get heldUntilMs(): number | undefined {
    return this.#held.size === 0 ? undefined : Math.min(...this.#held.values());
  }

  /** A list begins: everything that it does not show will be missing. */
  listBegin(): void {
    this.#listed = new Set();
    this.#overflow = 0;
  }

  /** The list broke off: nothing is missing. */
  listAbort(): void {
    this.#listed = undefined;
  }

  /** The list is complete: removes what it did not show, or holds it. True when something changed. */
  listEnd(nowMs: number): boolean {
    const listed = this.#listed;
    this.#listed = undefined;
    if (listed === undefined) return false;
    const missing = [...this.#entries.keys()].filter((key) => !listed.has(key));
    return this.#miss(missing, nowMs);
  }

  /** Looks again at what is held: what is no longer to be doubted goes. True when something changed. */
  reconsider(nowMs: number): boolean {
    if (this.#held.size === 0) return false;
    return this.#miss([...this.#held.keys()], nowMs);
  }

  /** Gives up what has been held long enough. True when something changed. */
  release(nowMs: number): boolean {
    const due = [...this.#held].filter(([, untilMs]) => untilMs <= nowMs);
    for (const [key] of due) this.#forget(key);
    return due.length > 0;
  }

  /** An object is there, in this version. True when something changed. */
  put(raw: RawObject): boolean {
    const key = this.#keyOf(raw);
    this.#listed?.add(key);
    const wasHeld = this.#held.delete(key);
    const known = this.#entries.get(key);
    if (known?.resourceVersion === raw.resourceVersion && known.uid === raw.uid) return wasHeld;
    if (known === undefined && this.#entries.size >= this.#options.objectsMax) {
      this.#overflow++;
      return true;
    }
    const { uid, resourceVersion } = raw;
    const { object, problems } = parseObject(raw.value);
    const origin = this.#origin(raw);
    const valid = object !== undefined && objectKey(object) === key;
    const good = valid ? this.#sameOrNew(known?.good, { object, origin }) : known?.good;
    const faults =
      valid || problems.length > 0
        ? problems
        : [{ path: 'kind', message: 'is not the kind of its list' }];
    const entry: Entry = {
      uid,
      resourceVersion,
      good,
      problems: faults.map(({ path, message }) => ({ file: origin, path, message, object: key })),
    };
    this.#entries.set(key, entry);
    return (
      wasHeld || good !== known?.good || !isDeepStrictEqual(entry.problems, known?.problems ?? [])
    );
  }

  /** An object was deleted while we watched. True when something changed. */
  remove(raw: RawObject): boolean {
    const key = this.#keyOf(raw);
    if (!this.#entries.has(key)) return false;
    this.#forget(key);
    return true;
  }

  #miss(missing: readonly string[], nowMs: number): boolean {
    const objects = missing.flatMap((key) => this.#entries.get(key)?.good ?? []);
    const known = [...this.good()].length;
    if (
      isMassRemoval(objects.length, known) ||
      (objects.length > 0 && this.#options.doubt(objects))
    ) {
      for (const key of missing) {
        if (!this.#held.has(key)) this.#held.set(key, nowMs + HOLD_MS);
      }
      // What was due while the server was away is given up now.
      this.release(nowMs);
    } else {
      for (const key of missing) this.#forget(key);
    }
    return missing.length > 0;
  }

  #forget(key: string): void {
    this.#entries.delete(key);
    this.#held.delete(key);
  }

  /** Only what the agent reads counts: a change of status leaves the object as it was. */
  #sameOrNew(known: SourceObject | undefined, next: SourceObject): SourceObject {
    const same =
      known !== undefined &&
      known.origin === next.origin &&
      isDeepStrictEqual(known.object, next.object);
    if (same) return known;
    const sameObject = known !== undefined && isDeepStrictEqual(known.object, next.object);
    return sameObject ? { ...next, object: known.object } : next;
  }

  #keyOf({ namespace, name }: RawObject): string {
    const { kind } = this.#options;
    return namespace === '' ? `${kind}/${name}` : `${kind}/${namespace}/${name}`;
  }

  #origin({ namespace, name }: RawObject): string {
    const url = this.#options.url();
    const slash = url.lastIndexOf('/');
    const place =
      namespace === '' ? url : `${url.slice(0, slash)}/namespaces/${namespace}${url.slice(slash)}`;
    return `${place}/${name}`;
  }

  #problem(message: string): SourceProblem {
    return { file: this.#options.url(), path: '', message };
  }
}
