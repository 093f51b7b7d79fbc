/**
 * How the ports of the bridge are backed: by the card (a representor), by software, or by nobody knows what. From the rows of
 * OVSDB and the links of the kernel; pure but for the one call that reads the links.
 */
import type { InterfaceRow, OpenVSwitchRow } from '../../ovsdb/vswitch.ts';
import { NetlinkClient, type Link } from '../../netlink/index.ts';
import type { LintPort, PortBacking } from './lint.ts';
import type { DatapathKind } from './reason.ts';

/** Types of OVSDB interfaces that ovs-vswitchd makes itself, and no card has. */
const SOFTWARE_TYPES: ReadonlySet<string> = new Set([
  ...['internal', 'tap', 'patch', 'dpdkvhostuser', 'dpdkvhostuserclient', 'afxdp'],
]);
const DEVARGS = 'dpdk-devargs';

/** The kind of a bridge's datapath. `type` is its datapath_type. */
export function datapathKind(
  type: string | undefined,
  open: Pick<OpenVSwitchRow, 'otherConfig'> | undefined,
): DatapathKind {
  if (type === undefined || type === '' || type === 'system') return 'kernel';
  return open?.otherConfig.get('doca-init') === 'true' ? 'doca' : 'userspace';
}

/** The ports of the bridge with their backing. `links` undefined: the kernel could not be asked. */
export function lintPorts(
  interfaces: readonly Pick<InterfaceRow, 'name' | 'type' | 'ofport' | 'options'>[],
  links: readonly Link[] | undefined,
): LintPort[] {
  const byName = new Map((links ?? []).map((link) => [link.name, link]));
  return interfaces.flatMap(({ name, type, ofport, options }): LintPort[] => {
    if (ofport === undefined) return [];
    const link = byName.get(name);
    const backing = backingOf(type, options, link);
    const switchId = link?.physSwitchId;
    return [{ name, ofport, backing, ...(switchId === undefined ? {} : { switchId }) }];
  });
}

function backingOf(
  type: string,
  options: ReadonlyMap<string, string>,
  link: Link | undefined,
): PortBacking {
  if (SOFTWARE_TYPES.has(type)) return 'software';
  if (options.get(DEVARGS)?.includes('representor=') === true) return 'representor';
  // A device of another network namespace, or one that DPDK has taken from the kernel.
  if (link === undefined) return 'unknown';
  return link.physSwitchId === undefined ? 'software' : 'representor';
}

/** The links of this machine; undefined when the kernel does not answer. */
export async function readLinks(): Promise<Link[] | undefined> {
  const netlink = NetlinkClient.open();
  try {
    return await netlink.links();
  } catch {
    return undefined;
  } finally {
    await netlink.close();
  }
}
