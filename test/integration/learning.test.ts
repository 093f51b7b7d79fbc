// Learned forwarding on a real Open vSwitch, with packets that are learned from: bounded, ageing, gone with the peer, and
// left alone by whoever else looks at the table.
import { join } from 'node:path';
import t from 'tap';
import { stringify } from 'yaml';
import { readConfig } from '../../src/agent/config.ts';
import { unixctl } from '../../src/ovsdb/unixctl.ts';
import { until, type ConfigOverride, type TestAgent } from '../support/agent.ts';
import type { OvsSandbox } from '../support/ovs-sandbox.ts';
import { A1, A2, B1, FAR, from, outcome, stage, TUNNEL, tunnel } from '../support/stage.ts';

const [PEER, OTHER] = ['192.168.1.12', '192.168.1.13'] as const;
const NETWORKS = [
  { vni: 1000, name: 'tenant-a', namespaces: ['tenant-a'], remoteLearning: 'on' },
  { vni: 1001, name: 'tenant-b', namespaces: ['tenant-b'] },
];
const DECLARED = { vtep: OTHER, endpoints: [{ vni: 1000, mac: FAR.mac, ips: [FAR.ip] }] };
const LEARNING: ConfigOverride = {
  peers: [{ vtep: PEER }, DECLARED],
  networks: NETWORKS,
  learning: { limit: 3, ageSeconds: 600 },
};
const mac = (number: number): string => `02:00:0b:00:00:0${number}`;

/**
 * A packet that comes out of the tunnel. `generate` has ovs-vswitchd make one and do all that it does with a packet; a
 * packet-out would not do: Open vSwitch knows no limit there.
 */
async function send(ovs: OvsSandbox, source: string, peer: string, vni = 1000): Promise<void> {
  const flow = `${tunnel(vni, source, peer)},dl_dst=${A1.mac},udp,nw_src=10.1.0.99,nw_dst=${A1.ip}`;
  const control = join(ovs.rundir, 'vswitchd.ctl');
  await unixctl(control, 'ofproto/trace', ['br-int', flow, '-generate']);
}

/** What is learned, as `VNI MAC VTEP`, sorted. */
async function learned(ovs: OvsSandbox): Promise<string[]> {
  const text = await ovs.ofctl('--no-names', 'dump-flows', 'br-int', 'table=41');
  return [...text.matchAll(/metadata=(\w+),dl_dst=([\w:]+).*load:(0x\w+)->NXM_NX_TUN_IPV4_DST/g)]
    .map(([, vni = '', where = '', vtep = '']) => {
      const bytes = [24, 16, 8, 0].map((shift) => (Number(vtep) >>> shift) & 0xff);
      return `${Number(vni)} ${where} ${bytes.join('.')}`;
    })
    .sort();
}

async function reconfigure(agent: TestAgent, override: ConfigOverride): Promise<void> {
  agent.agent.reconfigure(readConfig(stringify({ ...agent.config, ...override }), 'a', {}));
  await until('the flows of the new configuration', async () => {
    const { flows } = await agent.json<{ flows: { desired: number; installed: number } }>(
      '/status',
    );
    return flows.desired === flows.installed;
  });
}

const to = (where: string): string =>
  `${from(A1)},dl_dst=${where},ip,nw_src=${A1.ip},nw_dst=10.1.0.99`;

t.test('endpoints behind a peer of which only the VTEP is known', async (t) => {
  const staged = await stage(t, LEARNING);
  if (staged === undefined) return;
  const { ovs, agent } = staged;

  await t.test('are learned from their packets, one network and one peer at a time', async (t) => {
    t.strictSame(await outcome(ovs, to(mac(1))), ['drop'], 'nobody knows it');
    await send(ovs, mac(1), PEER);
    t.strictSame(await learned(ovs), [`1000 ${mac(1)} ${PEER}`]);
    t.strictSame(await outcome(ovs, to(mac(1))), [String(TUNNEL)]);
    const fromB = `${from(B1)},dl_dst=${mac(1)},ip,nw_src=${B1.ip},nw_dst=10.1.0.99`;
    t.strictSame(await outcome(ovs, fromB), ['drop'], 'not in another network');
    const fromAfar = `${tunnel(1000, mac(2), OTHER)},dl_dst=${mac(1)},ip,nw_src=10.1.0.98`;
    t.strictSame(await outcome(ovs, fromAfar), ['drop'], 'never back into the tunnel');

    await send(ovs, mac(1), OTHER);
    t.strictSame(await learned(ovs), [`1000 ${mac(1)} ${OTHER}`], 'it has moved');
    await send(ovs, mac(1), PEER);
    t.strictSame(await learned(ovs), [`1000 ${mac(1)} ${PEER}`], 'and back');
  });

  await t.test('are not learned where they are known, strange, or not to be learned', async (t) => {
    const before = await learned(ovs);
    await send(ovs, A1.mac, PEER);
    await send(ovs, A2.mac, PEER);
    await send(ovs, FAR.mac, PEER);
    await send(ovs, FAR.mac, OTHER);
    await send(ovs, '03:00:00:00:00:01', PEER);
    await send(ovs, mac(2), '192.168.1.99');
    await send(ovs, mac(2), PEER, 1001);
    t.strictSame(await learned(ovs), before);
    t.strictSame(await outcome(ovs, to(FAR.mac)), [String(TUNNEL)]);
  });

  await t.test('are no more than the limit for each peer', async (t) => {
    for (const number of [2, 3, 4, 5]) await send(ovs, mac(number), PEER);
    const ofPeer = [1, 2, 3].map((number) => `1000 ${mac(number)} ${PEER}`);
    t.strictSame(await learned(ovs), ofPeer);
    t.strictSame(await outcome(ovs, to(mac(4))), ['drop']);
    await send(ovs, mac(6), OTHER);
    t.strictSame(await learned(ovs), [...ofPeer, `1000 ${mac(6)} ${OTHER}`], 'others have theirs');
  });

  await t.test('are no drift, and stay when the agent restarts', async (t) => {
    const before = await learned(ovs);
    const { flowMods } = await agent.agent.resync().then((sync) => sync ?? { flowMods: -1 });
    t.equal(flowMods, 0);
    const diff = await agent.json<Record<string, number>>('/diff');
    t.match(diff, { missing: 0, extra: 0, differs: 0, foreign: 0 });
    const rows = await agent.json<{ rule: string }[]>('/flows?table=41');
    t.strictSame(new Set(rows.map(({ rule }) => rule)), new Set(['learned']));
    await agent.replace();
    await agent.start();
    t.equal(await agent.flowMods(), 0, 'nothing was written');
    t.equal(await agent.metric('dpu_agent_drift_repaired_total'), 0);
    t.strictSame(await learned(ovs), before);
  });

  await t.test('have a story in a trace', async (t) => {
    const { summary, steps } = await agent.json<{
      summary: string;
      steps: { table: number | null; name: string; owner: { name: string } | null }[];
    }>(`/trace?from=${A1.ip}&vni=1000&to=10.1.0.99&to-mac=${mac(1)}&udp=5`);
    // No underlay here: it ends where the tunnel would begin.
    t.match(summary, /vtep0: native tunnel routing failed/);
    t.match(
      steps.find(({ table }) => table === 41),
      { name: 'Learned', owner: { name: 'learn/1000' } },
    );
  });

  await t.test('go with their peer, and so does what is learned too late', async (t) => {
    await reconfigure(agent, { ...LEARNING, peers: [DECLARED] });
    await until('gone', async () => (await learned(ovs)).length === 1);
    t.strictSame(await learned(ovs), [`1000 ${mac(6)} ${OTHER}`]);
    await send(ovs, mac(1), PEER);
    t.strictSame(await learned(ovs), [`1000 ${mac(6)} ${OTHER}`], 'and do not come back');

    await reconfigure(agent, LEARNING);
    await until('learned again', async () => {
      await send(ovs, mac(1), PEER);
      return (await learned(ovs)).length === 2;
    });
    // Learned by a packet that was under way when its peer went.
    const [stale] = (await ovs.ofctl('--no-names', 'dump-flows', 'br-int', 'table=41'))
      .split('\n')
      .filter((line) => line.includes(mac(1)));
    await reconfigure(agent, { ...LEARNING, peers: [DECLARED] });
    const cookie = /cookie=(0x\w+)/.exec(stale ?? '')?.[1] ?? '';
    await ovs.ofctl(
      'add-flow',
      'br-int',
      `table=41,cookie=${cookie},dl_dst=${mac(7)},actions=drop`,
    );
    await until('swept', async () => {
      return !(await ovs.ofctl('dump-flows', 'br-int', 'table=41')).includes(mac(7));
    });
  });

  await t.test(
    'are forgotten when they are silent, and not before, at the limit too',
    async (t) => {
      await reconfigure(agent, { ...LEARNING, learning: { limit: 1, ageSeconds: 2 } });
      await until('learned', async () => {
        await send(ovs, mac(1), PEER);
        return (await learned(ovs)).includes(`1000 ${mac(1)} ${PEER}`);
      });
      for (let count = 0; count < 10; count++) {
        await new Promise((resolve) => setTimeout(resolve, 400));
        await send(ovs, mac(1), PEER);
        t.ok((await learned(ovs)).includes(`1000 ${mac(1)} ${PEER}`), 'it speaks');
      }
      await until('forgotten', async () => !(await learned(ovs)).join().includes(mac(1)), 30_000);
      t.strictSame(await outcome(ovs, to(mac(1))), ['drop']);
    },
  );

  await t.test('go when the network learns no more', async (t) => {
    t.equal((await learned(ovs)).length, 1, 'one with the long timeout is left');
    const networks = NETWORKS.map((network) => ({ ...network, remoteLearning: 'off' }));
    await reconfigure(agent, { ...LEARNING, networks });
    await until('all gone', async () => (await learned(ovs)).length === 0);
    await send(ovs, mac(1), PEER);
    t.strictSame(await learned(ovs), []);
  });
});
