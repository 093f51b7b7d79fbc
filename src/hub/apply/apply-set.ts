/**
 * Brings one customer to a set of objects: applies what differs, leaves what belongs to others, deletes what is no longer
 * wanted. Our own objects are forced back to what they should be; others' are never taken without being asked: a conflict is
 * an outcome, with the names of those who hold the fields.
 */
import { createHash } from 'node:crypto';
import { APPLIED_ANNOTATION, HUB_LABEL, SPOKE_LABEL } from '../../api/labels.ts';
import { isBaseError } from '../../base/error.ts';
import { HubError } from '../errors.ts';
import {
  type Customer,
  type FieldConflict,
  HUB_KINDS,
  type HubObject,
  type ObjectName,
  type StoredObject,
} from './customer.ts';
import { differences, holds } from './object-diff.ts';

/** From how many deletions on more than half of the objects may not go at once. */
export const PRUNE_GUARD = 20;
/** Objects that are written at a time. */
const AT_ONCE = 8;

/** Where a set is applied: a customer, or a spoke's own cluster. */
export type ObjectKeeper = Pick<Customer, 'list' | 'get' | 'apply' | 'delete'>;

/** How a set is applied. */
export interface ApplyOptions {
  /** Id of this writer: what carries another's is left alone. */
  readonly hubId: string;
  /** Label that holds the id: a hub's, or a spoke's. Default: a hub's. */
  readonly ownerLabel?: typeof HUB_LABEL | typeof SPOKE_LABEL;
  /** Objects that stay although nobody asks for them now. Default: none. */
  readonly keeps?: (object: StoredObject) => boolean;
  /** Ask the server what would happen, and change nothing. */
  readonly dryRun: boolean;
  /** Delete our objects that are not in the set. */
  readonly prune: boolean;
  /** Delete even where the guard says that these are too many. */
  readonly allowLargePrune?: boolean;
}

/** What became of one object. */
export interface ObjectOutcome extends ObjectName {
  readonly outcome: 'created' | 'changed' | 'unchanged' | 'conflict' | 'failed' | 'pruned' | 'kept';
  /** Fields that changed, or that others hold. */
  readonly fields: readonly string[];
  /** Why, where it is not done. */
  readonly message: string;
}

/** `DPURule shop/np-web`. */
export function formatName({ kind, namespace, name }: ObjectName): string {
  return `${kind} ${namespace}/${name}`;
}

/** The same object with the marks of its writer. */
function marked(
  object: HubObject,
  { hubId, ownerLabel = HUB_LABEL }: Pick<ApplyOptions, 'hubId' | 'ownerLabel'>,
): HubObject {
  const hash = createHash('sha256').update(JSON.stringify(object)).digest('hex').slice(0, 16);
  const { labels, annotations } = object.metadata;
  const metadata = {
    ...object.metadata,
    labels: { ...labels, [ownerLabel]: hubId },
    annotations: { ...annotations, [APPLIED_ANNOTATION]: hash },
  };
  return { ...object, metadata };
}

function nameOf(object: HubObject | StoredObject): ObjectName {
  const { namespace, name } = object.metadata;
  return { kind: object.kind, namespace, name };
}

/** The parts of an object that a hub decides. */
function decided({ metadata, spec }: HubObject | StoredObject): unknown {
  return { metadata: { labels: metadata.labels, annotations: metadata.annotations }, spec };
}

function describeConflicts(conflicts: readonly FieldConflict[]): string {
  return conflicts.map(({ manager, fields }) => `${manager} on ${fields.join(', ')}`).join('; ');
}

/** Who has written an object: `hub north`, `spoke dpu-spoke`; undefined for nobody of ours. */
function ownerOf(labels: StoredObject['metadata']['labels']): string | undefined {
  const hub = labels[HUB_LABEL];
  if (hub !== undefined) return `hub ${hub}`;
  const spoke = labels[SPOKE_LABEL];
  return spoke === undefined ? undefined : `spoke ${spoke}`;
}

/** Applies one object. `stored` is the one that carries our mark. */
async function applyOne(
  customer: ObjectKeeper,
  wanted: HubObject,
  stored: StoredObject | undefined,
  options: ApplyOptions,
): Promise<ObjectOutcome> {
  const { dryRun } = options;
  const name = nameOf(wanted);
  const done = (
    outcome: ObjectOutcome['outcome'],
    fields: readonly string[] = [],
    message = '',
  ): ObjectOutcome => ({ ...name, outcome, fields, message });
  const manifest = marked(wanted, options);
  if (stored !== undefined && holds(decided(stored), decided(manifest))) return done('unchanged');
  const present = stored ?? (await customer.get(name));
  const owner = present && ownerOf(present.metadata.labels);
  const isOurs = owner !== undefined && owner === ownerOf(manifest.metadata.labels ?? {});
  if (owner !== undefined && !isOurs) return done('conflict', [], `it belongs to ${owner}`);
  const applied = await customer.apply(manifest, {
    force: isOurs,
    dryRun,
    // What we saw is what we decided on.
    ...(present === undefined ? {} : { resourceVersion: present.metadata.resourceVersion }),
  });
  if ('conflicts' in applied) {
    const fields = applied.conflicts.flatMap((conflict) => conflict.fields);
    return done('conflict', fields, describeConflicts(applied.conflicts));
  }
  if (present === undefined) return done('created');
  const fields = differences(decided(present), decided(applied.object));
  return done(fields.length === 0 ? 'unchanged' : 'changed', fields);
}

/** An object's own fault becomes its outcome; a fault of the connection ends the pass. */
async function attempt(
  name: ObjectName,
  work: () => Promise<ObjectOutcome>,
): Promise<ObjectOutcome> {
  try {
    return await work();
  } catch (error) {
    if (!isBaseError(error)) throw error;
    if (!(error instanceof HubError) || error.status === undefined) throw error;
    return { ...name, outcome: 'failed', fields: [], message: error.message };
  }
}

/** Does `work` for each item, a few at a time, and gives the results in the items' order. */
async function inTurn<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  for (let start = 0; start < items.length; start += AT_ONCE) {
    results.push(...(await Promise.all(items.slice(start, start + AT_ONCE).map(work))));
  }
  return results;
}

/**
 * Applies `objects`, groups before rules, and then deletes. Every object has an outcome; what one of them meets does not
 * keep the others.
 * @throws HubError when the server cannot be reached or understood: what was done until then stays.
 */
export async function applySet(
  customer: ObjectKeeper,
  objects: readonly HubObject[],
  options: ApplyOptions,
): Promise<ObjectOutcome[]> {
  const stored = await customer.list(options.hubId);
  const byName = new Map(stored.map((object) => [formatName(nameOf(object)), object]));
  const outcomes: ObjectOutcome[] = [];
  for (const kind of HUB_KINDS) {
    const ofKind = objects.filter((object) => object.kind === kind);
    const done = await inTurn(ofKind, (object) => {
      const name = nameOf(object);
      return attempt(name, () => applyOne(customer, object, byName.get(formatName(name)), options));
    });
    outcomes.push(...done);
  }
  if (!options.prune) return outcomes;
  const wanted = new Set(objects.map((object) => formatName(nameOf(object))));
  // Rules first: a rule whose group is gone would be refused meanwhile.
  const keeps = options.keeps ?? (() => false);
  const surplus = stored
    .filter((object) => !wanted.has(formatName(nameOf(object))) && !keeps(object))
    .reverse();
  return [...outcomes, ...(await prune(customer, surplus, stored.length, options))];
}

async function prune(
  customer: ObjectKeeper,
  surplus: readonly StoredObject[],
  total: number,
  options: ApplyOptions,
): Promise<ObjectOutcome[]> {
  const isLarge = surplus.length >= PRUNE_GUARD && surplus.length * 2 > total;
  const isHeld = isLarge && options.allowLargePrune !== true;
  return inTurn(surplus, (object) => {
    const name = nameOf(object);
    return attempt(name, async () => {
      if (isHeld) {
        const message = `${surplus.length} of ${total} objects would go at once`;
        return { ...name, outcome: 'kept', fields: [], message };
      }
      if (!options.dryRun) await customer.delete(object);
      return { ...name, outcome: 'pruned', fields: [], message: '' };
    });
  });
}
