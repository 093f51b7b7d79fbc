// From ports and configuration to the compiler's snapshot: what is left out, and why; and drop counters that never fall.
import t from 'tap';
import { NamedTotals } from '../../src/agent/debug/counters.ts';
import { attachments, type PortFacts } from '../../src/agent/overlay/attachments.ts';
import { readConfig } from '../../src/agent/config.ts';
import { makeSnapshot } from '../../src/agent/snapshot.ts';
import type { SourceSnapshot } from '../../src/agent/sources/source.ts';
import { ip, ip4, mac, ofport, vni } from '../support/model.ts';

function port(name: string, ids: Record<string, string>, number: number | 'closed' = 5): PortFacts {
  return {
    name,
    ofport: number === 'closed' ? undefined : ofport(number),
    externalIds: new Map(Object.entries(ids)),
  };
}

const GOOD = {
  'attached-mac': '02:00:0a:01:01:05',
  'dpu-vni': '1000',
  'dpu-ips': '10.1.0.15, fd00::15',
};
const VNIS = new Set([1000, 1001]);

t.test('a port with the ids of the contract is an endpoint, one without is none', async (t) => {
  const { endpoints, problems } = attachments(
    [port('rep1', GOOD), port('br-int', {}), port('other', { 'iface-id': 'x' })],
    [],
    VNIS,
  );
  t.strictSame(problems, []);
  t.strictSame(endpoints, [
    {
      port: 'rep1',
      ofport: 5,
      vni: 1000,
      mac: mac('02:00:0a:01:01:05'),
      ips: [ip('10.1.0.15'), ip('fd00::15')],
    },
  ]);
});

t.test(
  'a port that breaks the contract is no endpoint, and is named with the reason',
  async (t) => {
    const cases: readonly [name: string, facts: PortFacts, want: RegExp][] = [
      [
        'a VNI that is none',
        port('p', { ...GOOD, 'dpu-vni': '16777216' }),
        /dpu-vni is "16777216", not 1..16777215/,
      ],
      ['a VNI in words', port('p', { ...GOOD, 'dpu-vni': '1e3' }), /dpu-vni is "1e3"/],
      ['a VNI of no network', port('p', { ...GOOD, 'dpu-vni': '1500' }), /VNI 1500 is no network/],
      ['no MAC', port('p', { 'dpu-vni': '1000', 'dpu-ips': '' }), /attached-mac is missing/],
      ['a MAC that is none', port('p', { ...GOOD, 'attached-mac': 'x' }), /attached-mac is "x"/],
      ['a multicast MAC', port('p', { ...GOOD, 'attached-mac': '01:00:5e:00:00:01' }), /multicast/],
      [
        'a prefix for an address',
        port('p', { ...GOOD, 'dpu-ips': '10.1.0.0/16' }),
        /dpu-ips holds "10.1.0.0\/16"/,
      ],
      ['no ofport yet', port('p', GOOD, 'closed'), /has no ofport/],
    ];
    for (const [name, facts, want] of cases) {
      const { endpoints, problems } = attachments([facts], [], VNIS);
      t.strictSame(endpoints, [], name);
      t.match(problems[0]?.message, want, name);
    }
  },
);

t.test('a port with a VNI and no address is the leg of a device', async (t) => {
  const ids = { 'dpu-vni': '1000' };
  const { endpoints, legs, problems } = attachments(
    [port('fw1', ids, 7), port('fw0', ids, 6), port('closed', ids, 'closed')],
    [],
    VNIS,
  );
  t.strictSame(endpoints, []);
  t.strictSame(legs, [
    { port: 'fw0', ofport: 6, vni: 1000 },
    { port: 'fw1', ofport: 7, vni: 1000 },
  ]);
  t.match(problems, [{ port: 'closed', message: /has no ofport/ }]);
  const wrong = attachments([port('fw0', { 'dpu-vni': '1500' })], [], VNIS);
  t.strictSame(wrong.legs, []);
  t.match(wrong.problems, [{ message: /VNI 1500 is no network/ }]);
});

t.test(
  'a MAC or an address has one port in a VNI, the first by name, and another VNI is another matter',
  async (t) => {
    const sameMac = port('b', { ...GOOD, 'dpu-ips': '10.1.0.16' }, 6);
    const sameIp = port('c', { ...GOOD, 'attached-mac': '02:00:0a:01:01:06' }, 7);
    const elsewhere = port('d', { ...GOOD, 'dpu-vni': '1001' }, 8);
    const { endpoints, problems } = attachments(
      [elsewhere, sameIp, sameMac, port('a', GOOD)],
      [],
      VNIS,
    );
    t.strictSame(
      endpoints.map((endpoint) => endpoint.port),
      ['a', 'd'],
    );
    t.strictSame(
      problems.map(({ port: name, message }) => [name, message]),
      [
        ['b', 'MAC 02:00:0a:01:01:05 of VNI 1000 belongs to a already'],
        ['c', 'address 10.1.0.15 of VNI 1000 belongs to a already'],
      ],
    );
  },
);

t.test(
  'the configuration names ports without ids, wins over ids, and says which are not there',
  async (t) => {
    const configured = (name: string, net: number): Parameters<typeof attachments>[1][number] => ({
      name,
      vni: vni(net),
      mac: mac('02:00:00:00:00:09'),
      ips: [ip('10.1.0.9')],
    });
    const { endpoints, problems } = attachments(
      [port('rep1', GOOD), port('two', {}, 6)],
      [
        configured('rep1', 1001),
        configured('absent', 1000),
        configured('two', 1000),
        configured('two', 1001),
      ],
      VNIS,
    );
    t.match(endpoints, [{ port: 'rep1', vni: 1001, mac: mac('02:00:00:00:00:09') }]);
    t.strictSame(
      problems.map(({ port: name, message }) => `${name} ${message}`),
      [
        'two is in 2 VNIs (1000, 1001); a port has one',
        'absent is configured, but not on the bridge',
      ],
    );
  },
);

t.test(
  'a peer that is ourselves is left out, and an endpoint that is attached here is not behind a peer',
  async (t) => {
    const config = readConfig(
      `
node: dpu-1
ovs: {datapathType: netdev}
rules: {path: /rules}
customer: {name: c, vnis: ["1000-1999"]}
vtep: {cidr: 192.168.1.0/24}
peers:
  - {vtep: 192.168.1.11, endpoints: [{vni: 1000, mac: "02:00:00:00:00:01", ips: []}]}
  - {vtep: 192.168.1.12, endpoints: [{vni: 1000, mac: "02:00:0a:01:01:05", ips: [10.1.0.25]}, {vni: 1000, mac: "02:00:00:00:00:02", ips: []}]}
networks: [{vni: 1000, name: tenant-a, namespaces: [tenant-a]}]
`,
      'agent.yaml',
      {},
    );
    const source: SourceSnapshot = {
      objects: new Map(),
      problems: [],
      revision: 0,
      changedAtMs: 0,
    };
    const tunnel = { ofport: ofport(65000), ip: ip4('192.168.1.11') };
    const { snapshot, problems } = makeSnapshot({
      tracking: new Map(),
      config,
      source,
      nowMs: 0,
      ports: [port('rep1', GOOD)],
      tunnel,
    });
    t.strictSame(snapshot.peers, [ip4('192.168.1.12')]);
    t.strictSame(
      snapshot.remotes.map((endpoint) => endpoint.mac),
      [mac('02:00:00:00:00:02')],
    );
    t.strictSame(
      problems.map(({ path, message }) => `${path} ${message}`),
      [
        "peers 192.168.1.11 is this agent's own VTEP; it is left out",
        'peers 192.168.1.12 02:00:0a:01:01:05 is attached here, to port rep1',
      ],
    );
  },
);

t.test('totals of drops never fall, whatever flows come and go', async (t) => {
  const totals = new NamedTotals<string>();
  const dump = (flows: readonly [flow: string, packets: number][]): number => {
    for (const [flow, packets] of flows) totals.add('RuleDeny', flow, packets);
    return totals.finish().get('RuleDeny') ?? 0;
  };
  t.equal(
    dump([
      ['a', 1000],
      ['b', 5],
    ]),
    1005,
  );
  t.equal(dump([['b', 7]]), 1007, 'a has gone with its counter');
  t.equal(
    dump([
      ['a', 3],
      ['b', 7],
    ]),
    1010,
    'a is back from zero',
  );
  t.equal(
    dump([
      ['a', 1],
      ['b', 7],
    ]),
    1011,
    'a was made again between two looks',
  );
});
