/**
 * Arguments and values of options: read, or refused with what is accepted.
 */
import { InvalidArgumentError } from 'commander';

const TIMEOUT_S_MAX = 3600;
/** Largest table number: OVS hides table 254, and 255 means all. */
export const TABLE_MAX = 253;

/** A time in seconds. @throws InvalidArgumentError that says what is accepted. */
export function parseSeconds(text: string): number {
  const seconds = /^\d+(\.\d+)?$/.test(text) ? Number(text) : 0;
  if (seconds > 0 && seconds <= TIMEOUT_S_MAX) return seconds;
  throw new InvalidArgumentError(`accepted: seconds, more than 0 and at most ${TIMEOUT_S_MAX}.`);
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
