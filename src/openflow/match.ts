/**
 * Match of a flow: a list of fields to OXM TLVs and back (OpenFlow 1.3.5 section 7.2.3), without the ofp_match header.
 * The encoder writes fields in the order of the switch's own dump, whatever order they are given in, and refuses what the
 * switch would widen, normalize or reject. It does not know which table a match is for.
 */
import { Buffer } from 'node:buffer';
import { OXM_FIELDS, fieldByHeader, fieldByName } from './oxm-fields.ts';
import type { FieldName, OxmField, OxmValue } from './oxm-fields.ts';
import { allOnes, checkedMask, headerAt, isAllOnes, readOxm, refuse, writeOxm } from './oxm.ts';

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

// The fields of the match that is being written, in the order of the registry. Used only within one call of writeMatch.
const fields: OxmField[] = [];
const entries: MatchField[] = [];
let count = 0;

// A prerequisite by rank, so that the check needs no look-up by name.
const PREREQUISITES = OXM_FIELDS.map((field) =>
  field.prerequisites.map((need) => ({ ...need, rank: rankOf(need.field) })),
);

function rankOf(name: FieldName): number {
  return OXM_FIELDS.findIndex((field) => field.name === name);
}

function entryOf(rank: number): MatchField | undefined {
  for (let index = 0; index < count; index++) {
    if (fields[index]?.rank === rank) return entries[index];
  }
  return undefined;
}

/** Refuses a field whose prerequisites the match does not contain exactly. */
function checkPrerequisites(field: OxmField): void {
  for (const need of PREREQUISITES[field.rank] ?? []) {
    const entry = entryOf(need.rank);
    if (entry === undefined) {
      if (need.optional) continue;
    } else if (need.values.includes(Number(entry.value))) {
      continue;
    }
    const wanted = need.values.map((value) => `0x${value.toString(16)}`).join(' or ');
    const optional = need.optional ? ' or no' : '';
    refuse('MATCH', 'PREREQUISITE', field, `needs${optional} ${need.field} ${wanted}`);
  }
}

/** Puts a field where it belongs among those picked so far: matches are short, so that is cheaper than sorting. */
function insert(field: OxmField, entry: MatchField): void {
  let at = count;
  for (; at > 0; at--) {
    const before = fields[at - 1];
    const entryBefore = entries[at - 1];
    if (before === undefined || entryBefore === undefined || before.rank < field.rank) break;
    if (before === field) refuse('MATCH', 'DUPLICATE', field, 'is matched twice');
    fields[at] = before;
    entries[at] = entryBefore;
  }
  fields[at] = field;
  entries[at] = entry;
  count++;
}

/** Checks each field by itself and puts all of them in order. */
function pickFields(match: Match): void {
  count = 0;
  for (const entry of match) {
    const field = fieldByName(entry.field);
    if (field === undefined) {
      refuse('MATCH', 'UNKNOWN', { name: entry.field }, 'no field that can be encoded');
    }
    const { mask } = entry;
    const nothing = mask === 0 || mask === 0n;
    if (mask !== undefined && !field.maskable && !nothing && !isAllOnes(field, mask)) {
      refuse('MATCH', 'MASK', field, 'can only be matched as a whole');
    }
    checkedMask(field, entry.value, mask, 'MATCH');
    // A mask of nothing matches everything: the field is no part of the match.
    if (!nothing) insert(field, entry);
  }
}

/** The mask that the switch writes for a field: it always masks the flag fields, whose unused bits it does not keep. */
function wireMask(field: OxmField, mask: OxmValue | undefined): OxmValue | undefined {
  if (field.alwaysMasked) return mask ?? allOnes(field);
  return mask === undefined || isAllOnes(field, mask) ? undefined : mask;
}

/**
 * Writes the TLVs of a match at `at` and returns the offset behind them. There must be {@link MATCH_SIZE_MAX} bytes.
 * @throws OpenFlowError as {@link encodeMatch}.
 */
export function writeMatch(match: Match, out: Buffer, at: number): number {
  pickFields(match);
  for (let index = 0; index < count; index++) {
    const field = fields[index];
    const entry = entries[index];
    if (field === undefined || entry === undefined) break;
    if (field.prerequisites.length > 0) checkPrerequisites(field);
    at = writeOxm(out, at, field, entry.value, wireMask(field, entry.mask));
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
