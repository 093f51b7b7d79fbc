/**
 * Addresses of network devices: the RTM_GETADDR dump request and the RTM_NEWADDR entries that answer it (kernel
 * `include/uapi/linux/if_addr.h` struct ifaddrmsg, IFA_*). Nothing is set, and no device is watched.
 *
 * ```
 *   0          1            2         3          4          8
 *   +----------+------------+---------+----------+----------+------------+
 *   | family:8 | prefixlen:8| flags:8 | scope:8  | index:32 | IFA_* ...  |   flags: low bits of IFA_FLAGS
 *   +----------+------------+---------+----------+----------+------------+
 * ```
 */
import { formatIp, type IpFamily } from '../base/address.ts';
import { DecodeError } from '../base/error.ts';
import { attributesByType, readU32 } from './attribute.ts';
import { NLM_F, type NetlinkMessage, type NetlinkRequest } from './message.ts';

const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;

const IFADDRMSG_SIZE = 8;
const IFA = { ADDRESS: 1, LOCAL: 2, FLAGS: 8 } as const;
/** Linux address families that have a text form here, with the bytes of an address. */
const FAMILIES = new Map<number, { family: IpFamily; sizeBytes: number }>([
  [2, { family: 4, sizeBytes: 4 }],
  [10, { family: 6, sizeBytes: 16 }],
]);
const OP = 'netlink.address';

/** One address of one device. */
export interface InterfaceAddress {
  readonly ifindex: number;
  readonly family: IpFamily;
  /** The device's own address as text; on a point-to-point link not the peer's. */
  readonly address: string;
  /** Length of the subnet's prefix in bits. */
  readonly prefixLength: number;
  /** RT_SCOPE_* number: 0 global, 253 link, 254 host. */
  readonly scope: number;
  /** IFA_F_* bits. */
  readonly flags: number;
}

/** The request that dumps all addresses of both families. */
export function encodeAddressDump(): NetlinkRequest {
  return {
    type: RTM_GETADDR,
    flags: NLM_F.DUMP,
    payload: Buffer.alloc(IFADDRMSG_SIZE),
  };
}

/**
 * Reads one RTM_NEWADDR entry; undefined when it is of a family other than IPv4 and IPv6 (a dump of all families has those).
 * @throws DecodeError when it is malformed, of another type, or has no address.
 */
export function decodeAddress(message: NetlinkMessage): InterfaceAddress | undefined {
  const { payload } = message;
  const where = { protocol: 'netlink', op: OP, offset: 0, bytes: payload };
  if (message.type !== RTM_NEWADDR) {
    throw new DecodeError('DECODE_UNKNOWN_TYPE', `message type ${message.type}`, where);
  }
  if (payload.length < IFADDRMSG_SIZE) {
    throw new DecodeError('DECODE_SHORT', `ifaddrmsg of ${payload.length} bytes`, where);
  }
  const known = FAMILIES.get(payload.readUInt8(0));
  if (known === undefined) return undefined;
  const attributes = attributesByType(payload.subarray(IFADDRMSG_SIZE), OP);
  // IPv6 sends IFA_LOCAL only when there is a peer, and IFA_ADDRESS is then the peer's: same order as iproute2.
  const bytes = attributes.get(IFA.LOCAL) ?? attributes.get(IFA.ADDRESS);
  if (bytes === undefined || bytes.length !== known.sizeBytes) {
    const seen = bytes === undefined ? 'no address' : `an address of ${bytes.length} bytes`;
    throw new DecodeError('DECODE_BAD_VALUE', `${seen} in family ${known.family}`, where);
  }
  const prefixLength = payload.readUInt8(1);
  if (prefixLength > known.sizeBytes * 8) {
    throw new DecodeError('DECODE_BAD_VALUE', `prefix length ${prefixLength}`, where);
  }
  const flags = attributes.get(IFA.FLAGS);
  return {
    ifindex: payload.readUInt32LE(4),
    family: known.family,
    address: formatIp(known.family, BigInt(`0x${bytes.toString('hex')}`)),
    prefixLength,
    scope: payload.readUInt8(3),
    flags: flags === undefined ? payload.readUInt8(2) : readU32(flags, OP),
  };
}
