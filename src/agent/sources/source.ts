/**
 * Where intent comes from: what every source of DPURule and DPUNetwork objects gives, be it a directory or a cluster.
 * A source hands out immutable snapshots; an event only says that there is a newer one.
 */
import type { EventEmitter } from 'node:events';
import type { DpuObject } from '../../api/object.ts';

/** One object that is in force. */
export interface SourceObject {
  readonly object: DpuObject;
  /** Where it was read, such as `/etc/dpu-agent/rules.d/web.yaml:12`. */
  readonly origin: string;
}

/** The file of an origin: what stands before the line. */
export function originFile(origin: string): string {
  return origin.replace(/:\d+$/, '');
}

/** Something in a source that could not be used. */
export interface SourceProblem {
  /** File or directory, as configured. */
  readonly file: string;
  /** Line in the file, from 1, where it is known. */
  readonly line?: number;
  /** Path of the field; empty for the file itself. */
  readonly path: string;
  /** What is wrong, what was seen and what is accepted. */
  readonly message: string;
  /** Key of the object concerned, where its name could be read. */
  readonly object?: string;
}

/** All that a source has to say at one moment. */
export interface SourceSnapshot {
  /** Objects in force by their key (`objectKey`). An object that did not change is the same reference as before. */
  readonly objects: ReadonlyMap<string, SourceObject>;
  readonly problems: readonly SourceProblem[];
  /**
   * How far a source that counts versions has read, by kind: the newest resourceVersion at or before which `objects` has every
   * change of a spec. Undefined for other sources. It may advance without a new revision.
   */
  readonly marks?: ReadonlyMap<DpuObject['kind'], string>;
  /** Grows by one with every change of objects or problems. */
  readonly revision: number;
  /** `performance.now()` of the event that led to this snapshot. */
  readonly changedAtMs: number;
}

/** Events of a source. */
export interface RuleSourceEvents {
  /** There is a newer snapshot. */
  change: [];
}

/** A source of objects. */
export interface RuleSource extends EventEmitter<RuleSourceEvents> {
  /** Resolves after the first complete read; until then `snapshot` says why there was none. */
  start(): Promise<void>;
  /** Stops watching; no event follows. */
  close(): Promise<void>;
  /** The newest snapshot. */
  readonly snapshot: SourceSnapshot;
}
