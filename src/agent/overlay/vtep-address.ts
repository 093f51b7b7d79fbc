/**
 * Which address is our VTEP: the one that the configuration names, or the one that an interface has. Pure: the caller
 * brings what netlink says about this machine.
 */
import {
  formatPrefix,
  parseIp,
  prefixContains,
  type IpFamily,
  type IpPrefix,
} from '../../base/address.ts';
import type { InterfaceAddress } from '../../netlink/address.ts';
import type { Link } from '../../netlink/link.ts';
import type { VtepConfig } from '../config.ts';

/** Links and addresses of this machine, as netlink gives them. */
export interface MachineAddresses {
  readonly links: readonly Link[];
  readonly addresses: readonly InterfaceAddress[];
}

/** A configuration that leaves it to the agent to find the address. */
export type SearchedVtep = Exclude<VtepConfig, { readonly ip: IpPrefix }>;

/** The VTEP address, or why there is none (yet). */
export type VtepAddress = { readonly ip: IpPrefix } | { readonly problem: string };

/** An address that fits, with the name of its interface. */
interface Candidate {
  readonly ip: IpPrefix;
  readonly text: string;
}

/**
 * Finds the VTEP address. This release tunnels over IPv4. Whether the interface is up does not count: a link that flaps
 * must not take the tunnel port's address away.
 */
export function findVtepAddress(vtep: SearchedVtep, machine: MachineAddresses): VtepAddress {
  const named = 'interface' in vtep;
  const place = named ? `interface ${vtep.interface}` : `prefix ${formatPrefix(vtep.cidr)}`;
  if (named && !machine.links.some(({ name }) => name === vtep.interface))
    return { problem: `vtep: this machine has no ${place}` };
  const [first, ...others] = candidates(vtep, machine, 4);
  if (first === undefined) {
    const ignored = candidates(vtep, machine, 6).map(({ text }) => text);
    const only =
      ignored.length === 0
        ? ''
        : `, only IPv6 (${ignored.join(', ')}), over which it cannot tunnel`;
    return { problem: `vtep: no IPv4 address of this machine is on ${place}${only}` };
  }
  if (others.length > 0) {
    const names = [first, ...others].map(({ text }) => text).join(', ');
    return { problem: `vtep: several addresses are on ${place}: ${names}; name one with vtep.ip` };
  }
  return { ip: first.ip };
}

function candidates(
  vtep: SearchedVtep,
  { links, addresses }: MachineAddresses,
  wanted: IpFamily,
): Candidate[] {
  const names = new Map(links.map(({ ifindex, name }) => [ifindex, name]));
  return addresses.flatMap(({ ifindex, family, address }) => {
    const name = names.get(ifindex);
    const ip = parseIp(address);
    if (family !== wanted || name === undefined || ip === undefined) return [];
    const fits = 'interface' in vtep ? vtep.interface === name : prefixContains(vtep.cidr, ip);
    return fits ? [{ ip, text: `${address} (${name})` }] : [];
  });
}
