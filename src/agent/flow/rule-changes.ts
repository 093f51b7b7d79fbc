/**
 * Which rules of a snapshot differ from those of the one before. Nearly always few do, and nearly always in one place: what
 * is equal at both ends is passed over without a look at names.
 */
import type { DpuRule } from '../../api/dpu-rule.ts';
import type { EntryVerdict, RuleInput } from './model.ts';

/** What differs. */
export interface RuleChanges {
  /** Rules that are new, or whose object or verdicts are others. */
  readonly changed: readonly RuleInput[];
  /** Names ({@link objectName}) that are gone. */
  readonly removed: readonly string[];
}

/** Namespace and name of a rule, unique in a snapshot. */
export function objectName(object: DpuRule): string {
  return `${object.metadata.namespace}/${object.metadata.name}`;
}

/** Compares two lists of rules. Their order means nothing. */
export function ruleChanges(
  previous: readonly RuleInput[],
  next: readonly RuleInput[],
): RuleChanges {
  const shorter = Math.min(previous.length, next.length);
  let head = 0;
  while (head < shorter && isSame(previous[head], next[head])) head++;
  let tail = 0;
  while (
    tail < shorter - head &&
    isSame(previous[previous.length - 1 - tail], next[next.length - 1 - tail])
  ) {
    tail++;
  }
  const old = new Map<string, RuleInput>();
  for (const rule of previous.slice(head, previous.length - tail)) {
    old.set(objectName(rule.object), rule);
  }
  const changed: RuleInput[] = [];
  for (const rule of next.slice(head, next.length - tail)) {
    const name = objectName(rule.object);
    if (!isSame(old.get(name), rule)) changed.push(rule);
    old.delete(name);
  }
  return { changed, removed: [...old.keys()] };
}

function isSame(a: RuleInput | undefined, b: RuleInput | undefined): boolean {
  if (a === b) return true;
  return (
    a !== undefined &&
    b !== undefined &&
    a.object === b.object &&
    (a.verdicts === b.verdicts || sameVerdicts(a.verdicts, b.verdicts))
  );
}

function sameVerdicts(a: readonly EntryVerdict[], b: readonly EntryVerdict[]): boolean {
  return (
    a.length === b.length &&
    a.every((verdict, index) => {
      const other = b[index];
      return (
        verdict.vni === other?.vni &&
        verdict.reason === other?.reason &&
        verdict.message === other?.message &&
        sameTracking(verdict.tracking, other?.tracking) &&
        sameLegs(verdict.legs, other?.legs) &&
        verdict.mirror === other?.mirror &&
        verdict.groups?.source === other?.groups?.source &&
        verdict.groups?.destination === other?.groups?.destination
      );
    })
  );
}

function sameLegs(one: EntryVerdict['legs'], other: EntryVerdict['legs']): boolean {
  if (typeof one !== 'object' || typeof other !== 'object') return one === other;
  return one.near === other.near && one.far === other.far;
}

function sameTracking(one: EntryVerdict['tracking'], other: EntryVerdict['tracking']): boolean {
  return one?.zone === other?.zone && one?.warming === other?.warming;
}
