/**
 * Two objects compared: whether one holds all that the other wants, and which fields differ. Pure; what it is given came
 * from outside, so depth and number are bounded.
 */
import { formatPath, type PathSegment } from '../../api/field-path.ts';

/** Most differences that are listed. */
const DIFFERENCES_MAX = 20;
const DEPTH_MAX = 32;

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function fieldOf(value: object, key: string): unknown {
  return Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
}

/** True when `actual` has every field of `wanted` with its value; what else it has (defaults, others' fields) does not matter. */
export function holds(actual: unknown, wanted: unknown, depth = 0): boolean {
  if (depth > DEPTH_MAX) return false;
  if (Array.isArray(wanted)) {
    return (
      Array.isArray(actual) &&
      actual.length === wanted.length &&
      wanted.every((item, index) => holds(actual[index], item, depth + 1))
    );
  }
  if (!isObject(wanted)) return actual === wanted;
  if (!isObject(actual) || Array.isArray(actual)) return false;
  return Object.entries(wanted).every(
    ([key, value]) => value === undefined || holds(fieldOf(actual, key), value, depth + 1),
  );
}

/** Paths of the fields that differ, at most {@link DIFFERENCES_MAX}. */
export function differences(before: unknown, after: unknown): string[] {
  const paths: string[] = [];
  const compare = (one: unknown, other: unknown, path: readonly PathSegment[]): void => {
    if (paths.length >= DIFFERENCES_MAX || one === other) return;
    const isDeep = isObject(one) && isObject(other) && path.length < DEPTH_MAX;
    if (!isDeep || Array.isArray(one) !== Array.isArray(other)) {
      paths.push(formatPath(path));
      return;
    }
    const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
    for (const key of keys) {
      const step = Array.isArray(one) ? Number(key) : key;
      compare(fieldOf(one, key), fieldOf(other, key), [...path, step]);
    }
  };
  compare(before, after, []);
  return paths;
}
