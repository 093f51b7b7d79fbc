/**
 * Peers and their endpoints: those of the configuration, and those that other agents publish as DPUEndpointSlices. What a
 * slice says is another machine's word: a VTEP where none can be and VNIs of other customers are left out, and counted. Pure;
 * what was read of a slice is remembered as long as the slice is the same object.
 */
import type { DpuEndpointSlice } from '../../api/dpu-endpoint-slice.ts';
import { ownsVni } from '../../api/vni-range.ts';
import {
  formatPrefix,
  type IpPrefix,
  parseIp,
  parseMac,
  prefixContains,
} from '../../base/address.ts';
import { asVni } from '../../base/brand.ts';
import type { AgentConfig } from '../config.ts';
import type { RemoteEndpoint, Tunnel } from '../flow/model.ts';
import type { SourceObject, SourceProblem } from '../sources/source.ts';

/** Why endpoints that somebody published are left out, for metrics. */
export type IgnoredReason = 'vni' | 'vtep' | 'claim';

/** A VTEP with what stands behind it. */
export interface Peer {
  /** IPv4, 32 bits. */
  readonly vtep: number;
  readonly endpoints: readonly RemoteEndpoint[];
  /** Where it was said. */
  readonly file: string;
}

/** The peers, what is wrong with what was said of them, and how many endpoints that left out. */
export interface Peers {
  readonly peers: readonly Peer[];
  readonly problems: readonly SourceProblem[];
  readonly ignored: Readonly<Record<Exclude<IgnoredReason, 'claim'>, number>>;
}

/** The parts of the configuration that peers depend on. */
export type PeersConfig = Pick<
  AgentConfig,
  'node' | 'customer' | 'peers' | 'vteps' | 'metrics' | 'kubernetes'
>;

interface ReadSlice {
  readonly vtep: IpPrefix;
  readonly endpoints: readonly RemoteEndpoint[];
}

const READ = new WeakMap<DpuEndpointSlice, ReadSlice>();

function readSlice(slice: DpuEndpointSlice): ReadSlice | undefined {
  const known = READ.get(slice);
  if (known !== undefined) return known;
  const vtep = parseIp(slice.spec.vtepIP);
  // The schema has been here before us; a fallback keeps the types honest.
  if (vtep === undefined) return undefined;
  const endpoints = slice.spec.endpoints.flatMap((endpoint): RemoteEndpoint[] => {
    const vni = asVni(endpoint.vni);
    const mac = parseMac(endpoint.mac);
    if (vni === undefined || mac === undefined) return [];
    const ips = endpoint.ips.flatMap((text) => parseIp(text) ?? []);
    return [{ vni, mac, ips, vtep: Number(vtep.value), sequence: endpoint.sequence }];
  });
  const read = { vtep, endpoints };
  READ.set(slice, read);
  return read;
}

/** Why no VTEP can be at this address; undefined when one can. */
function vtepFault(vtep: IpPrefix, config: PeersConfig): string | undefined {
  const range = config.vteps.exclude.find((prefix) => prefixContains(prefix, vtep));
  if (range !== undefined) return `is in ${formatPrefix(range)}, where no VTEP can be`;
  const { listen } = config.metrics;
  const own = [listen === 'off' ? undefined : listen.host, config.kubernetes.localAddress];
  const isManagement = own.some((text) => parseIp(text ?? '')?.value === vtep.value);
  if (isManagement) return "is this agent's own management address";
  // Loopback, multicast, broadcast and 0.0.0.0/8: nothing that a packet can be sent to.
  const first = Number(vtep.value >> 24n);
  return first === 0 || first === 127 || first >= 224 ? 'is no unicast address' : undefined;
}

/** The peers by configuration and, where it asks for them, by the slices among `objects`. */
export function findPeers(
  config: PeersConfig,
  objects: ReadonlyMap<string, SourceObject>,
  tunnel: Tunnel | undefined,
): Peers {
  const problems: SourceProblem[] = [];
  const ignored = { vni: 0, vtep: 0 };
  const peers: Peer[] = [];
  for (const { vtep, endpoints } of config.peers) {
    const ip = Number(vtep.value);
    if (tunnel?.ip !== ip) {
      const claims = endpoints.map((endpoint) => ({ ...endpoint, vtep: ip }));
      peers.push({ vtep: ip, endpoints: claims, file: 'configuration' });
      continue;
    }
    // It would get a copy of every flooded packet.
    const message = "is this agent's own VTEP; it is left out";
    problems.push({ file: 'configuration', path: `peers ${formatPrefix(vtep)}`, message });
  }
  if (config.vteps.source === 'static') return { peers, problems, ignored };
  for (const { object, origin } of objects.values()) {
    if (object.kind !== 'DPUEndpointSlice' || object.spec.node === config.node) continue;
    const read = readSlice(object);
    if (read === undefined) continue;
    const { vtep, endpoints } = read;
    const ip = Number(vtep.value);
    const fault = ip === tunnel?.ip ? "is this agent's own VTEP" : vtepFault(vtep, config);
    if (fault !== undefined) {
      ignored.vtep += Math.max(1, endpoints.length);
      const message = `${object.spec.vtepIP} ${fault}; the slice is left out`;
      problems.push({ file: origin, path: 'spec.vtepIP', message });
      continue;
    }
    const ours = endpoints.filter(({ vni }) => ownsVni(config.customer.vnis, vni));
    const foreign = endpoints.length - ours.length;
    if (foreign > 0) {
      ignored.vni += foreign;
      const message = `${foreign} of ${endpoints.length} endpoints stand in VNIs that are not customer ${config.customer.name}'s; they are left out`;
      problems.push({ file: origin, path: 'spec.endpoints', message });
    }
    peers.push({ vtep: ip, endpoints: ours, file: origin });
  }
  return { peers, problems, ignored };
}
