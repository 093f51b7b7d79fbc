/**
 * Match of a flow: a list of fields to OXM TLVs and back (OpenFlow 1.3.5 section 7.2.3), without the ofp_match header.
 * The encoder writes fields in the order of the switch's own dump, whatever order they are given in, and refuses what the
 * switch would widen, normalize or reject. It does not know which table a match is for.
 */
import { Buffer } from 'node:buffer';
import { OXM_FIELDS, fieldByHeader, fieldByName } from './oxm-fields.ts';
import type { FieldName, OxmField, OxmValue } from './oxm-fields.ts';
import {
  allOnes,
  checkedMask,
  headerAt,
  isAllOnes,
  narrow,
  readOxm,
  refuse,
  writeOxm,
} from './oxm.ts';

/** One field of a match. */
export interface MatchField {
  /** `unknown` comes from decoding only: a field of somebody else's flow that the registry does not have. */
  readonly field: FieldName | 'unknown';
  /** The value: numbers up to 48 bits and bigint beyond after decoding, either before encoding. */
  readonly value: OxmValue;
  /** Bits that count; absent: all. */
  readonly mask?: OxmValue;
  /** The whole TLV of an `unknown` field. */
  readonly oxm?: Uint8Array;
}

/** Fields that all have to hold. Their order means nothing. */
export type Match = readonly MatchField[];

/** Bytes that any match fits into: every field once, masked. */
export const MATCH_SIZE_MAX = OXM_FIELDS.reduce((sum, { sizeBytes }) => sum + 8 + 2 * sizeBytes, 0);

// A prerequisite by rank, so that the check needs no look-up by name.
const PREREQUISITES = OXM_FIELDS.map((field) =>
  field.prerequisites.map((need) => ({ ...need, rank: rankOf(need.field) })),
);

function rankOf(name: FieldName): number {
  return OXM_FIELDS.findIndex((field) => field.name === name);
}

// What has been written of the present match, by rank: the number of the match that a field was last in, and its value.
const writtenIn = new Float64Array(OXM_FIELDS.length);
const writtenValues = new Float64Array(OXM_FIELDS.length);
let matchNumber = 0;

function fieldOf({ field: name }: MatchField): OxmField {
  return fieldByName(name) ?? refuse('MATCH', 'UNKNOWN', { name }, 'no field that can be encoded');
}

/** Refuses a field whose prerequisites the match does not contain exactly. They stand before it in the order of fields. */
function checkPrerequisites(field: OxmField): void {
  for (const need of PREREQUISITES[field.rank] ?? []) {
    if (writtenIn[need.rank] !== matchNumber) {
      if (need.optional) continue;
    } else if (need.values.includes(writtenValues[need.rank] ?? 0)) {
      continue;
    }
    const wanted = need.values.map((value) => `0x${value.toString(16)}`).join(' or ');
    const optional = need.optional ? ' or no' : '';
    refuse('MATCH', 'PREREQUISITE', field, `needs${optional} ${need.field} ${wanted}`);
  }
}

/** A mask of nothing matches everything: the field is no part of the match. */
function isNothing(mask: OxmValue | undefined): boolean {
  return mask === 0 || mask === 0n;
}

/** Checks a field by itself, and returns the mask that the switch writes for it: flag fields always have one. */
function wireMask(
  field: OxmField,
  value: OxmValue,
  mask: OxmValue | undefined,
): OxmValue | undefined {
  if (mask !== undefined && !field.maskable && !isNothing(mask) && !isAllOnes(field, mask)) {
    refuse('MATCH', 'MASK', field, 'can only be matched as a whole');
  }
  const partial = checkedMask(field, value, mask, 'MATCH');
  return field.alwaysMasked ? (mask ?? allOnes(field)) : partial;
}

function writeField(out: Buffer, at: number, field: OxmField, entry: MatchField): number {
  const value = narrow(entry.value);
  const mask = wireMask(field, value, entry.mask);
  if (isNothing(mask)) return at;
  if (field.prerequisites.length > 0) checkPrerequisites(field);
  writtenIn[field.rank] = matchNumber;
  writtenValues[field.rank] = Number(value);
  return writeOxm(out, at, field, value, mask);
}

// The rows of the match's fields, so that each is looked up once. Used only within one call of writeMatch.
const picked: OxmField[] = [];

/** @returns false when the fields do not stand in the order of the registry; then not all of them are picked. */
function pickFields(match: Match): boolean {
  let last = -1;
  for (let index = 0; index < match.length; index++) {
    const entry = match[index];
    if (entry === undefined) break;
    const field = fieldOf(entry);
    if (field.rank <= last) return false;
    last = field.rank;
    picked[index] = field;
  }
  return true;
}

/** The fields in the order of the registry: matches are short, so that inserting is cheaper than sorting. */
function inOrder(match: Match): Match {
  const sorted: MatchField[] = [];
  for (const entry of match) {
    const field = fieldOf(entry);
    if (isNothing(entry.mask)) {
      wireMask(field, entry.value, entry.mask);
      continue;
    }
    let at = sorted.length;
    for (; at > 0; at--) {
      const before = sorted[at - 1];
      if (before === undefined) break;
      if (before.field === entry.field) refuse('MATCH', 'DUPLICATE', field, 'is matched twice');
      if (fieldOf(before).rank < field.rank) break;
      sorted[at] = before;
    }
    sorted[at] = entry;
  }
  return sorted;
}

/**
 * Writes the TLVs of a match at `at` and returns the offset behind them. There must be {@link MATCH_SIZE_MAX} bytes. Fields
 * that stand in the order of the registry are written as they come.
 * @throws OpenFlowError as {@link encodeMatch}.
 */
export function writeMatch(match: Match, out: Buffer, at: number): number {
  let ordered = match;
  if (!pickFields(match)) {
    ordered = inOrder(match);
    pickFields(ordered);
  }
  matchNumber++;
  for (let index = 0; index < ordered.length; index++) {
    const field = picked[index];
    const entry = ordered[index];
    if (field === undefined || entry === undefined) break;
    at = writeField(out, at, field, entry);
  }
  return at;
}

const scratch = Buffer.alloc(MATCH_SIZE_MAX);

/**
 * Encodes a match as OXM TLVs: the same bytes that the switch dumps.
 * @throws OpenFlowError `OFP_MATCH_PREREQUISITE`, `OFP_MATCH_DUPLICATE`, `OFP_MATCH_RANGE`, `OFP_MATCH_MASK` or
 * `OFP_MATCH_UNKNOWN`, naming the field. Nothing is ever widened.
 */
export function encodeMatch(match: Match): Uint8Array {
  const end = writeMatch(match, scratch, 0);
  return Buffer.from(scratch.subarray(0, end));
}

/** `bytes` as a Buffer over the same memory. */
export function bufferOver(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Decodes OXM TLVs. Fields that the registry does not have become `unknown` entries.
 * @throws DecodeError on a length that cannot be.
 */
export function decodeMatch(oxm: Uint8Array): Match {
  const bytes = bufferOver(oxm);
  const match: MatchField[] = [];
  for (let at = 0; at < bytes.length;) {
    const { field, value, mask, end } = readOxm(bytes, at, bytes.length);
    if (field === undefined) {
      match.push({ field: 'unknown', value: 0, oxm: oxm.subarray(at, end) });
    } else if (mask === undefined || isAllOnes(field, mask)) {
      match.push({ field: field.name, value });
    } else {
      match.push({ field: field.name, value, mask });
    }
    at = end;
  }
  return match;
}

/**
 * True when the TLVs stand in the order in which {@link encodeMatch} writes them, and all of them are known. Looks at headers
 * only.
 */
export function isCanonicalOrder(oxm: Uint8Array): boolean {
  let last = -1;
  for (let at = 0; at + 4 <= oxm.length; at += 4 + (oxm[at + 3] ?? 0)) {
    const field = fieldByHeader(headerAt(oxm, at));
    if (field === undefined || field.rank <= last) return false;
    last = field.rank;
  }
  return true;
}
