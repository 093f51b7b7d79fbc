// What the verbs of a rule beside allow and deny do with packets: dry run, rate limit, log, reject, mirror, expiry.
import t from 'tap';
import { ruleFile, until, type TestAgent } from '../support/agent.ts';
import { A1, A2, from, outcome, stage } from '../support/stage.ts';
import type { OvsSandbox } from '../support/ovs-sandbox.ts';

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
    t.equal(reason, name.startsWith('try-') ? 'DryRun' : '', name);
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
