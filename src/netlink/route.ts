/**
 * The route that the kernel takes to one address: RTM_GETROUTE without a dump, and the RTM_NEWROUTE that answers it (kernel
 * `include/uapi/linux/rtnetlink.h` struct rtmsg, RTA_*). Nothing is set.
 *
 * ```
 *   0          1          2          3       4         5          6         7        8         12
 *   +----------+----------+----------+-------+---------+----------+---------+--------+---------+------------+
 *   | family:8 |dst_len:8 |src_len:8 | tos:8 | table:8 |protocol:8| scope:8 | type:8 | flags:32| RTA_* ...  |
 *   +----------+----------+----------+-------+---------+----------+---------+--------+---------+------------+
 * ```
 */
import { formatIp, type IpPrefix } from '../base/address.ts';
import { DecodeError } from '../base/error.ts';
import { attributesByType, encodeAttribute, readU32 } from './attribute.ts';
import type { NetlinkMessage, NetlinkRequest } from './message.ts';

const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;
const RTMSG_SIZE = 12;
const RTA = { DST: 1, OIF: 4, GATEWAY: 5 } as const;
const AF = { 4: 2, 6: 10 } as const;
const OP = 'netlink.route';

/** The way to an address. */
export interface Route {
  /** RTN_* number: 1 unicast, 2 local, 6 blackhole. */
  readonly type: number;
  /** ifindex of the device that packets leave by; absent for a route that goes nowhere. */
  readonly ifindex?: number;
  /** Address of the next hop as text; absent on a connected network. */
  readonly gateway?: string;
}

/** The request for the route to one address. */
export function encodeRouteRequest({ family, value }: IpPrefix): NetlinkRequest {
  const head = Buffer.alloc(RTMSG_SIZE);
  const sizeBytes = family === 4 ? 4 : 16;
  head.writeUInt8(AF[family], 0);
  head.writeUInt8(8 * sizeBytes, 1);
  const address = Buffer.from(value.toString(16).padStart(2 * sizeBytes, '0'), 'hex');
  const payload = Buffer.concat([head, encodeAttribute(RTA.DST, address)]);
  return { type: RTM_GETROUTE, flags: 0, payload };
}

/**
 * Reads an RTM_NEWROUTE.
 * @throws DecodeError when it is malformed or of another type.
 */
export function decodeRoute(message: NetlinkMessage): Route {
  const { payload } = message;
  const where = { protocol: 'netlink', op: OP, offset: 0, bytes: payload };
  if (message.type !== RTM_NEWROUTE) {
    throw new DecodeError('DECODE_UNKNOWN_TYPE', `message type ${message.type}`, where);
  }
  if (payload.length < RTMSG_SIZE) {
    throw new DecodeError('DECODE_SHORT', `rtmsg of ${payload.length} bytes`, where);
  }
  const attributes = attributesByType(payload.subarray(RTMSG_SIZE), OP);
  const oif = attributes.get(RTA.OIF);
  const gateway = attributes.get(RTA.GATEWAY);
  return {
    type: payload.readUInt8(7),
    ...(oif === undefined ? {} : { ifindex: readU32(oif, OP) }),
    ...(gateway === undefined ? {} : { gateway: addressText(gateway) }),
  };
}

function addressText(bytes: Buffer): string {
  const family = bytes.length === 4 ? 4 : 6;
  return formatIp(family, BigInt(`0x${bytes.toString('hex') || '0'}`) & ((1n << 128n) - 1n));
}
