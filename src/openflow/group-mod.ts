/**
 * Groups: OFPT_GROUP_MOD, and the entries of an OFPMP_GROUP_DESC reply (OpenFlow 1.3.5 sections 7.3.4.3 and 7.3.5.10). Both
 * carry buckets in the same form, so that the bytes of a desired group can be compared with the switch's.
 *
 * ```
 *  0      2      4          8           12  16
 * +------+------+----------+-----------+---+---------+
 * |length|weight|watch_port|watch_group|pad| actions |      one bucket
 * +------+------+----------+-----------+---+---------+
 * ```
 */
import { Buffer } from 'node:buffer';
import { DecodeError } from '../base/error.ts';
import { ACTION_OVERRUN, writeActions } from './action.ts';
import type { Action } from './action.ts';
import { OpenFlowError } from './errors.ts';
import { bufferOver } from './match.ts';
import { OFPG, OFPGC, OFPGT, OFPP, OFPT, OFP_MESSAGE_MAX, OFP_VERSION } from './ofp13.ts';

/** Size in bytes of a bucket before its actions. */
export const BUCKET_HEADER_SIZE = 16;
const GROUP_MOD_SIZE = 16;
const GROUP_DESC_SIZE = 8;

/** One bucket of a group. */
export interface Bucket {
  readonly actions: readonly Action[];
  /** Port whose liveness decides whether the bucket is used; a fast-failover group needs one per bucket. */
  readonly watchPort?: number;
  /** Share of a select group's packets; default 1 there and 0 elsewhere. */
  readonly weight?: number;
}

/** What a group does with its buckets: all of them, one by hash, the only one, or the first that is alive. */
export type GroupType = 'all' | 'select' | 'indirect' | 'ff';

/** A group before encoding. */
export interface GroupSpec {
  readonly groupId: number;
  readonly type: GroupType;
  readonly buckets: readonly Bucket[];
}

/** A group as bytes. */
export interface EncodedGroup {
  readonly groupId: number;
  /** OFPGT_*. */
  readonly type: number;
  /** The buckets, as the switch describes them: a view into `message`. */
  readonly buckets: Uint8Array;
  /** Complete OFPT_GROUP_MOD with command ADD and xid 0. */
  readonly message: Uint8Array;
}

/** A group as the switch describes it. */
export interface GroupDesc {
  readonly groupId: number;
  /** OFPGT_*. */
  readonly type: number;
  /** A view into the message. */
  readonly buckets: Uint8Array;
}

const TYPES: Readonly<Record<GroupType, number>> = {
  all: OFPGT.ALL,
  select: OFPGT.SELECT,
  indirect: OFPGT.INDIRECT,
  ff: OFPGT.FF,
};

const scratch = Buffer.alloc(OFP_MESSAGE_MAX + ACTION_OVERRUN);

function refuse(code: string, message: string): never {
  throw new OpenFlowError(message, { code, op: 'openflow.encodeGroup', retryable: false });
}

function checkNumber(what: string, value: number, max: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= max) return value;
  return refuse('OFP_GROUP_RANGE', `${what} ${value} is not 0..${max}`);
}

function writeHead(out: Buffer, size: number, command: number, type: number, id: number): void {
  out.writeUInt32BE(((OFP_VERSION << 24) | (OFPT.GROUP_MOD << 16) | size) >>> 0, 0);
  out.writeUInt32BE(0, 4);
  out.writeUInt32BE(command * 0x10000 + type * 0x100, 8);
  out.writeUInt32BE(id, 12);
}

function writeBucket(out: Buffer, at: number, bucket: Bucket, type: GroupType): number {
  const end = writeActions(out, at + BUCKET_HEADER_SIZE, bucket.actions);
  const weight = checkNumber('weight', bucket.weight ?? (type === 'select' ? 1 : 0), 0xffff);
  if (type === 'ff' && bucket.watchPort === undefined) {
    refuse('OFP_GROUP_WATCH_PORT', 'a bucket of a fast-failover group needs a watch_port');
  }
  out.writeUInt16BE(end - at, at);
  out.writeUInt16BE(weight, at + 2);
  const port = checkNumber('watch_port', bucket.watchPort ?? OFPP.ANY, OFPP.ANY);
  out.writeUInt32BE(port, at + 4);
  out.writeUInt32BE(OFPG.ANY, at + 8);
  out.writeUInt32BE(0, at + 12);
  return end;
}

/**
 * Encodes a group.
 * @throws OpenFlowError `OFP_GROUP_RANGE`, `OFP_GROUP_WATCH_PORT`, `OFP_GROUP_TOO_LONG`, or what `encodeActions` throws.
 */
export function encodeGroup(spec: GroupSpec): EncodedGroup {
  checkNumber('group', spec.groupId, OFPG.MAX);
  let end = GROUP_MOD_SIZE;
  for (const bucket of spec.buckets) {
    end = writeBucket(scratch, end, bucket, spec.type);
    if (end > OFP_MESSAGE_MAX) {
      refuse('OFP_GROUP_TOO_LONG', 'the buckets of a group are longer than a message can be');
    }
  }
  const type = TYPES[spec.type];
  writeHead(scratch, end, OFPGC.ADD, type, spec.groupId);
  const message = Buffer.from(scratch.subarray(0, end));
  return { groupId: spec.groupId, type, message, buckets: message.subarray(GROUP_MOD_SIZE) };
}

/** Encodes the OFPT_GROUP_MOD that gives an existing group this type and these buckets (MODIFY, xid 0). */
export function encodeGroupModify(group: EncodedGroup): Uint8Array {
  const message = Buffer.from(group.message);
  message.writeUInt16BE(OFPGC.MODIFY, 8);
  return message;
}

/** Encodes the OFPT_GROUP_MOD that deletes a group, and with it the flows that use it (DELETE, xid 0). */
export function encodeGroupDelete(groupId: number): Uint8Array {
  const message = Buffer.alloc(GROUP_MOD_SIZE);
  writeHead(message, GROUP_MOD_SIZE, OFPGC.DELETE, OFPGT.ALL, groupId);
  return message;
}

/**
 * Calls `visit` for each group in the body of one OFPMP_GROUP_DESC reply part.
 * @throws DecodeError when an entry is cut short; entries before it have been visited.
 */
export function decodeGroupDesc(body: Uint8Array, visit: (group: GroupDesc) => void): void {
  const bytes = bufferOver(body);
  for (let at = 0; at < bytes.length;) {
    const size = bytes.length - at < GROUP_DESC_SIZE ? 0 : bytes.readUInt16BE(at);
    if (size < GROUP_DESC_SIZE || at + size > bytes.length) {
      throw new DecodeError('DECODE_BAD_LENGTH', 'a group description has a wrong length', {
        protocol: 'openflow',
        op: 'openflow.decodeGroupDesc',
        offset: at,
        bytes,
      });
    }
    visit({
      groupId: bytes.readUInt32BE(at + 4),
      type: bytes.readUInt8(at + 2),
      buckets: body.subarray(at + GROUP_DESC_SIZE, at + size),
    });
    at += size;
  }
}
