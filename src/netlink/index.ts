/**
 * Public interface of the netlink client: what the agent and other programs may import.
 */
export { ConnectionError, DecodeError } from '../base/error.ts';
export type { InterfaceAddress } from './address.ts';
export {
  attributesByType,
  decodeAttributes,
  encodeAttribute,
  encodeNested,
  readText,
  readU32,
  type Attribute,
} from './attribute.ts';
export { NetlinkClient, type NetlinkClientOptions } from './client.ts';
export { NetlinkError, type ExtAck, type NetlinkErrorCode } from './errors.ts';
export { IFF, type Link } from './link.ts';
export {
  Answer,
  decodeMessages,
  encodeMessage,
  NLM_F,
  NLMSG,
  type NetlinkMessage,
  type NetlinkRequest,
} from './message.ts';
export type { Route } from './route.ts';
export { NETLINK_ROUTE, NetlinkSocket, type NetlinkSocketOptions } from './socket.ts';
