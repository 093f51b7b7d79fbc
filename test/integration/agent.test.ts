// The agent on a real Open vSwitch: from files to flows, and what holds when something goes wrong.
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { unixctl } from '../../src/ovsdb/unixctl.ts';
import { ruleFile, TestAgent, until } from '../support/agent.ts';
import { ovsSandbox, type OvsSandbox } from '../support/ovs-sandbox.ts';

const DENY = { match: { dstIP: '10.1.0.25', protocol: 'TCP', dstPort: 81 }, action: 'deny' };

/** Our flows as ovs-ofctl sees them. */
async function dumpFlows(ovs: OvsSandbox): Promise<string[]> {
  const text = await ovs.ofctl(
    '-O',
    'OpenFlow13',
    '--no-names',
    '--no-stats',
    'dump-flows',
    `unix:${ovs.rundir}/br-int.mgmt`,
  );
  return text.split('\n').filter((line) => line.includes('actions='));
}

/** Adds a port that is an endpoint, as a CNI would. */
async function addEndpoint(
  ovs: OvsSandbox,
  port: string,
  ofport: number,
  vni: number,
  mac: string,
  ip: string,
): Promise<void> {
  await ovs.run('ip', 'link', 'add', port, 'type', 'veth', 'peer', 'name', `${port}p`);
  await ovs.vsctl(
    ...['add-port', 'br-int', port, '--', 'set', 'interface', port, `ofport_request=${ofport}`],
    ...[
      `external_ids:attached-mac=${mac}`,
      `external_ids:dpu-vni=${vni}`,
      `external_ids:dpu-ips=${ip}`,
    ],
  );
}

/** What the switch would do with a packet. */
function trace(ovs: OvsSandbox, flow: string): Promise<string> {
  return unixctl(join(ovs.rundir, 'vswitchd.ctl'), 'ofproto/trace', ['br-int', flow]);
}

void t.test(
  'an empty switch gets its bridge, tunnel and flows, and a restart of the agent sends nothing',
  async (t) => {
    const ovs = await ovsSandbox(t);
    if (ovs === undefined) return;
    const agent = await TestAgent.create(t, ovs);
    const startMs = performance.now();
    await agent.start();
    t.comment(
      `first complete sync ${Math.round(performance.now() - startMs)} ms after the start, bridge made on the way`,
    );

    t.equal((await ovs.vsctl('get', 'bridge', 'br-int', 'fail_mode')).trim(), 'secure');
    const options = await ovs.vsctl('get', 'interface', 'vtep0', 'options');
    t.equal(options.trim(), '{dst_port="4789", key=flow, local_ip="192.168.1.11", remote_ip=flow}');
    const flows = await dumpFlows(ovs);
    t.equal(flows.length, await agent.metric('dpu_agent_flows', 'state="desired"'));
    t.equal(flows.length, await agent.metric('dpu_agent_flows', 'state="installed"'));
    t.notOk(flows.some((line) => /actions=.*NORMAL/.test(line)));

    await agent.replace();
    await agent.start();
    t.equal(await agent.flowMods(), 0, 'what the switch dumps is byte for byte what is desired');
    t.strictSame(await dumpFlows(ovs), flows);
  },
);

void t.test(
  'a rule file becomes flows that act on its VNI alone, and each change sends only the difference',
  async (t) => {
    const ovs = await ovsSandbox(t);
    if (ovs === undefined) return;
    const agent = await TestAgent.create(t, ovs);
    await agent.start();
    await addEndpoint(ovs, 'rep1a', 11, 1000, '02:00:0a:01:01:05', '10.1.0.15');
    await addEndpoint(ovs, 'rep2a', 12, 1000, '02:00:0a:01:01:06', '10.1.0.16');
    await addEndpoint(ovs, 'rep1b', 13, 1001, '02:00:0a:01:01:05', '10.1.0.15');
    await until(
      'endpoints',
      async () =>
        (await agent.json<{ endpoints: { local: number } }>('/status')).endpoints.local === 3,
    );
    await until('flows of the endpoints', async () =>
      (await dumpFlows(ovs)).some((line) => line.includes('in_port=13')),
    );

    const packet = (port: number, vlan: string, dst: string): string =>
      `in_port=${port},dl_src=02:00:0a:01:01:05,dl_dst=${dst},tcp,nw_src=10.1.0.15,nw_dst=${vlan},tp_dst=81,tp_src=5000`;
    const local = packet(11, '10.1.0.16', '02:00:0a:01:01:06');
    t.match(
      await trace(ovs, local),
      /Datapath actions: (?!drop)/,
      'endpoints of one VNI reach each other',
    );
    t.match(
      await trace(ovs, packet(13, '10.1.0.16', '02:00:0a:01:01:06')),
      /Datapath actions: drop/,
      'an endpoint of another VNI does not, with the very same addresses',
    );
    const before = await agent.flowMods();
    await agent.writeRule(
      'deny.yaml',
      ruleFile('deny', { ...DENY, match: { ...DENY.match, dstIP: '10.1.0.16' } }),
    );
    const row = await agent.rule('deny', ({ programmed }) => programmed);
    t.equal(row.flows, 4, 'a match and a verdict in each direction');
    t.equal((await agent.flowMods()) - before, 4);
    t.match(await trace(ovs, local), /Datapath actions: drop/);
    t.match(
      await trace(ovs, local.replace('tp_dst=81', 'tp_dst=80')),
      /Datapath actions: (?!drop)/,
    );

    await agent.writeRule(
      'deny.yaml',
      ruleFile('deny', { ...DENY, match: { ...DENY.match, dstIP: '10.1.0.16', dstPort: 80 } }),
    );
    await until('the deny has moved', async () =>
      /Datapath actions: drop/.test(await trace(ovs, local.replace('tp_dst=81', 'tp_dst=80'))),
    );
    t.equal((await agent.flowMods()) - before, 8, 'the two matches go and come, the verdicts stay');
    t.match(await trace(ovs, local), /Datapath actions: (?!drop)/);
  },
);

void t.test('who may not say something is told so, and the rules of others go on', async (t) => {
  const ovs = await ovsSandbox(t);
  if (ovs === undefined) return;
  const agent = await TestAgent.create(t, ovs);
  await agent.start();
  await agent.writeRule('good.yaml', ruleFile('good', DENY));
  await agent.writeRule('tier.yaml', ruleFile('tier', DENY, { tier: 'platform' }));
  await agent.writeRule(
    'foreign.yaml',
    ruleFile('foreign', { ...DENY, vni: 5000 }, { networkRef: undefined }),
  );
  await agent.writeRule(
    'thief.yaml',
    ruleFile('thief', { ...DENY, vni: 1001 }, { networkRef: undefined }),
  );
  t.match(await agent.rule('good', ({ programmed }) => programmed), { reason: '' });
  t.match(await agent.rule('tier', () => true), {
    accepted: false,
    reason: 'TierNotAllowed',
    message: /dpu-system/,
  });
  t.match(await agent.rule('foreign', () => true), {
    accepted: false,
    reason: 'VNINotAllowed',
    message: /1000-1999/,
  });
  t.match(await agent.rule('thief', () => true), {
    accepted: false,
    reason: 'VNINotAllowed',
    message: /tenant-b/,
  });
  t.strictSame(
    (await dumpFlows(ovs)).filter((line) => line.includes('metadata=0x1388')),
    [],
  );
});

void t.test(
  'a flow that the switch refuses is named with its rule, and everything else goes in',
  async (t) => {
    const ovs = await ovsSandbox(t);
    if (ovs === undefined) return;
    const agent = await TestAgent.create(t, ovs);
    await agent.start();
    // Table 24 may hold its miss and one more flow.
    await ovs.vsctl(
      ...['--', '--id=@t', 'create', 'Flow_Table', 'flow_limit=2', 'overflow_policy=refuse'],
      ...['--', 'set', 'bridge', 'br-int', 'flow_tables:24=@t'],
    );
    const entries = ['a', 'b', 'c'].map((name, index) => ({
      ...DENY,
      name,
      direction: 'Egress',
      match: { dstIP: `10.1.0.${index}` },
    }));
    const file = (name: string, tier: string, entry: Readonly<Record<string, unknown>>): string =>
      ruleFile(name, entry, { tier });
    await agent.writeRule(
      'limited.yaml',
      entries.map((entry) => file(`limited-${entry.name}`, 'isolation', entry)).join('---\n'),
    );
    await agent.writeRule('free.yaml', file('free', 'tenant', DENY));
    await agent.rule('free', ({ programmed }) => programmed);
    const rows = await Promise.all(
      entries.map(({ name }) =>
        agent.rule(
          `limited-${name}`,
          ({ programmed, reason }) => programmed || reason === 'SwitchRefused',
        ),
      ),
    );
    t.equal(rows.filter(({ programmed }) => programmed).length, 1, 'as many as fit');
    for (const { message } of rows.filter(({ programmed }) => !programmed))
      t.match(message, /OFP_OFPFMFC_TABLE_FULL/);
    t.ok((await agent.metric('dpu_agent_bundles_total', 'result="refused"')) > 0);

    await ovs.vsctl('clear', 'bridge', 'br-int', 'flow_tables');
    agent.agent.reconciler.audit();
    for (const { name } of entries)
      await agent.rule(`limited-${name}`, ({ programmed }) => programmed);
  },
);

void t.test(
  'what others change of ours is put right, and what is theirs is left alone',
  async (t) => {
    const ovs = await ovsSandbox(t);
    if (ovs === undefined) return;
    const agent = await TestAgent.create(t, ovs);
    await agent.start();
    const flows = await dumpFlows(ovs);
    const socket = `unix:${ovs.rundir}/br-int.mgmt`;
    await ovs.ofctl(
      '-O',
      'OpenFlow13',
      'add-flow',
      socket,
      'table=22,priority=7,cookie=0x1,ip,actions=drop',
    );
    await ovs.ofctl('-O', 'OpenFlow13', 'del-flows', socket, 'table=40');
    await ovs.ofctl('-O', 'OpenFlow13', 'mod-flows', socket, 'table=80,actions=drop');
    agent.agent.reconciler.audit();
    const own = async (): Promise<string[]> =>
      (await dumpFlows(ovs)).filter((line) => !line.includes('cookie=0x1,')).sort();
    await until('repair', async () => (await own()).join() === [...flows].sort().join());
    t.ok((await agent.metric('dpu_agent_drift_repairs_total')) > 0);
    t.equal((await dumpFlows(ovs)).length, flows.length + 1, 'the foreign flow is still there');
    t.equal(await agent.metric('dpu_agent_flows', 'state="foreign"'), 1);

    // In the default mode even first fragments would slip past port rules.
    await ovs.ofctl('-O', 'OpenFlow13', 'set-frags', socket, 'normal');
    agent.agent.reconciler.audit();
    await until('fragment mode', async () =>
      (await ovs.ofctl('-O', 'OpenFlow13', 'get-frags', socket)).includes('nx-match'),
    );

    await ovs.vsctl('set', 'interface', 'vtep0', 'options:key=42');
    await until(
      'tunnel options',
      async () => (await ovs.vsctl('get', 'interface', 'vtep0', 'options:key')).trim() === 'flow',
    );
    await ovs.vsctl('set', 'bridge', 'br-int', 'fail_mode=standalone');
    await until(
      'fail_mode',
      async () => (await ovs.vsctl('get', 'bridge', 'br-int', 'fail_mode')).trim() === 'secure',
    );
  },
);

void t.test(
  'a port of the name vtep0 that is not ours is not touched, and said to be in the way',
  async (t) => {
    const ovs = await ovsSandbox(t);
    if (ovs === undefined) return;
    await ovs.vsctl(
      ...['add-br', 'br-int', '--', 'set', 'bridge', 'br-int', 'datapath_type=netdev'],
    );
    await ovs.vsctl(
      ...['add-port', 'br-int', 'vtep0', '--', 'set', 'interface', 'vtep0', 'type=internal'],
    );
    const agent = await TestAgent.create(t, ovs);
    await agent.start(false);
    const status = await until('problem', async () => {
      const answer = await agent.json<{ problems: { path: string; message: string }[] }>('/status');
      return answer.problems.some(({ path }) => path === 'vtep0') && answer;
    });
    t.match(status.problems.find(({ path }) => path === 'vtep0')?.message, /not this agent's/);
    t.equal((await ovs.vsctl('get', 'interface', 'vtep0', 'type')).trim(), 'internal');
  },
);

void t.test(
  'endpoints come and go with their ports, and a port with wrong ids is named',
  async (t) => {
    const ovs = await ovsSandbox(t);
    if (ovs === undefined) return;
    const agent = await TestAgent.create(t, ovs);
    await agent.start();
    const flows = await dumpFlows(ovs);
    await addEndpoint(ovs, 'rep1a', 11, 1000, '02:00:0a:01:01:05', '10.1.0.15');
    await addEndpoint(ovs, 'bad', 12, 4000, '02:00:0a:01:01:06', '10.1.0.16');
    await until('flows', async () =>
      (await dumpFlows(ovs)).some((line) => line.includes('in_port=11')),
    );
    t.notOk((await dumpFlows(ovs)).some((line) => line.includes('in_port=12')));
    const { problems } = await agent.json<{ problems: { path: string; message: string }[] }>(
      '/status',
    );
    t.match(problems.find(({ path }) => path === 'bad')?.message, /VNI 4000 is no network/);
    await ovs.vsctl('del-port', 'rep1a');
    await until('flows gone', async () => (await dumpFlows(ovs)).length === flows.length);
    t.strictSame(await dumpFlows(ovs), flows);
  },
);

void t.test(
  'after a restart of ovs-vswitchd, and of the database, the flows are back',
  async (t) => {
    const ovs = await ovsSandbox(t);
    if (ovs === undefined) return;
    const agent = await TestAgent.create(t, ovs);
    await agent.start();
    await agent.writeRule('deny.yaml', ruleFile('deny', DENY));
    await agent.rule('deny', ({ programmed }) => programmed);
    const flows = await dumpFlows(ovs);
    await ovs.restartVswitchd();
    await until('flows', async () => (await dumpFlows(ovs)).length === flows.length);
    t.strictSame(await dumpFlows(ovs), flows);
    t.ok((await agent.metric('dpu_agent_reconnects_total', 'peer="openflow"')) > 0);

    await ovs.restartOvsdb();
    await agent.writeRule(
      'more.yaml',
      ruleFile('more', { ...DENY, match: { dstIP: '10.1.0.99' } }),
    );
    await agent.rule('more', ({ programmed }) => programmed);
    t.ok((await agent.metric('dpu_agent_reconnects_total', 'peer="ovsdb"')) > 0);
    await agent.ready();
  },
);

void t.test(
  'an Open vSwitch that appears late is found, and until then the agent says what is missing',
  async (t) => {
    const ovs = await ovsSandbox(t);
    if (ovs === undefined) return;
    await ovs.stopVswitchd();
    await ovs.stopOvsdb();
    const agent = await TestAgent.create(t, ovs);
    await agent.start(false);
    await agent.writeRule('deny.yaml', ruleFile('deny', DENY));
    const status = await agent.json<{ ready: boolean; notReady: string[] }>('/status');
    t.equal(status.ready, false);
    t.match(status.notReady.join('; '), /OVSDB.*OpenFlow/);
    await ovs.startOvsdb();
    await ovs.startVswitchd();
    await agent.ready();
    await agent.rule('deny', ({ programmed }) => programmed);
    await ovs.stopVswitchd();
    await until('not ready', async () => !(await agent.json<{ ready: boolean }>('/status')).ready);
    t.match(await agent.rule('deny', ({ reason }) => reason === 'SwitchDown'), {
      accepted: true,
      programmed: false,
    });
    await ovs.startVswitchd();
    await agent.ready();
    await agent.rule('deny', ({ programmed }) => programmed);
  },
);

void t.test(
  'a bridge that speaks only OpenFlow 1.0 is an error that names the remedy, until it is mended',
  async (t) => {
    const ovs = await ovsSandbox(t);
    if (ovs === undefined) return;
    await ovs.vsctl(
      ...[
        'add-br',
        'br-int',
        '--',
        'set',
        'bridge',
        'br-int',
        'datapath_type=netdev',
        'protocols=OpenFlow10',
      ],
    );
    const agent = await TestAgent.create(t, ovs);
    await agent.start(false);
    const line = await until('error in the log', () =>
      agent.log.find(({ fields }) => /protocols/.test(String(fields['err']))),
    );
    t.match(String(line.fields['err']), /OpenFlow 1\.0.*OpenFlow13/);
    const { problems } = await agent.json<{ problems: { path: string; message: string }[] }>(
      '/status',
    );
    t.match(problems.find(({ path }) => path === 'protocols')?.message, /add OpenFlow13/);
    await ovs.vsctl('set', 'bridge', 'br-int', 'protocols=OpenFlow10,OpenFlow13');
    await agent.ready();
  },
);

void t.test('a second agent on the bridge waits for the lock and writes nothing', async (t) => {
  const ovs = await ovsSandbox(t);
  if (ovs === undefined) return;
  const first = await TestAgent.create(t, ovs);
  await first.start();
  const flows = await dumpFlows(ovs);
  const second = await TestAgent.create(t, ovs);
  await second.writeRule('deny.yaml', ruleFile('deny', DENY));
  await second.start(false);
  await until('says why', async () => {
    const { notReady } = await second.json<{ notReady: string[] }>('/status');
    return (
      notReady.some((reason) => reason.includes('lock')) &&
      notReady.every((reason) => !reason.includes('OpenFlow'))
    );
  });
  t.strictSame(await dumpFlows(ovs), flows);
  await first.agent.close();
  await second.rule('deny', ({ programmed }) => programmed);
});

void t.test(
  '10 MB of YAML and a broken file are refused by name while everything else goes on',
  async (t) => {
    const ovs = await ovsSandbox(t);
    if (ovs === undefined) return;
    const agent = await TestAgent.create(t, ovs);
    await agent.start();
    await agent.writeRule('deny.yaml', ruleFile('deny', DENY));
    await agent.rule('deny', ({ programmed }) => programmed);
    const flows = await dumpFlows(ovs);
    await writeFile(
      join(agent.rulesDir, 'huge.yaml'),
      `${'a: 1\n# '.padEnd(1000, 'x')}\n`.repeat(10_500),
    );
    await agent.writeRule('deny.yaml', ruleFile('deny', { ...DENY, match: { dstPort: 99999 } }));
    const problems = await until('problems', async () => {
      const answer = await agent.json<{
        problems: { file: string; line?: number; path: string; message: string }[];
      }>('/status');
      return answer.problems.length >= 2 && answer.problems;
    });
    t.match(
      problems.find(({ file }) => file.endsWith('huge.yaml')),
      { message: /large|MB|bytes/ },
    );
    t.match(
      problems.find(({ file }) => file.endsWith('deny.yaml')),
      { path: /dstPort/, line: Number, message: /65535/ },
    );
    t.strictSame(await dumpFlows(ovs), flows, 'the last good version stays in force');
  },
);

t.test(
  'a boot without the rules directory brings the last good rules into force, and says how old they are',
  async (t) => {
    const ovs = await ovsSandbox(t);
    if (ovs === undefined) return;
    const agent = await TestAgent.create(t, ovs);
    await agent.start();
    await agent.writeRule('deny.yaml', ruleFile('deny', DENY));
    await agent.rule('deny', ({ programmed }) => programmed);
    await agent.replace();
    const away = `${agent.rulesDir}.away`;
    await rename(agent.rulesDir, away);
    await ovs.ofctl('-O', 'OpenFlow13', 'del-flows', `unix:${ovs.rundir}/br-int.mgmt`);
    await agent.start();
    const row = await agent.rule('deny', ({ programmed }) => programmed);
    t.match(row, { reason: 'Stale', message: /last good state of 20/ });
    await rename(away, agent.rulesDir);
    await agent.rule('deny', ({ reason }) => reason === '');
    t.equal(
      (await agent.json<{ source: { staleSince: string | null } }>('/status')).source.staleSince,
      null,
    );
  },
);
