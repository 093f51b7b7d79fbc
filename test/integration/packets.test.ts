/**
 * The data plane with real packets, on three DPUs and several networks that use the same addresses: what reaches whom, how
 * often and unchanged. Redirects, connection tracking, rejects and rate limits have tests of their own.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { parse, stringify } from 'yaml';
import { AgentProcess } from '../../demo/agent-process.ts';
import { run } from '../../demo/command.ts';
import { addressesOf, missingForLab, podMac, TwoDpuLab, type DpuNumber } from '../../demo/lab.ts';
import type { Pod, PodSpec } from '../../demo/pod.ts';
import { ruleFile, until } from '../support/agent.ts';

const missing = await missingForLab();
const skip = missing.length > 0 ? `the lab needs ${missing.join('; ')}` : false;

const LIMIT_MS = 30_000;
/** Long enough for what was let through to arrive, also on a machine that does other things too. */
const SILENCE_MS = 2000;
const DPUS: readonly DpuNumber[] = [1, 2, 3];

const pod = (name: string, dpu: DpuNumber, vni: number, host: number, at = dpu): PodSpec => ({
  ...{ name, dpu, vni, mac: podMac(at, host) },
  ...{ ip: `10.1.0.${at}${host}`, ip6: `fd00::${at}${host}` },
});

/** `a` and `b` are two networks with the same addresses; `m` is one endpoint in two places; `c` denies by default. */
const PODS: readonly PodSpec[] = [
  ...DPUS.flatMap((dpu) => [pod(`pod${dpu}a`, dpu, 1000, 5), pod(`pod${dpu}b`, dpu, 1001, 5)]),
  ...[pod('pod1c', 1, 1002, 6), pod('pod2c', 2, 1002, 6)],
  ...[pod('pod1d', 1, 1000, 7), pod('pod1m', 1, 1000, 9), pod('pod3m', 3, 1000, 9, 1)],
];

const NETWORKS = [
  { vni: 1000, name: 'tenant-a', namespaces: ['tenant-a'], subnets: ['10.1.0.0/16', 'fd00::/64'] },
  { vni: 1001, name: 'tenant-b', namespaces: ['tenant-b'], subnets: ['10.1.0.0/16', 'fd00::/64'] },
  {
    ...{ vni: 1002, name: 'tenant-c', namespaces: ['tenant-c'], subnets: ['10.1.0.0/16'] },
    defaultAction: { ingress: 'deny' },
  },
];

const DENIED_PORT = 7001;
const OPEN_PORT = 7002;
const COUNTED_PORT = 6000;
const TRIAL_PORT = 8001;

const udp = (dstPort: number, action: string, more = {}): Record<string, unknown> => ({
  match: { protocol: 'UDP', dstPort },
  action,
  ...more,
});
const RULES = [
  ruleFile('deny-port', udp(DENIED_PORT, 'deny')),
  ruleFile(
    'allow-port',
    udp(DENIED_PORT, 'allow', { reverse: true }),
    { networkRef: 'tenant-c' },
    'tenant-c',
  ),
  ruleFile('on-trial', udp(TRIAL_PORT, 'deny', { direction: 'Egress' }), {
    ...{ enforcement: 'DryRun', priority: 100 },
  }),
  ruleFile('in-force', udp(TRIAL_PORT, 'deny', { direction: 'Egress' }), { priority: 200 }),
];

/** Who is behind the other DPUs; the endpoint that moves is at `place`. */
function peersOf(lab: TwoDpuLab, number: DpuNumber, place: DpuNumber): unknown[] {
  return lab.dpus
    .filter((peer) => peer.number !== number)
    .map((peer) => ({
      vtep: peer.vtepIp,
      endpoints: lab
        .podSpecs(peer.number)
        .filter(({ name, dpu }) => !name.endsWith('m') || dpu === place)
        .map((spec) => ({
          ...{ vni: spec.vni, mac: spec.mac, ips: addressesOf(spec) },
          ...(spec.name.endsWith('m') ? { sequence: 5 + place } : {}),
        })),
    }));
}

async function received(from: Pod, to: string, ...args: string[]): Promise<number> {
  return (await from.ping(to, 3, args)).received;
}

/** Pings until all are answered: the first packets may meet a neighbour table that is empty. */
function reaches(from: Pod, to: string, ...args: string[]): Promise<boolean> {
  return until(
    `${from.spec.name} reaches ${to}`,
    async () => (await received(from, to, ...args)) === 3,
    LIMIT_MS,
  );
}

/** Frames that a port has sent. */
async function framesSent(namespace: string, port: string): Promise<number> {
  const text = await run('ip', ['-n', namespace, '-s', '-j', 'link', 'show', port]);
  const [link] = JSON.parse(text) as { stats64: { tx: { packets: number } } }[];
  return link?.stats64.tx.packets ?? Number.NaN;
}

void t.test('packets between three DPUs', { skip, timeout: 240_000 }, async (t) => {
  const lab = await TwoDpuLab.up({ dpus: 3, pods: PODS });
  t.after(() => lab.down());
  const rules = join(lab.dir, 'rules.d');
  await mkdir(rules);
  await writeFile(join(rules, 'rules.yaml'), RULES.join('---\n'));
  await lab.vsctl(1, 'set', 'interface', 'rep1m', 'external_ids:dpu-sequence=6');
  const agents = await Promise.all(
    DPUS.map((number) =>
      AgentProcess.create(lab, number, rules, {
        networks: NETWORKS,
        peers: peersOf(lab, number, 1),
      }),
    ),
  );
  const [one] = agents;
  if (one === undefined) throw new Error('there is no agent');
  for (const agent of agents) agent.start();
  for (const agent of agents) await agent.waitReady(LIMIT_MS);
  await until(
    'all rules are in force',
    async () => {
      const rows = (await Promise.all(agents.map((agent) => agent.rules()))).flat();
      return rows.length === 3 * RULES.length && rows.every(({ programmed }) => programmed);
    },
    LIMIT_MS,
  );
  const [pod1a, pod2a, pod3a] = [lab.pod('pod1a'), lab.pod('pod2a'), lab.pod('pod3a')];
  const everyPair = [
    [pod1a, pod2a],
    [pod2a, pod3a],
    [pod3a, pod1a],
    [pod1a, lab.pod('pod1d')],
  ] as const;

  await t.test('pings of either family, also frames of 8,950 bytes', async (t) => {
    const others = ['pod2b', 'pod3b'].map((name) => lab.pod(name));
    for (const [from, to] of everyPair) {
      for (const address of addressesOf(to.spec)) await reaches(from, address);
    }
    // Without the headers: 20 and 8 bytes, 40 and 8.
    await reaches(pod1a, '10.1.0.25', '-M', 'do', '-s', '8922');
    await reaches(pod1a, 'fd00::35', '-M', 'do', '-s', '8902');
    for (const other of others) {
      t.equal(
        await other.echoRequests(),
        0,
        `${other.spec.name} has the same address, and nothing`,
      );
    }
    const before = await pod2a.echoRequests();
    await reaches(lab.pod('pod1b'), '10.1.0.25');
    t.equal(await pod2a.echoRequests(), before, 'and the other way round');
    t.ok((await others[0]?.echoRequests()) ?? 0 > 0);
  });

  await t.test('transfers over TCP and UDP arrive unchanged', async (t) => {
    for (const [, to] of everyPair) {
      await to.listenTcp(80);
      await to.echoUdp(OPEN_PORT);
    }
    for (const [from, to] of everyPair) {
      for (const ip of addressesOf(to.spec)) {
        const transfer = { ip, timeoutMs: LIMIT_MS };
        const what = `${from.spec.name} to ${ip}`;
        const tcp = await from.transfer({ ...transfer, kind: 'tcp', port: 80, size: 2_000_000 });
        t.equal(tcp, 'same', `${what}, TCP`);
        const datagram = { ...transfer, kind: 'udp', port: OPEN_PORT, size: 8000 } as const;
        t.equal(await from.transfer(datagram), 'same', `${what}, UDP`);
      }
    }
  });

  await t.test(
    'a flooded frame reaches every pod of its network once, and nobody else',
    async (t) => {
      const times = 100;
      const receivers = ['pod1d', 'pod1m', 'pod2a', 'pod3a'].map((name) => lab.pod(name));
      const others = ['pod3m', 'pod1b', 'pod2b', 'pod3b', 'pod2c'].map((name) => lab.pod(name));
      for (const each of [...receivers, ...others]) await each.countUdp(COUNTED_PORT);
      const frames = (): Promise<number[]> =>
        Promise.all([
          framesSent(lab.dpus[0].namespace, 'rep1a'),
          ...lab.dpus.map(({ namespace }) => framesSent(namespace, 'p0')),
        ]);
      const before = await frames();
      await pod1a.sendUdp('10.1.255.255', COUNTED_PORT, times);
      const want = Array.from({ length: times }, () => 1);
      for (const each of receivers) {
        const { name } = each.spec;
        await until(name, async () => (await each.udpCounts()).length === times, LIMIT_MS);
      }
      // A copy too many would come late.
      await new Promise((resolve) => setTimeout(resolve, SILENCE_MS));
      for (const each of receivers) t.strictSame(await each.udpCounts(), want, each.spec.name);
      for (const each of others) t.strictSame(await each.udpCounts(), [], each.spec.name);
      const after = await frames();
      const [back, out, ...returned] = after.map((count, index) => count - (before[index] ?? 0));
      t.ok((out ?? 0) >= 2 * times, `${out} frames left DPU 1, two for each`);
      t.ok((out ?? 0) < 3 * times, 'and few others');
      t.ok((back ?? times) < times / 2, `${back} frames came back to their sender, none of them`);
      for (const count of returned) t.ok(count < times / 2, `${count} frames left a receiving DPU`);
    },
  );

  await t.test('an IP packet in a broadcast frame does not slip past a deny', async (t) => {
    for (const name of ['pod2a', 'pod1d']) {
      const { spec } = lab.pod(name);
      await lab.pod(name).countUdp(DENIED_PORT - 1);
      const before = await lab.pod(name).udpCounts();
      const neighbour = [spec.ip, 'lladdr', 'ff:ff:ff:ff:ff:ff', 'dev', 'eth0'];
      await pod1a.configure('neigh', 'replace', ...neighbour, 'nud', 'permanent');
      const dropped = (): Promise<number> =>
        one.metric('dpu_agent_drops_total', 'reason="UnicastInMulticast"');
      const start = await dropped();
      for (const port of [DENIED_PORT, DENIED_PORT - 1]) await pod1a.sendUdp(spec.ip, port, 5);
      await until('dropped by name', async () => (await dropped()) >= start + 5, LIMIT_MS);
      await pod1a.configure('neigh', 'del', spec.ip, 'dev', 'eth0');
      t.strictSame(await lab.pod(name).udpCounts(), before, `nothing came to ${name}`);
    }
    await reaches(pod1a, '10.1.0.25');
  });

  await t.test('a datagram of 20 kB meets a port deny and a port allow', async (t) => {
    for (const name of ['pod2a', 'pod2c']) {
      const target = lab.pod(name);
      const source = lab.pod(name.replace('2', '1'));
      await target.echoUdp(DENIED_PORT);
      if (name === 'pod2c') await target.echoUdp(OPEN_PORT);
      const [allowed, denied] =
        name === 'pod2a' ? [OPEN_PORT, DENIED_PORT] : [DENIED_PORT, OPEN_PORT];
      for (const ip of addressesOf(target.spec)) {
        const transfer = { kind: 'udp', ip, size: 20_000 } as const;
        await until(
          `${ip} port ${allowed} of ${name}`,
          async () =>
            (await source.transfer({ ...transfer, port: allowed, timeoutMs: 5000 })) === 'same',
          LIMIT_MS,
        );
        const outcome = await source.transfer({
          ...transfer,
          ...{ port: denied, timeoutMs: SILENCE_MS },
        });
        t.equal(outcome, 'timeout', `${ip} port ${denied} of ${name}`);
      }
    }
  });

  await t.test('a deny on trial above a deny in force: dropped, and both count', async (t) => {
    await pod2a.countUdp(TRIAL_PORT);
    const before = await pod2a.udpCounts();
    await pod1a.sendUdp('10.1.0.25', TRIAL_PORT, 10);
    await until(
      'both counters',
      async () => {
        const rows = await one.rules();
        const packets = (name: string): number =>
          rows.find((row) => row.name === name)?.packets ?? 0;
        return packets('on-trial') === 10 && packets('in-force') === 10;
      },
      LIMIT_MS,
    );
    t.strictSame(await pod2a.udpCounts(), before);
  });

  await t.test('a duplicate IPv6 address is detected, a fresh one is not disturbed', async (t) => {
    const detection = async (who: Pod, address: string): Promise<string> => {
      await who.configure('-6', 'addr', 'add', `${address}/64`, 'dev', 'eth0');
      const outcome = await until(
        `${who.spec.name} has looked for ${address}`,
        async () => {
          const text = await who.configure('-6', '-j', 'addr', 'show', 'dev', 'eth0');
          const [link] = JSON.parse(text) as { addr_info: Record<string, unknown>[] }[];
          const found = link?.addr_info.find(({ local }) => local === address);
          if (found?.['dadfailed'] === true) return 'duplicate';
          return found !== undefined && found['tentative'] !== true && 'fresh';
        },
        LIMIT_MS,
      );
      await who.configure('-6', 'addr', 'del', `${address}/64`, 'dev', 'eth0');
      return outcome;
    };
    t.equal(await detection(pod3a, 'fd00::15'), 'duplicate', 'of a pod behind another DPU');
    t.equal(await detection(pod1a, 'fd00::17'), 'duplicate', 'of a pod on the same DPU');
    t.equal(await detection(pod3a, 'fd00::77'), 'fresh');
    t.equal(await detection(lab.pod('pod2b'), 'fd00::17'), 'fresh', 'it is of another network');
  });

  await t.test('an endpoint moves: its old place stops, the new one works', async (t) => {
    const [before, after] = [lab.pod('pod1m'), lab.pod('pod3m')];
    const { ip, ip6 = '' } = before.spec;
    const senders = [pod1a, pod2a, pod3a];
    for (const sender of senders) await reaches(sender, ip);
    t.equal(await after.echoRequests(), 0, 'nothing comes to where it is not yet');
    t.equal(await received(after, '10.1.0.25'), 0, 'nor from there');

    await lab.vsctl(3, 'set', 'interface', 'rep3m', 'external_ids:dpu-sequence=8');
    for (const [index, agent] of agents.entries()) {
      const config = parse(await readFile(agent.configFile, 'utf8')) as Record<string, unknown>;
      const peers = peersOf(lab, DPUS[index] ?? 1, 3);
      await writeFile(agent.configFile, stringify({ ...config, peers }));
      if (agent.pid !== undefined) process.kill(agent.pid, 'SIGHUP');
    }
    for (const sender of senders) {
      await until(
        `${sender.spec.name} finds the new place`,
        async () => {
          const count = await after.echoRequests();
          return (await received(sender, ip)) === 3 && (await after.echoRequests()) >= count + 3;
        },
        LIMIT_MS,
      );
    }
    const stopped = await before.echoRequests();
    for (const sender of senders) await reaches(sender, ip6);
    await reaches(after, '10.1.0.25');
    t.equal(await before.echoRequests(), stopped, 'nothing comes to the old place');
    t.equal(await received(before, '10.1.0.25'), 0, 'nor from there');
  });
});
