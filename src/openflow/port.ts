/**
 * Ports of the switch: descriptions (OFPMP_PORT_DESC) and OFPT_PORT_STATUS (OpenFlow 1.3.5 sections 7.2.1, 7.3.5.7 and
 * 7.4.3). The layout is described with binary-parser: one `parse()` per message part.
 */
import type { Buffer } from 'node:buffer';
import { Parser } from 'binary-parser';
import { DecodeError } from '../base/error.ts';
import { OFP_HEADER_SIZE } from './ofp13.ts';

/** A port of the bridge. */
export interface PortDescription {
  /** OpenFlow port number; 0xfffffffe for the bridge's own port. */
  readonly portNo: number;
  /** MAC address as text. */
  readonly hwAddr: string;
  readonly name: string;
  /** OFPPC_* bits. */
  readonly config: number;
  /** OFPPS_* bits; bit 0 is link down. */
  readonly state: number;
}

/** What happened to a port. */
export interface PortStatus {
  readonly reason: 'add' | 'delete' | 'modify';
  readonly port: PortDescription;
}

/** Bytes of ofp_port. */
const PORT_SIZE = 64;
const STATUS_HEADER_SIZE = OFP_HEADER_SIZE + 8;
const REASONS = ['add', 'delete', 'modify'] as const;

interface RawPort {
  readonly portNo: number;
  readonly hwAddr: readonly number[];
  readonly name: string;
  readonly config: number;
  readonly state: number;
}

const portParser = new Parser()
  .endianness('big')
  .uint32('portNo')
  .seek(4)
  .array('hwAddr', { type: 'uint8', length: 6 })
  .seek(2)
  .string('name', { length: 16 })
  .uint32('config')
  .uint32('state')
  .seek(24);
const portsParser = new Parser().array('ports', { type: portParser, readUntil: 'eof' });

function parsePorts(bytes: Buffer, op: string): PortDescription[] {
  if (bytes.length % PORT_SIZE !== 0) {
    const message = `${bytes.length} bytes are no whole number of ports`;
    const where = { protocol: 'openflow', op, offset: 0, bytes };
    throw new DecodeError('DECODE_BAD_LENGTH', message, where);
  }
  if (bytes.length === 0) return [];
  const { ports } = portsParser.parse(bytes) as { ports: RawPort[] };
  return ports.map(({ hwAddr, name, ...port }) => ({
    ...port,
    // It ends at its first NUL; of 16 letters it has none.
    name: name.split('\0', 1)[0] ?? '',
    hwAddr: hwAddr.map((byte) => byte.toString(16).padStart(2, '0')).join(':'),
  }));
}

/**
 * Reads the body of one part of a port-desc reply.
 * @throws DecodeError when it holds no whole number of ports.
 */
export function decodePortDescriptions(body: Buffer): PortDescription[] {
  return parsePorts(body, 'openflow.port-desc');
}

/**
 * Reads a whole OFPT_PORT_STATUS message.
 * @throws DecodeError when it is none.
 */
export function decodePortStatus(message: Buffer): PortStatus {
  const op = 'openflow.port-status';
  const [port] = parsePorts(message.subarray(STATUS_HEADER_SIZE), op);
  const reason =
    REASONS[message.length > OFP_HEADER_SIZE ? message.readUInt8(OFP_HEADER_SIZE) : -1];
  if (port === undefined || reason === undefined) {
    throw new DecodeError(
      'DECODE_BAD_VALUE',
      'port status without a port or with an unknown reason',
      {
        protocol: 'openflow',
        op,
        offset: OFP_HEADER_SIZE,
        bytes: message,
      },
    );
  }
  return { reason, port };
}
