// The agent's configuration: the example as published, defaults, every refusal with its line, and the environment.
import fc from 'fast-check';
import t from 'tap';
import { type AgentConfig, readConfig } from '../../src/agent/config.ts';
import { reloadConfig } from '../../src/agent/config-reload.ts';
import { parseListen } from '../../src/agent/listen-address.ts';
import { ConfigError } from '../../src/base/error.ts';

const EXAMPLE = `# dpu-agent --config agent.yaml
node: dpu-1
ovs: {database: unix:/var/run/openvswitch/db.sock, rundir: /var/run/openvswitch, bridge: br-int, datapathType: netdev}
rules: {source: directory, path: /etc/dpu-agent/rules.d}
state: /var/lib/dpu-agent            # last good objects
customer: {name: customer-1, vnis: ["1000-1999", "42"]}
tiers: {platform: [dpu-system], admin: [dpu-system]}   # namespaces that may use them
vtep: {ip: 192.168.1.11}             # or {interface: p0} or {cidr: 192.168.1.0/24}
peers:
  - {vtep: 192.168.1.12, endpoints: [{vni: 1000, mac: "02:00:0a:01:02:05", ips: [10.1.0.25]}]}
networks:
  - {vni: 1000, name: tenant-a, namespaces: [tenant-a], subnets: [10.1.0.0/16], defaultAction: {ingress: allow, egress: allow}}
ports: []                            # local endpoints that carry no external_ids: [{name, vni, mac, ips}]
debug: {socket: /run/dpu-agent/debug.sock}
metrics: {listen: 127.0.0.1:9464}
`;

function refusals(text: string, env: Record<string, string> = {}): string[] {
  try {
    readConfig(text, 'agent.yaml', env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n');
    throw error;
  }
}

/** The example with each of `changes` replaced: [what, by what]. */
function changed(...changes: [string, string][]): string {
  return changes.reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new RangeError(`the example has no ${from}`);
    return text.replace(from, to);
  }, EXAMPLE);
}

const WANTED: AgentConfig = readConfig(EXAMPLE, 'agent.yaml', {});

void t.test('the published example is read, with every value parsed', async (t) => {
  t.strictSame(WANTED, {
    node: 'dpu-1',
    ovs: {
      database: 'unix:/var/run/openvswitch/db.sock',
      rundir: '/var/run/openvswitch',
      bridge: 'br-int',
      datapathType: 'netdev',
      flowRestoreTimeoutSeconds: 30,
    },
    rules: { source: 'directory', path: '/etc/dpu-agent/rules.d' },
    state: '/var/lib/dpu-agent',
    customer: {
      name: 'customer-1',
      vnis: [
        { first: 1000, last: 1999 },
        { first: 42, last: 42 },
      ],
    },
    tiers: { platform: ['dpu-system'], admin: ['dpu-system'] },
    vtep: { ip: { family: 4, value: 0xc0a8010bn, length: 32 } },
    peers: [
      {
        vtep: { family: 4, value: 0xc0a8010cn, length: 32 },
        endpoints: [
          { vni: 1000, mac: 0x02000a010205n, ips: [{ family: 4, value: 0x0a010019n, length: 32 }] },
        ],
      },
    ],
    networks: [
      {
        vni: 1000,
        name: 'tenant-a',
        namespaces: ['tenant-a'],
        subnets: [{ family: 4, length: 16, value: 0x0a010000n }],
        defaultAction: { ingress: 'allow', egress: 'allow' },
        unknownUnicast: 'drop',
        conntrack: 'off',
        remoteLearning: 'off',
      },
    ],
    ports: [],
    conntrack: { firstZone: 32768, lastZone: 65535, warmUpSeconds: 60 },
    learning: { limit: 1024, ageSeconds: 300 },
    debug: { socket: '/run/dpu-agent/debug.sock', allowMutations: false },
    metrics: { listen: { host: '127.0.0.1', port: 9464 } },
    log: { level: 'info' },
    kubernetes: {
      publish: true,
      namespace: 'dpu-system',
      leaseSeconds: 40,
      renewSeconds: 10,
      statusSeconds: 5,
    },
    vteps: { source: 'static', exclude: [] },
  });
});

void t.test('what is not given has its default', async (t) => {
  const config = readConfig(
    'node: n\ncustomer: {name: c, vnis: [7]}\nvtep: {interface: p0}\n',
    'a',
    {},
  );
  t.match(config, {
    ovs: {
      database: 'unix:/var/run/openvswitch/db.sock',
      rundir: '/var/run/openvswitch',
      bridge: 'br-int',
      datapathType: 'system',
    },
    rules: { source: 'directory', path: '/etc/dpu-agent/rules.d' },
    state: '/var/lib/dpu-agent',
    customer: { vnis: [{ first: 7, last: 7 }] },
    tiers: { platform: [], admin: [] },
    vtep: { interface: 'p0' },
    peers: [],
    networks: [],
    ports: [],
    conntrack: { firstZone: 32768, lastZone: 65535, warmUpSeconds: 60 },
    debug: { socket: '/run/dpu-agent/debug.sock', allowMutations: false },
    metrics: { listen: { host: '127.0.0.1', port: 9464 } },
    log: { level: 'info' },
  });
  const off = readConfig(changed(['127.0.0.1:9464', 'off']), 'a', {});
  t.equal(off.metrics.listen, 'off');
  t.match(readConfig(changed(['ip: 192.168.1.11', 'cidr: 192.168.1.7/24']), 'a', {}).vtep, {
    cidr: { value: 0xc0a80100n, length: 24 },
  });
});

void t.test('the environment overrides the file', async (t) => {
  const cases: [Record<string, string>, object][] = [
    [
      { KUBE_API_SERVER: 'https://10.100.2.10:6443' },
      { kubernetes: { apiServer: 'https://10.100.2.10:6443' } },
    ],
    [{ VTEP_LOCAL_IP: '192.168.1.77' }, { vtep: { ip: { value: 0xc0a8014dn } } }],
    [{ VXLAN_DEVICE: 'p0' }, { vtep: { interface: 'p0' } }],
    [
      { VXLAN_DEVICE: 'p0', VTEP_LOCAL_IP: '192.168.1.77' },
      { vtep: { ip: { value: 0xc0a8014dn } } },
    ],
    [{ OVS_BRIDGE: 'br-dpu' }, { ovs: { bridge: 'br-dpu', datapathType: 'netdev' } }],
    [
      { OVS_BRIDGE: '', VTEP_LOCAL_IP: '' },
      { ovs: { bridge: 'br-int' }, vtep: { ip: { value: 0xc0a8010bn } } },
    ],
  ];
  for (const [env, wanted] of cases)
    t.match(readConfig(EXAMPLE, 'a', env), wanted, JSON.stringify(env));
  const noVtep = changed(['vtep: {ip: 192.168.1.11}', '#']);
  t.match(readConfig(noVtep, 'a', { VTEP_LOCAL_IP: '192.168.1.9' }).vtep, { ip: { family: 4 } });
  t.strictSame(
    refusals(EXAMPLE, {
      VTEP_LOCAL_IP: '192.168.1',
      OVS_BRIDGE: 'a/b',
      KUBE_API_SERVER: 'ftp://x',
      VXLAN_DEVICE: 'a name',
    }).map((line) => line.split(': ').slice(0, 3).join(': ')),
    [
      'agent.yaml: environment variable KUBE_API_SERVER: "ftp://x" is not accepted; accepted',
      'agent.yaml: environment variable VTEP_LOCAL_IP: "192.168.1" is not accepted; accepted',
      'agent.yaml: environment variable VXLAN_DEVICE: "a name" is not accepted; accepted',
      'agent.yaml: environment variable OVS_BRIDGE: "a/b" is not accepted; accepted',
    ],
  );
});

void t.test('rules may come from Kubernetes, as the pod or by a kubeconfig', async (t) => {
  const rulesOf = (rules: string): unknown =>
    readConfig(EXAMPLE.replace(/^rules: .*$/m, `rules: ${rules}`), 'agent.yaml', {}).rules;
  t.same(rulesOf('{source: kubernetes}'), { source: 'kubernetes' });
  t.same(rulesOf('{source: kubernetes, kubeconfig: /etc/kc}'), {
    source: 'kubernetes',
    kubeconfig: '/etc/kc',
  });
});

void t.test('each mistake is named with its line, its path and what is accepted', async (t) => {
  const endpoint = '{vni: 1000, mac: "02:00:0a:01:02:05", ips: [10.1.0.25]}';
  const second = '{vni: 1001, name: tenant-b}';
  const cases: [string, string, string][] = [
    ['no text', '', 'agent.yaml: is empty; accepted: a YAML document with node'],
    ['a list', '- a', 'agent.yaml:1: a list is not accepted; accepted: an object'],
    [
      'two documents',
      `${EXAMPLE}---\na: 1\n`,
      'agent.yaml:17: is a second document; accepted: one',
    ],
    ['no YAML', `${EXAMPLE}x: [`, 'agent.yaml:16: is not YAML'],
    [
      'a key twice',
      `${EXAMPLE}node: x\n`,
      'agent.yaml:16: node: is given twice; accepted: each field once',
    ],
    [
      'no node',
      changed(['node: dpu-1', '']),
      'agent.yaml:3: node: is missing; accepted: a DNS-1123',
    ],
    [
      'an unknown key',
      `${EXAMPLE}metric: {}\n`,
      'agent.yaml:16: metric: is not a known field; did you mean metrics?',
    ],
    [
      'an unknown key inside',
      changed(['bridge: br-int', 'brigde: br-int']),
      'agent.yaml:3: ovs.brigde: is not a known field; did you mean bridge?',
    ],
    [
      'an unknown key that is near nothing',
      changed(['bridge: br-int', 'zzz: 1']),
      'agent.yaml:3: ovs.zzz: is not a known field; accepted: database, rundir, control, bridge, datapathType, flowRestoreTimeoutSeconds',
    ],
    [
      'a database over TCP',
      changed(['unix:/var/run/openvswitch/db.sock', '"tcp:127.0.0.1:6640"']),
      'agent.yaml:3: ovs.database: "tcp:127.0.0.1:6640" is not accepted; accepted: unix: and an absolute path',
    ],
    [
      'a bridge that is too long',
      changed(['br-int', 'br-0123456789abc']),
      'agent.yaml:3: ovs.bridge: "br-0123456789abc" is not accepted',
    ],
    [
      'an unknown datapath',
      changed(['netdev}', 'dpdk}']),
      'agent.yaml:3: ovs.datapathType: "dpdk" is not accepted; accepted: system, netdev',
    ],
    [
      'a relative path',
      changed(['/etc/dpu-agent/rules.d', 'rules.d']),
      'agent.yaml:4: rules.path: "rules.d" is not accepted; accepted: an absolute path',
    ],
    [
      'a kubeconfig for a directory',
      changed(['{source: directory, ', '{source: directory, kubeconfig: /etc/kc, ']),
      'agent.yaml:4: rules.kubeconfig: is not used with source directory; accepted: nothing, or',
    ],
    [
      'a directory for Kubernetes',
      changed(['source: directory, path: /etc/dpu-agent/rules.d', 'source: kubernetes, path: /x']),
      'agent.yaml:4: rules.path: is not used with source kubernetes; accepted: nothing',
    ],
    [
      'an unknown source',
      changed(['source: directory', 'source: etcd']),
      'agent.yaml:4: rules.source: "etcd" is not accepted; accepted: directory, kubernetes',
    ],
    [
      'VTEPs from Kubernetes without rules from there',
      `${EXAMPLE}vteps: {source: kubernetes}\n`,
      'agent.yaml:16: vteps.source: kubernetes needs rules.source kubernetes; accepted: static',
    ],
    [
      'a Lease that is over before it is renewed',
      `${EXAMPLE}kubernetes: {leaseSeconds: 10, renewSeconds: 6}\n`,
      'agent.yaml:16: kubernetes.renewSeconds: 6 is more than half of leaseSeconds, 10; accepted: 1..5',
    ],
    [
      'a range that runs backwards',
      changed(['1000-1999', '1999-1000']),
      'agent.yaml:6: customer.vnis[0]: "1999-1000" is not accepted; accepted: a VNI such as 42 or a range',
    ],
    ['VNI 0', changed(['"42"', '0']), 'agent.yaml:6: customer.vnis[1]: 0 is not accepted'],
    [
      'no VNIs',
      changed(['["1000-1999", "42"]', '[]']),
      'agent.yaml:6: customer.vnis: a list of 0 is not accepted; accepted: at least 1',
    ],
    [
      'no VTEP',
      changed(['vtep: {ip: 192.168.1.11}', '#']),
      'agent.yaml:2: vtep: is missing; accepted: exactly one of ip, interface and cidr',
    ],
    [
      'two VTEPs',
      changed(['{ip: 192.168.1.11}', '{ip: 192.168.1.11, interface: p0}']),
      'agent.yaml:8: vtep: has 2 of ip, interface and cidr; accepted: exactly one',
    ],
    [
      'a VTEP with a length',
      changed(['192.168.1.11', '192.168.1.11/24']),
      'agent.yaml:8: vtep.ip: "192.168.1.11/24" is not accepted; accepted: an IPv4 or IPv6 address',
    ],
    [
      'itself as peer',
      changed(['192.168.1.12', '192.168.1.11']),
      "agent.yaml:10: peers[0].vtep: 192.168.1.11 is this agent's own VTEP",
    ],
    [
      'a peer of the other family',
      changed(['192.168.1.12', '"fd00::1"']),
      'agent.yaml:10: peers[0].vtep: fd00::1 is IPv6; accepted: IPv4, the underlay of this release',
    ],
    [
      'an IPv6 VTEP',
      changed(['{ip: 192.168.1.11}', '{ip: "fd00::b"}']),
      'agent.yaml:8: vtep: fd00::b is IPv6; accepted: IPv4, the underlay of this release',
    ],
    [
      'a peer twice',
      changed(['networks:', '  - {vtep: 192.168.1.12}\nnetworks:']),
      'agent.yaml:11: peers[1].vtep: 192.168.1.12 stands at peers[0].vtep already',
    ],
    [
      'a multicast MAC',
      changed(['"02:00', '"03:00']),
      'agent.yaml:10: peers[0].endpoints[0].mac: "03:00:0a:01:02:05" is not accepted; accepted: a unicast MAC',
    ],
    [
      'a MAC twice in a VNI',
      changed([endpoint, `${endpoint}, {vni: 1000, mac: "02:00:0A:01:02:05"}`]),
      'agent.yaml:10: peers[0].endpoints[1].mac: 02:00:0a:01:02:05 in VNI 1000 stands at peers[0].endpoints[0].mac already',
    ],
    [
      'a MAC here and at a peer',
      changed(['ports: []', `ports: [{name: a, vni: 1000, mac: "02:00:0a:01:02:05"}]`]),
      'agent.yaml:13: ports[0].mac: 02:00:0a:01:02:05 in VNI 1000 stands at peers[0].endpoints[0].mac already',
    ],
    [
      'an address twice in a VNI',
      changed([
        'ports: []',
        `ports: [{name: a, vni: 1000, mac: "02:00:0a:01:02:06", ips: [10.1.0.25]}]`,
      ]),
      'agent.yaml:13: ports[0].ips[0]: 10.1.0.25 in VNI 1000 stands at peers[0].endpoints[0].ips[0] already',
    ],
    [
      'a port twice',
      changed([
        'ports: []',
        'ports: [{name: a, vni: 1000, mac: "02:00:00:00:00:01"}, {name: a, vni: 1000, mac: "02:00:00:00:00:02"}]',
      ]),
      'agent.yaml:13: ports[1].name: a stands at ports[0].name already',
    ],
    [
      'a foreign VNI of an endpoint',
      changed(['{vni: 1000, mac', '{vni: 2000, mac']),
      'agent.yaml:10: peers[0].endpoints[0].vni: 2000 is not a VNI of customer customer-1; accepted: 1000-1999, 42',
    ],
    [
      'a foreign VNI of a network',
      changed(['- {vni: 1000, name', '- {vni: 7, name']),
      'agent.yaml:12: networks[0].vni: 7 is not a VNI of customer customer-1',
    ],
    [
      'a VNI twice',
      changed(['ports: []', `  - ${second.replace('1001', '1000')}\nports: []`]),
      'agent.yaml:13: networks[1].vni: 1000 stands at networks[0].vni already',
    ],
    [
      'a network name twice',
      changed(['ports: []', `  - ${second.replace('tenant-b', 'tenant-a')}\nports: []`]),
      'agent.yaml:13: networks[1].name: tenant-a stands at networks[0].name already',
    ],
    [
      'a bad subnet',
      changed(['10.1.0.0/16', '10.1.0.0/40']),
      'agent.yaml:12: networks[0].subnets[0]: "10.1.0.0/40" is not accepted',
    ],
    [
      'a hostile namespace',
      changed(['namespaces: [tenant-a]', 'namespaces: [__proto__]']),
      'agent.yaml:12: networks[0].namespaces[0]: "__proto__" is not accepted; accepted: a DNS-1123 label',
    ],
    [
      'metrics for everybody',
      changed(['127.0.0.1:9464', '0.0.0.0:9464']),
      'agent.yaml:15: metrics.listen: "0.0.0.0:9464" is not accepted; accepted: an address of this machine and a port',
    ],
    [
      'metrics on the data plane',
      changed(['127.0.0.1:9464', '192.168.1.11:9464']),
      'agent.yaml:15: metrics.listen: 192.168.1.11 is on the data plane (vtep)',
    ],
    [
      'an unknown level',
      `${EXAMPLE}log: {level: inof}\n`,
      'agent.yaml:16: log.level: "inof" is not accepted; accepted: trace, debug, info, warn, error; did you mean info?',
    ],
    [
      'an alias bomb',
      `a: &a [${'x,'.repeat(20)}]\n${'bcdef'.replace(/./g, (key, index: number) => `${key}: &${key} [${`*${'abcdef'[index]},`.repeat(20)}]\n`)}`,
      'agent.yaml:1: cannot be expanded: Excessive alias count',
    ],
  ];
  for (const [name, text, wanted] of cases) {
    const seen = refusals(text);
    t.ok(
      seen[0]?.startsWith(wanted),
      `${name}: ${wanted}${seen[0]?.startsWith(wanted) ? '' : ` (seen: ${seen.join(' | ')})`}`,
    );
    t.equal(seen.length, 1, `${name}: one problem`);
  }
});

void t.test('all problems are listed at once', async (t) => {
  const seen = refusals(changed(['node: dpu-1', 'nodes: x'], ['br-int', 'a/b'], ['"02:', '"03:']), {
    VTEP_LOCAL_IP: 'x',
  });
  t.strictSame(
    seen.map((line) => line.split(': ').slice(0, 2).join(': ')),
    [
      'agent.yaml:2: node',
      'agent.yaml:3: ovs.bridge',
      'agent.yaml:10: peers[0].endpoints[0].mac',
      'agent.yaml:2: nodes',
      'agent.yaml: environment variable VTEP_LOCAL_IP',
    ],
  );
});

void t.test('any text is read or refused with a ConfigError', async (t) => {
  const lines = EXAMPLE.split('\n');
  const mutated = fc
    .array(fc.tuple(fc.nat(lines.length - 1), fc.nat(60), fc.string({ maxLength: 8 })), {
      maxLength: 3,
    })
    .map((edits) => {
      const copy = [...lines];
      for (const [line, column, text] of edits) {
        const old = copy[line] ?? '';
        copy[line] = old.slice(0, column) + text + old.slice(column + text.length);
      }
      return copy.join('\n');
    });
  fc.assert(
    fc.property(fc.oneof(mutated, fc.string()), (text) => {
      const seen = refusals(text);
      t.ok(
        seen.every((line) => line.startsWith('agent.yaml')),
        'each problem names the file',
      );
    }),
    { numRuns: 500 },
  );
});

void t.test('a listen address is an address, a port, and no wildcard', async (t) => {
  const cases: [string, unknown][] = [
    ['off', 'off'],
    ['127.0.0.1:9464', { host: '127.0.0.1', port: 9464 }],
    ['[::1]:0', { host: '::1', port: 0 }],
    ['[fd00:0::1]:65535', { host: 'fd00::1', port: 65535 }],
    ['0.0.0.0:9464', undefined],
    ['[::]:9464', undefined],
    ['[::ffff:0.0.0.0]:9464', undefined],
    [':9464', undefined],
    ['*:9464', undefined],
    ['localhost:9464', undefined],
    ['127.0.0.1', undefined],
    ['127.0.0.1:65536', undefined],
    ['127.0.0.1:', undefined],
    ['::1:9464', undefined],
    ['[127.0.0.1]:1', { host: '127.0.0.1', port: 1 }],
  ];
  for (const [text, wanted] of cases) t.strictSame(parseListen(text), wanted, text);
});

void t.test(
  'on a reload every part takes effect or is named as one that needs a restart',
  async (t) => {
    const cases: [part: string, from: string, to: string, fixed: boolean][] = [
      ['log', 'vtep:', 'log: {level: debug}\nvtep:', true],
      ['node', 'node: dpu-1', 'node: dpu-2', true],
      ['state', '/var/lib/dpu-agent', '/var/lib/other', true],
      ['kubernetes', 'vtep:', 'kubernetes: {apiServer: "https://10.0.0.1:6443"}\nvtep:', true],
      ['vteps', 'vtep:', 'vteps: {exclude: [10.0.0.0/8]}\nvtep:', true],
      ['vtep', 'ip: 192.168.1.11', 'ip: 192.168.1.13', false],
      ['tiers', 'platform: [dpu-system]', 'platform: []', false],
      ['networks', 'name: tenant-a', 'name: tenant-b', false],
    ];
    for (const [part, from, to, fixed] of cases) {
      const next = readConfig(changed([from, to]), 'agent.yaml', {});
      const { config, needRestart } = reloadConfig(WANTED, next);
      t.strictSame(needRestart, fixed ? [part] : [], part);
      t.strictSame(config, fixed ? WANTED : next, `${part}: in force`);
    }
  },
);
