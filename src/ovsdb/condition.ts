/**
 * Conditions that choose rows (RFC 7047 section 5.1, `<condition>`). All conditions of one `where` must hold; none at all
 * chooses every row.
 */
import type { Json } from './json-value.ts';
import { encodeValue, type Uuid, type ValueInput } from './notation.ts';

/** Comparison between a column and a value. */
export type ConditionFunction = '<' | '<=' | '==' | '!=' | '>=' | '>' | 'includes' | 'excludes';

/** One condition in its wire form. */
export type Condition = readonly [column: string, function: ConditionFunction, value: Json];

/** Rows whose `column` stands in the relation `test` to `value`. */
export function when(column: string, test: ConditionFunction, value: ValueInput): Condition {
  return [column, test, encodeValue(value)];
}

/** The row of this UUID. */
export function rowIs(row: Uuid): Condition {
  return when('_uuid', '==', row);
}

/** Every row of the table. */
export const everyRow: readonly Condition[] = [];
