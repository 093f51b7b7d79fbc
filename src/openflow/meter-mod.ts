/**
 * Meters: OFPT_METER_MOD, and the entries of OFPMP_METER_CONFIG and OFPMP_METER replies (OpenFlow 1.3.5 sections 7.3.4.4,
 * 7.3.5.12 and 7.3.5.13). One band that drops is all that this product makes; other bands are kept as bytes. Open vSwitch takes
 * no meter_mod in a bundle.
 *
 * ```
 *  0       2      4          8    10   12     16      20   24
 * +-------+------+----------+----+----+------+-------+----+
 * |command|flags | meter_id |type|size| rate | burst | pad|    meter_mod with one band, behind the header
 * +-------+------+----------+----+----+------+-------+----+
 * ```
 * A description in a METER_CONFIG reply is the same with its length in the place of the command.
 */
import { Buffer } from 'node:buffer';
import { DecodeError } from '../base/error.ts';
import { OpenFlowError } from './errors.ts';
import { bufferOver } from './match.ts';
import { OFPM, OFPMBT, OFPMC, OFPMF, OFPT, OFP_VERSION } from './ofp13.ts';

const METER_MOD_SIZE = 16;
const BAND_SIZE = 16;
const METER_CONFIG_SIZE = 8;
const METER_STATS_SIZE = 40;
const BAND_STATS_SIZE = 16;
const TWO_32 = 0x1_0000_0000;

/** A meter before encoding: packets beyond the rate are dropped. */
export interface MeterSpec {
  readonly meterId: number;
  /** Packets, or kilobits, in a second: 1..4294967295. */
  readonly unit: 'pktps' | 'kbps';
  readonly rate: number;
  /** Packets or kilobits that may come at once. */
  readonly burst: number;
}

/** A meter as bytes. */
export interface EncodedMeter {
  readonly meterId: number;
  /** Flags and bands, as the switch describes them too: a view into `message`. */
  readonly flags: number;
  readonly bands: Uint8Array;
  /** Complete OFPT_METER_MOD with command ADD and xid 0. */
  readonly message: Uint8Array;
}

/** A meter as the switch describes it. */
export type MeterDesc = Pick<EncodedMeter, 'meterId' | 'flags' | 'bands'>;

/** What a meter has counted. */
export interface MeterStats {
  readonly meterId: number;
  /** Packets that came to it. Exact up to 2^53. */
  readonly packets: number;
  /** Packets that its first band has dropped. Exact up to 2^53. */
  readonly dropped: number;
}

function check(what: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new OpenFlowError(`${what} ${value} is not ${min}..${max}`, {
    code: 'OFP_METER_RANGE',
    op: 'openflow.encodeMeter',
    retryable: false,
  });
}

function writeHead(out: Buffer, command: number, flags: number, meterId: number): void {
  out.writeUInt32BE(((OFP_VERSION << 24) | (OFPT.METER_MOD << 16) | out.length) >>> 0, 0);
  out.writeUInt16BE(command, 8);
  out.writeUInt16BE(flags, 10);
  out.writeUInt32BE(meterId, 12);
}

/**
 * Encodes a meter.
 * @throws OpenFlowError `OFP_METER_RANGE`.
 */
export function encodeMeter(spec: MeterSpec): EncodedMeter {
  const meterId = check('meter', spec.meterId, 1, OFPM.MAX);
  const flags = OFPMF.BURST | OFPMF.STATS | (spec.unit === 'kbps' ? OFPMF.KBPS : OFPMF.PKTPS);
  const message = Buffer.alloc(METER_MOD_SIZE + BAND_SIZE);
  writeHead(message, OFPMC.ADD, flags, meterId);
  message.writeUInt16BE(OFPMBT.DROP, 16);
  message.writeUInt16BE(BAND_SIZE, 18);
  message.writeUInt32BE(check('rate', spec.rate, 1, 0xffffffff), 20);
  message.writeUInt32BE(check('burst', spec.burst, 1, 0xffffffff), 24);
  return { meterId, flags, bands: message.subarray(METER_MOD_SIZE), message };
}

/** Encodes the OFPT_METER_MOD that gives an existing meter these flags and bands (MODIFY, xid 0). */
export function encodeMeterModify(meter: EncodedMeter): Uint8Array {
  const message = Buffer.from(meter.message);
  message.writeUInt16BE(OFPMC.MODIFY, 8);
  return message;
}

/** Encodes the OFPT_METER_MOD that deletes a meter, and with it the flows whose instruction names it (DELETE, xid 0). */
export function encodeMeterDelete(meterId: number): Uint8Array {
  const message = Buffer.alloc(METER_MOD_SIZE);
  writeHead(message, OFPMC.DELETE, 0, meterId);
  return message;
}

/** Body of an OFPMP_METER or OFPMP_METER_CONFIG request for all meters. */
export function encodeAllMetersRequest(): Uint8Array {
  const body = Buffer.alloc(8);
  body.writeUInt32BE(OFPM.ALL, 0);
  return body;
}

/**
 * Calls `visit` for each meter in the body of one OFPMP_METER_CONFIG reply part.
 * @throws DecodeError when an entry is cut short; entries before it have been visited.
 */
export function decodeMeterConfig(body: Uint8Array, visit: (meter: MeterDesc) => void): void {
  const bytes = bufferOver(body);
  for (let at = 0; at < bytes.length;) {
    const size = bytes.length - at < METER_CONFIG_SIZE ? 0 : bytes.readUInt16BE(at);
    if (size < METER_CONFIG_SIZE || at + size > bytes.length) throw cutShort(bytes, at);
    visit({
      meterId: bytes.readUInt32BE(at + 4),
      flags: bytes.readUInt16BE(at + 2),
      bands: body.subarray(at + METER_CONFIG_SIZE, at + size),
    });
    at += size;
  }
}

/**
 * Calls `visit` for each meter in the body of one OFPMP_METER reply part.
 * @throws DecodeError when an entry is cut short; entries before it have been visited.
 */
export function decodeMeterStats(body: Uint8Array, visit: (stats: MeterStats) => void): void {
  const bytes = bufferOver(body);
  const counter = (at: number): number =>
    bytes.readUInt32BE(at) * TWO_32 + bytes.readUInt32BE(at + 4);
  for (let at = 0; at < bytes.length;) {
    const size = bytes.length - at < METER_STATS_SIZE ? 0 : bytes.readUInt16BE(at + 4);
    if (size < METER_STATS_SIZE || at + size > bytes.length) throw cutShort(bytes, at);
    const hasBand = size >= METER_STATS_SIZE + BAND_STATS_SIZE;
    visit({
      meterId: bytes.readUInt32BE(at),
      packets: counter(at + 16),
      dropped: hasBand ? counter(at + METER_STATS_SIZE) : 0,
    });
    at += size;
  }
}

function cutShort(bytes: Buffer, offset: number): DecodeError {
  return new DecodeError('DECODE_BAD_LENGTH', 'the entry of a meter has a wrong length', {
    protocol: 'openflow',
    op: 'openflow.decodeMeter',
    offset,
    bytes,
  });
}
