/**
 * What a set of NetworkPolicies says about the first packet of a connection, in the words of the Kubernetes API
 * (networking.k8s.io/v1): written from that definition alone. It shares no code with the translation, reads the policies as
 * a user wrote them, and knows no tier, group or DPURule.
 */
import ipaddr from 'ipaddr.js';

/** A selector as written. */
export interface Selector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
    readonly values?: readonly string[];
  }[];
}

export interface Peer {
  readonly podSelector?: Selector;
  readonly namespaceSelector?: Selector;
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
}

export interface Port {
  readonly protocol?: 'TCP' | 'UDP' | 'SCTP';
  readonly port?: number | string;
  readonly endPort?: number;
}

/** A NetworkPolicy as written, all of it optional where the API says so. */
export interface Policy {
  readonly apiVersion: 'networking.k8s.io/v1';
  readonly kind: 'NetworkPolicy';
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly podSelector?: Selector;
    readonly policyTypes?: readonly ('Ingress' | 'Egress')[];
    readonly ingress?: readonly {
      readonly from?: readonly Peer[];
      readonly ports?: readonly Port[];
    }[];
    readonly egress?: readonly {
      readonly to?: readonly Peer[];
      readonly ports?: readonly Port[];
    }[];
  };
}

export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly ports: readonly {
    readonly name: string;
    readonly protocol: 'TCP' | 'UDP' | 'SCTP';
    readonly port: number;
  }[];
}

export interface Cluster {
  /** Labels of namespaces by name. */
  readonly namespaces: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly pods: readonly Pod[];
}

/** One end of a connection: an address, and the pod that has it, if one does. */
export interface End {
  readonly ip: string;
  readonly pod?: Pod;
}

export interface Connection {
  readonly from: End;
  readonly to: End;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly port: number;
}

function selects(selector: Selector, labels: Readonly<Record<string, string>>): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (labels[key] !== value) return false;
  }
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    const value = labels[key];
    if (operator === 'Exists' && value === undefined) return false;
    if (operator === 'DoesNotExist' && value !== undefined) return false;
    if (operator === 'In' && (value === undefined || !values.includes(value))) return false;
    if (operator === 'NotIn' && value !== undefined && values.includes(value)) return false;
  }
  return true;
}

/** Answers of `isWithin`: the same few questions come a million times. */
const WITHIN = new Map<string, boolean>();

function isWithin(ip: string, cidr: string): boolean {
  const question = `${ip} ${cidr}`;
  let answer = WITHIN.get(question);
  if (answer === undefined) {
    const address = ipaddr.parse(ip);
    const [base, length] = ipaddr.parseCIDR(cidr);
    answer = address.kind() === base.kind() && address.match(base, length);
    WITHIN.set(question, answer);
  }
  return answer;
}

function isPeer(peer: Peer, end: End, policyNamespace: string, cluster: Cluster): boolean {
  const { podSelector, namespaceSelector, ipBlock } = peer;
  if (ipBlock !== undefined) {
    if (!isWithin(end.ip, ipBlock.cidr)) return false;
    return !(ipBlock.except ?? []).some((hole) => isWithin(end.ip, hole));
  }
  if (end.pod === undefined) return false;
  if (namespaceSelector === undefined) {
    if (end.pod.namespace !== policyNamespace) return false;
  } else if (!selects(namespaceSelector, cluster.namespaces[end.pod.namespace] ?? {})) {
    return false;
  }
  return selects(podSelector ?? {}, end.pod.labels);
}

/** A named port is resolved on the pod that the connection goes to. */
function isPort({ protocol = 'TCP', port, endPort }: Port, connection: Connection): boolean {
  if (protocol !== connection.protocol) return false;
  if (port === undefined) return true;
  if (typeof port === 'number')
    return connection.port >= port && connection.port <= (endPort ?? port);
  return (connection.to.pod?.ports ?? []).some(
    (named) => named.name === port && named.protocol === protocol && named.port === connection.port,
  );
}

function directionsOf({ spec }: Policy): readonly string[] {
  if (spec.policyTypes !== undefined && spec.policyTypes.length > 0) return spec.policyTypes;
  return (spec.egress ?? []).length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
}

function isAllowed(
  policies: readonly Policy[],
  cluster: Cluster,
  connection: Connection,
  direction: 'Ingress' | 'Egress',
): boolean {
  const [subject, other] =
    direction === 'Ingress' ? [connection.to, connection.from] : [connection.from, connection.to];
  const { pod } = subject;
  if (pod === undefined) return true;
  const applying = policies.filter(
    (policy) =>
      policy.metadata.namespace === pod.namespace &&
      directionsOf(policy).includes(direction) &&
      selects(policy.spec.podSelector ?? {}, pod.labels),
  );
  if (applying.length === 0) return true;
  return applying.some(({ metadata, spec }) => {
    const rules =
      direction === 'Ingress'
        ? (spec.ingress ?? []).map(({ from, ports }) => ({ peers: from ?? [], ports: ports ?? [] }))
        : (spec.egress ?? []).map(({ to, ports }) => ({ peers: to ?? [], ports: ports ?? [] }));
    return rules.some(
      ({ peers, ports }) =>
        (peers.length === 0 ||
          peers.some((peer) => isPeer(peer, other, metadata.namespace, cluster))) &&
        (ports.length === 0 || ports.some((port) => isPort(port, connection))),
    );
  });
}

/** Whether each side lets the connection begin. It does when both do. */
export function evaluate(
  policies: readonly Policy[],
  cluster: Cluster,
  connection: Connection,
): { egress: boolean; ingress: boolean } {
  return {
    egress: isAllowed(policies, cluster, connection, 'Egress'),
    ingress: isAllowed(policies, cluster, connection, 'Ingress'),
  };
}
