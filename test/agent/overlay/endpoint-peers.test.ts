// What other agents publish becomes peers; what cannot be theirs is left out and counted. And how a version mark moves.
import t from 'tap';
import { readConfig } from '../../../src/agent/config.ts';
import type { Tunnel } from '../../../src/agent/flow/model.ts';
import { findPeers, type Peers } from '../../../src/agent/overlay/endpoint-peers.ts';
import { VersionMark } from '../../../src/agent/sources/kube-version-mark.ts';
import type { SourceObject } from '../../../src/agent/sources/source.ts';
import { objectKey, parseObject } from '../../../src/api/object.ts';
import { ip, ip4, mac, ofport, remote } from '../../support/model.ts';

const CONFIG = `
node: dpu-1
customer: {name: customer-1, vnis: ["1000-1999"]}
rules: {source: kubernetes}
vtep: {ip: 192.168.1.11}
vteps: {source: kubernetes, exclude: [10.100.0.0/16]}
kubernetes: {localAddress: 172.16.0.9}
metrics: {listen: "172.16.0.10:9464"}
peers: [{vtep: 192.168.1.20, endpoints: [{vni: 1000, mac: "02:00:0a:01:02:20", ips: [10.1.0.20]}]}]
`;
const TUNNEL: Tunnel = { ofport: ofport(65000), ip: ip4('192.168.1.11') };
const ENDPOINT = { vni: 1000, mac: '02:00:0a:01:02:05', ips: ['10.1.0.25'], sequence: 7 };

function slice(name: string, spec: object): [string, SourceObject] {
  const { object, problems } = parseObject({
    apiVersion: 'dpu.network/v1alpha1',
    kind: 'DPUEndpointSlice',
    metadata: { name },
    spec: { node: 'dpu-2', vtepIP: '192.168.1.12', endpoints: [ENDPOINT], ...spec },
  });
  if (object === undefined) throw new Error(JSON.stringify(problems));
  return [objectKey(object), { object, origin: name }];
}

function peersOf(slices: readonly [string, SourceObject][], config = CONFIG): Peers {
  return findPeers(readConfig(config, 'agent.yaml', {}), new Map(slices), TUNNEL);
}

t.test('slices of others and the configuration both give peers', async (t) => {
  const { peers, problems, ignored } = peersOf([
    slice('dpu-2-0', {}),
    slice('dpu-1-0', { node: 'dpu-1', vtepIP: '192.168.1.99' }),
    slice('dpu-3-0', { node: 'dpu-3', vtepIP: '192.168.1.13', endpoints: [] }),
  ]);
  t.strictSame(problems, []);
  t.strictSame(ignored, { vni: 0, vtep: 0 });
  t.strictSame(
    peers.map(({ vtep, endpoints }) => [vtep, endpoints]),
    [
      [ip4('192.168.1.20'), [remote(1000, '02:00:0a:01:02:20', '192.168.1.20', '10.1.0.20')]],
      [
        ip4('192.168.1.12'),
        [
          {
            vni: 1000,
            mac: mac('02:00:0a:01:02:05'),
            ips: [ip('10.1.0.25')],
            vtep: ip4('192.168.1.12'),
            sequence: 7,
          },
        ],
      ],
      [ip4('192.168.1.13'), []],
    ],
    'our own slices are no peer; one without endpoints is',
  );
  const statically = CONFIG.replace('source: kubernetes, exclude', 'source: static, exclude');
  t.equal(peersOf([slice('dpu-2-0', {})], statically).peers.length, 1, 'only where asked for');
});

t.test('what cannot be is left out, named and counted', async (t) => {
  const cases: [name: string, spec: object, says: RegExp, counted: object][] = [
    [
      'a VTEP in a management range',
      { vtepIP: '10.100.2.10' },
      /10\.100\.2\.10 is in 10\.100\.0\.0\/16, where no VTEP can be/,
      { vtep: 1 },
    ],
    ['our own VTEP', { vtepIP: '192.168.1.11' }, /this agent's own VTEP/, { vtep: 1 }],
    ['the address of our metrics', { vtepIP: '172.16.0.10' }, /own management/, { vtep: 1 }],
    ['the address that we call from', { vtepIP: '172.16.0.9' }, /own management/, { vtep: 1 }],
    ['loopback', { vtepIP: '127.0.0.1' }, /no unicast address/, { vtep: 1 }],
    ['multicast', { vtepIP: '239.1.1.1', endpoints: [] }, /no unicast address/, { vtep: 1 }],
    [
      "VNIs that are not the customer's",
      { endpoints: [ENDPOINT, { ...ENDPOINT, vni: 2000 }, { ...ENDPOINT, vni: 1 }] },
      /2 of 3 endpoints stand in VNIs that are not customer customer-1's/,
      { vni: 2 },
    ],
  ];
  for (const [name, spec, says, counted] of cases) {
    const { peers, problems, ignored } = peersOf([slice('evil', spec)]);
    t.match(problems, [{ file: 'evil', message: says }], name);
    t.strictSame(ignored, { vni: 0, vtep: 0, ...counted }, name);
    const endpoints = peers.flatMap((peer) => peer.endpoints);
    t.ok(
      endpoints.every(({ vni, vtep }) => vni === 1000 && vtep !== ip4('192.168.1.11')),
      name,
    );
  }
});

t.test('a mark moves with changes that mean something, and catches up at bookmarks', async (t) => {
  const mark = new VersionMark();
  const step = (version: string, event: 'list' | 'object' | 'bookmark', spec = false): boolean => {
    if (spec) mark.specChanged();
    return mark.advance(version, event);
  };
  t.equal(mark.version, undefined);
  t.ok(step('10', 'list', true));
  t.notOk(step('11', 'bookmark'), 'others write in the same cluster: not our business');
  t.notOk(step('12', 'object'), 'a status');
  t.equal(mark.version, '10');
  t.ok(step('13', 'bookmark'), 'the status is passed');
  t.notOk(step('14', 'bookmark'));
  t.ok(step('15', 'object', true));
  t.equal(mark.version, '15');
  t.notOk(step('16', 'object'));
  t.ok(step('17', 'object', true));
  t.notOk(step('18', 'bookmark'), 'nothing has come since');
});
