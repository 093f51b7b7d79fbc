/**
 * Cuts a byte stream into JSON values (RFC 7047 section 4: texts follow each other, nothing separates them). It finds the
 * end of a text by counting braces outside strings, looks at each byte once, and hands each text to JSON.parse once.
 * Numbers, strings and names at the top level are refused: JSON-RPC has none.
 */
import { isUtf8 } from 'node:buffer';
import { DecodeError, type DecodeErrorCode } from '../base/error.ts';
import type { Json } from './json-value.ts';

/** Bounds of one JSON text. */
export interface FramerLimits {
  /** Largest text in bytes. Default 64 MiB: an initial monitor of 100k rows has about 40. */
  readonly maxMessageBytes?: number;
  /** Deepest nesting of objects and arrays. Default 200; OVSDB itself needs about 10. */
  readonly maxDepth?: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
/** Chunks below this many bytes are copied together, so that a peer that sends single bytes costs no object per byte. */
const SMALL_CHUNK_BYTES = 4096;
const BLOCK_BYTES = 16_384;

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** One framer per connection. After it has thrown it refuses everything: what follows has no known start. */
export class JsonFramer {
  readonly #maxMessageBytes: number;
  readonly #maxDepth: number;
  #depth = 0;
  #inString = false;
  #escaped = false;
  #failed = false;
  /** Pieces of the text under way, without the present chunk. */
  #pieces: Buffer[] = [];
  #pendingBytes = 0;
  #block: Buffer | undefined;
  #blockUsed = 0;

  constructor(limits: FramerLimits = {}) {
    this.#maxMessageBytes = limits.maxMessageBytes ?? 64 << 20;
    this.#maxDepth = limits.maxDepth ?? 200;
  }

  /** Bytes held of a text that is not complete yet. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /**
   * Takes the next bytes and returns the values that they complete, in order.
   * @throws DecodeError `DECODE_TOO_LARGE` past a limit, `DECODE_BAD_VALUE` for what is no JSON text. Values that were
   * complete before the fault are given up with the connection.
   */
  push(bytes: Uint8Array): Json[] {
    if (this.#failed) throw this.#error('DECODE_BAD_VALUE', 'the stream is broken', 0, bytes);
    try {
      return this.#scan(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    } catch (thrown) {
      this.#failed = true;
      this.#reset();
      throw thrown;
    }
  }

  #scan(chunk: Buffer): Json[] {
    const values: Json[] = [];
    let depth = this.#depth;
    let inString = this.#inString;
    let escaped = this.#escaped;
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at] ?? 0;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
      } else if (byte === QUOTE && depth > 0) {
        inString = true;
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        if (depth === 0) start = at;
        if (++depth > this.#maxDepth) {
          throw this.#error('DECODE_TOO_LARGE', 'JSON is nested too deep', at, chunk);
        }
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        if (--depth < 0)
          throw this.#error('DECODE_BAD_VALUE', 'closing without opening', at, chunk);
        if (depth === 0) {
          values.push(this.#take(chunk.subarray(start, at + 1)));
          start = at + 1;
        }
      } else if (depth === 0) {
        if (!isSpace(byte)) throw this.#error('DECODE_BAD_VALUE', 'no JSON object', at, chunk);
        start = at + 1;
      }
    }
    this.#depth = depth;
    this.#inString = inString;
    this.#escaped = escaped;
    if (depth > 0) this.#keep(chunk.subarray(start));
    return values;
  }

  /** Parses the pieces and `tail` as one text. */
  #take(tail: Buffer): Json {
    this.#checkSize(tail);
    this.#flushBlock();
    const whole = this.#pieces.length === 0 ? tail : Buffer.concat([...this.#pieces, tail]);
    this.#reset();
    if (!isUtf8(whole)) throw this.#error('DECODE_BAD_VALUE', 'JSON is not UTF-8', 0, whole);
    try {
      return JSON.parse(whole.toString('utf8')) as Json;
    } catch (thrown) {
      throw this.#error('DECODE_BAD_VALUE', 'JSON is malformed', 0, whole, thrown);
    }
  }

  #keep(tail: Buffer): void {
    this.#checkSize(tail);
    this.#pendingBytes += tail.length;
    if (tail.length >= SMALL_CHUNK_BYTES) {
      this.#flushBlock();
      this.#pieces.push(tail);
      return;
    }
    if (this.#block === undefined || this.#blockUsed + tail.length > BLOCK_BYTES) {
      this.#flushBlock();
      this.#block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
    }
    this.#blockUsed += tail.copy(this.#block, this.#blockUsed);
  }

  #flushBlock(): void {
    if (this.#block !== undefined) this.#pieces.push(this.#block.subarray(0, this.#blockUsed));
    this.#block = undefined;
    this.#blockUsed = 0;
  }

  #checkSize(tail: Buffer): void {
    if (this.#pendingBytes + tail.length > this.#maxMessageBytes) {
      throw this.#error('DECODE_TOO_LARGE', 'JSON text is too large', tail.length, tail);
    }
  }

  #reset(): void {
    this.#pieces = [];
    this.#pendingBytes = 0;
    this.#block = undefined;
    this.#blockUsed = 0;
  }

  #error(
    code: DecodeErrorCode,
    message: string,
    offset: number,
    bytes: Uint8Array,
    cause?: unknown,
  ): DecodeError {
    return new DecodeError(code, message, {
      protocol: 'ovsdb',
      op: 'ovsdb.frame',
      offset,
      bytes,
      cause,
    });
  }
}
