/**
 * Ranges of VNIs that belong to a customer: `"1000-1999"`, `"42"` or 42.
 */
import { asVni, type Vni } from '../base/brand.ts';

/** VNIs from `first` to `last`, both included. */
export interface VniRange {
  readonly first: Vni;
  readonly last: Vni;
}

const RANGE = /^(\d{1,8})(?:-(\d{1,8}))?$/;

/** Parses one range; undefined when it is none, names a VNI outside 1..16777215, or runs backwards. */
export function parseVniRange(value: unknown): VniRange | undefined {
  if (typeof value !== 'number' && typeof value !== 'string') return undefined;
  const [, firstText, lastText = firstText] = RANGE.exec(String(value)) ?? [];
  const first = asVni(Number(firstText));
  const last = asVni(Number(lastText));
  return first === undefined || last === undefined || first > last ? undefined : { first, last };
}

/** True when `vni` lies in one of `ranges`. */
export function ownsVni(ranges: readonly VniRange[], vni: number): boolean {
  return ranges.some((range) => range.first <= vni && vni <= range.last);
}

/** Ranges as text: `1000-1999, 42`. */
export function formatVniRanges(ranges: readonly VniRange[]): string {
  return ranges
    .map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`))
    .join(', ');
}
