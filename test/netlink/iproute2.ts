/**
 * What `ip -j -d link` and `ip -j addr` print, and our values in the same form, so that a test can compare the two.
 */
import type { InterfaceAddress } from '../../src/netlink/address.ts';
import { IFF, type Link } from '../../src/netlink/link.ts';

/** One entry of iproute2's JSON, as far as it is compared. */
export interface IpEntry {
  readonly ifindex: number;
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly mtu: number;
  readonly address?: string;
  /** Name, not index. */
  readonly master?: string;
  readonly linkinfo?: {
    readonly info_kind?: string;
    readonly info_data?: { readonly id?: number };
  };
  readonly addr_info?: readonly {
    readonly family: string;
    readonly local: string;
    readonly prefixlen: number;
  }[];
}

/** A link in the form that both sides are brought into. */
export interface ShownLink {
  readonly ifindex: number;
  readonly name: string;
  readonly flags: readonly string[];
  readonly mtuBytes: number;
  readonly address: string | undefined;
  readonly master: number | undefined;
  readonly kind: string | undefined;
  readonly vxlanId: number | undefined;
}

/** iproute2 does not print RUNNING where the link runs. */
const COMPARED = Object.entries(IFF).filter(([name]) => name !== 'RUNNING');

/** A decoded link. */
export function shownLink(link: Link): ShownLink {
  return {
    ifindex: link.ifindex,
    name: link.name,
    flags: COMPARED.filter(([, bit]) => (link.flags & bit) !== 0).map(([name]) => name),
    mtuBytes: link.mtuBytes,
    address: link.address,
    master: link.master,
    kind: link.kind,
    vxlanId: link.vxlanId,
  };
}

/** The links that iproute2 printed. */
export function linksOfIp(entries: readonly IpEntry[]): ShownLink[] {
  return entries.map((entry) => ({
    ifindex: entry.ifindex,
    name: entry.ifname,
    flags: COMPARED.map(([name]) => name).filter((name) => entry.flags.includes(name)),
    mtuBytes: entry.mtu,
    address: entry.address,
    master: entries.find(({ ifname }) => ifname === entry.master)?.ifindex,
    kind: entry.linkinfo?.info_kind,
    vxlanId: entry.linkinfo?.info_data?.id,
  }));
}

/** Decoded addresses as sorted text. */
export function shownAddresses(addresses: readonly InterfaceAddress[]): string[] {
  return addresses
    .map(({ ifindex, address, prefixLength }) => `${ifindex} ${address}/${prefixLength}`)
    .sort();
}

/** The addresses that iproute2 printed, as sorted text. */
export function addressesOfIp(entries: readonly IpEntry[]): string[] {
  return entries
    .flatMap(({ ifindex, addr_info: found = [] }) =>
      found.map(({ local, prefixlen }) => `${ifindex} ${local}/${prefixlen}`),
    )
    .sort();
}
