/**
 * Ports of TCP, UDP and SCTP as users write them: a number, `"80"`, or a range `"8000-8100"`.
 */

/** Largest port number: 16 bits. */
export const PORT_MAX = 0xffff;
/** What a port field accepts, as a regular expression; that the first is not above the last is checked apart. */
export const PORT_RANGE_PATTERN = '^[0-9]{1,5}(-[0-9]{1,5})?$';

/** Ports from `first` to `last`, both included. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

const RANGE = new RegExp(PORT_RANGE_PATTERN);

/** Parses a port or a range of ports; undefined when it is none, or when it runs backwards. */
export function parsePortRange(value: unknown): PortRange | undefined {
  if (typeof value === 'number') {
    return Number.isInteger(value) && value >= 0 && value <= PORT_MAX
      ? { first: value, last: value }
      : undefined;
  }
  if (typeof value !== 'string' || !RANGE.test(value)) return undefined;
  const [firstText = '', lastText = firstText] = value.split('-');
  const first = Number(firstText);
  const last = Number(lastText);
  return first <= last && last <= PORT_MAX ? { first, last } : undefined;
}
