// Packets that a rule logs, mirrors and rejects, beside what it decides: by trace, by lines of the log, and by real packets.
import t from 'tap';
import { OpenFlowConnection } from '../../src/openflow/client.ts';
import { encodePacketOut } from '../../src/openflow/packet-in.ts';
import { run } from '../../demo/command.ts';
import { missingForLab } from '../../demo/lab.ts';
import { ruleFile, type TestAgent, until } from '../support/agent.ts';
import { labStage } from '../support/lab-stage.ts';
import { A1, A2, B1, FAR, from, outcome, stage, tunnel } from '../support/stage.ts';
import type { OvsSandbox } from '../support/ovs-sandbox.ts';

const missing = await missingForLab();
const noLab = missing.length > 0 ? `the lab needs ${missing.join('; ')}` : false;
const MIRROR_DOWN = /^PortNotFound$/;

interface Line {
  readonly suppressed: number;
  readonly [field: string]: unknown;
}

/** The lines that rules have written. */
function lines({ log }: TestAgent): Line[] {
  return log
    .filter(({ message }) => message === 'packet logged by a rule')
    .map(({ fields }) => fields as Line);
}

const packetsIn = (all: readonly Line[]): number =>
  all.reduce((sum, { suppressed }) => sum + (suppressed === 0 ? 1 : suppressed), 0);

/** An entry on one TCP port. */
const on = (dstPort: number, more: Record<string, unknown>): Record<string, unknown> => ({
  name: 'r',
  direction: 'Egress',
  match: { protocol: 'TCP', dstPort },
  ...more,
});

/** A SYN from A1 to A2; checksums are not looked at. */
function frame(dstPort: number, srcPort = 5000): Buffer {
  const port = (value: number): string => value.toString(16).padStart(4, '0');
  const text = `${A2.mac} ${A1.mac} 0800 4500 0028 0000 0000 40 06 0000 0a01000f 0a010010 ${port(srcPort)} ${port(dstPort)} 00000001 00000000 5002 2000 0000 0000`;
  return Buffer.from(text.replaceAll(/[: ]/g, ''), 'hex');
}

/** Hands frames to the switch as if A1 had sent them, as fast as it takes them. */
async function send(ovs: OvsSandbox, frames: readonly Buffer[]): Promise<void> {
  const connection = await OpenFlowConnection.connect({ path: `${ovs.rundir}/br-int.mgmt` });
  const messages = frames.map((each) =>
    encodePacketOut(A1.port, [{ type: 'output', port: 0xfffffff9 }], each),
  );
  const refused = await connection.sendMessages(messages);
  connection.close();
  if (refused.length > 0) throw new Error(`refused: ${refused[0]?.error.message}`);
}

const events = (agent: TestAgent, result: string): Promise<number> =>
  agent.metric('dpu_agent_log_events_total', `result="${result}"`);

t.test('a rule with log writes a line a second, and counts the rest', async (t) => {
  const staged = await stage(t);
  if (staged === undefined) return;
  const { ovs, agent } = staged;
  const all = { mode: 'all', label: 'watch' };
  await agent.writeRule(
    'rules.yaml',
    [
      ruleFile('denied', on(80, { action: 'deny', log: { mode: 'drop' } })),
      ruleFile('allowed', on(81, { action: 'allow', log: all, direction: 'Both' })),
      ruleFile('rejected', on(82, { action: 'reject', log: all })),
      ruleFile('silent', on(83, { action: 'deny', log: { mode: 'none' } })),
      ruleFile('first', on(84, { action: 'deny', log: { mode: 'first' } })),
      ruleFile('trial', on(85, { action: 'deny', log: all }), { enforcement: 'DryRun' }),
      ruleFile('passed', on(86, { action: 'pass', log: all })),
      ruleFile('drop-allow', on(87, { action: 'allow', log: { mode: 'drop' } })),
    ].join('---\n'),
  );
  for (const name of ['denied', 'allowed', 'rejected', 'silent']) {
    await agent.rule(name, ({ programmed, reason }) => programmed && reason === '');
  }
  t.match(await agent.rule('first', ({ reason }) => reason !== 'Pending'), {
    accepted: true,
    reason: 'ConntrackOff',
    message: /in force, without log/,
  });
  t.match(await agent.rule('passed', () => true), { reason: 'Invalid', message: /action pass/ });
  t.match(await agent.rule('drop-allow', () => true), {
    reason: 'Invalid',
    message: /accepted: none, first, all/,
  });
  const goes = (port: number): Promise<string[]> =>
    outcome(ovs, `${from(A1)},dl_dst=${A2.mac},tcp,nw_src=${A1.ip},nw_dst=${A2.ip},tp_dst=${port}`);
  t.strictSame(await goes(80), ['drop']);
  t.strictSame(await goes(81), ['12'], 'what is logged goes on');
  t.strictSame(await goes(84), ['drop'], 'what cannot be logged is denied all the same');

  await send(
    ovs,
    [80, 80, 80, 80, 81, 82, 83, 84, 85].map((port) => frame(port)),
  );
  await until('lines', async () => packetsIn(lines(agent)) === 4 + 2 + 1);
  const written = lines(agent);
  t.match(
    written.find(({ rule }) => rule === 'tenant-a/denied/r'),
    {
      label: '',
      vni: 1000,
      direction: 'egress',
      verdict: 'deny',
      srcMAC: A1.mac,
      dstMAC: A2.mac,
      srcIP: A1.ip,
      dstIP: A2.ip,
      protocol: 'TCP',
      srcPort: 5000,
      dstPort: 80,
      bytes: 54,
      suppressed: 0,
    },
  );
  const of = (rule: string): Line[] => written.filter((line) => line.rule === `tenant-a/${rule}/r`);
  t.equal(packetsIn(of('denied')), 4);
  t.ok(of('denied').length < 4, 'equal packets share a line');
  t.strictSame(
    of('allowed').map(({ direction, label }) => [direction, label]),
    [
      ['egress', 'watch'],
      ['ingress', 'watch'],
    ],
  );
  t.match(of('rejected'), [{ verdict: 'reject' }]);
  t.equal((await events(agent, 'logged')) + (await events(agent, 'suppressed')), 7);
  t.equal(await events(agent, 'lost'), 0);
  await until('drops', async () => {
    const dropped = await agent.metric('dpu_agent_drops_total', 'reason="RuleReject"');
    return dropped === 1;
  });

  // Far more than the meter of the network lets through.
  const flood = Array.from({ length: 1000 }, (_, i) => frame(80, 10_000 + i));
  await send(ovs, flood);
  const sum = async (): Promise<number> =>
    (await events(agent, 'logged')) +
    (await events(agent, 'suppressed')) +
    (await events(agent, 'lost'));
  await until('all accounted for', async () => (await sum()) === 1000 + 7, 20_000);
  const lost = await events(agent, 'lost');
  t.ok(lost > 300, `${lost} of 1000 were held back by the meter`);
  const told = agent.log
    .filter(({ message }) => message.startsWith('packets not logged'))
    .map(({ fields }) => Number(fields['lost']));
  t.equal(
    told.reduce((total, count) => total + count, 0),
    lost,
    'and a line says how many',
  );
});

/** Gives the switch a port that gets copies. */
async function addMonitor(ovs: OvsSandbox, name: string, port: number, vni: number): Promise<void> {
  await ovs.run('ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}p`);
  for (const end of [name, `${name}p`]) await ovs.run('ip', 'link', 'set', end, 'up');
  await ovs.vsctl(
    ...['add-port', 'br-int', name, '--', 'set', 'interface', name, `ofport_request=${port}`],
    `external_ids:dpu-vni=${vni}`,
  );
}

t.test('a mirror copies to a port of its network, and decides nothing', async (t) => {
  const staged = await stage(t);
  if (staged === undefined) return;
  const { ovs, agent } = staged;
  const mirrored = (port: string, more: Record<string, unknown> = {}): Record<string, unknown> => ({
    mirror: { port },
    ...more,
  });
  // Priorities of their own: of later fragments, which have no ports, rules of one rank would match the same.
  await agent.writeRule(
    'rules.yaml',
    [
      ruleFile('allow', on(80, mirrored('mon0', { action: 'allow' }))),
      ruleFile('deny', on(81, mirrored('mon0', { action: 'deny' }))),
      ruleFile(
        'both',
        on(82, mirrored('mon0', { action: 'allow', direction: 'Both', priority: 101 })),
      ),
      ruleFile('in', on(83, mirrored('mon0', { action: 'deny', direction: 'Ingress' }))),
      ruleFile('two', on(84, mirrored('mon0', { action: 'allow', priority: 102 }))),
      ruleFile('two-in', on(84, mirrored('mon1', { action: 'deny', direction: 'Ingress' }))),
      ruleFile('foreign', on(85, mirrored('monb', { action: 'allow', priority: 103 }))),
      ruleFile('endpoint', on(86, mirrored('rep2', { action: 'deny' }))),
      ruleFile(
        'redirect',
        on(
          87,
          mirrored('mon0', { action: 'redirect', redirectPort: 'mon1', log: { mode: 'all' } }),
        ),
      ),
      ruleFile('same', on(88, mirrored('mon0', { action: 'redirect', redirectPort: 'mon0' }))),
      ruleFile('trial', on(89, mirrored('mon0', { action: 'deny' })), { enforcement: 'DryRun' }),
      ruleFile(
        'slow',
        on(90, { action: 'redirect', redirectPort: 'mon1', rateLimit: { pps: 10 }, priority: 101 }),
      ),
      ruleFile('flood', {
        name: 'r',
        direction: 'Ingress',
        match: { protocol: 'UDP', dstPort: 5353 },
        action: 'allow',
        ...mirrored('mon0'),
      }),
    ].join('---\n'),
  );
  const probe = (port: number): string =>
    `${from(A1)},dl_dst=${A2.mac},tcp,nw_src=${A1.ip},nw_dst=${A2.ip},tp_dst=${port}`;
  t.match(await agent.rule('deny', ({ reason }) => MIRROR_DOWN.test(reason)), {
    accepted: true,
    message: /mon0 is no device's port in VNI 1000 .* in force, without copies/,
  });
  t.strictSame(await outcome(ovs, probe(80)), ['12'], 'no port, no copy');
  t.strictSame(await outcome(ovs, probe(81)), ['drop'], 'and the deny is in force');

  await addMonitor(ovs, 'mon0', 21, 1000);
  await addMonitor(ovs, 'mon1', 22, 1000);
  await addMonitor(ovs, 'monb', 23, 1001);
  for (const name of [
    'allow',
    'deny',
    'both',
    'in',
    'two',
    'two-in',
    'redirect',
    'flood',
    'slow',
  ]) {
    await agent.rule(name, ({ programmed, reason }) => programmed && reason === '');
  }
  for (const name of ['foreign', 'endpoint']) {
    await agent.rule(name, ({ reason }) => MIRROR_DOWN.test(reason));
  }
  t.match(await agent.rule('same', () => true), { reason: 'Invalid', message: /is a leg/ });
  const udp = 'udp,nw_dst=224.0.0.251,udp_dst=5353,dl_dst=01:00:5e:00:00:fb';
  const cases: readonly [flow: string, want: string[], why: string][] = [
    [probe(80), ['12', '21'], 'allowed: to its endpoint, and a copy'],
    [probe(81), ['21'], 'denied: only the copy'],
    [probe(82), ['12', '21'], 'matched at both ends: one copy'],
    [probe(83), ['21'], 'denied where it arrives'],
    [probe(84), ['21', '22'], 'two rules, two ports'],
    [probe(85), ['12'], 'a port of another network gets nothing'],
    [probe(86), ['drop'], 'an endpoint gets nothing'],
    [probe(87), ['21', '22'], 'redirected, and a copy'],
    [probe(89), ['12'], 'a rule on trial copies nothing'],
    [probe(90), ['22'], 'redirected within its limit'],
    [
      `in_port=22,dl_src=${A1.mac},dl_dst=${A2.mac},tcp,nw_src=${A1.ip},nw_dst=${A2.ip},tp_dst=87`,
      ['12'],
      'what the device returned is not copied again by that rule',
    ],
    [
      `${tunnel(1000, FAR.mac)},dl_dst=${A1.mac},tcp,nw_src=${FAR.ip},nw_dst=${A1.ip},tp_dst=83`,
      ['21'],
      'from another DPU',
    ],
    [
      `${from(A1)},${udp},nw_src=${A1.ip}`,
      ['12', '21', '21', '65000'],
      'flooded: a copy for each receiver, the one of the sender among them',
    ],
    [
      `${from(B1)},dl_dst=${A2.mac},tcp,nw_src=${B1.ip},nw_dst=${A2.ip},tp_dst=81`,
      ['drop'],
      'a packet of another network is not copied',
    ],
  ];
  for (const [flow, want, why] of cases) t.strictSame(await outcome(ovs, flow), want.sort(), why);

  await ovs.vsctl('del-port', 'br-int', 'mon0');
  await agent.rule('allow', ({ reason }) => MIRROR_DOWN.test(reason));
  t.strictSame(await outcome(ovs, probe(80)), ['12'], 'its port goes, the rule stays');
});

/** A network with connection tracking, past its warm-up. */
const TRACKED = {
  networks: [
    {
      vni: 1000,
      name: 'tenant-a',
      namespaces: ['tenant-a'],
      subnets: ['10.1.0.0/16'],
      conntrack: 'on',
    },
  ],
  conntrack: { warmUpSeconds: 1 },
};

t.test(
  'with connection tracking: a line for each connection, and an answer on a live one',
  { skip: noLab },
  async (t) => {
    const { lab, agents, rules } = await labStage(t, TRACKED);
    const [source, target] = [lab.pod('pod1a'), lab.pod('pod2a')];
    await target.listenTcp(80);
    for (const dpu of [1, 2] as const) {
      await until(
        'stateful',
        async () => {
          const text = await lab.ofctl(dpu, 'dump-flows', 'table=15,ip,metadata=1000');
          const warming = await lab.ofctl(dpu, 'dump-flows', 'table=16');
          return text.includes('ct(') && !/priority=200/.test(warming);
        },
        30_000,
      );
    }
    const first = { mode: 'first', label: 'new' };
    await rules(ruleFile('watch', on(80, { action: 'allow', log: first })));
    const stream = { kind: 'stream', ip: '10.1.0.25', port: 80 } as const;
    const open = await source.startProber({ ...stream, intervalMs: 20, timeoutMs: 1000 });
    await until('a line', () => lines(agents[0]).length === 1);
    const second = await source.tcpProbe('10.1.0.25', 80, 3000);
    t.equal(second.outcome, 'open');
    await until('a line for the second', () => lines(agents[0]).length === 2);
    const written = lines(agents[0]);
    t.match(written, [
      { rule: 'tenant-a/watch/r', label: 'new', verdict: 'allow', dstPort: 80, suppressed: 0 },
      { rule: 'tenant-a/watch/r', protocol: 'TCP', srcIP: '10.1.0.15', dstIP: '10.1.0.25' },
    ]);
    t.not(written[0]?.['srcPort'], written[1]?.['srcPort'], 'of two connections');
    t.strictSame(lines(agents[1]), [], 'nothing where it arrives: it is an egress rule');

    const resets = async (): Promise<number> => {
      const text = await run('ip', ['netns', 'exec', source.namespace, 'cat', '/proc/net/snmp']);
      const [titles, values] = text.split('\n').filter((line) => line.startsWith('Tcp:'));
      return Number(values?.split(' ')[titles?.split(' ').indexOf('EstabResets') ?? -1]);
    };
    const before = await resets();
    await rules(ruleFile('cut', on(80, { action: 'reject', log: { mode: 'all' } })));
    await until('the live connection is reset', async () => (await resets()) > before, 20_000);
    t.ok((await agents[0].metric('dpu_agent_rejects_total', 'result="answered"')) >= 1);
    t.match(lines(agents[0]).at(-1), { rule: 'tenant-a/cut/r', verdict: 'reject' });
    await open.stop();
  },
);

t.test('a monitor sees what is allowed and what is denied', { skip: noLab }, async (t) => {
  const { lab, rules } = await labStage(t);
  const [source, target] = [lab.pod('pod1a'), lab.pod('pod2a')];
  await target.echoUdp(7000);
  await target.echoUdp(7001);
  const { namespace } = lab.dpus[0];
  await run('ip', ['-n', namespace, ...'link add mon0 type veth peer name mon0p'.split(' ')]);
  for (const end of ['mon0', 'mon0p']) await run('ip', ['-n', namespace, 'link', 'set', end, 'up']);
  await lab.vsctl(
    1,
    ...'add-port br-int mon0 -- set interface mon0 external_ids:dpu-vni=1000'.split(' '),
  );
  const udp = (name: string, dstPort: number, action: string): string =>
    ruleFile(name, {
      name: 'r',
      direction: 'Egress',
      match: { protocol: 'UDP', dstPort },
      action,
      mirror: { port: 'mon0' },
    });
  /** Packets that came out of the monitor's port. */
  const copies = async (): Promise<number> =>
    Number(
      await run('ip', [
        'netns',
        'exec',
        namespace,
        'cat',
        '/sys/class/net/mon0p/statistics/rx_packets',
      ]),
    );
  const agentsRules = [udp('seen', 7000, 'allow'), udp('stopped', 7001, 'deny')].join('---\n');
  await lab.vsctl(
    2,
    ...'add-port br-int mon0 -- set interface mon0 type=internal external_ids:dpu-vni=1000'.split(
      ' ',
    ),
  );
  await rules(agentsRules);
  const probes = async (port: number): Promise<{ sent: number; answered: number }> => {
    const spec = { ip: '10.1.0.25', port, intervalMs: 20, timeoutMs: 1000 };
    const prober = await source.startProber({ kind: 'udp', ...spec });
    await until('copies', async () => (await copies()) > before + 20);
    const all = await prober.stop();
    return { sent: all.length, answered: all.filter(({ rttMs }) => rttMs !== null).length };
  };
  let before = await copies();
  const allowed = await probes(7000);
  t.ok(allowed.answered > 15, `${allowed.answered} of ${allowed.sent} answered`);
  t.ok((await copies()) - before >= allowed.sent, 'and each copied');
  before = await copies();
  const denied = await probes(7001);
  t.equal(denied.answered, 0);
  t.ok((await copies()) - before >= denied.sent, 'what is denied is copied too');
});

t.test('a reject answers IPv6 as well', { skip: noLab }, async (t) => {
  const { lab, agents, rules } = await labStage(t, {}, 6);
  const [source, target] = [lab.pod('pod1a'), lab.pod('pod2a')];
  await target.listenTcp(81);
  await until('reachable', async () => (await source.ping('fd00::25', 1)).received === 1, 20_000);
  t.equal((await source.tcpProbe('fd00::25', 81, 3000)).outcome, 'open');
  const reject = (name: string, direction: string, match: Record<string, unknown>): string =>
    ruleFile(name, {
      name: 'r',
      direction,
      match: { dstIP: 'fd00::25', ...match },
      action: 'reject',
    });
  await rules(
    [
      reject('tcp', 'Egress', { protocol: 'TCP', dstPort: 81 }),
      reject('ping', 'Ingress', { protocol: 'ICMPv6', icmpType: 128 }),
    ].join('---\n'),
  );
  t.equal((await source.tcpProbe('fd00::25', 81, 3000)).outcome, 'refused');
  const report = await run('ip', [
    ...['netns', 'exec', source.namespace, 'ping', '-n', '-c', '1', '-W', '5', 'fd00::25'],
  ]).catch((error: unknown) => String((error as { stdout?: string }).stdout));
  t.match(report, /From fd00::25 .*Destination unreachable: Administratively prohibited/);
  // An answer is counted when the switch has said that it took it: the pod may have it before.
  for (const agent of agents) {
    await until('counted', async () => {
      return (await agent.metric('dpu_agent_rejects_total', 'result="answered"')) >= 1;
    });
  }
});
