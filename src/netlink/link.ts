/**
 * Network devices: the RTM_GETLINK dump request and the RTM_NEWLINK entries that answer it (kernel
 * `include/uapi/linux/rtnetlink.h` struct ifinfomsg, `if_link.h` IFLA_*). Reads what the agent asks about; nothing is set.
 *
 * ```
 *   0          1     2         4           8         12         16
 *   +----------+-----+---------+-----------+---------+----------+----------------+
 *   | family:8 | pad | type:16 | index:s32 | flags:32| change:32| IFLA_* ...     |
 *   +----------+-----+---------+-----------+---------+----------+----------------+
 * ```
 */
import { DecodeError } from '../base/error.ts';
import { attributesByType, encodeAttribute, readText, readU32 } from './attribute.ts';
import { NLM_F, type NetlinkMessage, type NetlinkRequest } from './message.ts';

const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;

const IFINFOMSG_SIZE = 16;
const IFLA = {
  ...{ ADDRESS: 1, IFNAME: 3, MTU: 4, MASTER: 10, LINKINFO: 18, EXT_MASK: 29 },
  ...{ PHYS_SWITCH_ID: 36, PHYS_PORT_NAME: 38 },
} as const;
const IFLA_INFO = { KIND: 1, DATA: 2 } as const;
const IFLA_VXLAN_ID = 1;
const RTEXT_FILTER_SKIP_STATS = 8;
const OP = 'netlink.link';

/** IFF_* bits of {@link Link.flags} that have a meaning here. */
export const IFF = { UP: 0x1, LOOPBACK: 0x8, RUNNING: 0x40, LOWER_UP: 0x10000 } as const;

/** One network device. */
export interface Link {
  readonly ifindex: number;
  readonly name: string;
  /** Largest layer-3 packet in bytes. */
  readonly mtuBytes: number;
  /** IFF_* bits. */
  readonly flags: number;
  /** Link-layer address in hex with colons; absent when the device has none. */
  readonly address?: string;
  /** ifindex of the bridge, bond or VRF that this device belongs to. */
  readonly master?: number;
  /** Kind of a virtual device, such as `veth`, `bridge`, `vxlan`; absent for a physical one. */
  readonly kind?: string;
  /** VNI of a device of kind `vxlan`; absent when it is 0, as with `external`, or of another kind. */
  readonly vxlanId?: number;
  /** Switch that the port belongs to, in hex: set in switchdev mode, of any length. */
  readonly physSwitchId?: string;
  /** Name of the port in its switch, such as `p0` or `pf0vf1`. */
  readonly physPortName?: string;
}

/** The request that dumps all links, without their counters, which are most of the bytes. */
export function encodeLinkDump(): NetlinkRequest {
  const mask = Buffer.alloc(4);
  mask.writeUInt32LE(RTEXT_FILTER_SKIP_STATS);
  const payload = Buffer.concat([
    Buffer.alloc(IFINFOMSG_SIZE),
    encodeAttribute(IFLA.EXT_MASK, mask),
  ]);
  return { type: RTM_GETLINK, flags: NLM_F.DUMP, payload };
}

/**
 * Reads one RTM_NEWLINK entry.
 * @throws DecodeError when it is malformed, of another type, or lacks a name or an MTU.
 */
export function decodeLink(message: NetlinkMessage): Link {
  const { payload } = message;
  const where = { protocol: 'netlink', op: OP, offset: 0, bytes: payload };
  if (message.type !== RTM_NEWLINK) {
    throw new DecodeError('DECODE_UNKNOWN_TYPE', `message type ${message.type}`, where);
  }
  if (payload.length < IFINFOMSG_SIZE) {
    throw new DecodeError('DECODE_SHORT', `ifinfomsg of ${payload.length} bytes`, where);
  }
  const attributes = attributesByType(payload.subarray(IFINFOMSG_SIZE), OP);
  const name = attributes.get(IFLA.IFNAME);
  const mtu = attributes.get(IFLA.MTU);
  if (name === undefined || mtu === undefined) {
    throw new DecodeError('DECODE_BAD_VALUE', 'a link without IFLA_IFNAME or IFLA_MTU', where);
  }
  const address = attributes.get(IFLA.ADDRESS);
  const master = attributes.get(IFLA.MASTER);
  const info = attributes.get(IFLA.LINKINFO);
  const switchId = attributes.get(IFLA.PHYS_SWITCH_ID);
  const portName = attributes.get(IFLA.PHYS_PORT_NAME);
  return {
    ifindex: payload.readInt32LE(4),
    name: readText(name),
    mtuBytes: readU32(mtu, OP),
    flags: payload.readUInt32LE(8),
    ...(address === undefined || address.length === 0 ? {} : { address: formatHardware(address) }),
    ...(master === undefined ? {} : { master: readU32(master, OP) }),
    ...(info === undefined ? {} : decodeLinkInfo(info)),
    ...(switchId === undefined ? {} : { physSwitchId: switchId.toString('hex') }),
    ...(portName === undefined ? {} : { physPortName: readText(portName) }),
  };
}

function decodeLinkInfo(bytes: Buffer): Pick<Link, 'kind' | 'vxlanId'> {
  const info = attributesByType(bytes, OP);
  const kindBytes = info.get(IFLA_INFO.KIND);
  if (kindBytes === undefined) return {};
  const kind = readText(kindBytes);
  const data = info.get(IFLA_INFO.DATA);
  // IFLA_INFO_DATA is numbered per kind: 1 is the VNI of a vxlan device only.
  if (kind !== 'vxlan' || data === undefined) return { kind };
  const id = attributesByType(data, OP).get(IFLA_VXLAN_ID);
  const vxlanId = id === undefined ? 0 : readU32(id, OP);
  return vxlanId === 0 ? { kind } : { kind, vxlanId };
}

/** Six bytes on Ethernet, four on some tunnels, 20 on InfiniBand: printed as `ip link` prints Ethernet. */
function formatHardware(address: Buffer): string {
  return address.toString('hex').replace(/(..)(?!$)/g, '$1:');
}
