/**
 * JSON values as OVSDB uses them (RFC 7047 section 3.1) and the checks that a decoder makes before it reads one. Objects
 * come from the peer: read them by key, never copy them with Object.assign (`__proto__` is an ordinary key of JSON).
 */
import { DecodeError } from '../base/error.ts';

/** Any JSON value. Integers beyond 2^53 lose their last bits: no column that the agent reads holds any. */
export type Json = string | number | boolean | null | readonly Json[] | JsonObject;

/** A JSON object. */
export interface JsonObject {
  readonly [key: string]: Json | undefined;
}

/** True for objects, not for arrays and null. */
export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !isJsonArray(value);
}

/** Array.isArray that keeps the element type. */
export function isJsonArray(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

/** The error for a value that is valid JSON but not what the protocol has at this place. */
export function badValue(op: string, message: string): DecodeError {
  return new DecodeError('DECODE_BAD_VALUE', message, { protocol: 'ovsdb', op, offset: 0 });
}

/**
 * `value` as an object.
 * @throws DecodeError when it is none.
 */
export function expectObject(value: Json | undefined, op: string, what: string): JsonObject {
  if (!isJsonObject(value)) throw badValue(op, `${what} is not an object`);
  return value;
}

/**
 * `value` as an array.
 * @throws DecodeError when it is none.
 */
export function expectArray(value: Json | undefined, op: string, what: string): readonly Json[] {
  if (!isJsonArray(value)) throw badValue(op, `${what} is not an array`);
  return value;
}
