/**
 * Multipart requests and replies (OpenFlow 1.3.5 section 7.3.5). Parts are handed on as they come: a dump of any size
 * needs no more memory than its largest part.
 *
 * ```
 *  0        8      10      12     16
 * +--------+------+-------+------+---------+
 * | header | type | flags | pad  | body ...|   flags bit 0: more parts follow
 * +--------+------+-------+------+---------+
 * ```
 */
import { Buffer } from 'node:buffer';
import { DecodeError } from '../base/error.ts';
import { OFP_HEADER_SIZE, OFPMPF_REPLY_MORE } from './ofp13.ts';

const MULTIPART_HEADER_SIZE = 8;
/** More than any dump that OVS can make: a million flows of a kilobyte each. */
const REPLY_BYTES_MAX = 1024 * 1024 * 1024;
const BODY_OFFSET = OFP_HEADER_SIZE + MULTIPART_HEADER_SIZE;

/** One part of a reply. */
export interface MultipartPart {
  readonly type: number;
  readonly more: boolean;
  /** Shares memory with the message. */
  readonly body: Buffer;
}

/** What follows the OpenFlow header in a multipart request. */
export function encodeMultipart(type: number, body: Uint8Array): Buffer {
  const out = Buffer.alloc(MULTIPART_HEADER_SIZE + body.length);
  out.writeUInt16BE(type, 0);
  out.set(body, MULTIPART_HEADER_SIZE);
  return out;
}

/**
 * Reads a whole multipart reply message.
 * @throws DecodeError when it is too short.
 */
export function decodeMultipart(message: Buffer): MultipartPart {
  if (message.length < BODY_OFFSET) {
    throw new DecodeError('DECODE_SHORT', `multipart reply of ${message.length} bytes`, {
      protocol: 'openflow',
      op: 'openflow.multipart',
      offset: message.length,
      bytes: message,
    });
  }
  return {
    type: message.readUInt16BE(OFP_HEADER_SIZE),
    more: (message.readUInt16BE(OFP_HEADER_SIZE + 2) & OFPMPF_REPLY_MORE) !== 0,
    body: message.subarray(BODY_OFFSET),
  };
}

/** Follows one request's reply through its parts. */
export class MultipartReply {
  readonly #type: number;
  readonly #onPart: (body: Buffer) => void;
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(type: number, onPart: (body: Buffer) => void, bytesMax = REPLY_BYTES_MAX) {
    this.#type = type;
    this.#onPart = onPart;
    this.#bytesMax = bytesMax;
  }

  /**
   * Takes in a whole message and hands its body on.
   * @returns true when it was the last part.
   * @throws DecodeError when it is a part of another kind of reply, or the reply does not end.
   */
  receive(message: Buffer): boolean {
    const { type, more, body } = decodeMultipart(message);
    // The header counts too: empty parts without end must end.
    this.#bytes += message.length;
    if (type !== this.#type) {
      throw this.#error('DECODE_UNKNOWN_TYPE', `part of type ${type}, asked for ${this.#type}`);
    }
    if (this.#bytes > this.#bytesMax) {
      throw this.#error('DECODE_TOO_LARGE', `reply is longer than ${this.#bytesMax} bytes`);
    }
    this.#onPart(body);
    return !more;
  }

  #error(code: 'DECODE_UNKNOWN_TYPE' | 'DECODE_TOO_LARGE', message: string): DecodeError {
    const where = { protocol: 'openflow', op: 'openflow.multipart', offset: OFP_HEADER_SIZE };
    return new DecodeError(code, message, where);
  }
}
