/**
 * OFPT_HELLO and the negotiation of a version (OpenFlow 1.3.5 sections 6.3.1 and 7.5.1).
 */
import { Buffer } from 'node:buffer';
import { ConnectionError } from '../base/error.ts';
import { encodeMessage } from './header.ts';
import { OFP_HEADER_SIZE, OFP_VERSION, OFPT } from './ofp13.ts';

const OFPHET_VERSIONBITMAP = 1;
const ELEMENT_HEADER_SIZE = 4;
const BITMAP_BITS = 32;
/** Names of versions by their number on the wire. */
const VERSION_NAMES: ReadonlyMap<number, string> = new Map([
  [1, '1.0'],
  [2, '1.1'],
  [3, '1.2'],
  [4, '1.3'],
  [5, '1.4'],
  [6, '1.5'],
]);

/** Our HELLO: OpenFlow 1.3 and nothing else. */
export function encodeHello(xid: number): Buffer {
  const element = Buffer.alloc(ELEMENT_HEADER_SIZE + 4);
  element.writeUInt16BE(OFPHET_VERSIONBITMAP, 0);
  element.writeUInt16BE(element.length, 2);
  element.writeUInt32BE(1 << OFP_VERSION, ELEMENT_HEADER_SIZE);
  return encodeMessage(OFPT.HELLO, xid, element);
}

/** The versions that a HELLO offers: those of its bitmap, or all up to the one in its header. */
export function offeredVersions(hello: Buffer): number[] {
  let at = OFP_HEADER_SIZE;
  while (at + ELEMENT_HEADER_SIZE <= hello.length) {
    const type = hello.readUInt16BE(at);
    const length = hello.readUInt16BE(at + 2);
    if (length < ELEMENT_HEADER_SIZE || at + length > hello.length) break;
    if (type === OFPHET_VERSIONBITMAP && length >= ELEMENT_HEADER_SIZE + 4) {
      const bits = hello.readUInt32BE(at + ELEMENT_HEADER_SIZE);
      return Array.from({ length: BITMAP_BITS }, (_, bit) => bit).filter(
        (bit) => ((bits >>> bit) & 1) === 1,
      );
    }
    at += (length + 7) & ~7;
  }
  const highest = Math.min(hello.readUInt8(0), BITMAP_BITS - 1);
  return Array.from({ length: highest }, (_, index) => index + 1);
}

/**
 * Checks that the switch speaks OpenFlow 1.3.
 * @throws ConnectionError `CONN_VERSION` that names what both sides speak and how to change it.
 */
export function checkHello(hello: Buffer, endpoint: string): void {
  const versions = offeredVersions(hello);
  if (!versions.includes(OFP_VERSION)) throw versionError(versions, endpoint);
}

/**
 * The error for a switch with which we have no version in common. `versions` are the switch's, as far as they are known;
 * `cause` is its own error.
 */
export function versionError(
  versions: readonly number[],
  endpoint: string,
  cause?: unknown,
): ConnectionError {
  const names = versions.map(
    (version) => VERSION_NAMES.get(version) ?? `0x${version.toString(16)}`,
  );
  return new ConnectionError(
    'CONN_VERSION',
    `switch speaks OpenFlow ${names.join(', ') || 'of another version'}, we speak 1.3 only: set protocols=OpenFlow13 on the bridge, or add OpenFlow13 to the list`,
    { op: 'openflow.hello', endpoint, details: { versions }, cause },
  );
}
