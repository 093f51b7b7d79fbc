/**
 * Values of columns: between the notation of RFC 7047 section 5.1 (`["uuid", x]`, `["set", [...]]`, `["map", [...]]`) and
 * plain TypeScript. A set of one element is the bare element on the wire: only a schema can tell it from a scalar
 * (schema.ts does), so {@link decodeValue} leaves it bare.
 */
import { badValue, isJsonArray, type Json } from './json-value.ts';

/** Reference to a row. */
export interface Uuid {
  readonly uuid: string;
}

/** Reference to a row that an insert of the same transaction makes. */
export interface NamedUuid {
  readonly namedUuid: string;
}

/** One element of a column as it is read. */
export type Atom = string | number | boolean | Uuid;
/** A column's value as it is read: one atom, a set, or a map. */
export type Value = Atom | readonly Atom[] | ReadonlyMap<Atom, Atom>;
/** One element of a column as it is written. */
export type AtomInput = Atom | NamedUuid;
/** A column's value as it is written. */
export type ValueInput = AtomInput | readonly AtomInput[] | ReadonlyMap<AtomInput, AtomInput>;

const OP = 'ovsdb.decode';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

function isUuidText(text: string): boolean {
  return UUID.test(text);
}

/** Primitive that is equal exactly for equal atoms of one column. */
export function atomKey(atom: Atom): string | number | boolean {
  return typeof atom === 'object' ? atom.uuid : atom;
}

function encodeAtom(atom: AtomInput): Json {
  if (typeof atom !== 'object') return atom;
  return 'uuid' in atom ? ['uuid', atom.uuid] : ['named-uuid', atom.namedUuid];
}

function isMap(value: ValueInput): value is ReadonlyMap<AtomInput, AtomInput> {
  return value instanceof Map;
}

function isSet(value: ValueInput): value is readonly AtomInput[] {
  return Array.isArray(value);
}

/** `value` in the notation of RFC 7047. */
export function encodeValue(value: ValueInput): Json {
  if (isMap(value)) {
    return ['map', [...value].map(([key, item]) => [encodeAtom(key), encodeAtom(item)])];
  }
  if (isSet(value)) return ['set', value.map(encodeAtom)];
  return encodeAtom(value);
}

/**
 * Reads one atom.
 * @throws DecodeError when it is none.
 */
export function decodeAtom(json: Json | undefined): Atom {
  if (typeof json === 'string' || typeof json === 'number' || typeof json === 'boolean')
    return json;
  if (isJsonArray(json) && json.length === 2 && json[0] === 'uuid') {
    const text = json[1];
    if (typeof text === 'string' && isUuidText(text)) return { uuid: text };
  }
  throw badValue(OP, 'column has no valid atom');
}

function isTagged(json: Json | undefined, tag: string): json is readonly [string, readonly Json[]] {
  return isJsonArray(json) && json.length === 2 && json[0] === tag && isJsonArray(json[1]);
}

/**
 * Reads a set: `["set", [...]]` or the bare element.
 * @throws DecodeError when it is neither.
 */
export function decodeSet(json: Json | undefined): readonly Atom[] {
  return isTagged(json, 'set') ? json[1].map(decodeAtom) : [decodeAtom(json)];
}

/**
 * Reads `["map", [[key, value], ...]]`.
 * @throws DecodeError when it is none.
 */
export function decodeMap(json: Json | undefined): ReadonlyMap<Atom, Atom> {
  if (!isTagged(json, 'map')) throw badValue(OP, 'column has no valid map');
  const map = new Map<Atom, Atom>();
  for (const pair of json[1]) {
    if (!isJsonArray(pair) || pair.length !== 2)
      throw badValue(OP, 'map has an entry that is no pair');
    map.set(decodeAtom(pair[0]), decodeAtom(pair[1]));
  }
  return map;
}

/**
 * Reads a value without a schema: sets of other than one element become arrays, maps Maps.
 * @throws DecodeError when it is no value.
 */
export function decodeValue(json: Json | undefined): Value {
  if (isTagged(json, 'set')) return decodeSet(json);
  return isTagged(json, 'map') ? decodeMap(json) : decodeAtom(json);
}

/**
 * The name of a lock as the server takes it: an `<id>` of RFC 7047 section 3.1. Such a name stays as it is; in any other,
 * each byte outside `[A-Za-z0-9]` becomes `_` and two hexadecimal digits: `dpu-agent/br-int` is `dpu_2dagent_2fbr_2dint`.
 */
export function encodeLockName(name: string): string {
  if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return name;
  const escape = (byte: number): string => `_${byte.toString(16).padStart(2, '0')}`;
  const id = Array.from(Buffer.from(name), (byte) => {
    const character = String.fromCharCode(byte);
    return /[A-Za-z0-9]/.test(character) ? character : escape(byte);
  }).join('');
  return /^[A-Za-z_]/.test(id) ? id : `_${id}`;
}
