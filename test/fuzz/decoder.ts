/**
 * What the fuzz test knows of a decoder, and the two shapes that decoders have: one that is given bytes, one that is given
 * a JSON value. The decoders themselves are listed by protocol, beside this file.
 */
import { Buffer } from 'node:buffer';
import { isBaseError } from '../../src/base/error.ts';
import type { Json } from '../../src/ovsdb/json-value.ts';
import { mutateBytes, mutateJson, Random } from './mutation.ts';

/** One decoder under attack. */
export interface FuzzedDecoder {
  readonly name: string;
  /** The hostile input that follows from a seed: bytes, or JSON as text. */
  readonly input: (seed: number) => Buffer;
  /** Decodes an input. Throws what the decoder throws; whatever is no {@link BaseError} is a fault. */
  readonly decode: (input: Buffer) => void;
  /** Inputs that it reads without an error: what hostile ones are made from. */
  readonly samples: readonly Buffer[];
}

/** What a module has that lists decoders. */
export interface DecoderList {
  readonly DECODERS: readonly FuzzedDecoder[];
}

/** A decoder of bytes. */
export function bytesDecoder(
  name: string,
  samples: readonly Buffer[],
  decode: (input: Buffer) => void,
): FuzzedDecoder {
  return {
    name,
    samples,
    decode,
    input: (seed) => mutateBytes(samples, new Random(seed)),
  };
}

/** A decoder of JSON values. */
export function jsonDecoder(
  name: string,
  samples: readonly Json[],
  decode: (input: Json) => void,
): FuzzedDecoder {
  const encode = (value: Json): Buffer => Buffer.from(JSON.stringify(value));
  return {
    name,
    samples: samples.map(encode),
    decode: (input) => decode(JSON.parse(input.toString()) as Json),
    input: (seed) => encode(mutateJson(samples, new Random(seed))),
  };
}

/** What `read` gives or throws, as text: two ways to read the same must say the same. */
export function outcomeOf(read: () => unknown): string {
  try {
    return JSON.stringify(read());
  } catch (error) {
    if (!isBaseError(error)) throw error;
    return error.code;
  }
}
