/**
 * Chunks of a byte stream into whole OpenFlow messages (header of OpenFlow 1.3.5 section 7.1.1). A message that lies in one
 * chunk is not copied; of a message that does not, at most its own 64 KiB are held. Says nothing of what a message means.
 */
import { Buffer } from 'node:buffer';
import { DecodeError, type DecodeErrorCode } from '../base/error.ts';
import { LENGTH_OFFSET, TYPE_OFFSET } from './header.ts';
import { OFP_HEADER_SIZE, OFP_VERSION, OFPT } from './ofp13.ts';

/** Cuts a stream into messages. After an error it refuses everything: nobody knows where the next message begins. */
export class Framer {
  /** The message that has begun: room for its header first, for all of it once its length is known. */
  #partial = Buffer.alloc(0);
  #filled = 0;
  #failed: DecodeError | undefined;

  /** Bytes held of a message that is not complete. */
  get heldBytes(): number {
    return this.#filled;
  }

  /**
   * Takes in a chunk and hands every message that is complete to `visit`, in order. A message may share memory with the
   * chunk: whoever keeps it, copies it.
   * @throws DecodeError when a version or a length cannot be right.
   */
  push(chunk: Buffer, visit: (message: Buffer) => void): void {
    if (this.#failed !== undefined) throw this.#failed;
    let at = 0;
    while (at < chunk.length) {
      const left = chunk.length - at;
      const length =
        this.#filled === 0 && left >= OFP_HEADER_SIZE ? this.#checkHeader(chunk, at) : undefined;
      if (length !== undefined && length <= left) {
        visit(chunk.subarray(at, at + length));
        at += length;
      } else {
        at = this.#collect(chunk, at, visit);
      }
    }
  }

  /** Copies what the message in hand still lacks; returns the offset of the first byte that was not used. */
  #collect(chunk: Buffer, at: number, visit: (message: Buffer) => void): number {
    if (this.#filled === 0) this.#partial = Buffer.allocUnsafe(OFP_HEADER_SIZE);
    const taken = chunk.copy(this.#partial, this.#filled, at);
    this.#filled += taken;
    if (this.#filled < this.#partial.length) return at + taken;
    const length = this.#checkHeader(this.#partial, 0);
    if (length === this.#filled) {
      const message = this.#partial;
      this.#filled = 0;
      this.#partial = Buffer.alloc(0);
      visit(message);
    } else {
      const whole = Buffer.allocUnsafe(length);
      this.#partial.copy(whole);
      this.#partial = whole;
    }
    return at + taken;
  }

  /** The length of the message whose header is at `at`. */
  #checkHeader(data: Buffer, at: number): number {
    const version = data.readUInt8(at);
    const type = data.readUInt8(at + TYPE_OFFSET);
    // HELLO comes in the highest version of its sender, and an ERROR to it in whatever that can say [6.3.1].
    if (version !== OFP_VERSION && type !== OFPT.HELLO && type !== OFPT.ERROR) {
      throw this.#fail('DECODE_BAD_VALUE', `message of version ${version}, not 1.3`, data, at);
    }
    const length = data.readUInt16BE(at + LENGTH_OFFSET);
    if (length < OFP_HEADER_SIZE) {
      const message = `message of ${length} bytes is shorter than its header`;
      throw this.#fail('DECODE_BAD_LENGTH', message, data, at + LENGTH_OFFSET);
    }
    return length;
  }

  #fail(code: DecodeErrorCode, message: string, bytes: Buffer, offset: number): DecodeError {
    const where = { protocol: 'openflow', op: 'openflow.frame', offset, bytes };
    this.#failed = new DecodeError(code, message, where);
    return this.#failed;
  }
}
