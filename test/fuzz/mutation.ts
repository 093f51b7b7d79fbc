/**
 * Hostile inputs made from sound ones, by a generator that a seed repeats: bytes that lie about lengths, texts that are cut,
 * JSON of the right shape with the wrong things in it. Knows no protocol.
 */
import { Buffer } from 'node:buffer';
import { isJsonArray, isJsonObject, type Json } from '../../src/ovsdb/json-value.ts';

/** Numbers that follow from a seed (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** An integer from 0 to `below` - 1. */
  below(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000) * below);
  }

  /** One of a list that is not empty. */
  of<T>(list: readonly T[]): T {
    const chosen = list[this.below(list.length)];
    if (chosen === undefined) throw new Error('nothing to choose from');
    return chosen;
  }
}

/** Bytes that mean something in lengths, counts, classes and flags. */
const EDGES = [0, 1, 2, 3, 4, 7, 8, 9, 0x10, 0x18, 0x7f, 0x80, 0xfe, 0xff];

type Edit = (bytes: Buffer, random: Random, samples: readonly Buffer[]) => Buffer;

/** Replaces `taken` bytes at a place by `put`. */
function splice(bytes: Buffer, at: number, taken: number, put: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + taken)]);
}

const EDITS: readonly Edit[] = [
  (bytes, random) => {
    bytes[random.below(bytes.length)] = random.below(256);
    return bytes;
  },
  (bytes, random) => {
    bytes[random.below(bytes.length)] = random.of(EDGES);
    return bytes;
  },
  (bytes, random) => {
    const at = random.below(bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
    return bytes;
  },
  // Two bytes on an even place: where lengths stand.
  (bytes, random) => {
    const at = random.below(bytes.length) & ~1;
    bytes.set([random.of([0, 0, 0xff]), random.of(EDGES)].slice(0, bytes.length - at), at);
    return bytes;
  },
  (bytes, random) => bytes.subarray(0, random.below(bytes.length + 1)),
  (bytes, random) => {
    const at = random.below(bytes.length);
    return splice(bytes, at, 1 + random.below(16), Buffer.alloc(0));
  },
  (bytes, random) => {
    const at = random.below(bytes.length + 1);
    return splice(bytes, at, 0, Buffer.alloc(1 + random.below(16), random.of(EDGES)));
  },
  // A piece of another sample, or of this one again.
  (bytes, random, samples) => {
    const other = random.of(samples);
    const from = random.below(other.length + 1);
    const piece = other.subarray(from, from + 1 + random.below(64));
    return splice(bytes, random.below(bytes.length + 1), random.below(piece.length + 1), piece);
  },
];

/** A sample with one to four edits, or now and then bytes without any order. */
export function mutateBytes(samples: readonly Buffer[], random: Random): Buffer {
  if (random.below(50) === 0) {
    return Buffer.from(Array.from({ length: random.below(200) }, () => random.below(256)));
  }
  let bytes: Buffer = Buffer.from(random.of(samples));
  for (let edit = random.below(4); edit >= 0 && bytes.length > 0; edit--) {
    bytes = random.of(EDITS)(bytes, random, samples);
  }
  return bytes;
}

/** What no decoder expects everywhere. */
const WRONG: readonly Json[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e308,
  2 ** 53,
  '',
  'unlimited',
  '\u0000',
  [],
  [[]],
  {},
  ['set'],
  ['set', 0],
  ['set', [['set', []]]],
  ['map', [[]]],
  ['map', [['k', 'v', 'w']]],
  ['map', [[['map', []], 0]]],
  ['uuid', ''],
  ['uuid', '00000000-0000-0000-0000-00000000000a'],
  ['named-uuid', 'row0'],
  JSON.parse('{"__proto__":{"polluted":1}}') as Json,
  { constructor: {}, toString: null },
];

/** One place of a value edited: the deeper it goes, the more of the value stays sound. */
function editJson(value: Json, random: Random, donor: Json): Json {
  const keys = isJsonArray(value) || isJsonObject(value) ? Object.keys(value) : [];
  if (keys.length === 0 || random.below(12) === 0) {
    return random.below(8) === 0 ? donor : random.of(WRONG);
  }
  const key = random.of(keys);
  const action = random.below(12);
  if (isJsonArray(value)) {
    const at = Number(key);
    const own = value[at] ?? null;
    if (action === 0) return value.toSpliced(at, 1);
    if (action === 1) return value.toSpliced(at, 0, own);
    return value.with(at, editJson(own, random, donor));
  }
  if (!isJsonObject(value)) return value;
  const own = value[key] ?? null;
  const others = Object.entries(value).filter(([name]) => name !== key);
  if (action === 0) return Object.fromEntries(others);
  const name = action === 1 ? random.of(['__proto__', '', 'name', 'delete', 'error']) : key;
  return Object.fromEntries([...others, [name, editJson(own, random, donor)]]);
}

/** A sample with one to three places edited. */
export function mutateJson(samples: readonly Json[], random: Random): Json {
  let value = random.of(samples);
  for (let edit = random.below(3); edit >= 0; edit--) {
    value = editJson(value, random, random.of(samples));
  }
  return value;
}

/** Bytes in chunks of any size. */
export function anyCut(bytes: Buffer, random: Random): Buffer[] {
  const chunks: Buffer[] = [];
  const most = random.of([1, 3, 20, 400]);
  for (let at = 0; at < bytes.length;) {
    const size = 1 + random.below(most);
    // A copy each: a chunk that is reused by its owner must not show.
    chunks.push(Buffer.from(bytes.subarray(at, at + size)));
    at += size;
  }
  return chunks;
}
