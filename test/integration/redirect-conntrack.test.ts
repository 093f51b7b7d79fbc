// Redirects and connection tracking: where a packet goes, by ofproto/trace on a real Open vSwitch.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { unixctl } from '../../src/ovsdb/unixctl.ts';
import { ruleFile, TestAgent, until, type ConfigOverride, type RuleRow } from '../support/agent.ts';
import { ovsSandbox, type OvsSandbox } from '../support/ovs-sandbox.ts';

const A1 = { port: 11, mac: '02:00:0a:01:01:05', ip: '10.1.0.15' };
const A2 = { port: 12, mac: '02:00:0a:01:01:06', ip: '10.1.0.16' };
const B1 = { port: 13, mac: '02:00:0a:01:01:07', ip: '10.1.0.17' };
const FAR = { mac: '02:00:0a:01:02:05', ip: '10.1.0.25' };
const FAR_B = { mac: '02:00:0a:01:02:06', ip: '10.1.0.26' };
/** Legs of devices: two in VNI 1000, one in VNI 1001. */
const FW0 = '21';
const FW1 = '22';
const FWB = '23';
const TUNNEL = '65000';
const BROADCAST = 'ff:ff:ff:ff:ff:ff';

interface Stage {
  readonly ovs: OvsSandbox;
  readonly agent: TestAgent;
}

interface Host {
  readonly mac: string;
  readonly ip: string;
  readonly port?: number;
}

/** A switch with two endpoints of VNI 1000, one of 1001, three legs, and the agent on it. */
async function stage(
  t: Parameters<typeof ovsSandbox>[0],
  override: ConfigOverride = {},
): Promise<Stage | undefined> {
  const ovs = await ovsSandbox(t);
  if (ovs === undefined) return undefined;
  const peers = [
    {
      vtep: '192.168.1.12',
      endpoints: [
        { vni: 1000, mac: FAR.mac, ips: [FAR.ip] },
        { vni: 1001, mac: FAR_B.mac, ips: [FAR_B.ip] },
      ],
    },
  ];
  const agent = await TestAgent.create(t, ovs, { peers, ...override });
  await agent.start();
  for (const [name, { port, mac, ip }, vni] of [
    ['rep1', A1, 1000],
    ['rep2', A2, 1000],
    ['rep3', B1, 1001],
  ] as const) {
    await addPort(ovs, name, port, [
      `external_ids:attached-mac=${mac}`,
      `external_ids:dpu-vni=${vni}`,
      `external_ids:dpu-ips="${ip}"`,
    ]);
  }
  await addPort(ovs, 'fw0', Number(FW0), ['external_ids:dpu-vni=1000']);
  await addPort(ovs, 'fw1', Number(FW1), ['external_ids:dpu-vni=1000']);
  await addPort(ovs, 'fwb', Number(FWB), ['external_ids:dpu-vni=1001']);
  await until('endpoints', async () => {
    const { endpoints, problems } = await agent.json<{
      endpoints: { local: number };
      problems: unknown[];
    }>('/status');
    return endpoints.local === 3 && problems.length === 0;
  });
  await installed(agent);
  return { ovs, agent };
}

async function addPort(
  ovs: OvsSandbox,
  name: string,
  port: number,
  ids: readonly string[],
): Promise<void> {
  await ovs.run('ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}p`);
  for (const end of [name, `${name}p`]) await ovs.run('ip', 'link', 'set', end, 'up');
  await ovs.vsctl(
    ...['add-port', 'br-int', name, '--', 'set', 'interface', name, `ofport_request=${port}`],
    ...ids,
  );
}

async function installed(agent: TestAgent): Promise<void> {
  await until('their flows', async () => {
    const { flows } = await agent.json<{ flows: { desired: number; installed: number } }>(
      '/status',
    );
    return flows.desired === flows.installed;
  });
}

/** Where a packet ends: ports of the bridge by their number, or `drop`; sorted. */
async function outcome(
  { ovs }: Stage,
  flow: string,
  ctStates: readonly string[] = [],
): Promise<string> {
  const args = ['br-int', flow, ...ctStates.flatMap((state) => ['--ct-next', state])];
  const text = await unixctl(join(ovs.rundir, 'vswitchd.ctl'), 'ofproto/trace', args);
  const lines = text.split('\n');
  const ends = lines.flatMap((line, index) => {
    const port = /(?:^ *output:|-> output port is )(\d+)/.exec(line)?.[1];
    const skipped = lines[index + 1]?.includes('skipping output to input port') ?? false;
    return port === undefined || skipped ? [] : [port];
  });
  return ends.length === 0 ? 'drop' : ends.sort().join();
}

const tcp = (from: Host, to: Host, more: string): string =>
  `dl_src=${from.mac},dl_dst=${to.mac},tcp,nw_src=${from.ip},nw_dst=${to.ip},${more}`;
const local = (from: Host, to: Host, more = 'tcp_dst=80'): string =>
  `in_port=${from.port},${tcp(from, to, more)}`;
const remote = (from: Host, to: Host, more = 'tcp_dst=80', vni = 1000): string =>
  `in_port=${TUNNEL},tun_id=${vni},tun_src=192.168.1.12,tun_dst=192.168.1.11,${tcp(from, to, more)}`;
const returned = (leg: string, from: Host, to: Host, more = 'tcp_dst=80'): string =>
  `in_port=${leg},${tcp(from, to, more)}`;
/** Of a reply: from port 80, with ACK. */
const REPLY = 'tcp_src=80,tcp_flags=0x10';

/** The rule under test; its name tells it from the one before in its file. */
let version = 0;
const redirect = (entry: Readonly<Record<string, unknown>> = {}): string =>
  ruleFile(`fw-${++version}`, {
    match: { protocol: 'TCP', dstPort: 80 },
    action: 'redirect',
    redirectPort: 'fw0',
    ...entry,
  });

/** Puts the rule under test in place of the one before, and waits until it is in the switch. */
async function put(
  { agent }: Stage,
  text: string,
  check: (row: RuleRow) => boolean = (row) => row.programmed,
): Promise<RuleRow> {
  const name = `fw-${version}`;
  await agent.writeRule('fw.yaml', text);
  const row = await agent.rule(name, check);
  await installed(agent);
  return row;
}

const isMissing = ({ reason }: RuleRow): boolean => reason === 'PortNotFound';

type Case = readonly [what: string, flow: string, want: string];

async function check(
  test: Pick<typeof t, 'equal'>,
  staged: Stage,
  cases: readonly Case[],
): Promise<void> {
  for (const [what, flow, want] of cases) test.equal(await outcome(staged, flow), want, what);
}

t.test('a redirect acts once, and replies visit the device by its other leg', async (t) => {
  const staged = await stage(t);
  if (staged === undefined) return;
  const { ovs, agent } = staged;

  await t.test('one leg, where packets leave', async (t) => {
    await put(staged, redirect());
    await check(t, staged, [
      ['to a remote endpoint', local(A1, FAR), FW0],
      ['to a local endpoint', local(A1, A2), FW0],
      ['what does not match', local(A1, FAR, 'tcp_dst=81'), TUNNEL],
      ['returned, for a remote endpoint', returned(FW0, A1, FAR), TUNNEL],
      ['returned, for a local endpoint', returned(FW0, A1, A2), '12'],
      ['the reply of a remote endpoint', remote(FAR, A1, REPLY), FW0],
      ['the reply of a local endpoint', local(A2, A1, REPLY), FW0],
      ['a reply, returned', returned(FW0, FAR, A1, REPLY), '11'],
      ['a local reply, returned', returned(FW0, A2, A1, REPLY), '11'],
      ['a connection from afar was redirected where it left', remote(FAR, A1), '11'],
      ['its reply too', local(A1, FAR, REPLY), TUNNEL],
      ['another network', local(B1, FAR_B), TUNNEL],
      [
        'a frame with the MAC of nobody',
        returned(FW0, { ...A1, mac: '02:00:00:00:00:99' }, A2),
        'drop',
      ],
      [
        'from the tunnel, never back into it',
        returned(FW0, FAR, { ...FAR, mac: '02:00:0a:01:02:09' }),
        'drop',
      ],
      [
        'what a device says for itself',
        `in_port=${FW0},dl_src=${A1.mac},dl_dst=${BROADCAST},arp,arp_op=1`,
        'drop',
      ],
      ['with a VLAN tag', `in_port=${FW0},dl_vlan=5,${tcp(A1, A2, 'tcp_dst=80')}`, 'drop'],
      ['from the device of another network', returned(FWB, A1, A2), 'drop'],
    ]);
  });

  await t.test('two legs', async (t) => {
    await put(staged, redirect({ returnPort: 'fw1' }));
    await check(t, staged, [
      ['there', local(A1, FAR), FW0],
      ['returned', returned(FW1, A1, FAR), TUNNEL],
      ['the reply goes into the other leg', remote(FAR, A1, REPLY), FW1],
      ['and comes back', returned(FW0, FAR, A1, REPLY), '11'],
    ]);
  });

  await t.test('where packets arrive', async (t) => {
    await put(staged, redirect({ returnPort: 'fw1', direction: 'Ingress' }));
    await check(t, staged, [
      ['from a remote endpoint', remote(FAR, A1), FW0],
      ['from a local endpoint', local(A2, A1), FW0],
      ['returned', returned(FW1, FAR, A1), '11'],
      ['returned, of a local endpoint', returned(FW1, A2, A1), '11'],
      ['to a remote endpoint', local(A1, FAR), TUNNEL],
      ['the reply', local(A1, FAR, REPLY), FW1],
      ['the reply, returned', returned(FW0, A1, FAR, REPLY), TUNNEL],
    ]);
  });

  await t.test('lists, as a conjunction, also of two rules with common clauses', async (t) => {
    const match = { srcIPs: [A1.ip, '10.1.0.99'], protocol: 'TCP', dstPorts: [80, 90, 100] };
    await put(staged, redirect({ match, returnPort: 'fw1' }));
    const cases: readonly Case[] = [
      ['there', local(A1, FAR), FW0],
      ['returned', returned(FW1, A1, FAR), TUNNEL],
      ['of another source', local(A2, FAR), TUNNEL],
      ['the reply', remote(FAR, A1, REPLY), FW1],
      ['the reply, returned', returned(FW0, FAR, A1, REPLY), '11'],
    ];
    await check(t, staged, cases);
  });

  await t.test('a later tier judges what the device returns', async (t) => {
    await put(staged, redirect());
    const deny = { match: { protocol: 'TCP', dstPort: 80 }, action: 'deny', direction: 'Egress' };
    await agent.writeRule('deny.yaml', ruleFile('deny', deny, { tier: 'policy' }));
    await agent.rule('deny', (row) => row.programmed);
    await check(t, staged, [
      ['there', local(A1, FAR), FW0],
      ['returned', returned(FW0, A1, FAR), 'drop'],
    ]);
    await rm(join(agent.rulesDir, 'deny.yaml'));
    await until('no deny', async () => (await agent.json<RuleRow[]>('/rules')).length === 1);
    await installed(agent);
  });

  await t.test('broadcasts make one round, and do not come back to their sender', async (t) => {
    await put(staged, redirect({ match: {} }));
    const all = { mac: BROADCAST, ip: '255.255.255.255' };
    await check(t, staged, [
      ['there', local(A1, all), FW0],
      ['returned', returned(FW0, A1, all), `12,${TUNNEL}`],
      ['from afar', remote(FAR, all), '11,12'],
      ['from afar and, wrongly, from the device', returned(FW0, FAR, all), '11,12'],
    ]);
    await put(staged, redirect({ match: {}, direction: 'Ingress' }));
    t.equal(
      await outcome(staged, remote(FAR, all)),
      'drop',
      'would be multiplied where it arrives',
    );
  });

  await t.test('a port that is missing, or of another network, and one that comes', async (t) => {
    for (const redirectPort of ['nowhere', 'fwb', 'rep2']) {
      const row = await put(staged, redirect({ redirectPort }), isMissing);
      t.match(row, { accepted: true, programmed: false, message: new RegExp(redirectPort) });
      t.equal(await outcome(staged, local(A1, FAR)), 'drop', redirectPort);
      t.equal(await outcome(staged, local(A1, FAR, 'tcp_dst=81')), TUNNEL, 'other packets go on');
    }
    await put(staged, redirect({ redirectPort: 'late', onMissing: 'Allow' }), isMissing);
    t.equal(await outcome(staged, local(A1, FAR)), TUNNEL, 'Allow');
    await addPort(ovs, 'late', 31, ['external_ids:dpu-vni=1000']);
    await agent.rule(`fw-${version}`, (row) => row.programmed);
    t.equal(await outcome(staged, local(A1, FAR)), '31');
    await ovs.vsctl('del-port', 'br-int', 'late');
    await agent.rule(`fw-${version}`, isMissing);
    t.equal(await outcome(staged, local(A1, FAR)), TUNNEL);
  });

  await t.test('a leg that is down, without the agent', async (t) => {
    const link = (name: string, state: 'up' | 'down'): Promise<unknown> =>
      ovs.run('ip', 'link', 'set', name, state);
    for (const onMissing of ['Drop', 'Allow'] as const) {
      await put(staged, redirect({ returnPort: 'fw1', onMissing }));
      const missing = onMissing === 'Drop' ? 'drop' : TUNNEL;
      for (const leg of ['fw0p', 'fw1p']) {
        await link(leg, 'down');
        await until(leg, async () => (await outcome(staged, local(A1, FAR))) === missing);
        t.equal(
          await outcome(staged, remote(FAR, A1, REPLY)),
          onMissing === 'Drop' ? 'drop' : '11',
          `${onMissing}, ${leg} is down: replies`,
        );
        await link(leg, 'up');
        await until(leg, async () => (await outcome(staged, local(A1, FAR))) === FW0);
      }
    }
  });
});

const TRACKED = [
  { vni: 1000, name: 'tenant-a', namespaces: ['tenant-a'], conntrack: 'on' },
  { vni: 1001, name: 'tenant-b', namespaces: ['tenant-b'] },
];
const zoneOf = async ({ ovs }: Stage, vni: number): Promise<number | undefined> => {
  const text = await ovs.vsctl('get', 'bridge', 'br-int', 'external_ids');
  const zone = new RegExp(`dpu-ct-zone-${vni}="(\\d+) `).exec(text)?.[1];
  return zone === undefined ? undefined : Number(zone);
};

/** A stage whose network 1000 has its zone. */
async function trackedStage(
  t: Parameters<typeof stage>[0],
  warmUpSeconds: number,
): Promise<{ staged: Stage; zone: number } | undefined> {
  const conntrack = { firstZone: 700, lastZone: 799, warmUpSeconds };
  const staged = await stage(t, { networks: TRACKED, conntrack });
  if (staged === undefined) return undefined;
  const zone = await until('a zone', () => zoneOf(staged, 1000));
  await until('its flows', async () =>
    (await tracked(staged, local(A1, A2, SYN), NEW)).includes('ct('),
  );
  return { staged, zone };
}

const SYN = 'tcp_dst=80,tcp_flags=0x2';
const NEW = 'trk,new';
const EST = 'trk,est';
const EST_REPLY = 'trk,est,rpl';

/** As `outcome`, in a state of the connection; with the commits on the way. */
async function tracked(staged: Stage, flow: string, state: string, mark = 0): Promise<string> {
  const args = ['br-int', `${flow},ct_mark=${mark}`, '--ct-next', state];
  const text = await unixctl(join(staged.ovs.rundir, 'vswitchd.ctl'), 'ofproto/trace', args);
  const lines = text.slice(text.indexOf('resume conntrack')).split('\n');
  const seen = lines.flatMap((line, index) => {
    const port = /(?:^ *output:|-> output port is )(\d+)/.exec(line)?.[1];
    const skipped = lines[index + 1]?.includes('skipping output to input port') ?? false;
    if (port !== undefined && !skipped) return [port];
    const exec = /^ *ct\(commit,zone=\d+(?:,exec\((.*)\))?\)/.exec(line);
    return exec === null ? [] : [`ct(${exec[1]?.replaceAll('NXM_NX_', '') ?? ''})`];
  });
  return seen.length === 0 ? 'drop' : seen.join(' ');
}

type TrackedCase = readonly [what: string, flow: string, state: string, mark: number, want: string];

async function checkTracked(
  test: Pick<typeof t, 'equal'>,
  staged: Stage,
  cases: readonly TrackedCase[],
): Promise<void> {
  for (const [what, flow, state, mark, want] of cases) {
    test.equal(await tracked(staged, flow, state, mark), want, what);
  }
}

const CLEAR = 'ct(load:0->CT_MARK[0..1],load:0->CT_MARK[16..31])';
const BLOCK = 'ct(load:0x1->CT_MARK[0])';
const UNBLOCK = 'ct(load:0->CT_MARK[0])';
/** Of a connection whose replies go into a leg. */
const markOf = (leg: string): number => Number(leg) * 0x10000 + 2;

t.test('with connection tracking', async (t) => {
  const made = await trackedStage(t, 0);
  if (made === undefined) return;
  const { staged, zone } = made;
  const { agent, ovs } = staged;
  t.ok(zone >= 700 && zone <= 799, 'a zone of the pool');
  t.equal(await zoneOf(staged, 1001), undefined, 'the other network has none');
  t.equal(await outcome(staged, local(B1, FAR_B)), TUNNEL, 'and is not tracked');

  await t.test('without rules', async (t) => {
    await checkTracked(t, staged, [
      ['a new connection', local(A1, FAR), NEW, 0, `${CLEAR} ${TUNNEL}`],
      ['one that is known', local(A1, FAR), EST, 0, TUNNEL],
      ['one that was denied before', local(A1, FAR), EST, 1, `${CLEAR} ${TUNNEL}`],
      ['one that was redirected before', local(A1, FAR), EST, 2, `${CLEAR} ${TUNNEL}`],
      ['a reply', remote(FAR, A1, REPLY), EST_REPLY, 0, '11'],
      ['a reply of a denied one', remote(FAR, A1, REPLY), EST_REPLY, 1, 'drop'],
      ['an error about one', remote(FAR, A1, REPLY), 'trk,rel,rpl', 0, '11'],
      ['what belongs to none', remote(FAR, A1, REPLY), 'trk,inv', 0, 'drop'],
    ]);
  });

  await t.test('a deny bites on what lives, and replies pass a default deny', async (t) => {
    const deny = { match: { protocol: 'TCP', dstPort: 80 }, action: 'deny' };
    await put(staged, ruleFile(`fw-${++version}`, deny));
    await checkTracked(t, staged, [
      ['a new connection', local(A1, FAR), NEW, 0, 'drop'],
      ['a live one, where it leaves', local(A1, FAR), EST, 0, BLOCK],
      ['a live one, where it arrives', remote(FAR, A1), EST, 0, BLOCK],
      ['its replies', local(A1, FAR, REPLY), EST_REPLY, 1, 'drop'],
      ['another', local(A1, FAR, 'tcp_dst=81'), EST, 0, TUNNEL],
    ]);
  });

  await t.test('a redirect marks the connection, and its replies go by the mark', async (t) => {
    await put(staged, redirect({ returnPort: 'fw1' }));
    const mark = 'ct(load:0x2->CT_MARK[0..1],move:REG6[0..15]->CT_MARK[16..31])';
    await checkTracked(t, staged, [
      ['there, new', local(A1, FAR), NEW, 0, `${mark} ${FW0}`],
      ['there, live and not marked', local(A1, FAR), EST, 0, `${mark} ${FW0}`],
      ['there, denied before', local(A1, FAR), EST, 1, `${mark} ${FW0}`],
      ['there, marked', local(A1, FAR), EST, markOf(FW1), FW0],
      ['there, marked for a leg that was', local(A1, FAR), EST, markOf('99'), `${mark} ${FW0}`],
      ['returned, new', returned(FW1, A1, FAR), NEW, markOf(FW1), `${UNBLOCK} ${TUNNEL}`],
      ['returned', returned(FW1, A1, FAR), EST, markOf(FW1), TUNNEL],
      ['the reply from afar', remote(FAR, A1, REPLY), EST_REPLY, markOf(FW1), FW1],
      ['the reply from here', local(A2, A1, REPLY), EST_REPLY, markOf(FW1), FW1],
      ['an error about it', remote(FAR, A1, REPLY), 'trk,rel,rpl', markOf(FW1), FW1],
      ['the reply, returned', returned(FW0, FAR, A1, REPLY), EST_REPLY, markOf(FW1), '11'],
      ['a leg of another network', remote(FAR, A1, REPLY), EST_REPLY, markOf(FWB), 'drop'],
      ['a reply of another connection', remote(FAR, A1, REPLY), EST_REPLY, 0, '11'],
      ['what looks like a reply', remote(FAR, A1, REPLY), NEW, 0, `${CLEAR} 11`],
    ]);
    await put(staged, redirect({ redirectPort: 'nowhere', onMissing: 'Allow' }), isMissing);
    await checkTracked(t, staged, [
      ['without the device the mark goes', local(A1, FAR), EST, 2, `${CLEAR} ${TUNNEL}`],
    ]);
  });

  await t.test('reverse flows stand no longer beside the tracker', async (t) => {
    const allow = { match: { dstIP: FAR.ip }, action: 'allow', direction: 'Egress', reverse: true };
    await put(staged, ruleFile(`fw-${++version}`, allow));
    const flows = await agent.json<{ table: number }[]>(`/flows?rule=tenant-a/fw-${version}`);
    t.ok(flows.length > 0 && flows.every(({ table }) => table < 40), JSON.stringify(flows));
  });

  await t.test('a restarted agent keeps the zone, and without conntrack it goes', async (t) => {
    await agent.replace();
    await agent.start();
    t.equal(await zoneOf(staged, 1000), zone);
    t.equal(await tracked(staged, local(A1, FAR), NEW), `${CLEAR} ${TUNNEL}`);
    await agent.agent.close();
    const second = await TestAgent.create(t, ovs);
    await second.start();
    await until('no zone', async () => (await zoneOf(staged, 1000)) === undefined);
    t.equal(await outcome(staged, local(A1, A2)), '12', 'not tracked');
  });
});

t.test('while tracking warms up, policy is stateless', async (t) => {
  const made = await trackedStage(t, 3600);
  if (made === undefined) return;
  const { staged } = made;
  const ACK = 'tcp_dst=80,tcp_flags=0x10';
  await checkTracked(t, staged, [
    ['the opening of a connection', local(A1, FAR, SYN), NEW, 0, `${CLEAR} ${TUNNEL}`],
    ['mid-stream, by a default alone', local(A1, FAR, ACK), NEW, 0, TUNNEL],
    ['mid-stream, where it arrives', remote(FAR, A1, ACK), NEW, 0, '11'],
    ['mid-stream, from here to here', local(A1, A2, ACK), NEW, 0, '12'],
    ['invalid', local(A1, FAR, ACK), 'trk,inv', 0, TUNNEL],
  ]);
  const allow = {
    match: { protocol: 'TCP', dstPort: 80, dstIP: FAR.ip },
    action: 'allow',
    direction: 'Egress',
    reverse: true,
  };
  await put(staged, ruleFile(`fw-${++version}`, allow));
  await checkTracked(t, staged, [
    ['mid-stream, by an allow', local(A1, FAR, ACK), NEW, 0, `${CLEAR} ${TUNNEL}`],
    ['its reply', remote(FAR, A1, REPLY), NEW, 0, '11'],
    ['its reply, known', remote(FAR, A1, REPLY), EST_REPLY, 0, '11'],
  ]);
  const deny = { match: { srcIP: FAR.ip, srcPort: 80 }, action: 'deny', direction: 'Ingress' };
  await put(staged, ruleFile(`fw-${++version}`, deny));
  await checkTracked(t, staged, [
    ['replies pass through policy', remote(FAR, A1, REPLY), EST_REPLY, 0, 'drop'],
  ]);
  await put(staged, redirect({ returnPort: 'fw1' }));
  const mark = 'ct(load:0x2->CT_MARK[0..1],move:REG6[0..15]->CT_MARK[16..31])';
  await checkTracked(t, staged, [
    ['redirected, mid-stream', local(A1, FAR, ACK), NEW, 0, `${mark} ${FW0}`],
    ['its reply', remote(FAR, A1, REPLY), NEW, 0, FW1],
  ]);
});
