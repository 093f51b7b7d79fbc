/**
 * What the switch says of itself: OFPT_FEATURES_REPLY (OpenFlow 1.3.5 section 7.3.1) and the switch configuration (7.3.2).
 */
import { Buffer } from 'node:buffer';
import { Parser } from 'binary-parser';
import { DecodeError } from '../base/error.ts';

/** Features of a switch. */
export interface SwitchFeatures {
  /** 64 bits. */
  readonly datapathId: bigint;
  readonly nBuffers: number;
  readonly nTables: number;
  readonly auxiliaryId: number;
  /** OFPC_* bits. */
  readonly capabilities: number;
}

/** How the switch treats fragments, and how much of a packet it sends up. */
export interface SwitchConfig {
  /** OFPC_FRAG_* value. */
  readonly flags: number;
  /** Bytes. */
  readonly missSendLen: number;
}

const FEATURES_BODY_SIZE = 24;
const CONFIG_BODY_SIZE = 4;

const featuresParser = new Parser()
  .endianness('big')
  .uint64('datapathId')
  .uint32('nBuffers')
  .uint8('nTables')
  .uint8('auxiliaryId')
  .seek(2)
  .uint32('capabilities')
  .seek(4);
const configParser = new Parser().endianness('big').uint16('flags').uint16('missSendLen');

function checkSize(body: Buffer, size: number, op: string): void {
  if (body.length >= size) return;
  throw new DecodeError('DECODE_SHORT', `${body.length} bytes, needs ${size}`, {
    protocol: 'openflow',
    op,
    offset: body.length,
    bytes: body,
  });
}

/**
 * Reads the body of a features reply.
 * @throws DecodeError when it is too short.
 */
export function decodeFeatures(body: Buffer): SwitchFeatures {
  checkSize(body, FEATURES_BODY_SIZE, 'openflow.features');
  return featuresParser.parse(body) as SwitchFeatures;
}

/**
 * Reads the body of a configuration reply.
 * @throws DecodeError when it is too short.
 */
export function decodeSwitchConfig(body: Buffer): SwitchConfig {
  checkSize(body, CONFIG_BODY_SIZE, 'openflow.get-config');
  return configParser.parse(body) as SwitchConfig;
}

/** Body of OFPT_SET_CONFIG. */
export function encodeSwitchConfig({ flags, missSendLen }: SwitchConfig): Buffer {
  const body = Buffer.alloc(CONFIG_BODY_SIZE);
  body.writeUInt16BE(flags, 0);
  body.writeUInt16BE(missSendLen, 2);
  return body;
}
