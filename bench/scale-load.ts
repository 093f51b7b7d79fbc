/**
 * The load of workload `scale`: a DPU in a large site. 100 networks with 1,000 endpoints, of which a fifth is here and the
 * rest behind 200 peers, and 10,000 rules of four kinds, through the product's own parser and defaults.
 */
import { parseObject } from '../src/api/object.ts';
import { parseMac, parseIp, parsePrefix } from '../src/base/address.ts';
import { asOfPort, asVni, type OfPort, type Vni } from '../src/base/brand.ts';
import type {
  LocalEndpoint,
  RemoteEndpoint,
  RuleInput,
  Snapshot,
} from '../src/agent/flow/model.ts';

const NETWORKS = 100;
const ENDPOINTS_PER_NETWORK = 10;
const LOCALS_PER_NETWORK = 2;
const PEERS = 200;
const OBJECTS_PER_NETWORK = 25;
const FIRST_VNI = 1000;

/** What is in the load. */
export const SCALE = {
  endpoints: NETWORKS * ENDPOINTS_PER_NETWORK,
  peers: PEERS,
  networks: NETWORKS,
  rules: NETWORKS * OBJECTS_PER_NETWORK * 4,
};

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a constant of the load is not valid');
  return value;
}

const hex = (value: number): string => value.toString(16).padStart(2, '0');
const vniOf = (network: number): Vni => present(asVni(FIRST_VNI + network));
const ofportOf = (value: number): OfPort => present(asOfPort(value));
const address = (text: string): number => Number(present(parseIp(text)).value);
/** Peers have the addresses 192.168.1.1 and up. */
const peerOf = (peer: number): number => address(`192.168.1.${1 + peer}`);

/** What both kinds of endpoints have. All networks use the same addresses. */
function endpoint(network: number, host: number): Omit<RemoteEndpoint, 'vtep'> {
  const mac = present(parseMac(`02:00:${hex(network)}:00:00:${hex(host)}`));
  const ips = [`10.1.0.${1 + host}`, `fd00::${1 + host}`].map((text) => present(parseIp(text)));
  return { vni: vniOf(network), mac, ips };
}

/** An object of four rules: a port of an address, lists on both sides, a range of ports, a prefix. */
function makeObject(network: number, index: number): RuleInput {
  const host = (offset: number): string => `10.1.0.${1 + ((index + offset) % 200)}`;
  const hosts = (from: number): string[] => [0, 2, 4, 6].map((offset) => host(from + offset));
  const { object, problems } = parseObject({
    apiVersion: 'dpu.network/v1alpha1',
    kind: 'DPURule',
    metadata: { name: `rule-${network}-${index}`, namespace: 'tenant-a' },
    spec: {
      priority: 100 + index,
      rules: [
        { match: { dstIP: host(0), protocol: 'TCP', dstPort: 80 }, action: 'deny' },
        {
          match: { srcIPs: hosts(0), dstIPs: hosts(9), protocol: 'TCP', dstPorts: [22, 443, 8443] },
          action: 'allow',
          reverse: true,
        },
        {
          match: { srcIP: host(3), protocol: 'UDP', dstPort: `8000-${8100 + index}` },
          action: 'allow',
        },
        { match: { dstIP: `10.2.${index}.0/24` }, action: 'deny', direction: 'Egress' },
      ].map((entry) => ({ ...entry, vni: FIRST_VNI + network })),
    },
  });
  if (object?.kind !== 'DPURule') throw new Error(JSON.stringify(problems));
  return { object, verdicts: object.spec.rules.map(() => ({ vni: vniOf(network) })) };
}

/** The whole load. */
export function scaleSnapshot(): Snapshot {
  const locals: LocalEndpoint[] = [];
  const remotes: RemoteEndpoint[] = [];
  const rules: RuleInput[] = [];
  for (let network = 0; network < NETWORKS; network++) {
    for (let host = 0; host < ENDPOINTS_PER_NETWORK; host++) {
      const each = endpoint(network, host);
      const number = network * ENDPOINTS_PER_NETWORK + host;
      if (host < LOCALS_PER_NETWORK) {
        locals.push({ ...each, port: `rep${number}`, ofport: ofportOf(1 + number) });
      } else remotes.push({ ...each, vtep: peerOf(number % PEERS) });
    }
    for (let index = 0; index < OBJECTS_PER_NETWORK; index++) {
      rules.push(makeObject(network, index));
    }
  }
  return {
    tunnel: { ofport: ofportOf(65000), ip: address('192.168.2.1') },
    peers: Array.from({ length: PEERS }, (_, peer) => peerOf(peer)),
    networks: Array.from({ length: NETWORKS }, (_, network) => ({
      vni: vniOf(network),
      name: `network-${network}`,
      subnets: [present(parsePrefix('10.1.0.0/16'))],
      defaultAction: { ingress: 'deny', egress: 'allow' },
      unknownUnicast: 'drop',
    })),
    locals,
    remotes,
    legs: [],
    rules,
  };
}
