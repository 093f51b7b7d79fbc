// parseObject: what is a rule or a network, what is not, and what the user is told. Property tests feed it anything.
import fc from 'fast-check';
import t from 'tap';
import { formatPath, parsePath } from '../../src/api/field-path.ts';
import { nearestWord } from '../../src/api/nearest.ts';
import { objectKey, parseObject } from '../../src/api/object.ts';
import { parsePortRange } from '../../src/api/port-range.ts';
import { ownsVni, parseVniRange } from '../../src/api/vni-range.ts';
import { parsePrefix } from '../../src/base/address.ts';

const API = 'dpu.network/v1alpha1';

function ruleObject(
  spec: object,
  metadata: object = { name: 'web', namespace: 'tenant-a' },
): unknown {
  return { apiVersion: API, kind: 'DPURule', metadata, spec };
}

/** An object with one rule that is valid but for `fields`. */
function withRule(fields: object): unknown {
  return ruleObject({ rules: [{ vni: 1000, action: 'deny', ...fields }] });
}

function withMatch(match: object): unknown {
  return withRule({ match });
}

function networkObject(spec: object): unknown {
  return {
    apiVersion: API,
    kind: 'DPUNetwork',
    metadata: { name: 'net' },
    spec: { vni: 1000, ...spec },
  };
}

function groupObject(spec: object, name = 'web'): unknown {
  return { apiVersion: API, kind: 'DPUGroup', metadata: { name, namespace: 'tenant-a' }, spec };
}

function sliceObject(
  entry: object,
  labels: object | undefined = { 'dpu.network/group': 'web', app: 'x' },
): unknown {
  const metadata = { name: 'web-1', namespace: 'tenant-a', ...(labels && { labels }) };
  const entries = [{ ip: '10.1.0.5', vni: 1000, ...entry }];
  return { apiVersion: API, kind: 'DPUGroupSlice', metadata, spec: { entries } };
}

void t.test('groups and slices', async (t) => {
  const exists = { matchExpressions: [{ key: 'app', operator: 'Exists' }] };
  for (const [name, value] of [
    ['an empty group', groupObject({})],
    ['prefixes', groupObject({ cidrs: ['10.0.0.0/8', 'fd00::/8'], except: ['10.1.0.0/16'] })],
    ['everything', groupObject({ podSelector: {}, namespaceSelector: exists })],
    ['IPv6 and named ports', sliceObject({ ip: 'fd00::5', ports: { http: ['TCP', 80] } })],
  ] as const) {
    t.strictSame(parseObject(value).problems, [], name);
  }
  for (const [name, value, path, message] of [
    ['a long name', groupObject({}, 'g'.repeat(64)), 'metadata.name', /at most 63/],
    ['a host name', groupObject({ cidrs: ['web'] }), 'spec.cidrs[0]', /IPv4 or IPv6/],
    [
      'no requirement',
      groupObject({ podSelector: { app: 'web' } }),
      'spec.podSelector.app',
      /known/,
    ],
    [
      'values for Exists',
      groupObject({
        podSelector: { matchExpressions: [{ key: 'a', operator: 'Exists', values: ['b'] }] },
      }),
      'spec.podSelector.matchExpressions[0].values',
      /none with the others/,
    ],
    ['a prefix as entry', sliceObject({ ip: '10.0.0.0/8' }), 'spec.entries[0].ip', /address/],
    ['VNI 0', sliceObject({ vni: 0 }), 'spec.entries[0].vni', /from 1 to/],
    ['port 0', sliceObject({ ports: { a: ['TCP', 0] } }), 'spec.entries[0].ports.a[1]', /from 1/],
    ['a bare port', sliceObject({ ports: { a: 80 } }), 'spec.entries[0].ports.a', /\[TCP, 8080\]/],
    ['ICMP', sliceObject({ ports: { a: ['ICMP', 1] } }), 'spec.entries[0].ports.a[0]', /TCP, 8080/],
    ['no label', sliceObject({}, { app: 'x' }), 'metadata.labels["dpu.network/group"]', /missing/],
    [
      'two numbers too many',
      sliceObject({ ports: { a: ['TCP', 1, 2] } }),
      'spec.entries[0].ports.a',
      /\[TCP, 8080\]/,
    ],
  ] as const) {
    const { object, problems } = parseObject(value);
    t.equal(object, undefined, name);
    t.equal(problems[0]?.path, path, name);
    t.match(problems[0]?.message, message, name);
  }
});

void t.test('defaults are applied', async (t) => {
  const rule = parseObject(
    ruleObject({
      rules: [
        { vni: 1000, action: 'deny' },
        { name: 'x', vni: 1, action: 'allow', log: {} },
      ],
    }),
  );
  t.strictSame(rule.problems, []);
  t.strictSame(rule.object?.spec, {
    tier: 'tenant',
    priority: 500,
    enforcement: 'Enforce',
    rules: [
      { name: 'r0', vni: 1000, direction: 'Both', match: {}, action: 'deny', reverse: false },
      {
        name: 'x',
        vni: 1,
        direction: 'Both',
        match: {},
        action: 'allow',
        reverse: false,
        log: { mode: 'none', label: '' },
      },
    ],
  });
  t.strictSame(parseObject(networkObject({})).object?.spec, {
    vni: 1000,
    namespaces: [],
    subnets: [],
    conntrack: 'off',
    remoteLearning: 'off',
    defaultAction: { ingress: 'allow', egress: 'allow' },
    unknownUnicast: 'drop',
    dhcp: 'deny',
  });
});

void t.test('objects have keys across kinds', async (t) => {
  for (const [value, key] of [
    [withRule({}), 'DPURule/tenant-a/web'],
    [networkObject({}), 'DPUNetwork/net'],
    [groupObject({}), 'DPUGroup/tenant-a/web'],
    [sliceObject({}), 'DPUGroupSlice/tenant-a/web-1'],
  ] as const) {
    const { object } = parseObject(value);
    t.equal(object && objectKey(object), key);
  }
});

void t.test('what is valid is accepted', async (t) => {
  const cases: [string, unknown][] = [
    ['fields of a server', { ...(withRule({}) as object), status: { desiredNodes: 3, x: [] } }],
    [
      'metadata of a server',
      ruleObject(
        { rules: [{ vni: 1, action: 'pass' }] },
        {
          name: 'a.b',
          namespace: 'x',
          uid: 'u',
          generation: 2,
          creationTimestamp: null,
          managedFields: [{}],
        },
      ),
    ],
    [
      'no vni with networkRef',
      ruleObject({ networkRef: 'net', rules: [{ action: 'allow', reverse: true }] }),
    ],
    [
      'an address, a prefix, IPv6',
      withMatch({ srcIPs: ['10.1.0.5', '10.2.0.0/16'], dstIP: '10.0.0.0/8' }),
    ],
    [
      'both families on both sides',
      withMatch({ srcIPs: ['10.1.0.5', 'fd00::1'], dstIPs: ['fd00::/8', '10.0.0.1'] }),
    ],
    [
      'ports as numbers, texts and ranges',
      withMatch({ srcPorts: [0, '1', '2-65535'], dstPort: 65535 }),
    ],
    [
      'ICMP with type and code',
      withMatch({ protocol: 'ICMP', icmpType: 8, icmpCode: 0, srcIP: '10.0.0.1' }),
    ],
    ['a protocol by number', withMatch({ protocol: 17, dstPort: 53 })],
    ['a protocol without ports', withMatch({ protocol: 47 })],
    [
      'layer 2',
      withMatch({ srcMAC: '02:00:00:00:00:01', dstMAC: 'ff:ff:ff:ff:ff:ff', etherType: 0x0806 }),
    ],
    [
      'etherType of IP with IP fields',
      withMatch({ etherType: 0x86dd, protocol: 'TCP', dstIP: 'fd00::1' }),
    ],
    ['TCP flags', withMatch({ tcpFlags: '+syn-ack' })],
    [
      'named later by the compiler: groups',
      withMatch({ srcGroup: 'a', dstGroup: 'b', dstPortName: 'http' }),
    ],
    [
      'named later by the compiler: negation',
      withMatch({ notSrcIPs: ['10.0.0.1'], notDstIPs: ['fd00::/8'] }),
    ],
    [
      'redirect',
      withRule({ action: 'redirect', redirectPort: 'fw0', returnPort: 'fw1', onMissing: 'Allow' }),
    ],
    [
      'the rest',
      ruleObject({
        nodeSelector: { a: 'b' },
        enforcement: 'DryRun',
        tier: 'baseline',
        priority: 1000,
        rules: [
          {
            vni: 16777215,
            priority: 0,
            action: 'reject',
            log: { mode: 'all', label: 'x' },
            rateLimit: { pps: 1, burst: 2 },
            mirror: { port: 'mon0' },
            expiresAt: '2026-12-01T00:00:00Z',
          },
        ],
      }),
    ],
    [
      '256 rules',
      ruleObject({ rules: Array.from({ length: 256 }, () => ({ vni: 1, action: 'deny' })) }),
    ],
    [
      '1024 addresses',
      withMatch({
        srcIPs: Array.from({ length: 1024 }, (_, index) => `10.0.${index >> 8}.${index & 255}`),
      }),
    ],
    [
      'a network',
      networkObject({
        namespaces: ['a'],
        namespaceSelector: { matchLabels: { x: 'y' } },
        subnets: ['10.1.0.0/16'],
        gateway: '10.1.0.1',
        mtu: 1500,
        attachment: { secondary: 'blue' },
        conntrack: 'on',
        dhcp: 'allow',
      }),
    ],
  ];
  for (const [name, value] of cases) t.strictSame(parseObject(value).problems, [], name);
});

void t.test(
  'what is not valid is refused with path, what was seen and what is accepted',
  async (t) => {
    const cases: [string, unknown, string, RegExp][] = [
      ['no object', 7, '', /7 is not accepted; accepted: an object/],
      ['no apiVersion', {}, 'apiVersion', /is missing; accepted: dpu.network\/v1alpha1/],
      ['another kind', { apiVersion: API, kind: 'DPUrules' }, 'kind', /did you mean DPURule/],
      [
        'a kind from a prototype',
        { apiVersion: API, kind: 'constructor' },
        'kind',
        /accepted: DPURule, DPUNetwork/,
      ],
      [
        'no metadata',
        { apiVersion: API, kind: 'DPURule', spec: { rules: [{ vni: 1, action: 'deny' }] } },
        'metadata',
        /is missing; accepted: an object/,
      ],
      [
        'no namespace',
        ruleObject({ rules: [{ vni: 1, action: 'deny' }] }, { name: 'a' }),
        'metadata.namespace',
        /is missing; accepted: a DNS-1123 label/,
      ],
      [
        'a name in capitals',
        ruleObject({ rules: [{ vni: 1, action: 'deny' }] }, { name: 'A', namespace: 'a' }),
        'metadata.name',
        /"A" is not accepted; accepted: a DNS-1123/,
      ],
      [
        'a hostile name',
        ruleObject({ rules: [{ vni: 1, action: 'deny' }] }, { name: '__proto__', namespace: 'a' }),
        'metadata.name',
        /DNS-1123/,
      ],
      [
        'no rules',
        ruleObject({ rules: [] }),
        'spec.rules',
        /list of 0 is not accepted; accepted: at least 1/,
      ],
      [
        '257 rules',
        ruleObject({ rules: Array.from({ length: 257 }, () => ({ vni: 1, action: 'deny' })) }),
        'spec.rules',
        /at most 256/,
      ],
      [
        'a rule that is null',
        ruleObject({ rules: [null] }),
        'spec.rules[0]',
        /null is not accepted/,
      ],
      [
        'an unknown field',
        withRule({ prio: 1 }),
        'spec.rules[0].prio',
        /is not a known field; accepted: name, vni, priority/,
      ],
      [
        'a field in the wrong case',
        withMatch({ dstport: 1 }),
        'spec.rules[0].match.dstport',
        /did you mean dstPort\?/,
      ],
      [
        'a field of a prototype',
        withMatch(JSON.parse('{"__proto__": 1}') as object),
        'spec.rules[0].match.__proto__',
        /is not a known field/,
      ],
      [
        'an unknown tier',
        ruleObject({ tier: 'admins', rules: [{ vni: 1, action: 'deny' }] }),
        'spec.tier',
        /did you mean admin\?/,
      ],
      [
        'a priority above',
        withRule({ priority: 1001 }),
        'spec.rules[0].priority',
        /1001 is not accepted; accepted: a whole number from 0 to 1000/,
      ],
      [
        'VNI 0',
        withRule({ vni: 0 }),
        'spec.rules[0].vni',
        /0 is not accepted; accepted: a whole number from 1 to 16777215/,
      ],
      ['a VNI of 25 bits', withRule({ vni: 0x1000000 }), 'spec.rules[0].vni', /16777216/],
      ['a VNI as text', withRule({ vni: '1000' }), 'spec.rules[0].vni', /"1000" is not accepted/],
      ['a VNI with a fraction', withRule({ vni: 1.5 }), 'spec.rules[0].vni', /1.5 is not accepted/],
      [
        'neither VNI nor network',
        ruleObject({ rules: [{ action: 'deny' }] }),
        'spec.rules[0].vni',
        /is missing; accepted: a VNI 1..16777215, or spec.networkRef/,
      ],
      [
        'no action',
        withRule({ action: undefined }),
        'spec.rules[0].action',
        /is missing; accepted: allow, deny, redirect, reject, pass/,
      ],
      [
        'an address of three parts',
        withMatch({ srcIP: '10.1.0' }),
        'spec.rules[0].match.srcIP',
        /"10.1.0" is not accepted; accepted: an IPv4 or IPv6/,
      ],
      [
        'a prefix that is too long',
        withMatch({ dstIPs: ['10.0.0.0/33'] }),
        'spec.rules[0].match.dstIPs[0]',
        /33/,
      ],
      [
        'an address as number',
        withMatch({ srcIP: 167837696 }),
        'spec.rules[0].match.srcIP',
        /167837696 is not accepted/,
      ],
      [
        '1025 addresses',
        withMatch({ srcIPs: Array.from({ length: 1025 }, () => '10.0.0.1') }),
        'spec.rules[0].match.srcIPs',
        /list of 1025 is not accepted; accepted: at most 1024/,
      ],
      ['an empty list', withMatch({ dstIPs: [] }), 'spec.rules[0].match.dstIPs', /at least 1/],
      [
        'srcIP beside srcIPs',
        withMatch({ srcIP: '10.0.0.1', srcIPs: ['10.0.0.2'] }),
        'spec.rules[0].match.srcIPs',
        /cannot be given beside srcIP; accepted: one of them/,
      ],
      [
        'dstPort beside dstPorts',
        withMatch({ dstPort: 1, dstPorts: [2] }),
        'spec.rules[0].match.dstPorts',
        /beside dstPort/,
      ],
      [
        'families that never meet',
        withMatch({ srcIP: '10.0.0.1', dstIP: 'fd00::1' }),
        'spec.rules[0].match.dstIP',
        /destinations are IPv6 while sources are IPv4/,
      ],
      [
        'one family too many',
        withMatch({ srcIPs: ['10.0.0.1', 'fd00::1'], dstIPs: ['fd00::2'] }),
        'spec.rules[0].match.dstIPs',
        /sources are IPv4 and IPv6/,
      ],
      [
        'ICMP between IPv6 addresses',
        withMatch({ protocol: 'ICMP', dstIP: 'fd00::1' }),
        'spec.rules[0].match.protocol',
        /ICMP is IPv4 while an address of the rule is IPv6/,
      ],
      [
        'ICMPv6 by number between IPv4 addresses',
        withMatch({ protocol: 58, dstIP: '10.0.0.1' }),
        'spec.rules[0].match.protocol',
        /58 is IPv6/,
      ],
      [
        'IPv4 etherType with IPv6 addresses',
        withMatch({ etherType: 0x0800, dstIP: 'fd00::1' }),
        'spec.rules[0].match.etherType',
        /2048 is IPv4/,
      ],
      [
        'ARP etherType with a protocol',
        withMatch({ etherType: 0x0806, protocol: 'TCP' }),
        'spec.rules[0].match.etherType',
        /is not IP/,
      ],
      [
        'IPv6 etherType with ICMP',
        withMatch({ etherType: 0x86dd, protocol: 'ICMP' }),
        'spec.rules[0].match.etherType',
        /IPv6 while the protocol is of IPv4/,
      ],
      [
        'an etherType that is a length',
        withMatch({ etherType: 1500 }),
        'spec.rules[0].match.etherType',
        /1536/,
      ],
      [
        'a protocol in the wrong case',
        withMatch({ protocol: 'tcp' }),
        'spec.rules[0].match.protocol',
        /"tcp" is not accepted; accepted: TCP, UDP/,
      ],
      [
        'a protocol of 9 bits',
        withMatch({ protocol: 256 }),
        'spec.rules[0].match.protocol',
        /256 is not accepted/,
      ],
      [
        'a port with ICMP',
        withMatch({ protocol: 'ICMP', dstPort: 80 }),
        'spec.rules[0].match.dstPort',
        /protocol ICMP has no ports; accepted: TCP, UDP, SCTP/,
      ],
      [
        'a port with GRE',
        withMatch({ protocol: 47, srcPorts: [80] }),
        'spec.rules[0].match.srcPorts',
        /protocol 47 has no ports/,
      ],
      [
        'a port of 17 bits',
        withMatch({ dstPort: 65536 }),
        'spec.rules[0].match.dstPort',
        /65536 is not accepted; accepted: a port 0..65535 or a range/,
      ],
      [
        'a range that runs backwards',
        withMatch({ dstPort: '90-80' }),
        'spec.rules[0].match.dstPort',
        /"90-80" is not accepted/,
      ],
      [
        'a negative port',
        withMatch({ dstPorts: ['-1'] }),
        'spec.rules[0].match.dstPorts[0]',
        /"-1" is not accepted/,
      ],
      [
        'icmpType without ICMP',
        withMatch({ icmpType: 8 }),
        'spec.rules[0].match.icmpType',
        /needs protocol ICMP or ICMPv6/,
      ],
      [
        'icmpCode without icmpType',
        withMatch({ protocol: 'ICMP', icmpCode: 1 }),
        'spec.rules[0].match.icmpCode',
        /needs icmpType/,
      ],
      ['DSCP of 7 bits', withMatch({ dscp: 64 }), 'spec.rules[0].match.dscp', /from 0 to 63/],
      [
        'a multicast source',
        withMatch({ srcMAC: '01:00:5e:00:00:01' }),
        'spec.rules[0].match.srcMAC',
        /accepted: a unicast MAC/,
      ],
      [
        'a MAC with dashes',
        withMatch({ dstMAC: '02-00-00-00-00-01' }),
        'spec.rules[0].match.dstMAC',
        /accepted: a MAC/,
      ],
      [
        'TCP flags of UDP',
        withMatch({ protocol: 'UDP', tcpFlags: '+syn' }),
        'spec.rules[0].match.tcpFlags',
        /protocol UDP has no TCP flags/,
      ],
      [
        'a TCP flag twice',
        withMatch({ tcpFlags: '+syn-syn' }),
        'spec.rules[0].match.tcpFlags',
        /names a flag twice/,
      ],
      [
        'an unknown TCP flag',
        withMatch({ tcpFlags: 'syn' }),
        'spec.rules[0].match.tcpFlags',
        /"syn" is not accepted; accepted: \+ or -/,
      ],
      [
        'redirect to nowhere',
        withRule({ action: 'redirect' }),
        'spec.rules[0].redirectPort',
        /is missing; accepted: the name of an OVS port/,
      ],
      [
        'redirectPort without redirect',
        withRule({ redirectPort: 'fw0' }),
        'spec.rules[0].redirectPort',
        /has no meaning with action deny/,
      ],
      [
        'reverse of a deny',
        withRule({ reverse: true }),
        'spec.rules[0].reverse',
        /with action allow only/,
      ],
      [
        'two rate limits',
        withRule({ rateLimit: { pps: 1, kbps: 1 } }),
        'spec.rules[0].rateLimit',
        /needs one of pps and kbps/,
      ],
      [
        'no rate limit',
        withRule({ rateLimit: {} }),
        'spec.rules[0].rateLimit',
        /needs one of pps and kbps/,
      ],
      [
        'a date without time',
        withRule({ expiresAt: '2026-12-01' }),
        'spec.rules[0].expiresAt',
        /accepted: a time such as/,
      ],
      [
        'a month 13',
        withRule({ expiresAt: '2026-13-01T00:00:00Z' }),
        'spec.rules[0].expiresAt',
        /accepted: a time such as/,
      ],
      [
        'two rules of one name',
        ruleObject({
          rules: [
            { name: 'r1', vni: 1, action: 'deny' },
            { vni: 1, action: 'deny' },
          ],
        }),
        'spec.rules[1].name',
        /"r1" is the name of rules\[0\] too/,
      ],
      [
        'on without quotes',
        networkObject({ conntrack: true }),
        'spec.conntrack',
        /true is not accepted; accepted: on, off \(write "on" or "off" in quotes\)/,
      ],
      [
        'a gateway outside',
        networkObject({ subnets: ['10.1.0.0/16'], gateway: '10.2.0.1' }),
        'spec.gateway',
        /is in no subnet of the network/,
      ],
      [
        'a gateway with a length',
        networkObject({ gateway: '10.2.0.1/24' }),
        'spec.gateway',
        /accepted: an IPv4 or IPv6 address/,
      ],
      ['an MTU of 100', networkObject({ mtu: 100 }), 'spec.mtu', /from 576 to 9216/],
      [
        '65 labels',
        ruleObject({
          nodeSelector: Object.fromEntries(
            Array.from({ length: 65 }, (_, index) => [`k${index}`, '']),
          ),
          rules: [{ vni: 1, action: 'deny' }],
        }),
        'spec.nodeSelector',
        /at most 64 labels/,
      ],
    ];
    for (const [name, value, path, message] of cases) {
      const { object, problems } = parseObject(value);
      t.equal(object, undefined, `${name}: no object`);
      t.match(problems, [{ path, message }], name);
      t.equal(problems.length, 1, `${name}: one problem`);
    }
  },
);

void t.test('every problem is listed, up to a bound', async (t) => {
  const many = parseObject(ruleObject({ tier: 1, rules: [{ vni: 0, action: 'x' }, 5] })).problems;
  t.strictSame(
    many.map(({ path }) => path),
    ['spec.tier', 'spec.rules[0].vni', 'spec.rules[0].action', 'spec.rules[1]'],
  );
  const flood = parseObject(
    withMatch({ srcIPs: Array.from({ length: 1000 }, () => 'x') }),
  ).problems;
  t.equal(flood.length, 51);
  t.match(flood.at(-1)?.message, 'and 950 more problems');
  const long = parseObject(withMatch({ srcIP: 'x'.repeat(1e6), ['y'.repeat(1e6)]: 1 })).problems;
  t.ok(
    long.every(({ path, message }) => path.length < 200 && message.length < 500),
    'messages stay short',
  );
});

void t.test('anything at all is answered, and no prototype is touched', async (t) => {
  const prototype = Object.getOwnPropertyNames(Object.prototype).sort();
  const hostile = fc.constantFrom(
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    'spec',
    'rules',
    'match',
    'srcIP',
    'kind',
  );
  const anything = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.jsonValue(),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.oneof(hostile, fc.string()), tie('value'), { maxKeys: 5 }),
    ),
  })).value;
  const mostly = fc.oneof(
    anything,
    anything.map((spec) => ({
      apiVersion: API,
      kind: 'DPURule',
      metadata: { name: 'a', namespace: 'b' },
      spec,
    })),
    fc.dictionary(hostile, anything).map((fields) => withRule(fields)),
    fc
      .dictionary(
        fc.constantFrom(
          'srcIP',
          'dstIPs',
          'protocol',
          'dstPort',
          'dstPorts',
          'etherType',
          'tcpFlags',
          '__proto__',
        ),
        anything,
      )
      .map(withMatch),
    anything.map((metadata) => ({
      apiVersion: API,
      kind: 'DPUNetwork',
      metadata,
      spec: { vni: 1 },
    })),
  );
  fc.assert(
    fc.property(mostly, (value) => {
      const { object, problems } = parseObject(
        JSON.parse(JSON.stringify(value ?? null)) as unknown,
      );
      return (
        (object === undefined) === problems.length > 0 &&
        problems.every(({ message }) => message !== '')
      );
    }),
    { numRuns: 3000 },
  );
  t.strictSame(Object.getOwnPropertyNames(Object.prototype).sort(), prototype);
  const labels = parseObject(
    ruleObject(
      { rules: [{ vni: 1, action: 'deny' }] },
      JSON.parse(
        '{"name": "a", "namespace": "b", "labels": {"__proto__": "x", "constructor": "y"}}',
      ) as object,
    ),
  );
  t.equal(Object.getPrototypeOf(labels.object?.metadata.labels), Object.prototype);
});

void t.test('addresses, ports and VNIs: accepted exactly when they can be parsed', async (t) => {
  const address = fc.oneof(
    fc.ipV4(),
    fc.ipV4Extended(),
    fc.ipV6(),
    fc.string(),
    fc
      .tuple(fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: -1, max: 200 }))
      .map(([ip, length]) => `${ip}/${length}`),
  );
  fc.assert(
    fc.property(
      address,
      (text) =>
        (parseObject(withMatch({ srcIP: text })).object !== undefined) ===
        (text.length <= 49 && parsePrefix(text) !== undefined),
    ),
  );
  const port = fc.oneof(
    fc.integer({ min: -2, max: 70_000 }),
    fc.double(),
    fc.string(),
    fc.tuple(fc.nat(70_000), fc.nat(70_000)).map(([one, other]) => `${one}-${other}`),
  );
  fc.assert(
    fc.property(port, (value) => {
      const range = parsePortRange(value);
      const valid = parseObject(withMatch({ dstPort: value })).object !== undefined;
      return (
        valid === (range !== undefined) &&
        (range === undefined ||
          (range.first >= 0 && range.first <= range.last && range.last <= 65_535))
      );
    }),
  );
  fc.assert(
    fc.property(fc.nat(17_000_000), fc.nat(17_000_000), (one, other) => {
      const range = parseVniRange(`${one}-${other}`);
      const valid = one >= 1 && one <= other && other <= 16_777_215;
      return valid
        ? range !== undefined &&
            ownsVni([range], one) &&
            ownsVni([range], other) &&
            !ownsVni([range], other + 1)
        : range === undefined;
    }),
  );
  for (const text of ['', '-', '1-', '-1', '1-2-3', ' 1', '1 ', '0x10', '1e3', '٣']) {
    t.equal(parsePortRange(text), undefined, `port ${JSON.stringify(text)}`);
    t.equal(parseVniRange(text), undefined, `VNI ${JSON.stringify(text)}`);
  }
});

void t.test('paths are written and read', async (t) => {
  t.equal(formatPath(['spec', 'rules', 0, 'match', 'dstPort']), 'spec.rules[0].match.dstPort');
  t.equal(formatPath(['metadata', 'labels', 'a.b/c"]']), 'metadata.labels["a.b/c\\"]"]');
  t.strictSame(parsePath('a b'), ['a'], 'what cannot be read ends the list');
  const key = fc.oneof(
    fc.nat(1000),
    fc.string({ maxLength: 64, minLength: 1 }),
    fc.constantFrom('__proto__', 'spec'),
  );
  fc.assert(
    fc.property(fc.array(key), (segments) => {
      t.strictSame(parsePath(formatPath(segments)), segments);
    }),
  );
});

void t.test('the nearest word is near', async (t) => {
  const accepted = ['srcIP', 'srcIPs', 'dstPort', 'protocol'];
  for (const [word, near] of [
    ['srcip', 'srcIP'],
    ['dst_port', 'dstPort'],
    ['protocl', 'protocol'],
    ['banana', undefined],
    ['', undefined],
    ['x'.repeat(1e6), undefined],
  ] as const) {
    t.equal(nearestWord(word, accepted), near, word.slice(0, 20));
  }
});
