/**
 * From a Pod as the API server sends it to what counts of it for groups. Pure, and never throws: a pod is written by tenants,
 * and one that is odd must not keep the others out.
 */
import { z } from 'zod';
import { parseIp } from '../../base/address.ts';
import type { NamedPort, PodView } from './resolve.ts';

/** Annotation in which a multi-network CNI says which addresses a pod has in which network (NPWG de facto standard). */
const NETWORK_STATUS = 'k8s.v1.cni.cncf.io/network-status';
/** Longest annotation that is read, in characters. */
const ANNOTATION_MAX = 65_536;

/** Where the pods of a namespace stand. */
export interface PodNetwork {
  readonly vni: number;
  /** Name of the secondary network that gives the addresses (DPUNetwork `spec.attachment.secondary`); else the pod's own. */
  readonly secondary?: string;
}

/** A pod without its network. */
export interface PodRecord extends Omit<PodView, 'vni'> {
  /** Addresses by the name of a secondary network. */
  readonly secondary: ReadonlyMap<string, readonly string[]> | undefined;
}

const portSchema = z.object({
  name: z.string().min(1).max(63),
  protocol: z.enum(['TCP', 'UDP', 'SCTP']).default('TCP'),
  containerPort: z.int().min(1).max(65535),
});
const containerSchema = z.object({
  ports: z.array(z.unknown()).default([]).catch([]),
  restartPolicy: z.string().optional().catch(undefined),
});
const podSchema = z.object({
  metadata: z.object({
    name: z.string(),
    namespace: z.string(),
    labels: z.record(z.string(), z.string()).default({}).catch({}),
    annotations: z.record(z.string(), z.string()).default({}).catch({}),
  }),
  spec: z.object({
    hostNetwork: z.boolean().default(false),
    containers: z.array(containerSchema).default([]),
    initContainers: z.array(containerSchema).default([]),
  }),
  status: z
    .object({
      phase: z.string().default(''),
      podIP: z.string().optional(),
      podIPs: z.array(z.object({ ip: z.string() })).default([]),
    })
    .prefault({}),
});
const networkStatusSchema = z.array(
  z.object({ name: z.string().default(''), ips: z.array(z.string()).default([]) }),
);

type ParsedPod = z.output<typeof podSchema>;

/** Ports that have a name: of containers, then of init containers that go on running (sidecars), as Kubernetes looks. */
function namedPorts({ containers, initContainers }: ParsedPod['spec']): NamedPort[] {
  const running = [
    ...containers,
    ...initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always'),
  ];
  return running.flatMap(({ ports }) =>
    ports.flatMap((port) => {
      const { data } = portSchema.safeParse(port);
      if (data === undefined) return [];
      return [{ name: data.name, protocol: data.protocol, port: data.containerPort }];
    }),
  );
}

function addresses(ips: readonly string[]): string[] {
  return [...new Set(ips.filter((ip) => parseIp(ip) !== undefined))];
}

/** Addresses by the name of the secondary network; undefined for a pod that says nothing of any. */
function secondaryIps(annotation: string | undefined): PodRecord['secondary'] {
  if (annotation === undefined || annotation.length > ANNOTATION_MAX) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(annotation);
  } catch {
    return undefined;
  }
  const { data = [] } = networkStatusSchema.safeParse(value);
  const byName = Map.groupBy(data, ({ name }) => name);
  return new Map(
    [...byName].map(([name, list]) => [name, addresses(list.flatMap(({ ips }) => ips))]),
  );
}

/** All that is kept of a pod, whatever network its namespace stands in; undefined when it is no pod at all. */
export function podRecord(value: unknown): PodRecord | undefined {
  const { data: pod } = podSchema.safeParse(value);
  if (pod === undefined) return undefined;
  const { metadata, spec, status } = pod;
  const own = status.podIPs.map(({ ip }) => ip);
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    labels: new Map(Object.entries(metadata.labels)),
    ips: addresses(own.length > 0 || status.podIP === undefined ? own : [status.podIP]),
    secondary: secondaryIps(metadata.annotations[NETWORK_STATUS]),
    hostNetwork: spec.hostNetwork,
    ended: status.phase === 'Succeeded' || status.phase === 'Failed',
    ports: namedPorts(spec),
  };
}

/** The pod in its network; undefined for nowhere in our networks. */
export function placePod(
  { secondary, ips, ...pod }: PodRecord,
  network: PodNetwork | undefined,
): PodView {
  const inNetwork =
    network?.secondary === undefined ? ips : (secondary?.get(network.secondary) ?? []);
  return { ...pod, ips: inNetwork, vni: network?.vni };
}
