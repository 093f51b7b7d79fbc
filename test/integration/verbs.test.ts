// What the verbs of a rule beside allow and deny do with packets: dry run, rate limit, log, reject, mirror, expiry.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { run } from '../../demo/command.ts';
import { missingForLab } from '../../demo/lab.ts';
import type { TestAgent } from '../support/agent.ts';
import { ruleFile, until } from '../support/agent.ts';
import { labStage } from '../support/lab-stage.ts';
import { A1, A2, from, outcome, stage } from '../support/stage.ts';
import type { OvsSandbox } from '../support/ovs-sandbox.ts';

const missing = await missingForLab();
const noLab = missing.length > 0 ? `the lab needs ${missing.join('; ')}` : false;

/** A TCP packet from A1 to A2 as a trace writes it. */
const probe = (port: number): string =>
  `${from(A1)},dl_dst=${A2.mac},tcp,nw_src=${A1.ip},nw_dst=${A2.ip},tp_src=5000,tp_dst=${port}`;

/** An entry on one TCP port. */
const on = (name: string, dstPort: number | string, action: string): Record<string, unknown> => ({
  name,
  direction: 'Egress',
  match: { protocol: 'TCP', dstPort },
  action,
});

/** Ethernet, IPv4 and TCP from A1 to A2; checksums are not looked at. */
function frame(dstPort: number): string {
  const port = dstPort.toString(16).padStart(4, '0');
  const text = `${A2.mac} ${A1.mac} 0800 4500 0028 0000 0000 40 06 0000 0a01000f 0a010010 1388 ${port} 00000001 00000000 5002 2000 0000 0000`;
  return text.replaceAll(/[: ]/g, '');
}

async function send(ovs: OvsSandbox, dstPort: number, times: number): Promise<void> {
  const packet = `in_port=11,packet=${frame(dstPort)},actions=table`;
  for (let i = 0; i < times; i++) {
    await ovs.ofctl('-O', 'OpenFlow13', 'packet-out', `unix:${ovs.rundir}/br-int.mgmt`, packet);
  }
}

interface CountedRow {
  readonly name: string;
  readonly reason: string;
  readonly programmed: boolean;
  readonly packets: number;
}

async function packetsOf(agent: TestAgent): Promise<Record<string, number>> {
  const rows = await agent.json<CountedRow[]>('/rules');
  return Object.fromEntries(rows.map(({ name, packets }) => [name, packets]));
}

t.test('a rule on trial counts what it would do, and the rules in force decide', async (t) => {
  const staged = await stage(t);
  if (staged === undefined) return;
  const { ovs, agent } = staged;
  const file = (
    name: string,
    enforcement: string,
    priority: number,
    entry: Record<string, unknown>,
    tier = 'tenant',
  ): string => ruleFile(name, entry, { enforcement, priority, tier });
  const list = ['10.1.0.16', '10.1.0.60', '10.1.0.61'];
  await agent.writeRule(
    'rules.yaml',
    [
      file('try-deny', 'DryRun', 100, on('r', '80-89', 'deny')),
      file('deny', 'Enforce', 200, on('r', 81, 'deny')),
      file('try-late', 'DryRun', 300, on('r', '80-99', 'deny')),
      // A pass on trial: what is behind it would decide, and only that is noted.
      file('try-pass', 'DryRun', 100, on('r', '100-109', 'pass')),
      file('after-pass', 'Enforce', 200, on('r', '100-109', 'deny')),
      file('base-allow', 'Enforce', 1, on('r', '100-104', 'allow'), 'baseline'),
      file('try-base', 'DryRun', 0, on('r', '105-106', 'deny'), 'policy'),
      // Two passes on trial in a row end in one packet, not two.
      file('try-pass-1', 'DryRun', 100, on('r', 110, 'pass')),
      file('try-pass-2', 'DryRun', 100, on('r', 110, 'pass'), 'policy'),
      file('try-wide', 'DryRun', 100, {
        ...on('r', 120, 'deny'),
        match: { srcIPs: [A1.ip, ...list], dstIPs: list, protocol: 'TCP', dstPorts: [120, 122] },
      }),
    ].join('---\n'),
  );
  const rows = await until('all rules in force', async () => {
    const present = await agent.json<CountedRow[]>('/rules');
    return present.length === 10 && present.every(({ programmed }) => programmed) && present;
  });
  for (const { name, reason } of rows) {
    // A deny of a tier before it leaves the last one nothing.
    const inForce = name === 'base-allow' ? 'Unreachable' : '';
    t.equal(reason, name.startsWith('try-') ? 'DryRun' : inForce, name);
  }
  const cases: readonly [port: number, want: string[], why: string][] = [
    [80, ['12'], 'denied on trial only'],
    [81, ['drop'], 'denied on trial, and by a rule in force below it'],
    [90, ['12'], 'denied on trial behind a rule in force that does not match'],
    [100, ['drop'], 'passed on trial only: the deny behind it is in force'],
    [105, ['drop'], 'the same, and a deny on trial in the shadow'],
    [110, ['12'], 'two passes on trial'],
    [120, ['12'], 'a conjunction on trial'],
  ];
  for (const [port, want, why] of cases) {
    t.strictSame(await outcome(ovs, probe(port)), want, `${port}: ${why}`);
  }
  await send(ovs, 81, 3);
  await send(ovs, 100, 2);
  await send(ovs, 105, 4);
  await send(ovs, 120, 5);
  await until('counters', async () => (await packetsOf(agent))['try-wide'] === 5);
  t.match(await packetsOf(agent), {
    'try-deny': 3,
    deny: 3,
    'try-late': 0,
    'try-pass': 6,
    'after-pass': 6,
    'base-allow': 0,
    'try-base': 4,
    'try-wide': 5,
  });
  const wouldBe = (action: string): Promise<number> =>
    agent.metric('dpu_agent_dry_run_packets_total', `action="${action}"`);
  t.equal(await wouldBe('deny'), 3 + 4 + 5);
  t.equal(await wouldBe('pass'), 6);
  t.equal(await agent.metric('dpu_agent_drops_total', 'reason="RuleDeny"'), 3 + 6);
});

const rateLimited = (rateLimit: Record<string, number>, name = 'limit'): string =>
  ruleFile(name, {
    direction: 'Egress',
    match: { protocol: 'UDP', dstPort: 7000 },
    action: 'allow',
    rateLimit,
  });

t.test(
  'meters come, change, go and come back with their rules; those of others stay',
  async (t) => {
    const staged = await stage(t);
    if (staged === undefined) return;
    const { ovs, agent } = staged;
    const meter = (verb: string, ...args: string[]): Promise<string> =>
      ovs.ofctl('-O', 'OpenFlow13', verb, `unix:${ovs.rundir}/br-int.mgmt`, ...args);
    const meters = async (): Promise<string[]> =>
      (await meter('dump-meters'))
        .split(/(?=meter=)/)
        .filter((text) => text.startsWith('meter='))
        .map((text) => text.replaceAll(/\s+/g, ' ').trim());
    const ours = async (): Promise<string[]> =>
      (await meters()).filter((text) => !text.startsWith('meter=7 '));
    const rates = async (): Promise<string> =>
      (await ours()).map((text) => /rate=\d+ burst_size=\d+/.exec(text)?.[0]).join();
    await meter('add-meter', 'meter=7,pktps,band=type=drop,rate=1');

    await agent.writeRule('limit.yaml', rateLimited({ pps: 100, burst: 5 }));
    await agent.rule('limit', ({ programmed }) => programmed);
    t.equal(await rates(), 'rate=100 burst_size=5');
    const [before = ''] = await ours();
    await agent.writeRule('limit.yaml', rateLimited({ pps: 200 }));
    await until('the new rate', async () => (await rates()) === 'rate=200 burst_size=20');
    t.equal((await ours())[0]?.split(' ')[0], before.split(' ')[0], 'the number stays');
    t.equal(await agent.metric('dpu_agent_meter_mods_total', 'op="modify"'), 1);
    const packet =
      'in_port=11,dl_src=02:00:0a:01:01:05,dl_dst=02:00:0a:01:01:06,udp,nw_src=10.1.0.15,nw_dst=10.1.0.16,udp_dst=7000';
    t.strictSame(await outcome(ovs, packet), ['12']);

    // Somebody deletes it, and with it the flow that names it.
    await meter('del-meter', before.split(' ')[0] ?? '');
    await until('the meter is back', async () => (await rates()) === 'rate=200 burst_size=20');
    await agent.rule('limit', ({ programmed }) => programmed);
    await ovs.restartVswitchd();
    await until(
      'the meter after a restart',
      async () => (await rates()) === 'rate=200 burst_size=20',
    );
    await agent.ready();

    // Left over from before: ours goes, the other's stays.
    await agent.replace();
    await meter('add-meter', 'meter=7,pktps,band=type=drop,rate=1');
    await meter('add-meter', 'meter=65536,pktps,band=type=drop,rate=9');
    await agent.writeRule('limit.yaml', rateLimited({ kbps: 1000 }));
    await agent.start();
    await until('only ours', async () => (await rates()) === 'rate=1000 burst_size=144');
    await rm(join(agent.rulesDir, 'limit.yaml'));
    await until('no meter of ours', async () => (await ours()).length === 0);
    t.strictSame(
      (await meters()).map((text) => text.split(' ')[0]),
      ['meter=7'],
    );
  },
);

t.test('a rate limit holds within a tenth, at the source', { skip: noLab }, async (t) => {
  const { lab, agents, rules } = await labStage(t);
  const [source, target] = [lab.pod('pod1a'), lab.pod('pod2a')];
  await target.echoUdp(7000);
  /** How many packets came through, beside what a bucket of `burst` filled by `rate` a second lets through of them. */
  const measure = async (rate: number, burst: number): Promise<{ got: number; ideal: number }> => {
    const spec = { ip: '10.1.0.25', port: 7000, intervalMs: 2, timeoutMs: 1000 };
    const prober = await source.startProber({ kind: 'udp', ...spec });
    await sleep(5000);
    const probes = await prober.stop();
    t.ok(probes.length > 1000, `${probes.length} packets are more than are let through`);
    let [level, ideal, last] = [burst, 0, probes[0]?.sentAt ?? 0];
    for (const { sentAt } of probes) {
      level = Math.min(burst, level + ((sentAt - last) / 1000) * rate);
      last = sentAt;
      if (level < 1) continue;
      level--;
      ideal++;
    }
    return { got: probes.filter(({ rttMs }) => rttMs !== null).length, ideal };
  };
  const isClose = (what: string, { got, ideal }: { got: number; ideal: number }): void => {
    t.comment(`${what}: ${got} packets came through, ${ideal} are right`);
    t.ok(Math.abs(got - ideal) <= ideal / 10, `${what}: ${got} of ${ideal}`);
  };
  await rules(rateLimited({ pps: 100, burst: 50 }));
  isClose('100 packets a second', await measure(100, 50));
  // 64 bytes of payload are a frame of 106 bytes, 848 bits.
  await rules(rateLimited({ kbps: 85, burst: 42 }));
  isClose('85 kbit a second', await measure(85_000 / 848, 42_000 / 848));
  const limited = await Promise.all(
    agents.map(async (agent) =>
      (await agent.json<{ rateLimited: number }[]>('/rules')).map((row) => row.rateLimited),
    ),
  );
  t.ok((limited[0]?.[0] ?? 0) > 0, 'counted where it was limited');
  t.strictSame(limited[1], [0], 'the far DPU limits nothing');
  t.ok((await agents[0].metric('dpu_agent_drops_total', 'reason="RateLimited"')) > 0);
});

t.test('a rule is in force until it expires, and says so', async (t) => {
  const staged = await stage(t);
  if (staged === undefined) return;
  const { ovs, agent } = staged;
  const until8s = new Date(Date.now() + 8000).toISOString();
  const entry = { ...on('r', 80, 'deny'), expiresAt: until8s };
  await agent.writeRule('expiring.yaml', ruleFile('expiring', entry));
  await agent.writeRule(
    'past.yaml',
    ruleFile('past', { ...on('r', 81, 'deny'), expiresAt: '2020-01-01T00:00:00Z' }),
  );
  await agent.rule('expiring', ({ programmed, reason }) => programmed && reason === '');
  t.strictSame(await outcome(ovs, probe(80)), ['drop']);
  t.match(await agent.rule('past', ({ reason }) => reason !== ''), {
    accepted: true,
    programmed: true,
    reason: 'Expired',
    message: /since 2020-01-01/,
    flows: 0,
  });
  t.strictSame(await outcome(ovs, probe(81)), ['12']);
  await agent.rule('expiring', ({ reason, flows }) => reason === 'Expired' && flows === 0);
  t.ok(Date.now() >= Date.parse(until8s), 'not before its time');
  await until('its flows are gone', async () => (await outcome(ovs, probe(80))).join() === '12');
});

t.test(
  'a rejected connect is refused at once, and a datagram with ICMP',
  { skip: noLab },
  async (t) => {
    const { lab, agents, rules } = await labStage(t);
    const [source, target] = [lab.pod('pod1a'), lab.pod('pod2a')];
    await target.listenTcp(81);
    await target.listenTcp(82);
    const reject = (name: string, direction: string, port: number, protocol = 'TCP'): string =>
      ruleFile(name, { direction, match: { protocol, dstPort: port }, action: 'reject' });
    await rules(
      [
        reject('at-source', 'Egress', 81),
        reject('at-target', 'Ingress', 82),
        reject('udp', 'Egress', 7000, 'UDP'),
        // What answers an endpoint is not held back by what else is denied to it.
        ruleFile('nothing-in', {
          direction: 'Ingress',
          match: { dstIP: '10.1.0.15', protocol: 'ICMP' },
          action: 'deny',
        }),
      ].join('---\n'),
    );
    for (const port of [81, 82]) {
      const probe = await source.tcpProbe('10.1.0.25', port, 3000);
      t.equal(probe.outcome, 'refused', `port ${port} after ${probe.ms.toFixed(1)} ms`);
    }
    const snmp = async (): Promise<number> => {
      const text = await run('ip', ['netns', 'exec', source.namespace, 'cat', '/proc/net/snmp']);
      const [titles, values] = text.split('\n').filter((line) => line.startsWith('Icmp:'));
      const column = titles?.split(' ').indexOf('InDestUnreachs') ?? -1;
      return Number(values?.split(' ')[column]);
    };
    const before = await snmp();
    const spec = { ip: '10.1.0.25', port: 7000, intervalMs: 100, timeoutMs: 200 };
    const prober = await source.startProber({ kind: 'udp', ...spec });
    await until('ICMP errors that the kernel takes', async () => (await snmp()) > before);
    await prober.stop();
    const count = (agent: TestAgent): Promise<number> =>
      agent.metric('dpu_agent_rejects_total', 'result="answered"');
    t.ok((await count(agents[0])) >= 2);
    t.equal(await count(agents[1]), 1, 'where it arrives');
    // The switch brings the counters of flows up to date now and then.
    await until(
      'its drops are counted',
      async () => (await agents[0].metric('dpu_agent_drops_total', 'reason="RuleReject"')) >= 2,
    );
    await agents[0].agent.close();
    t.equal((await source.tcpProbe('10.1.0.25', 81, 500)).outcome, 'timeout', 'no agent: silence');
  },
);
