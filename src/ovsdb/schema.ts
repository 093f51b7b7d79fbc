/**
 * The database's schema (RFC 7047 section 3.2), as far as reading rows needs it: a column's type says whether a bare atom
 * is a scalar or a set of one, and which value a column has that the server left out because it is the default.
 */
import { badValue, expectObject, isJsonObject, type Json } from './json-value.ts';
import { decodeAtom, decodeMap, decodeSet, type Atom, type Value } from './notation.ts';

const OP = 'ovsdb.get_schema';

/** Type of an atom. */
export type AtomicType = 'integer' | 'real' | 'boolean' | 'string' | 'uuid';

/** Shape of a column's value: one atom, an array (an optional value is an array of none or one), or a Map. */
export type ColumnKind = 'scalar' | 'set' | 'map';

/** One column. */
export interface ColumnSchema {
  readonly name: string;
  readonly kind: ColumnKind;
  /** Type of the elements, or of a map's keys. */
  readonly key: AtomicType;
  /** Type of a map's values. */
  readonly value?: AtomicType;
  /** Fewest elements: 0 or 1. */
  readonly min: number;
  /** Most elements; Infinity for `unlimited`. */
  readonly max: number;
}

/** One table. */
export interface TableSchema {
  readonly name: string;
  readonly columns: ReadonlyMap<string, ColumnSchema>;
  /** False when rows vanish as soon as nothing refers to them. */
  readonly isRoot: boolean;
}

/** One database. */
export interface Schema {
  readonly name: string;
  readonly version: string;
  readonly tables: ReadonlyMap<string, TableSchema>;
}

const ATOMIC_TYPES: readonly AtomicType[] = ['integer', 'real', 'boolean', 'string', 'uuid'];
const ZERO_UUID = '00000000-0000-0000-0000-000000000000';
const DEFAULT_ATOM: Record<AtomicType, Atom> = {
  integer: 0,
  real: 0,
  boolean: false,
  string: '',
  uuid: { uuid: ZERO_UUID },
};

function parseAtomicType(json: Json | undefined): AtomicType {
  const name = isJsonObject(json) ? json['type'] : json;
  const type = ATOMIC_TYPES.find((candidate) => candidate === name);
  if (type === undefined) throw badValue(OP, 'column has an unknown type');
  return type;
}

function parseMax(json: Json | undefined): number {
  if (json === undefined) return 1;
  if (json === 'unlimited') return Infinity;
  if (typeof json === 'number' && json >= 1) return json;
  throw badValue(OP, 'column has a bad max');
}

function parseColumn(name: string, json: Json | undefined): ColumnSchema {
  const { type } = expectObject(json, OP, 'column');
  if (!isJsonObject(type)) {
    return { name, kind: 'scalar', key: parseAtomicType(type), min: 1, max: 1 };
  }
  const key = parseAtomicType(type['key']);
  const min = type['min'] === 0 ? 0 : 1;
  const max = parseMax(type['max']);
  if (type['value'] !== undefined) {
    return { name, kind: 'map', key, value: parseAtomicType(type['value']), min, max };
  }
  return { name, kind: min === 1 && max === 1 ? 'scalar' : 'set', key, min, max };
}

function parseTable(name: string, json: Json | undefined): TableSchema {
  const table = expectObject(json, OP, 'table');
  const columns = new Map<string, ColumnSchema>();
  for (const [column, value] of Object.entries(expectObject(table['columns'], OP, 'columns'))) {
    columns.set(column, parseColumn(column, value));
  }
  return { name, columns, isRoot: table['isRoot'] === true };
}

/**
 * Reads the reply to `get_schema`.
 * @throws DecodeError when it is no schema.
 */
export function parseSchema(json: Json): Schema {
  const { name, version, tables } = expectObject(json, OP, 'schema');
  if (typeof name !== 'string') throw badValue(OP, 'schema has no name');
  const parsed = new Map<string, TableSchema>();
  for (const [table, value] of Object.entries(expectObject(tables, OP, 'tables'))) {
    parsed.set(table, parseTable(table, value));
  }
  return { name, version: typeof version === 'string' ? version : '', tables: parsed };
}

/** Shared by all rows: most columns of most rows hold their default. */
const EMPTY_SET: readonly Atom[] = [];
const EMPTY_MAP: ReadonlyMap<Atom, Atom> = new Map();

/** What the column holds when nothing was written to it. */
export function defaultValue(column: ColumnSchema): Value {
  if (column.kind === 'map') return EMPTY_MAP;
  if (column.min === 0) return EMPTY_SET;
  const atom = DEFAULT_ATOM[column.key];
  return column.kind === 'set' ? [atom] : atom;
}

function hasType(atom: Atom, type: AtomicType | undefined): boolean {
  switch (type) {
    case 'integer':
      return Number.isInteger(atom);
    case 'real':
      return typeof atom === 'number';
    case 'boolean':
      return typeof atom === 'boolean';
    case 'string':
      return typeof atom === 'string';
    case 'uuid':
      return typeof atom === 'object';
    case undefined:
      return false;
  }
}

/**
 * Reads a value in the shape that {@link ColumnSchema.kind} names, so that readers need not look at it first.
 * @throws DecodeError when the value has another type.
 */
export function decodeColumn(column: ColumnSchema, json: Json | undefined): Value {
  const check = (atom: Atom, type: AtomicType | undefined): void => {
    if (!hasType(atom, type)) {
      throw badValue('ovsdb.decode', `column ${column.name} holds a value that is not ${type}`);
    }
  };
  switch (column.kind) {
    case 'scalar': {
      const atom = decodeAtom(json);
      check(atom, column.key);
      return atom;
    }
    case 'set': {
      const set = decodeSet(json);
      for (const atom of set) check(atom, column.key);
      return set;
    }
    case 'map': {
      const map = decodeMap(json);
      for (const [key, value] of map) {
        check(key, column.key);
        check(value, column.value);
      }
      return map;
    }
  }
}
