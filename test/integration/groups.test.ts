// Rules that name groups on a real Open vSwitch: who is in the group decides, and a named port is a number for each endpoint.
import t from 'tap';
import { stringify } from 'yaml';
import { until } from '../support/agent.ts';
import { A1, A2, from, outcome, stage } from '../support/stage.ts';

const API = 'dpu.network/v1alpha1';
const METADATA = { namespace: 'tenant-a' };

function group(name: string, spec: object): object {
  return { apiVersion: API, kind: 'DPUGroup', metadata: { ...METADATA, name }, spec };
}

function slice(owner: string, name: string, entries: readonly object[]): object {
  const labels = { 'dpu.network/group': owner };
  const metadata = { ...METADATA, name, labels };
  return { apiVersion: API, kind: 'DPUGroupSlice', metadata, spec: { entries } };
}

function rule(name: string, entry: object): object {
  const spec = { networkRef: 'tenant-a', rules: [entry] };
  return { apiVersion: API, kind: 'DPURule', metadata: { ...METADATA, name }, spec };
}

const files = (...objects: object[]): string =>
  objects.map((object) => stringify(object)).join('---\n');

t.test('groups and named ports decide on packets as their members say', async (t) => {
  const staged = await stage(t);
  if (staged === undefined) return;
  const { ovs, agent } = staged;
  const many = Array.from({ length: 998 }, (_, index) => ({
    ip: `10.3.${index >> 8}.${index & 0xff}`,
    vni: 1000,
    ports: { http: ['TCP', index % 2 === 0 ? 80 : 8080] },
  }));
  const a2 = { ip: A2.ip, vni: 1000, ports: { http: ['TCP', 8080] } };
  const packet = (port: number, ip = A2.ip, rest = ''): string =>
    `${from(A1)},dl_dst=${A2.mac},tcp,nw_src=${A1.ip},nw_dst=${ip},tp_src=5000,tp_dst=${port}${rest}`;
  await agent.writeRule(
    'rules.yaml',
    files(
      group('clients', { cidrs: ['10.1.0.0/28', A1.ip, '10.1.0.64/28'], except: ['10.1.0.1'] }),
      group('web', { podSelector: {} }),
      rule('isolate', { match: { dstGroup: 'web' }, action: 'deny', priority: 600 }),
      rule('web', {
        match: { srcGroup: 'clients', dstGroup: 'web', dstPortName: 'http' },
        action: 'allow',
      }),
    ),
  );
  const waiting = await agent.rule('web', ({ accepted }) => !accepted);
  t.equal(waiting.reason, 'GroupNotFound');
  t.match(waiting.message, /dpu-spoke/);
  t.strictSame(await outcome(ovs, packet(22)), ['12'], 'nothing is in force before that');

  await agent.writeRule('slice.yaml', files(slice('web', 'web-1', [a2, ...many])));
  for (const name of ['web', 'isolate']) await agent.rule(name, ({ programmed }) => programmed);
  for (const [name, flow, want] of [
    ['the named port of this endpoint', packet(8080), ['12']],
    ['the number that it has elsewhere', packet(80), ['drop']],
    ['another port', packet(22), ['drop']],
    ['a later fragment', packet(0, A2.ip, ',nw_frag=later'), ['12']],
  ] as const) {
    t.strictSame(await outcome(ovs, flow), want, name);
  }
  const row = await agent.rule('web', ({ programmed }) => programmed);
  t.ok(Number(row.flows) < 2 * (3 * 3 + 999 * 2 + 10), `${row.flows} flows for 999 endpoints`);

  const moved = { ...a2, ports: { http: ['TCP', 80] } };
  await agent.writeRule('slice.yaml', files(slice('web', 'web-1', [moved, ...many])));
  const before = await agent.flowMods();
  await until('port 80', async () => (await outcome(ovs, packet(80)))[0] === '12');
  t.strictSame(await outcome(ovs, packet(8080)), ['drop'], 'the number of yesterday');
  t.comment(`${(await agent.flowMods()) - before} flow_mods at most for one endpoint of 999`);

  await agent.writeRule('slice.yaml', files(slice('web', 'web-1', [])));
  await agent.rule('isolate', ({ programmed, flows }) => programmed && flows === 0);
  // Nobody, not everybody.
  await until('port 22', async () => (await outcome(ovs, packet(22)))[0] === '12');
});
