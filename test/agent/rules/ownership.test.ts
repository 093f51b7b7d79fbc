// Ownership: which namespace may name which VNI and tier, and which networks there are.
import t from 'tap';
import {
  checkOwnership,
  collectNetworks,
  type OwnershipConfig,
} from '../../../src/agent/rules/ownership.ts';
import { buildRuleSet, type RuleSetConfig } from '../../../src/agent/rules/rule-set.ts';
import type { SourceObject } from '../../../src/agent/sources/source.ts';
import { readConfig } from '../../../src/agent/config.ts';
import type { DpuNetwork } from '../../../src/api/dpu-network.ts';
import type { DpuRule } from '../../../src/api/dpu-rule.ts';
import { type DpuObject, objectKey, parseObject } from '../../../src/api/object.ts';

const AGENT = readConfig(
  `node: n
customer: {name: c, vnis: ["1000-1999"]}
vtep: {interface: p0}
tiers: {platform: [dpu-system], admin: [dpu-system, ops]}
networks:
- {vni: 1000, name: net-a, namespaces: [tenant-a, dpu-system]}
- {vni: 1001, name: net-b, namespaces: [tenant-b]}
`,
  'agent.yaml',
  {},
);
const CONFIG: OwnershipConfig = { customerVnis: AGENT.customer.vnis, tiers: AGENT.tiers };

function parsed(value: object): DpuObject {
  const { object, problems } = parseObject({ apiVersion: 'dpu.network/v1alpha1', ...value });
  if (object === undefined) throw new RangeError(JSON.stringify(problems));
  return object;
}

function rule(namespace: string, spec: object): DpuRule {
  const object = parsed({ kind: 'DPURule', metadata: { name: 'r', namespace }, spec });
  if (object.kind !== 'DPURule') throw new RangeError(object.kind);
  return object;
}

function network(name: string, spec: object): DpuNetwork {
  const object = parsed({ kind: 'DPUNetwork', metadata: { name }, spec });
  if (object.kind !== 'DPUNetwork') throw new RangeError(object.kind);
  return object;
}

const NETWORKS = collectNetworks(
  AGENT.networks,
  [
    network('net-c', {
      vni: 1002,
      namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'tenant-c' } },
    }),
    network('net-d', { vni: 1003, namespaceSelector: { matchLabels: { team: 'x' } } }),
    network('net-e', { vni: 1004, namespaceSelector: {} }),
  ],
  CONFIG.customerVnis,
).networks;

void t.test('one verdict per rule: its VNI, or why it has none', async (t) => {
  const deny = { action: 'deny' };
  const cases: [string, string, object, number | string, RegExp?][] = [
    ['a VNI of its namespace', 'tenant-a', { rules: [{ vni: 1000, ...deny }] }, 1000],
    ['by reference', 'tenant-b', { networkRef: 'net-b', rules: [deny] }, 1001],
    [
      'by reference and VNI',
      'tenant-b',
      { networkRef: 'net-b', rules: [{ vni: 1001, ...deny }] },
      1001,
    ],
    [
      'reference and VNI disagree',
      'tenant-b',
      { networkRef: 'net-b', rules: [{ vni: 1000, ...deny }] },
      'Invalid',
      /vni 1000 is not that of network net-b, 1001/,
    ],
    [
      "reference and VNI disagree, and the network's VNI is not this namespace's to learn",
      'tenant-a',
      { networkRef: 'net-b', rules: [{ vni: 1000, ...deny }] },
      'Invalid',
      /vni 1000 is not that of network net-b$/,
    ],
    [
      "another namespace's VNI",
      'tenant-a',
      { rules: [{ vni: 1001, ...deny }] },
      'VNINotAllowed',
      /namespace tenant-a may not name VNI 1001/,
    ],
    [
      "another namespace's network",
      'tenant-a',
      { networkRef: 'net-b', rules: [deny] },
      'VNINotAllowed',
      /none of network net-b's namespaces/,
    ],
    [
      "another customer's VNI",
      'tenant-a',
      { rules: [{ vni: 2000, ...deny }] },
      'VNINotAllowed',
      /VNI 2000 is not the customer's; accepted: 1000-1999/,
    ],
    [
      'a VNI without a network',
      'tenant-a',
      { rules: [{ vni: 1999, ...deny }] },
      'NetworkNotFound',
      /no network with VNI 1999/,
    ],
    [
      'a network that is not there',
      'tenant-a',
      { networkRef: 'nope', rules: [{ vni: 1000, ...deny }] },
      'NetworkNotFound',
      /no network nope/,
    ],
    [
      'a network from a prototype',
      'tenant-a',
      { networkRef: 'constructor', rules: [deny] },
      'NetworkNotFound',
    ],
    [
      'tier platform of its namespace',
      'dpu-system',
      { tier: 'platform', rules: [{ vni: 1000, ...deny }] },
      1000,
    ],
    [
      'tier platform of a tenant',
      'tenant-a',
      { tier: 'platform', rules: [{ vni: 1000, ...deny }] },
      'TierNotAllowed',
      /namespace tenant-a may not use tier platform; accepted: namespaces dpu-system/,
    ],
    [
      'tier platform of an admin',
      'ops',
      { tier: 'platform', rules: [{ vni: 1000, ...deny }] },
      'TierNotAllowed',
    ],
    [
      'tier admin does not give VNIs',
      'ops',
      { tier: 'admin', rules: [{ vni: 1000, ...deny }] },
      'VNINotAllowed',
    ],
    [
      'tier baseline of a tenant',
      'tenant-a',
      { tier: 'baseline', rules: [{ vni: 1000, ...deny }] },
      1000,
    ],
    ['a selector by name', 'tenant-c', { rules: [{ vni: 1002, ...deny }] }, 1002],
    [
      'a selector by another name',
      'tenant-a',
      { rules: [{ vni: 1002, ...deny }] },
      'VNINotAllowed',
    ],
    [
      'a selector by an unknown label',
      'tenant-a',
      { rules: [{ vni: 1003, ...deny }] },
      'VNINotAllowed',
    ],
    ['an empty selector is every namespace', 'tenant-z', { rules: [{ vni: 1004, ...deny }] }, 1004],
  ];
  for (const [name, namespace, spec, wanted, message] of cases) {
    const [verdict] = checkOwnership(rule(namespace, spec), NETWORKS, CONFIG);
    t.equal(verdict?.reason ?? verdict?.vni, wanted, name);
    if (message !== undefined) t.match(verdict?.message, message, `${name}: the message`);
  }
});

void t.test('each rule of an object has its own verdict', async (t) => {
  const verdicts = checkOwnership(
    rule('tenant-a', { rules: [1000, 1001, 7, 1000].map((vni) => ({ vni, action: 'deny' })) }),
    NETWORKS,
    CONFIG,
  );
  t.strictSame(
    verdicts.map(({ vni, reason }) => vni ?? reason),
    [1000, 'VNINotAllowed', 'VNINotAllowed', 1000],
  );
});

void t.test('with no namespace configured nobody has the first tiers', async (t) => {
  const [verdict] = checkOwnership(
    rule('tenant-a', { tier: 'admin', rules: [{ vni: 1000, action: 'deny' }] }),
    NETWORKS,
    {
      ...CONFIG,
      tiers: { platform: [], admin: [] },
    },
  );
  t.match(verdict, { reason: 'TierNotAllowed', message: /accepted: no namespace/ });
});

void t.test(
  'networks: the configuration wins, then the first by name; foreign VNIs are refused',
  async (t) => {
    const { networks, problems } = collectNetworks(
      AGENT.networks,
      [
        network('z', { vni: 1500 }),
        network('b', { vni: 1500 }),
        network('same-vni', { vni: 1000 }),
        network('net-b', { vni: 1600 }),
        network('foreign', { vni: 42 }),
        network('ok', {
          vni: 1700,
          conntrack: 'on',
          dhcp: 'allow',
          unknownUnicast: 'flood',
          defaultAction: { ingress: 'deny' },
        }),
      ],
      CONFIG.customerVnis,
    );
    t.strictSame(
      [...networks.byVni].map(([vni, { name }]) => [vni, name]),
      [
        [1000, 'net-a'],
        [1001, 'net-b'],
        [1500, 'b'],
        [1700, 'ok'],
      ],
    );
    t.match(networks.byName.get('ok'), {
      conntrack: 'on',
      dhcp: 'allow',
      unknownUnicast: 'flood',
      defaultAction: { ingress: 'deny', egress: 'allow' },
      origin: 'DPUNetwork/ok',
    });
    t.strictSame(
      problems.map(({ object, reason, message }) => [object, reason, message]),
      [
        [
          'DPUNetwork/foreign',
          'VNINotAllowed',
          "VNI 42 is not the customer's; accepted: 1000-1999",
        ],
        [
          'DPUNetwork/net-b',
          'Invalid',
          'name net-b belongs to network net-b (configuration), which is in force',
        ],
        [
          'DPUNetwork/same-vni',
          'Invalid',
          'VNI 1000 belongs to network net-a (configuration), which is in force',
        ],
        [
          'DPUNetwork/z',
          'Invalid',
          'VNI 1500 belongs to network b (DPUNetwork/b), which is in force',
        ],
      ],
    );
  },
);

void t.test('a rule set keeps what is still true', async (t) => {
  const snapshot = (...objects: DpuObject[]): ReadonlyMap<string, SourceObject> =>
    new Map(objects.map((object) => [objectKey(object), { object, origin: 'f:1' }]));
  const config: RuleSetConfig = AGENT;
  const one = rule('tenant-a', { rules: [{ vni: 1000, action: 'deny' }] });
  const two = rule('tenant-b', { networkRef: 'later', rules: [{ action: 'deny' }] });
  const first = buildRuleSet(snapshot(one, two), config);
  t.equal(first.rules.get('DPURule/tenant-b/r')?.verdicts[0]?.reason, 'NetworkNotFound');

  const edited = rule('tenant-b', { networkRef: 'later', rules: [{ action: 'allow' }] });
  const second = buildRuleSet(snapshot(one, edited), config, first);
  t.equal(second.networks, first.networks, 'the same networks');
  t.equal(
    second.rules.get('DPURule/tenant-a/r'),
    first.rules.get('DPURule/tenant-a/r'),
    'an unchanged rule keeps its entry',
  );
  t.equal(second.rules.get('DPURule/tenant-b/r')?.rule, edited);

  const third = buildRuleSet(
    snapshot(one, edited, network('later', { vni: 1800, namespaces: ['tenant-b'] })),
    config,
    second,
  );
  t.equal(
    third.rules.get('DPURule/tenant-b/r')?.verdicts[0]?.vni,
    1800,
    'a network that comes later is found',
  );

  const fourth = buildRuleSet(
    snapshot(one),
    { ...config, tiers: { platform: [], admin: [] } },
    third,
  );
  t.strictSame([...fourth.rules.keys()], ['DPURule/tenant-a/r']);
  t.not(
    fourth.rules.get('DPURule/tenant-a/r'),
    third.rules.get('DPURule/tenant-a/r'),
    'a new configuration is judged anew',
  );
});
