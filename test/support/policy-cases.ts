/**
 * A small cluster, the connections that can be tried in it, and sets of NetworkPolicies: those that the documentation and
 * the conformance suite of Kubernetes describe, written anew, and generated ones from a fixed seed.
 */
import fc from 'fast-check';
import type { Cluster, Connection, Peer, Pod, Policy, Port, Selector } from './policy-evaluator.ts';

const PORTS = [80, 81, 82] as const;
const PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const;

/** Named ports differ between pods: one name is two numbers, one name is two protocols. */
const NAMED: Readonly<Record<string, Pod['ports']>> = {
  a: [
    { name: 'http', protocol: 'TCP', port: 80 },
    { name: 'dns', protocol: 'UDP', port: 81 },
    { name: 'dns', protocol: 'TCP', port: 81 },
  ],
  b: [
    { name: 'http', protocol: 'TCP', port: 81 },
    { name: 'signal', protocol: 'SCTP', port: 82 },
  ],
  c: [],
};

function pod(namespace: string, name: string, tier: string): Pod {
  const place = `${'xyz'.indexOf(namespace) + 1}`;
  const host = `${'abc'.indexOf(name) + 1}`;
  return {
    namespace,
    name,
    labels: { pod: name, ...(tier === '' ? {} : { tier }) },
    ipv4: `10.1.${place}.${host}`,
    ipv6: `fd00:1::${place}:${host}`,
    ports: NAMED[name] ?? [],
  };
}

/** Three namespaces of three pods; some labels are shared, some are missing. */
export const CLUSTER: Cluster = {
  namespaces: {
    x: { 'kubernetes.io/metadata.name': 'x', ns: 'x', team: 'red' },
    y: { 'kubernetes.io/metadata.name': 'y', ns: 'y', team: 'blue' },
    z: { 'kubernetes.io/metadata.name': 'z', ns: 'z' },
  },
  pods: ['x', 'y', 'z'].flatMap((namespace) => [
    pod(namespace, 'a', 'front'),
    pod(namespace, 'b', 'back'),
    pod(namespace, 'c', ''),
  ]),
};

/** Addresses that are no pod's. The second of each family lies among the pods' addresses, the third beside them. */
export const OUTSIDE = {
  4: ['192.0.2.10', '10.1.1.77', '10.9.0.5'],
  6: ['2001:db8::10', 'fd00:1::1:77', 'fd00:9::5'],
} as const;

/** Every connection of one family from a pod to another, from outside to a pod, and from a pod to the outside. */
export function connections(family: 4 | 6): Connection[] {
  const ends = [
    ...CLUSTER.pods.map((one) => ({ ip: family === 4 ? one.ipv4 : one.ipv6, pod: one })),
    ...OUTSIDE[family].map((ip) => ({ ip })),
  ];
  return ends.flatMap((from) =>
    ends
      .filter((to) => to !== from && ('pod' in to || 'pod' in from))
      .flatMap((to) =>
        PROTOCOLS.flatMap((protocol) => PORTS.map((port) => ({ from, to, protocol, port }))),
      ),
  );
}

export interface PolicyCase {
  readonly name: string;
  readonly policies: readonly Policy[];
}

/** A policy of namespace x, unless it says otherwise. */
function policy(spec: Policy['spec'], name = 'p', namespace = 'x'): Policy {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name, namespace },
    spec,
  };
}

const A: Selector = { matchLabels: { pod: 'a' } };
const B: Selector = { matchLabels: { pod: 'b' } };
const NS_Y: Selector = { matchLabels: { ns: 'y' } };
const only = (selector: Selector, ...from: Peer[]): Policy =>
  policy({ podSelector: selector, ingress: [{ from }] });
const expression = (
  key: string,
  operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist',
  ...values: string[]
): Selector => ({
  matchExpressions: [{ key, operator, ...(values.length === 0 ? {} : { values }) }],
});
const toPorts = (...ports: Port[]): Policy => policy({ podSelector: A, ingress: [{ ports }] });
const fromPorts = (...ports: Port[]): Policy =>
  policy({ podSelector: A, policyTypes: ['Egress'], egress: [{ ports }] });
const block = (cidr: string, ...except: string[]): Peer => ({
  ipBlock: { cidr, ...(except.length === 0 ? {} : { except }) },
});

const WRITTEN: Readonly<Record<string, readonly Policy[]>> = {
  'no policy': [],
  'default deny ingress': [policy({ podSelector: {}, policyTypes: ['Ingress'] })],
  'default deny egress': [policy({ podSelector: {}, policyTypes: ['Egress'] })],
  'default deny both': [policy({ podSelector: {}, policyTypes: ['Ingress', 'Egress'] })],
  'default deny in every namespace': ['x', 'y', 'z'].map((namespace) =>
    policy({ podSelector: {}, policyTypes: ['Ingress', 'Egress'] }, 'deny', namespace),
  ),
  'allow all ingress': [policy({ podSelector: {}, ingress: [{}] })],
  'allow all egress': [policy({ podSelector: {}, policyTypes: ['Egress'], egress: [{}] })],
  'allow all ingress beside deny': [
    policy({ podSelector: {} }, 'deny'),
    policy({ podSelector: {}, ingress: [{}] }, 'allow'),
  ],
  'podSelector missing': [policy({})],
  'policyTypes missing with an egress rule isolates both': [
    policy({ podSelector: A, egress: [{ to: [{ podSelector: B }] }] }),
  ],
  'policyTypes missing with an empty egress list isolates ingress': [
    policy({ podSelector: A, egress: [] }),
  ],
  'egress only: the ingress section means nothing': [
    policy({
      podSelector: A,
      policyTypes: ['Egress'],
      ingress: [{ from: [{ podSelector: B }] }],
      egress: [{}],
    }),
  ],
  'ingress only: the egress section means nothing': [
    policy({
      podSelector: A,
      policyTypes: ['Ingress'],
      ingress: [{}],
      egress: [{ to: [{ podSelector: B }] }],
    }),
  ],
  'from pods of the same namespace': [only(A, { podSelector: B })],
  'from every pod of the same namespace': [only(A, { podSelector: {} })],
  'from a namespace': [only(A, { namespaceSelector: NS_Y })],
  'from every namespace': [only(A, { namespaceSelector: {} })],
  'from a namespace by its name': [
    only(A, { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'z' } } }),
  ],
  'from pods of a namespace: both selectors at once': [
    only(A, { namespaceSelector: NS_Y, podSelector: B }),
  ],
  'from pods or from a namespace: two peers': [
    only(A, { namespaceSelector: NS_Y }, { podSelector: B }),
  ],
  'from pods of all namespaces': [only({}, { namespaceSelector: {}, podSelector: A })],
  'an empty list of peers is every peer': [policy({ podSelector: A, ingress: [{ from: [] }] })],
  'an empty list of ports is every port': [policy({ podSelector: A, ingress: [{ ports: [] }] })],
  'an empty list of rules is no rule': [policy({ podSelector: A, ingress: [] })],
  'pods by In': [
    only(expression('pod', 'In', 'a', 'c'), { podSelector: expression('tier', 'In', 'back') }),
  ],
  'pods by NotIn, which the absent label satisfies': [
    only(expression('tier', 'NotIn', 'front'), {
      podSelector: expression('tier', 'NotIn', 'back'),
    }),
  ],
  'pods by Exists': [
    only(expression('tier', 'Exists'), { podSelector: expression('tier', 'Exists') }),
  ],
  'pods by DoesNotExist': [only(expression('tier', 'DoesNotExist'), { podSelector: A })],
  'namespaces by NotIn, which the absent label satisfies': [
    only({}, { namespaceSelector: expression('team', 'NotIn', 'red') }),
  ],
  'namespaces by DoesNotExist': [
    only({}, { namespaceSelector: expression('team', 'DoesNotExist') }),
  ],
  'labels and expressions at once': [
    only(
      { ...A, ...expression('tier', 'In', 'front') },
      { namespaceSelector: { ...NS_Y, ...expression('team', 'Exists') } },
    ),
  ],
  'a selector that matches nothing isolates nothing': [only({ matchLabels: { pod: 'nobody' } })],
  'a peer that matches nothing allows nothing': [
    only(A, { podSelector: { matchLabels: { pod: 'nobody' } } }),
  ],
  'one port': [toPorts({ port: 80 })],
  'a port is TCP unless it says otherwise': [toPorts({ port: 81 })],
  UDP: [toPorts({ protocol: 'UDP', port: 80 })],
  SCTP: [toPorts({ protocol: 'SCTP', port: 81 })],
  'a whole protocol': [toPorts({ protocol: 'SCTP' })],
  'a whole protocol beside a port of it': [
    toPorts({ protocol: 'UDP' }, { protocol: 'UDP', port: 80 }),
  ],
  'an empty port is all of TCP': [toPorts({})],
  'several ports and protocols': [
    toPorts({ port: 80 }, { port: 82 }, { protocol: 'UDP', port: 81 }),
  ],
  'a range of ports': [toPorts({ port: 81, endPort: 32768 })],
  'a range of one port': [toPorts({ port: 81, endPort: 81 })],
  'a range that ends before the ports': [toPorts({ port: 1, endPort: 79 })],
  'a range up to the last port': [toPorts({ protocol: 'UDP', port: 82, endPort: 65535 })],
  'overlapping ranges': [toPorts({ port: 80, endPort: 81 }, { port: 81, endPort: 90 })],
  'a named port, resolved for each pod': [
    policy({ podSelector: {}, ingress: [{ ports: [{ port: 'http' }] }] }),
  ],
  'a named port of another protocol is another port': [
    policy({ podSelector: {}, ingress: [{ ports: [{ port: 'dns', protocol: 'UDP' }] }] }),
  ],
  'one name, two protocols': [
    policy({
      podSelector: {},
      ingress: [{ ports: [{ port: 'dns', protocol: 'UDP' }, { port: 'dns' }] }],
    }),
  ],
  'a named port that no pod has': [toPorts({ port: 'nobody' })],
  'a named port beside a number': [
    policy({ podSelector: {}, ingress: [{ ports: [{ port: 'http' }, { port: 82 }] }] }),
  ],
  'a named port from one peer': [
    policy({
      podSelector: {},
      ingress: [{ from: [{ namespaceSelector: NS_Y }], ports: [{ port: 'http' }] }],
    }),
  ],
  'a named port of SCTP': [
    policy({ podSelector: {}, ingress: [{ ports: [{ port: 'signal', protocol: 'SCTP' }] }] }),
  ],
  'egress to a named port of anyone: of pods only': [fromPorts({ port: 'http' })],
  'egress to a named port of a namespace': [
    policy({
      podSelector: A,
      egress: [{ to: [{ namespaceSelector: NS_Y }], ports: [{ port: 'http' }] }],
      policyTypes: ['Egress'],
    }),
  ],
  'egress to a named port behind a block of addresses': [
    policy({
      podSelector: A,
      egress: [
        {
          to: [block('10.1.2.0/24', '10.1.2.2/32'), block('fd00:1::3:0/112')],
          ports: [{ port: 'http' }],
        },
      ],
      policyTypes: ['Egress'],
    }),
  ],
  'egress to one port': [fromPorts({ port: 80 })],
  'egress to DNS only': [fromPorts({ port: 81, protocol: 'UDP' }, { port: 81 })],
  'egress to pods and namespaces': [
    policy({
      podSelector: {},
      policyTypes: ['Egress'],
      egress: [{ to: [{ podSelector: B }, { namespaceSelector: NS_Y }] }],
    }),
  ],
  'a block of addresses': [only(A, block('10.9.0.0/16'), block('fd00:9::/32'))],
  'a block with exceptions': [
    only(
      A,
      block('10.0.0.0/8', '10.1.1.0/24', '10.9.0.0/30'),
      block('fd00::/16', 'fd00:1::1:0/112'),
    ),
  ],
  'an exception takes from its own block only': [
    only(A, block('10.1.0.0/16', '10.1.1.0/24'), block('10.1.1.64/26')),
  ],
  'an exception of one policy is allowed by another': [
    only(A, block('10.0.0.0/8', '10.9.0.0/16')),
    policy({ podSelector: A, ingress: [{ from: [block('10.9.0.0/24')] }] }, 'q'),
  ],
  'every address of one family': [only(A, block('0.0.0.0/0'))],
  'every address of IPv6 but the pods': [only(A, block('::/0', 'fd00:1::/32'))],
  'one address of a pod': [only(A, block('10.1.2.2/32'), block('fd00:1::2:2/128'))],
  'blocks as egress': [
    policy({
      podSelector: {},
      policyTypes: ['Egress'],
      egress: [
        {
          to: [block('10.1.0.0/16', '10.1.3.0/24'), block('2001:db8::/32')],
          ports: [{ port: 80 }],
        },
      ],
    }),
  ],
  'both families in one rule': [only(A, block('192.0.2.0/24'), block('2001:db8::/64'))],
  'the union of rules': [
    policy({
      podSelector: A,
      ingress: [
        { from: [{ podSelector: B }], ports: [{ port: 80 }] },
        { from: [{ namespaceSelector: NS_Y }], ports: [{ port: 81 }] },
      ],
    }),
  ],
  'the union of policies': [
    policy(
      { podSelector: A, ingress: [{ from: [{ podSelector: B }], ports: [{ port: 80 }] }] },
      'one',
    ),
    policy({ podSelector: {}, ingress: [{ from: [{ namespaceSelector: NS_Y }] }] }, 'two'),
    policy({ podSelector: A, policyTypes: ['Egress'] }, 'three'),
  ],
  'both ends have a say': [
    policy(
      { podSelector: A, policyTypes: ['Egress'], egress: [{ to: [{ namespaceSelector: NS_Y }] }] },
      'out',
      'x',
    ),
    policy(
      {
        podSelector: B,
        ingress: [
          {
            from: [{ namespaceSelector: { matchLabels: { ns: 'x' } }, podSelector: A }],
            ports: [{ port: 80 }],
          },
        ],
      },
      'in',
      'y',
    ),
  ],
  'names that could be taken for each other': [
    policy({ podSelector: A, ingress: [{ from: [{ podSelector: B }] }] }, 'web'),
    policy({ podSelector: B, ingress: [{}] }, 'web-iso'),
    policy({ podSelector: {}, policyTypes: ['Egress'], egress: [{}] }, 'web-iso-iso'),
    policy({ podSelector: A, policyTypes: ['Egress'] }, 'peer-a'),
  ],
  'the same policy in two namespaces': [
    policy({ podSelector: A, ingress: [{ from: [{ podSelector: B }] }] }, 'web', 'x'),
    policy({ podSelector: A, ingress: [{ from: [{ podSelector: B }] }] }, 'web', 'z'),
  ],
};

const label = fc.oneof(
  fc.constantFrom<Selector>(
    {},
    A,
    B,
    { matchLabels: { tier: 'front' } },
    { matchLabels: { tier: 'back', pod: 'b' } },
  ),
  fc.constantFrom<Selector>(
    expression('pod', 'In', 'a', 'b'),
    expression('pod', 'NotIn', 'c'),
    expression('tier', 'Exists'),
    expression('tier', 'DoesNotExist'),
    expression('tier', 'NotIn', 'back'),
  ),
);
const namespaces = fc.constantFrom<Selector>(
  {},
  NS_Y,
  { matchLabels: { team: 'red' } },
  expression('ns', 'In', 'x', 'z'),
  expression('team', 'Exists'),
  expression('team', 'DoesNotExist'),
  expression('ns', 'NotIn', 'y'),
);
const blocks = fc.constantFrom<Peer>(
  block('10.1.0.0/16'),
  block('10.1.0.0/16', '10.1.2.0/24'),
  block('10.0.0.0/8', '10.1.1.0/25', '10.9.0.0/16'),
  block('0.0.0.0/0', '10.0.0.0/8'),
  block('192.0.2.10/32'),
  block('fd00::/16', 'fd00:1::2:0/112'),
  block('fd00:1::1:0/112'),
  block('::/0', '2001:db8::/32', 'fd00:1::3:1/128'),
);
const peer: fc.Arbitrary<Peer> = fc.oneof(
  fc.record({ podSelector: label }),
  fc.record({ namespaceSelector: namespaces }),
  fc.record({ podSelector: label, namespaceSelector: namespaces }),
  blocks,
);
const port = fc.constantFrom<Port>(
  {},
  { port: 80 },
  { port: 81, endPort: 82 },
  { protocol: 'UDP' },
  { protocol: 'UDP', port: 80, endPort: 81 },
  { protocol: 'UDP', port: 82 },
  { protocol: 'SCTP', port: 81 },
  { port: 'http' },
  { port: 'dns', protocol: 'UDP' },
  { port: 'signal', protocol: 'SCTP' },
);
const few = <Value>(one: fc.Arbitrary<Value>, least: number): fc.Arbitrary<Value[]> =>
  fc.array(one, { minLength: least, maxLength: 3, size: 'max' });
const optional = { requiredKeys: [] };
const generatedSpec: fc.Arbitrary<Policy['spec']> = fc.record(
  {
    podSelector: label,
    policyTypes: fc.subarray(['Ingress', 'Egress'] as const),
    ingress: few(fc.record({ from: few(peer, 0), ports: few(port, 0) }, optional), 0),
    egress: few(fc.record({ to: few(peer, 0), ports: few(port, 0) }, optional), 0),
  },
  optional,
);

/** The written cases, and `count` generated ones: always the same. */
export function policyCases(count: number): PolicyCase[] {
  const set = fc.array(fc.tuple(generatedSpec, fc.constantFrom('x', 'x', 'y', 'z')), {
    minLength: 1,
    maxLength: 4,
    size: 'max',
  });
  const generated = fc.sample(set, { seed: 20_261_125, numRuns: count });
  return [
    ...Object.entries(WRITTEN).map(([name, policies]) => ({ name, policies })),
    ...generated.map((specs, index) => ({
      name: `generated ${index}`,
      policies: specs.map(([spec, namespace], at) => policy(spec, `p${at}`, namespace)),
    })),
  ];
}
