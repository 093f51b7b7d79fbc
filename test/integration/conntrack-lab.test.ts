/**
 * Redirects and connection tracking with real packets, on two DPUs: a device there and back, a deny that bites on a live
 * connection, and tracking that is switched on under live connections.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { stringify } from 'yaml';
import { AgentProcess } from '../../demo/agent-process.ts';
import { run } from '../../demo/command.ts';
import { missingForLab, TwoDpuLab } from '../../demo/lab.ts';
import type { Probe } from '../../demo/pod.ts';
import { ruleFile, until } from '../support/agent.ts';

const missing = await missingForLab();
const skip = missing.length > 0 ? `the lab needs ${missing.join('; ')}` : false;

const SERVER = '10.1.0.25';
const PORT = 80;
const now = (): number => performance.timeOrigin + performance.now();
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Answers that came between two moments. */
const answers = (probes: readonly Probe[], from: number, to: number): number =>
  probes.filter((probe) => {
    if (probe.rttMs === null) return false;
    const at = probe.sentAt + probe.rttMs;
    return at >= from && at < to;
  }).length;

class Stage {
  readonly lab: TwoDpuLab;
  readonly agents: readonly AgentProcess[];
  readonly #rules: string;

  private constructor(lab: TwoDpuLab, agents: readonly AgentProcess[], rules: string) {
    this.lab = lab;
    this.agents = agents;
    this.#rules = rules;
  }

  static async up(conntrack: 'on' | 'off', defaultIngress = 'allow'): Promise<Stage> {
    const lab = await TwoDpuLab.up();
    const rules = join(lab.dir, 'rules.d');
    await mkdir(rules);
    const override = { networks: [], conntrack: { warmUpSeconds: 4 } };
    const agents = [
      await AgentProcess.create(lab, 1, rules, override),
      await AgentProcess.create(lab, 2, rules, override),
    ];
    const stage = new Stage(lab, agents, rules);
    await stage.network(conntrack, defaultIngress);
    for (const agent of agents) agent.start();
    for (const agent of agents) await agent.waitReady(30_000);
    if (conntrack === 'on') await stage.tracking(false);
    return stage;
  }

  /** Writes the network; both agents read it. */
  async network(conntrack: 'on' | 'off', ingress = 'allow'): Promise<void> {
    await this.write('network.yaml', {
      apiVersion: 'dpu.network/v1alpha1',
      kind: 'DPUNetwork',
      metadata: { name: 'tenant-a' },
      spec: { vni: 1000, namespaces: ['tenant-a'], conntrack, defaultAction: { ingress } },
    });
  }

  async write(name: string, content: unknown): Promise<void> {
    const text = typeof content === 'string' ? content : stringify(content);
    await writeFile(join(this.#rules, name), text);
  }

  /** Puts a rule in force on both DPUs, in place of the one of the same file. */
  async rule(name: string, entry: Readonly<Record<string, unknown>>, spec = {}): Promise<void> {
    await this.write('rule.yaml', ruleFile(name, entry, spec));
    await until(
      `rule ${name}`,
      async () => {
        const rows = await Promise.all(this.agents.map((agent) => agent.rules()));
        return rows.every((row) => row.some((each) => each.name === name && each.flows > 0));
      },
      30_000,
    );
  }

  async noRule(): Promise<void> {
    await rm(join(this.#rules, 'rule.yaml'));
    await until(
      'no rule',
      async () => {
        const rows = await Promise.all(this.agents.map((agent) => agent.rules()));
        return rows.every((row) => row.length === 0);
      },
      30_000,
    );
  }

  /** Waits until both DPUs track, warming up or not any more. */
  async tracking(warming: boolean): Promise<void> {
    await until(
      'tracking',
      async () => {
        const texts = await Promise.all(
          [1, 2].map((dpu) => this.lab.ofctl(dpu as 1 | 2, 'dump-flows', 'table=16')),
        );
        const begun = await this.lab.ofctl(1, 'dump-flows', 'table=15,ip,metadata=1000');
        return (
          begun.includes('ct(') && texts.every((text) => /priority=200/.test(text) === warming)
        );
      },
      30_000,
    );
  }

  /** Plugs a transparent device into DPU 1: a Linux bridge with a leg for each name. */
  async device(...legs: string[]): Promise<void> {
    const { namespace } = this.lab.dpus[0];
    const ip = (...args: string[]): Promise<string> => run('ip', ['-n', namespace, ...args]);
    const bridge = `dev-${legs[0]}`;
    await ip('link', 'add', bridge, 'type', 'bridge', 'mcast_snooping', '0');
    await ip('link', 'set', bridge, 'up');
    for (const leg of legs) {
      await ip('link', 'add', leg, 'type', 'veth', 'peer', 'name', `${leg}p`);
      await ip('link', 'set', `${leg}p`, 'master', bridge);
      if (legs.length === 1)
        await ip('link', 'set', `${leg}p`, 'type', 'bridge_slave', 'hairpin', 'on');
      for (const end of [leg, `${leg}p`]) await ip('link', 'set', end, 'up');
      await this.lab.vsctl(
        1,
        ...['add-port', 'br-int', leg, '--', 'set', 'interface', leg, 'external_ids:dpu-vni=1000'],
      );
    }
  }

  /** Packets that the device has got by a leg. */
  async packetsInto(leg: string): Promise<number> {
    const { namespace } = this.lab.dpus[0];
    const text = await run('ip', ['-n', namespace, '-s', '-j', 'link', 'show', `${leg}p`]);
    const [link] = JSON.parse(text) as { stats64: { rx: { packets: number } } }[];
    return link?.stats64.rx.packets ?? 0;
  }

  async down(): Promise<void> {
    for (const agent of this.agents) await agent.crash();
    await this.lab.down();
  }
}

for (const conntrack of ['off', 'on'] as const) {
  void t.test(`a device there and back, conntrack ${conntrack}`, { skip }, async (t) => {
    const stage = await Stage.up(conntrack);
    t.teardown(() => stage.down());
    const [client, server] = [stage.lab.pod('pod1a'), stage.lab.pod('pod2a')];
    await server.listenTcp(PORT);
    await server.listenTcp(81);
    await stage.device('fw0');
    await stage.device('fw1', 'fw2');
    const match = { protocol: 'TCP', dstPort: PORT, dstIP: SERVER };
    const cases = [
      { name: 'one-leg', redirectPort: 'fw0' },
      { name: 'two-legs', redirectPort: 'fw1', returnPort: 'fw2' },
    ];
    for (const { name, ...ports } of cases) {
      const far = ports.returnPort ?? ports.redirectPort;
      await stage.rule(name, { match, action: 'redirect', ...ports });
      const counts = async (): Promise<number[]> =>
        Promise.all([stage.packetsInto(ports.redirectPort), stage.packetsInto(far)]);
      const before = await counts();
      await until(
        `${name}: the port opens`,
        async () => (await client.tcpProbe(SERVER, PORT, 2000)).outcome === 'open',
        20_000,
      );
      const after = await counts();
      t.ok(
        after.every((count, index) => count > (before[index] ?? 0)),
        `${name}: both ways`,
      );
      t.equal((await client.tcpProbe(SERVER, 81, 2000)).outcome, 'open', 'another port');
      const link = `${far}p`;
      const set = (state: string): Promise<string> =>
        run('ip', ['-n', stage.lab.dpus[0].namespace, 'link', 'set', link, state]);
      await set('down');
      await until(
        `${name}: closed`,
        async () => (await client.tcpProbe(SERVER, PORT)).outcome === 'timeout',
        20_000,
      );
      await set('up');
      await until(
        `${name}: open again`,
        async () => (await client.tcpProbe(SERVER, PORT, 2000)).outcome === 'open',
        20_000,
      );
    }
  });
}

void t.test('a deny bites on a live connection, and lets go of it', { skip }, async (t) => {
  const stage = await Stage.up('on');
  t.teardown(() => stage.down());
  const [client, server] = [stage.lab.pod('pod1a'), stage.lab.pod('pod2a')];
  await server.listenTcp(PORT);
  const spec = { ip: SERVER, port: PORT, intervalMs: 50, timeoutMs: 500 };
  const stream = await client.startProber({ kind: 'stream', ...spec });
  await sleep(1000);
  const match = { protocol: 'TCP', dstPort: PORT };
  const open = now();
  await stage.rule('deny', { match, action: 'deny' });
  await sleep(500);
  const denied = now();
  await sleep(1500);
  const lifting = now();
  await stage.noRule();
  await sleep(6000);
  const probes = await stream.stop();
  t.ok(answers(probes, 0, open) > 5, 'echoes before');
  t.equal(answers(probes, denied, lifting), 0, 'none while denied');
  t.ok(answers(probes, lifting, Infinity) > 5, 'and again after');
});

void t.test('tracking switched on under live connections', { skip }, async (t) => {
  const stage = await Stage.up('off', 'deny');
  t.teardown(() => stage.down());
  const [client, server] = [stage.lab.pod('pod1a'), stage.lab.pod('pod2a')];
  await server.listenTcp(PORT);
  await server.pushTcp(PORT + 1, 50);
  const match = { protocol: 'TCP', dstPort: `${PORT}-${PORT + 1}`, dstIP: SERVER };
  await stage.rule('allow', { match, action: 'allow', reverse: true });
  const spec = { ip: SERVER, intervalMs: 50, timeoutMs: 500 };
  const speaks = await client.startProber({ kind: 'stream', port: PORT, ...spec });
  const listens = await client.startProber({ kind: 'receive', port: PORT + 1, ...spec });
  await sleep(1000);
  await stage.network('on', 'deny');
  await stage.tracking(true);
  await stage.tracking(false);
  const stateful = now();
  await sleep(1500);
  const end = now();
  await stage.rule('deny', { match, action: 'deny' }, { priority: 1 });
  await sleep(500);
  const denied = now();
  await sleep(1500);
  const done = now();
  for (const [who, prober] of [
    ['client', speaks],
    ['server', listens],
  ] as const) {
    const probes = await prober.stop();
    t.ok(answers(probes, stateful, end) > 10, `the ${who} speaks first: goes on`);
    const arrivals = probes
      .filter((probe) => probe.rttMs !== null)
      .map(({ sentAt, rttMs }) => sentAt + (rttMs ?? 0))
      .filter((at) => at < end);
    const gap = Math.max(...arrivals.slice(1).map((at, index) => at - (arrivals[index] ?? at)));
    t.ok(gap < 1500, `${who}: never silent for long, ${Math.round(gap)} ms at most`);
    t.equal(answers(probes, denied, done), 0, `${who}: a later deny bites`);
  }
});
