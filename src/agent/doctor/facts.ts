/**
 * Gathers the facts that the checks judge: OVSDB rows that the agent has, the kernel's links, addresses and routes, answers of
 * ovs-vswitchd, and files. What cannot be had is left undefined; nothing here throws, and nothing is changed.
 */
import { readFile, stat, statfs } from 'node:fs/promises';
import { errorMessage } from '../../base/error.ts';
import { formatIp } from '../../base/address.ts';
import { NetlinkClient } from '../../netlink/index.ts';
import { unixctl } from '../../ovsdb/unixctl.ts';
import type { AgentView } from '../debug/agent-view.ts';
import { datapathKind } from '../offload/port-backing.ts';
import { controlSocket } from '../overlay/control-socket.ts';
import type { DoctorFacts, PeerRoute } from './check.ts';

const TIMEOUT_MS = 1000;
const PEERS_MAX = 256;

/** What a promise gives, or undefined. */
function attempt<T>(value: Promise<T>): Promise<T | undefined> {
  return value.catch(() => undefined);
}

/** Gathers everything, at the same time. */
export async function gatherFacts(agent: AgentView): Promise<DoctorFacts> {
  const { bridge, config } = agent;
  const open = bridge.openVSwitch;
  const ask = async (command: string): Promise<string> =>
    unixctl(await controlSocket(config.ovs), command, [], TIMEOUT_MS);
  const [kernel, ports, version, tunnelPorts, upcalls, datapathShow, disk, program] =
    await Promise.all([
      askKernel(agent.built?.snapshot.peers ?? []),
      attempt(readUdpPorts()),
      attempt(ask('version')),
      attempt(ask('tnl/ports/show')),
      attempt(ask('upcall/show')),
      attempt(ask('dpctl/show')),
      attempt(statfs(config.state)),
      attempt(stat(import.meta.filename)),
    ]);
  return {
    datapath: datapathKind(bridge.datapathType, open),
    failMode: bridge.row?.failMode,
    // The daemon itself: the column of OVSDB is written by the start script, where there is one.
    ovsVersion: /\b\d+\.\d+\.\d+\b/.exec(version ?? '')?.[0] ?? open?.ovsVersion,
    otherConfig: open?.otherConfig,
    vtep: bridge.tunnel === undefined ? undefined : formatIp(4, BigInt(bridge.tunnel.ip)),
    ...kernel,
    udpPorts: ports,
    ...{ tunnelPorts, upcalls, datapathShow },
    freeBytes: disk === undefined ? undefined : disk.bavail * disk.bsize,
    nowMs: Date.now(),
    builtMs: program?.mtimeMs,
  };
}

async function askKernel(
  peers: readonly number[],
): Promise<Pick<DoctorFacts, 'links' | 'addresses' | 'routes'>> {
  const netlink = NetlinkClient.open({ timeoutMs: TIMEOUT_MS });
  try {
    const links = await netlink.links();
    const addresses = await netlink.addresses();
    const routes: PeerRoute[] = [];
    for (const peer of peers.slice(0, PEERS_MAX)) routes.push(await routeTo(netlink, peer));
    return { links, addresses, routes };
  } catch {
    return { links: undefined, addresses: undefined, routes: undefined };
  } finally {
    await netlink.close();
  }
}

async function routeTo(netlink: NetlinkClient, vtep: number): Promise<PeerRoute> {
  const value = BigInt(vtep);
  const peer = formatIp(4, value);
  try {
    const route = await netlink.routeTo({ family: 4, value, length: 32 });
    return route?.ifindex === undefined
      ? { peer, problem: 'the route leads nowhere' }
      : { peer, ifindex: route.ifindex };
  } catch (error) {
    return { peer, problem: errorMessage(error) };
  }
}

/** Local ports of `/proc/net/udp` and `/proc/net/udp6` (proc(5)): hexadecimal behind the colon of the second column. */
async function readUdpPorts(): Promise<ReadonlySet<number>> {
  const files = [await readFile('/proc/net/udp', 'utf8')];
  files.push(await readFile('/proc/net/udp6', 'utf8').catch(() => ''));
  const rows = files.flatMap((text) => text.split('\n').slice(1));
  const ports = rows.map((row) => /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) /.exec(row)?.[1]);
  return new Set(ports.flatMap((port) => (port === undefined ? [] : [parseInt(port, 16)])));
}
