// Pods as an API server sends them, odd ones among them.
import fc from 'fast-check';
import t from 'tap';
import { placePod, type PodNetwork, podRecord } from '../../src/hub/spoke/pod-view.ts';
import type { PodView } from '../../src/hub/spoke/resolve.ts';

function podView(
  value: unknown,
  networkOf: (namespace: string) => PodNetwork | undefined,
): PodView | undefined {
  const record = podRecord(value);
  return record && placePod(record, networkOf(record.namespace));
}

const STATUS = 'k8s.v1.cni.cncf.io/network-status';
const primary = (namespace: string) => (namespace === 'x' ? { vni: 1000 } : undefined);
const pod = (override: { metadata?: object; spec?: object; status?: object } = {}): object => ({
  metadata: { name: 'a', namespace: 'x', labels: { app: 'web' }, ...override.metadata },
  spec: { containers: [], ...override.spec },
  status: {
    phase: 'Running',
    podIP: '10.0.0.1',
    podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }],
    ...override.status,
  },
});

t.test('a pod is its addresses, labels, network and named ports', (t) => {
  const containers = [
    { ports: [{ name: 'http', containerPort: 8080 }, { containerPort: 9 }] },
    { ports: [{ name: 'dns', protocol: 'UDP', containerPort: 53 }, { name: 7 }, null] },
  ];
  const initContainers = [
    { ports: [{ name: 'setup', containerPort: 1 }] },
    { restartPolicy: 'Always', ports: [{ name: 'mesh', containerPort: 15001 }] },
  ];
  t.same(podView(pod({ spec: { containers, initContainers } }), primary), {
    namespace: 'x',
    name: 'a',
    labels: new Map([['app', 'web']]),
    ips: ['10.0.0.1', 'fd00::1'],
    vni: 1000,
    hostNetwork: false,
    ended: false,
    ports: [
      { name: 'http', protocol: 'TCP', port: 8080 },
      { name: 'dns', protocol: 'UDP', port: 53 },
      { name: 'mesh', protocol: 'TCP', port: 15001 },
    ],
  });
  t.end();
});

t.test('pods that have ended, have the network of their node, or stand elsewhere say so', (t) => {
  t.match(podView(pod({ status: { phase: 'Succeeded' } }), primary), { ended: true });
  t.match(podView(pod({ status: { phase: 'Failed' } }), primary), { ended: true });
  t.match(podView(pod({ spec: { hostNetwork: true } }), primary), { hostNetwork: true });
  t.equal(podView(pod({ metadata: { namespace: 'y' } }), primary)?.vni, undefined);
  t.same(podView({ metadata: { name: 'a', namespace: 'x' }, spec: {} }, primary)?.ips, []);
  t.same(podView(pod({ status: { podIPs: [] } }), primary)?.ips, ['10.0.0.1']);
  t.same(
    podView(pod({ status: { podIPs: [{ ip: 'x' }] } }), primary)?.ips,
    [],
    'no address, no entry',
  );
  t.end();
});

t.test('in a secondary network the addresses are those of its entry in network-status', (t) => {
  const secondary = () => ({ vni: 1000, secondary: 'x/blue' });
  const ipsOf = (annotation: string): readonly string[] | undefined =>
    podView(pod({ metadata: { annotations: { [STATUS]: annotation } } }), secondary)?.ips;
  const entry = {
    name: 'x/blue',
    interface: 'net1',
    ips: ['10.9.0.1', 'fd00:9::1'],
    mac: '02:00:00:00:00:01',
  };
  t.same(ipsOf(JSON.stringify([{ name: 'x/red', ips: ['10.8.0.1'] }, entry])), entry.ips);
  for (const odd of ['', '{', '{}', '[7]', '[{"name":"x/blue","ips":7}]', ' '.repeat(70_000)]) {
    t.same(ipsOf(odd), [], odd.slice(0, 40));
  }
  t.end();
});

t.test('whatever a pod holds does not throw', (t) => {
  const field = fc.constantFrom(
    'metadata',
    'spec',
    'status',
    'name',
    'namespace',
    'ports',
    'containers',
    'podIPs',
    '__proto__',
  );
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 6 },
      fc.constantFrom<unknown>(null, 1, '', 'x', true),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(field, tie('any'), { maxKeys: 4 }),
    ),
  })).any;
  const property = fc.property(value, (some) => {
    podView(some, primary);
    podView(pod({ spec: { containers: some }, metadata: { annotations: some } }), primary);
  });
  t.doesNotThrow(() => fc.assert(property));
  t.end();
});
