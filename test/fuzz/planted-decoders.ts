/**
 * Decoders with the faults that the fuzz test is there to find, to show that it finds them.
 */
import { Buffer } from 'node:buffer';
import { DecodeError } from '../../src/base/error.ts';
import { bytesDecoder, type FuzzedDecoder } from './decoder.ts';

const SAMPLES = [Buffer.alloc(64, 7)];
const kept: unknown[] = [];

/** One of each kind. */
export const DECODERS: readonly FuzzedDecoder[] = [
  bytesDecoder('reads past the end', SAMPLES, (bytes) => void bytes.readUInt32BE(40)),
  bytesDecoder('trusts a count', SAMPLES, (bytes) => {
    for (let at = 0; at < bytes.length; at += bytes[at] ?? 0);
  }),
  bytesDecoder('keeps buffers', SAMPLES, () => void kept.push(Buffer.alloc(1 << 18, 1))),
  bytesDecoder('keeps objects', SAMPLES, (bytes) => {
    kept.push(Array.from({ length: 10_000 }, (_, index) => ({ index, first: bytes[0] })));
  }),
  bytesDecoder('refuses', SAMPLES, (bytes) => {
    const where = { protocol: 'fuzz', op: 'fuzz', offset: 0, bytes };
    throw new DecodeError('DECODE_BAD_VALUE', 'no', where);
  }),
];
