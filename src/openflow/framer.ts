/**
 * Chunks of a byte stream into whole OpenFlow messages (header of OpenFlow 1.3.5 section 7.1.1). A message that lies in one
 * chunk is not copied. At most one message (64 KiB) and one chunk are held. Says nothing of what a message means.
 */
import { Buffer } from 'node:buffer';
import { DecodeError } from '../base/error.ts';
import { LENGTH_OFFSET } from './header.ts';
import { OFP_HEADER_SIZE } from './ofp13.ts';

/** Cuts a stream into messages. After an error it is of no further use. */
export class Framer {
  #rest: Buffer = Buffer.alloc(0);
  #failed: DecodeError | undefined;

  /**
   * Takes in a chunk and hands every message that is complete to `visit`, in order. A message may share memory with the
   * chunk: whoever keeps it, copies it.
   * @throws DecodeError when a length cannot be right.
   */
  push(chunk: Buffer, visit: (message: Buffer) => void): void {
    if (this.#failed !== undefined) throw this.#failed;
    const data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (data.length - at >= OFP_HEADER_SIZE) {
      const length = data.readUInt16BE(at + LENGTH_OFFSET);
      if (length < OFP_HEADER_SIZE) {
        this.#failed = new DecodeError(
          'DECODE_BAD_LENGTH',
          `message of ${length} bytes is shorter than its header`,
          {
            protocol: 'openflow',
            op: 'openflow.frame',
            offset: at + LENGTH_OFFSET,
            bytes: data,
          },
        );
        throw this.#failed;
      }
      if (data.length - at < length) break;
      visit(data.subarray(at, at + length));
      at += length;
    }
    // A copy: what is left must not keep a whole chunk alive.
    this.#rest = at === data.length ? Buffer.alloc(0) : Buffer.from(data.subarray(at));
  }
}
