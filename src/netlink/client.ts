/**
 * What the kernel knows about the network interfaces of this network namespace, as one call each (rtnetlink(7)). A dump
 * that changed while it was read is asked for again. Reads only.
 */
import { decodeAddress, encodeAddressDump, type InterfaceAddress } from './address.ts';
import type { IpPrefix } from '../base/address.ts';
import { EINTR, NetlinkError } from './errors.ts';
import { decodeLink, encodeLinkDump, type Link } from './link.ts';
import type { NetlinkMessage, NetlinkRequest } from './message.ts';
import { decodeRoute, encodeRouteRequest, type Route } from './route.ts';
import { NETLINK_ROUTE, NetlinkSocket, type NetlinkSocketOptions } from './socket.ts';

/** Dumps in a row that may be interrupted before the call gives up. */
const DUMP_ATTEMPTS = 5;

/** How a client behaves. */
export type NetlinkClientOptions = Pick<NetlinkSocketOptions, 'timeoutMs'>;

/** A client of rtnetlink. Calls may overlap: they are answered in turn. */
export class NetlinkClient {
  readonly #socket: NetlinkSocket;

  private constructor(options: NetlinkClientOptions) {
    this.#socket = new NetlinkSocket({ ...options, family: NETLINK_ROUTE });
  }

  /** Makes a client. The socket itself is opened by the first call, in the network namespace of this process. */
  static open(options: NetlinkClientOptions = {}): NetlinkClient {
    return new NetlinkClient(options);
  }

  /**
   * Every link, in the kernel's order.
   * @throws NetlinkError when the kernel refuses (`NL_EINTR`: links come and go too fast).
   * @throws ConnectionError when the socket cannot be opened, is closed, or brings no answer in time.
   * @throws DecodeError when the answer is no list of links.
   */
  async links(): Promise<Link[]> {
    return (await this.#dump(encodeLinkDump(), 'netlink.links')).map(decodeLink);
  }

  /** Every IPv4 and IPv6 address of every link, in the kernel's order. Throws as {@link links} does. */
  async addresses(): Promise<InterfaceAddress[]> {
    const messages = await this.#dump(encodeAddressDump(), 'netlink.addresses');
    return messages.map(decodeAddress).filter((address) => address !== undefined);
  }

  /**
   * The route that a packet to `address` would take from here; undefined when the answer names none. Throws as {@link links}
   * does; NetlinkError also when there is no route (`NL_ENETUNREACH`).
   */
  async routeTo(address: IpPrefix): Promise<Route | undefined> {
    const { messages } = await this.#socket.request(encodeRouteRequest(address), 'netlink.route');
    const [first] = messages;
    return first === undefined ? undefined : decodeRoute(first);
  }

  /** Frees the socket once the call in flight is answered; those behind it are rejected with `CONN_CLOSED`. */
  close(): Promise<void> {
    return this.#socket.close();
  }

  async #dump(request: NetlinkRequest, op: string): Promise<readonly NetlinkMessage[]> {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const answer = await this.#socket.request(request, op);
      if (!answer.interrupted) return answer.messages;
    }
    throw new NetlinkError({ op, family: NETLINK_ROUTE }, EINTR);
  }
}
