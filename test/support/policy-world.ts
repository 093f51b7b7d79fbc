/**
 * The cluster of policy-cases.ts as the product sees it: pods for the spoke, endpoints and packets for a switch.
 */
import type { LocalEndpoint } from '../../src/agent/flow/model.ts';
import type { PodView, NamespaceView } from '../../src/hub/spoke/resolve.ts';
import type { DpuGroupManifest, DpuRuleManifest } from '../../src/hub/translate/manifest.ts';
import { translateSet } from '../../src/hub/translate/policy-set.ts';
import { readPolicyText } from '../../src/hub/translate/policy-text.ts';
import type { Packet } from './evaluator.ts';
import { local, mac, remote } from './model.ts';
import { CLUSTER } from './policy-cases.ts';
import type { Connection, End, Policy } from './policy-evaluator.ts';

/** VNI of all pods. */
export const POD_VNI = 1000;
/** The router behind which the outside is, and its VTEP. */
export const GATEWAY = { mac: '02:00:0a:01:ff:01', vtep: '192.168.1.12' };
const PROTOCOL_NUMBER = { TCP: 6, UDP: 17, SCTP: 132 } as const;
const SYN = 2;

export const PODS: readonly PodView[] = CLUSTER.pods.map((pod) => ({
  namespace: pod.namespace,
  name: pod.name,
  labels: new Map(Object.entries(pod.labels)),
  ips: [pod.ipv4, pod.ipv6],
  vni: POD_VNI,
  hostNetwork: false,
  ended: false,
  ports: pod.ports,
}));

export const NAMESPACES: readonly NamespaceView[] = Object.entries(CLUSTER.namespaces).map(
  ([name, labels]) => ({ name, labels: new Map(Object.entries(labels)) }),
);

/** What policies become, read as the program reads them. @throws Error when any is refused. */
export function translatePolicies(policies: readonly Policy[]): {
  rules: DpuRuleManifest[];
  groups: DpuGroupManifest[];
} {
  const read = readPolicyText(JSON.stringify({ kind: 'List', items: policies }), 'case', 'default');
  const { objects, problems } = translateSet(read.policies, [], 'pods');
  const faults = [...read.problems, ...problems];
  if (faults.length > 0) throw new Error(faults.join('\n'));
  return {
    rules: objects.filter((object) => object.kind === 'DPURule'),
    groups: objects.filter((object) => object.kind === 'DPUGroup'),
  };
}

/** Port of the switch where a pod stands: 1, 2, ... */
function portOf({ pod }: End): number {
  return CLUSTER.pods.findIndex((one) => one === pod) + 1;
}

function macOf(end: End): string {
  return end.pod === undefined ? GATEWAY.mac : `02:00:0a:01:00:0${portOf(end)}`;
}

/** Every pod at a port of this switch. */
export function podEndpoints(): LocalEndpoint[] {
  return CLUSTER.pods.map((pod) => {
    const end = { ip: pod.ipv4, pod };
    return local(`p${portOf(end)}`, portOf(end), POD_VNI, macOf(end), pod.ipv4, pod.ipv6);
  });
}

/** The router. */
export function gatewayEndpoint(): ReturnType<typeof remote> {
  return { ...remote(POD_VNI, GATEWAY.mac, GATEWAY.vtep, '10.1.255.1'), mac: mac(GATEWAY.mac) };
}

/** The first packet of a connection. What comes from outside comes through the tunnel. */
export function firstPacket({ from, to, protocol, port }: Connection): Packet {
  return {
    from:
      from.pod === undefined
        ? { peer: GATEWAY.vtep, to: '192.168.1.11', vni: POD_VNI }
        : { port: portOf(from) },
    ethSrc: macOf(from),
    ethDst: macOf(to),
    type: from.ip.includes(':') ? 'ipv6' : 'ipv4',
    src: from.ip,
    dst: to.ip,
    protocol: PROTOCOL_NUMBER[protocol],
    srcPort: 40_000,
    dstPort: port,
    ...{ icmpType: 0, icmpCode: 0, dscp: 0, tcpFlags: SYN, fragment: 'no' },
  };
}

/** A connection in a sentence. */
export function describeConnection({ from, to, protocol, port }: Connection): string {
  const end = ({ ip, pod }: End): string =>
    pod === undefined ? ip : `${pod.namespace}/${pod.name} (${ip})`;
  return `${end(from)} -> ${end(to)} ${protocol} ${port}`;
}
