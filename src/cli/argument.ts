/**
 * Arguments and values of options: read, or refused with what is accepted.
 */
import { InvalidArgumentError } from 'commander';

const DURATION_S_MAX = 24 * 3600;
const TIMEOUT_S_MAX = 3600;
/** Largest table number: OVS hides table 254, and 255 means all. */
export const TABLE_MAX = 253;

/** A time in seconds. @throws InvalidArgumentError that says what is accepted. */
export function parseSeconds(text: string): number {
  const seconds = /^\d+(\.\d+)?$/.test(text) ? Number(text) : 0;
  if (seconds > 0 && seconds <= TIMEOUT_S_MAX) return seconds;
  throw new InvalidArgumentError(`accepted: seconds, more than 0 and at most ${TIMEOUT_S_MAX}.`);
}

/** A time such as `90`, `45s`, `10m` or `2h`, in seconds. @throws InvalidArgumentError that says what is accepted. */
export function parseDuration(text: string): number {
  const parts = /^(\d{1,6})(s|m|h)?$/.exec(text);
  const factor = { s: 1, m: 60, h: 3600 }[parts?.[2] ?? 's'] ?? 1;
  const seconds = Number(parts?.[1] ?? 0) * factor;
  if (seconds >= 1 && seconds <= DURATION_S_MAX) return seconds;
  throw new InvalidArgumentError('accepted: a time such as 45s, 10m or 2h, at most 24h.');
}

/** A table number. @throws InvalidArgumentError that says what is accepted. */
export function parseTable(text: string): number {
  const table = /^\d+$/.test(text) ? Number(text) : Infinity;
  if (table <= TABLE_MAX) return table;
  throw new InvalidArgumentError(`accepted: a table number, 0..${TABLE_MAX}.`);
}

/** The name of a rule or of an entry. @throws InvalidArgumentError that says what is accepted. */
export function parseRule(text: string): string {
  if (/^[^/]+\/[^/]+(\/[^/]+)?$/.test(text)) return text;
  throw new InvalidArgumentError('accepted: NAMESPACE/NAME or NAMESPACE/NAME/RULE.');
}
