/**
 * Which address is our VTEP: the one that the configuration names, or the one that an interface has. Pure: the caller
 * brings the addresses of this machine.
 */
import type { NetworkInterfaceInfo } from 'node:os';
import {
  formatIp,
  formatPrefix,
  parseIp,
  prefixContains,
  type IpPrefix,
} from '../../base/address.ts';
import type { VtepConfig } from '../config.ts';

/** Addresses of this machine by interface, as `os.networkInterfaces()` gives them. */
export type MachineAddresses = Readonly<
  Record<string, readonly NetworkInterfaceInfo[] | undefined>
>;

/** The VTEP address, or why there is none (yet). */
export type VtepAddress = { readonly ip: IpPrefix } | { readonly problem: string };

/** Finds the VTEP address. This release tunnels over IPv4. */
export function findVtepAddress(vtep: VtepConfig, machine: MachineAddresses): VtepAddress {
  if ('ip' in vtep) return { ip: vtep.ip };
  const found: { readonly name: string; readonly ip: IpPrefix }[] = [];
  for (const [name, addresses] of Object.entries(machine)) {
    for (const { address } of addresses ?? []) {
      const ip = parseIp(address);
      if (ip === undefined || ip.family !== 4) continue;
      const chosen = 'interface' in vtep ? vtep.interface === name : prefixContains(vtep.cidr, ip);
      if (chosen) found.push({ name, ip });
    }
  }
  const place =
    'interface' in vtep ? `interface ${vtep.interface}` : `prefix ${formatPrefix(vtep.cidr)}`;
  const [first, second] = found;
  if (first === undefined)
    return { problem: `vtep: no IPv4 address of this machine is on ${place}` };
  if (second !== undefined) {
    const names = found.map(({ name, ip }) => `${formatIp(4, ip.value)} (${name})`).join(', ');
    return { problem: `vtep: several addresses are on ${place}: ${names}; name one with vtep.ip` };
  }
  return { ip: first.ip };
}
