// What the compiled pipeline does with packets, by ofproto/trace and packet-out on a real Open vSwitch.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { DROP_REASONS } from '../../src/agent/flow/drop-reason.ts';
import { ruleFile, TestAgent, until } from '../support/agent.ts';
import { A1, A2, B1, BROADCAST, FAR, from, outcome, stage, tunnel } from '../support/stage.ts';

t.test(
  'forwarding, flooding and the guards send each packet where it belongs, and nowhere else',
  async (t) => {
    const staged = await stage(t);
    if (staged === undefined) return;
    const { ovs } = staged;
    const ip = `ip,nw_src=${A1.ip}`;
    const cases: readonly [name: string, flow: string, want: string[]][] = [
      ['to a local endpoint', `${from(A1)},dl_dst=${A2.mac},${ip},nw_dst=${A2.ip}`, ['12']],
      ['to a remote endpoint', `${from(A1)},dl_dst=${FAR.mac},${ip},nw_dst=${FAR.ip}`, ['65000']],
      [
        'to an endpoint of another VNI',
        `${from(A1)},dl_dst=${B1.mac},${ip},nw_dst=${B1.ip}`,
        ['drop'],
      ],
      [
        'to an unknown MAC',
        `${from(A1)},dl_dst=02:00:00:00:00:99,${ip},nw_dst=10.1.0.99`,
        ['drop'],
      ],
      [
        'from the tunnel to a local endpoint',
        `${tunnel(1000, FAR.mac)},dl_dst=${A1.mac},ip,nw_src=${FAR.ip},nw_dst=${A1.ip}`,
        ['11'],
      ],
      [
        'from the tunnel with another VNI',
        `${tunnel(1001, FAR.mac)},dl_dst=${A1.mac},ip,nw_src=${FAR.ip},nw_dst=${A1.ip}`,
        ['drop'],
      ],
      [
        'from the tunnel with a VNI that is not here',
        `${tunnel(1002, FAR.mac)},dl_dst=${A1.mac},ip`,
        ['drop'],
      ],
      [
        'from the tunnel back into it',
        `${tunnel(1000, '02:00:00:00:00:98')},dl_dst=${FAR.mac},ip`,
        ['drop'],
      ],
      [
        'from a stranger through the tunnel',
        `${tunnel(1000, FAR.mac, '192.168.1.77')},dl_dst=${A1.mac},ip`,
        ['drop'],
      ],
      [
        'from the tunnel with the MAC of a local endpoint',
        `${tunnel(1000, A2.mac)},dl_dst=${A1.mac},ip`,
        ['drop'],
      ],
      [
        'with the IP address of somebody else',
        `${from(A1)},dl_dst=${A2.mac},ip,nw_src=10.1.0.99,nw_dst=${A2.ip}`,
        ['drop'],
      ],
      [
        'with the MAC of somebody else',
        `in_port=11,dl_src=${A2.mac},dl_dst=${FAR.mac},${ip},nw_dst=${FAR.ip}`,
        ['drop'],
      ],
      ['an 802.1Q frame', `${from(A1)},dl_vlan=7,dl_dst=${A2.mac},${ip},nw_dst=${A2.ip}`, ['drop']],
      [
        'a DHCP answer',
        `${from(A1)},dl_dst=${A2.mac},udp,nw_src=${A1.ip},nw_dst=${A2.ip},udp_src=67,udp_dst=68`,
        ['drop'],
      ],
      [
        'a router advertisement',
        `${from(A1)},dl_dst=33:33:00:00:00:01,icmp6,ipv6_src=fe80::1,icmpv6_type=134`,
        ['drop'],
      ],
      ['neither IP nor ARP', `${from(A1)},dl_dst=${A2.mac},dl_type=0x88cc`, ['drop']],
      [
        'an ARP request for a known endpoint becomes unicast',
        `${from(A1)},dl_dst=${BROADCAST},arp,arp_op=1,arp_spa=${A1.ip},arp_tpa=${A2.ip},arp_sha=${A1.mac}`,
        ['12'],
      ],
      [
        'an ARP request for an unknown one floods',
        `${from(A1)},dl_dst=${BROADCAST},arp,arp_op=1,arp_spa=${A1.ip},arp_tpa=10.1.0.99,arp_sha=${A1.mac}`,
        ['12', '65000'],
      ],
      [
        'an ARP request with a false sender',
        `${from(A1)},dl_dst=${BROADCAST},arp,arp_op=1,arp_spa=10.1.0.99,arp_tpa=${A2.ip},arp_sha=${A1.mac}`,
        ['drop'],
      ],
      [
        'a solicitation for a known endpoint becomes unicast',
        `${from(A1)},dl_dst=33:33:ff:00:00:16,icmp6,ipv6_src=${A1.ip6},ipv6_dst=ff02::1:ff00:16,icmpv6_type=135,nd_target=${A2.ip6}`,
        ['12'],
      ],
      [
        'IPv6 to a local endpoint',
        `${from(A1)},dl_dst=${A2.mac},ipv6,ipv6_src=${A1.ip6},ipv6_dst=${A2.ip6}`,
        ['12'],
      ],
      [
        'a multicast goes to every other endpoint of the VNI and to the peers',
        `${from(A1)},dl_dst=01:00:5e:01:01:01,${ip},nw_dst=239.1.1.1`,
        ['12', '65000'],
      ],
      [
        'a broadcast of the subnet too',
        `${from(A1)},dl_dst=${BROADCAST},${ip},nw_dst=10.1.255.255`,
        ['12', '65000'],
      ],
      [
        'a flooded packet from the tunnel stays local',
        `${tunnel(1000, FAR.mac)},dl_dst=${BROADCAST},ip,nw_src=${FAR.ip},nw_dst=255.255.255.255`,
        ['11', '12'],
      ],
      [
        'a unicast IP address inside a broadcast frame',
        `${from(A1)},dl_dst=${BROADCAST},${ip},nw_dst=${A2.ip}`,
        ['drop'],
      ],
      ['from a port that is no endpoint', 'in_port=99,dl_src=02:00:00:00:00:01,ip', ['drop']],
    ];
    for (const [name, flow, want] of cases) t.strictSame(await outcome(ovs, flow), want, name);
  },
);

t.test(
  'rules act in every tier, in order of tier, priority and caution, at both ends',
  async (t) => {
    const staged = await stage(t);
    if (staged === undefined) return;
    const { ovs, agent } = staged;
    const probe = (port: number): string =>
      `${from(A1)},dl_dst=${A2.mac},tcp,nw_src=${A1.ip},nw_dst=${A2.ip},tp_src=5000,tp_dst=${port}`;
    const admin = (
      name: string,
      entry: Readonly<Record<string, unknown>>,
      tier: string,
      priority: number,
    ): string =>
      ruleFile(
        name,
        { vni: 1000, ...entry },
        { networkRef: undefined, tier, priority },
        'dpu-system',
      );
    const tenant = (
      name: string,
      entry: Readonly<Record<string, unknown>>,
      tier: string,
      priority: number,
    ): string => ruleFile(name, entry, { tier, priority });
    const on = (dstPort: number | string, action: string): Record<string, unknown> => ({
      match: { protocol: 'TCP', dstPort },
      action,
    });
    await agent.replace();
    const networks = [
      {
        vni: 1000,
        name: 'tenant-a',
        namespaces: ['tenant-a', 'dpu-system'],
        subnets: ['10.1.0.0/16'],
        defaultAction: { ingress: 'allow', egress: 'deny' },
      },
      { vni: 1001, name: 'tenant-b', namespaces: ['tenant-b'] },
    ];
    const second = await TestAgent.create(t, ovs, { networks });
    await second.start();
    await second.writeRule(
      'rules.yaml',
      [
        admin('p', on(100, 'deny'), 'platform', 500),
        tenant('t-allow-100', on(100, 'allow'), 'tenant', 0),
        tenant('t-deny-200', on(200, 'deny'), 'tenant', 500),
        tenant('t-allow-200', on(200, 'allow'), 'tenant', 500),
        tenant('t-allow-300', on(300, 'allow'), 'tenant', 100),
        tenant('t-deny-300', on(300, 'deny'), 'tenant', 101),
        admin('a-pass', on('400-409', 'pass'), 'admin', 1),
        admin('a-deny', on('400-500', 'deny'), 'admin', 2),
        tenant('i-deny-401', on(401, 'deny'), 'isolation', 1),
        tenant('b-allow', on('300-450', 'allow'), 'baseline', 1),
        tenant('in-deny', { ...on(404, 'deny'), direction: 'Ingress' }, 'policy', 1),
      ].join('---\n'),
    );
    await second.rule('in-deny', ({ programmed }) => programmed);
    const rows =
      await second.json<{ name: string; programmed: boolean; message: string }[]>('/rules');
    t.strictSame(
      rows.filter(({ programmed }) => !programmed),
      [],
    );
    const cases: readonly [port: number, want: string[], why: string][] = [
      [99, ['drop'], 'the default of the network denies at egress'],
      [100, ['drop'], 'platform comes before tenant'],
      [200, ['drop'], 'deny wins at equal priority'],
      [300, ['12'], 'the lower priority number wins'],
      [400, ['12'], 'pass leaves the tier before its deny, and baseline allows'],
      [401, ['drop'], 'isolation after a pass'],
      [404, ['drop'], 'denied where it arrives'],
      [405, ['12'], 'passed and allowed'],
      [450, ['drop'], 'admin denies what nothing passed'],
    ];
    for (const [port, want, why] of cases)
      t.strictSame(await outcome(ovs, probe(port)), want, `${port}: ${why}`);
    const fragment = probe(300).replace(/,tp_src.*/, ',nw_frag=later');
    t.strictSame(
      await outcome(ovs, fragment),
      ['12'],
      'later fragments of what an allow admits pass',
    );
    t.strictSame(
      await outcome(ovs, fragment.replace('tcp', 'udp')),
      ['drop'],
      'later fragments that nothing admits do not',
    );
  },
);

t.test('each drop is counted under its name, and a rule counts what it decided', async (t) => {
  const staged = await stage(t);
  if (staged === undefined) return;
  const { ovs, agent } = staged;
  await agent.writeRule(
    'deny.yaml',
    ruleFile('deny', { match: { protocol: 'UDP', dstPort: 81 }, action: 'deny' }),
  );
  await agent.rule('deny', ({ programmed }) => programmed);
  const hex = (text: string): string => text.replaceAll(/[: ]/g, '');
  /** Ethernet, IPv4 and UDP to port 81; checksums are not looked at. */
  const frame = (src: string, dst: string, srcIp: string, dstIp: string): string =>
    hex(`${dst} ${src} 0800 4500 001c 0000 0000 40 11 0000 ${srcIp} ${dstIp} 1388 0051 0008 0000`);
  const a1 = '0a01000f';
  const a2 = '0a010010';
  const send = async (port: number, packet: string, times: number): Promise<void> => {
    for (let i = 0; i < times; i++) {
      await ovs.ofctl(
        '-O',
        'OpenFlow13',
        'packet-out',
        `unix:${ovs.rundir}/br-int.mgmt`,
        `in_port=${port},packet=${packet},actions=table`,
      );
    }
  };
  await send(11, frame(A1.mac, A2.mac, a1, a2), 3);
  await send(11, frame(A1.mac, A2.mac, '0a0100ff', a2), 2);
  await send(11, frame(A1.mac, '02:00:00:00:00:99', a1, a2).replace('0051', '0052'), 1);
  await send(99, frame(A1.mac, A2.mac, a1, a2), 1);
  const drops = (reason: string): Promise<number> =>
    agent.metric('dpu_agent_drops_total', `reason="${reason}"`);
  await until('counters', async () => (await drops('UnknownPort')) === 1);
  t.equal(await drops('RuleDeny'), 3);
  t.equal(await drops('SpoofedSource'), 2);
  t.equal(await drops('UnknownUnicast'), 1);
  const [row] = await agent.json<{ name: string; packets: number; bytes: number }[]>('/rules');
  t.match(row, { name: 'deny', packets: 3, bytes: 3 * 42 });
  const flows = await agent.json<{ rule: string; packets: number; match: string }[]>(
    '/flows?rule=tenant-a/deny',
  );
  t.ok(flows.length > 0 && flows.every(({ rule }) => rule === 'tenant-a/deny/r0'));
  const named = await agent.json<{ rule: string; actions: string }[]>('/flows');
  for (const { rule } of named.filter(({ actions }) => actions === 'drop')) {
    t.ok(
      rule.startsWith('drop/') ? rule.slice(5) in DROP_REASONS : rule === 'tenant-a/deny/r0',
      rule,
    );
  }
});

t.test(
  'conjunctions decide as the product of their lists would, also where rules share clauses',
  async (t) => {
    const staged = await stage(t);
    if (staged === undefined) return;
    const { ovs, agent } = staged;
    const sources = [A1.ip, '10.1.0.50', '10.1.0.51'];
    const deny = (name: string, dstIPs: string[], dstPorts: (number | string)[]): string =>
      ruleFile(name, {
        direction: 'Egress',
        match: { srcIPs: sources, dstIPs, protocol: 'TCP', dstPorts },
        action: 'deny',
      });
    const first = deny('first', [A2.ip, '10.1.0.60', '10.1.0.61'], [80, '90-93']);
    const second = deny('second', [FAR.ip, '10.1.0.70', '10.1.0.71'], [80, 100]);
    const probe = (dst: { mac: string; ip: string }, port: number): Promise<string[]> =>
      outcome(
        ovs,
        `${from(A1)},dl_dst=${dst.mac},tcp,nw_src=${A1.ip},nw_dst=${dst.ip},tp_src=5000,tp_dst=${port}`,
      );
    const verdicts = async (): Promise<Record<string, string>> => {
      const result: Record<string, string> = {};
      for (const [name, dst] of [
        ['A2', A2],
        ['FAR', FAR],
      ] as const) {
        for (const port of [80, 81, 90, 93, 94, 100])
          result[`${name}:${port}`] = (await probe(dst, port)).join();
      }
      return result;
    };
    const a2 = (open: string[]): Record<string, string> =>
      Object.fromEntries(
        [80, 81, 90, 93, 94, 100].map((port) => [
          `A2:${port}`,
          open.includes(String(port)) ? '12' : 'drop',
        ]),
      );
    const far = (open: string[]): Record<string, string> =>
      Object.fromEntries(
        [80, 81, 90, 93, 94, 100].map((port) => [
          `FAR:${port}`,
          open.includes(String(port)) ? '65000' : 'drop',
        ]),
      );
    const every = ['80', '81', '90', '93', '94', '100'];

    await agent.writeRule('first.yaml', first);
    await agent.writeRule('second.yaml', second);
    for (const name of ['first', 'second']) await agent.rule(name, ({ programmed }) => programmed);
    t.strictSame(await verdicts(), {
      ...a2(['81', '94', '100']),
      ...far(['81', '90', '93', '94']),
    });
    const inB = `${from(B1)},dl_dst=${A2.mac},tcp,nw_src=${B1.ip},nw_dst=${A2.ip},tp_dst=80`;
    t.strictSame(await outcome(ovs, inB), ['drop'], 'another VNI: unknown unicast as before');
    await rm(join(agent.rulesDir, 'first.yaml'));
    await until(
      'first is gone',
      async () =>
        !(await agent.json<{ name: string }[]>('/rules')).some(({ name }) => name === 'first'),
    );
    await agent.rule('second', ({ programmed }) => programmed);
    t.strictSame(await verdicts(), { ...a2(every), ...far(['81', '90', '93', '94']) });
  },
);
