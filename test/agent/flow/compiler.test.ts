// The compiler: rules to flows in ovs-ofctl's words, and the flow table as a function of the last snapshot alone.
import fc from 'fast-check';
import t from 'tap';
import { clauseOf } from '../../../src/agent/flow/conjunction.ts';
import { DesiredState } from '../../../src/agent/flow/desired.ts';
import type { RuleInput, Snapshot } from '../../../src/agent/flow/model.ts';
import { isOwnMeter, MeterIds } from '../../../src/agent/flow/meter-id.ts';
import { maskedPorts } from '../../../src/agent/flow/port-range.ts';
import { rankOf } from '../../../src/agent/flow/rule-flows.ts';
import { RuleIds } from '../../../src/agent/flow/rule-id.ts';
import { isOwnGroup } from '../../../src/agent/flow/group-id.ts';
import { floodGroupId } from '../../../src/agent/flow/tables/flood.ts';
import { formatFlow, formatInstructions, formatMatch } from '../../../src/openflow/format.ts';
import { instructionsOf, matchOf } from '../../../src/openflow/flow.ts';
import { allowedIn, labSnapshot, local, network, rule, vni } from '../../support/model.ts';

/** Everything that the switch would hold, as sorted text. */
function table(desired: DesiredState): string[] {
  const flows = [...desired.flows()].map(([, { flow }]) => formatFlow(flow));
  const groups = [...desired.groups()].map((group) => Buffer.from(group.message).toString('hex'));
  return [...flows, ...groups].sort();
}

function compile(snapshot: Snapshot): DesiredState {
  const desired = new DesiredState();
  desired.update(snapshot);
  return desired;
}

/** The matches that a rule becomes in its tier's egress table. */
function egressMatches(spec: Record<string, unknown>, tableId = 22): string[] {
  const desired = compile(labSnapshot([allowedIn(rule('r', { rules: [spec] }), 1000)]));
  return [...desired.flows()]
    .filter(([, { owner, flow }]) => owner.startsWith('DPURule/') && flow.tableId === tableId)
    .map(([, { flow }]) => formatMatch(matchOf(flow)))
    .sort();
}

void t.test('a match becomes flows that each carry the VNI and every prerequisite', async (t) => {
  const cases: readonly [match: Record<string, unknown>, want: string[]][] = [
    [{}, ['metadata=0x3e8']],
    [{ srcIP: '10.1.0.0/16' }, ['ip,metadata=0x3e8,nw_src=10.1.0.0/16']],
    [{ srcIP: '0.0.0.0/0' }, ['ip,metadata=0x3e8']],
    [{ dstIP: 'fd00::1' }, ['ipv6,metadata=0x3e8,ipv6_dst=fd00::1']],
    [
      { dstIPs: ['10.1.0.5', 'fd00::1'], protocol: 'UDP', dstPort: 53 },
      [
        'udp,metadata=0x3e8,nw_dst=10.1.0.5,tp_dst=53',
        'udp6,metadata=0x3e8,ipv6_dst=fd00::1,tp_dst=53',
      ],
    ],
    [
      { dstPort: 80, dstIP: '10.1.0.25' },
      [
        'tcp,metadata=0x3e8,nw_dst=10.1.0.25,tp_dst=80',
        'udp,metadata=0x3e8,nw_dst=10.1.0.25,tp_dst=80',
      ],
    ],
    [
      { srcIP: '10.0.0.0/30', notSrcIPs: ['10.0.0.1', 'fd00::/8'] },
      ['ip,metadata=0x3e8,nw_src=10.0.0.0', 'ip,metadata=0x3e8,nw_src=10.0.0.2/31'],
    ],
    [
      { dstIP: '10.1.0.1', notSrcIPs: ['128.0.0.0/1', '0.0.0.0/2'] },
      ['ip,metadata=0x3e8,nw_src=64.0.0.0/2,nw_dst=10.1.0.1'],
    ],
    [{ notDstIPs: ['0.0.0.0/0', '8000::/1'] }, ['ipv6,metadata=0x3e8,ipv6_dst=::/1']],
    [{ protocol: 'ICMP', icmpType: 8 }, ['icmp,metadata=0x3e8,icmp_type=8']],
    [{ protocol: 'ICMP', icmpType: 0 }, ['icmp,metadata=0x3e8,nw_frag=not_later,icmp_type=0']],
    [
      { tcpFlags: '-ack' },
      [
        'tcp,metadata=0x3e8,nw_frag=not_later,tcp_flags=-ack',
        'tcp6,metadata=0x3e8,nw_frag=not_later,tcp_flags=-ack',
      ],
    ],
    [
      { srcIPs: ['10.0.0.1', '0.0.0.0/0'], dstIPs: ['10.0.0.0/8', '10.0.0.1', '10.0.0.0/8'] },
      ['ip,metadata=0x3e8,nw_dst=10.0.0.0/8'],
    ],
    [{ protocol: 'ICMPv6' }, ['icmp6,metadata=0x3e8']],
    [{ protocol: 'SCTP', dstIP: '10.1.0.5' }, ['sctp,metadata=0x3e8,nw_dst=10.1.0.5']],
    [{ protocol: 47, dstIP: '10.1.0.5' }, ['ip,metadata=0x3e8,nw_dst=10.1.0.5,nw_proto=47']],
    [
      { srcIP: '10.1.0.1', srcPorts: [1000, '2000-2001'], protocol: 'TCP' },
      [
        'tcp,metadata=0x3e8,nw_src=10.1.0.1,tp_src=0x7d0/0xfffe',
        'tcp,metadata=0x3e8,nw_src=10.1.0.1,tp_src=1000',
      ],
    ],
    [
      { dstIP: '10.1.0.1', protocol: 'TCP', dstPort: '0-1' },
      ['tcp,metadata=0x3e8,nw_dst=10.1.0.1,nw_frag=not_later,tp_dst=0x0/0xfffe'],
    ],
    [{ dscp: 46, dstIP: '10.1.0.1' }, ['ip,metadata=0x3e8,nw_dst=10.1.0.1,nw_tos=184']],
    [{ srcMAC: '02:00:00:00:00:01' }, ['metadata=0x3e8,dl_src=02:00:00:00:00:01']],
    [{ etherType: 0x0800 }, ['ip,metadata=0x3e8']],
    [
      { dstIP: '10.1.0.1', tcpFlags: '+syn-ack' },
      ['tcp,metadata=0x3e8,nw_dst=10.1.0.1,tcp_flags=+syn-ack'],
    ],
  ];
  for (const [match, want] of cases) {
    t.strictSame(egressMatches({ vni: 1000, match, action: 'deny' }), want, JSON.stringify(match));
  }
});

void t.test('a network that learns has a learn flow for each peer, and looks there', async (t) => {
  const learning = { limit: 5, ageSeconds: 300 };
  const networks = [network(1000, 'tenant-a', { learning }), network(1001, 'tenant-b')];
  const desired = compile(labSnapshot([], { networks }));
  const flows = new Set(table(desired));
  const added = [...flows].filter((flow) => !table(compile(labSnapshot())).includes(flow));
  const without = (text: string): string => text.replaceAll(/cookie=\w+, /g, '');
  const cookie = /table=6,.*cookie=(0x\w+),limit/.exec(added.join('\n'))?.[1] ?? '';
  t.strictSame(
    added.map(without).sort(),
    [
      'table=6, priority=50,reg0=0x1/0xf,tun_src=192.168.1.12,metadata=0x3e8,dl_src=00:00:00:00:00:00/01:00:00:00:00:00 ' +
        `actions=learn(table=41,hard_timeout=300,priority=10,cookie=${cookie},limit=5,OXM_OF_METADATA[],` +
        'NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_NX_TUN_IPV4_SRC[]->NXM_NX_TUN_IPV4_DST[],' +
        'load:0xfde8->NXM_NX_REG1[],load:0x1->NXM_NX_REG0[4..7]),goto_table:10',
      'table=40, priority=30,reg0=0x2/0x2002,metadata=0x3e8 actions=resubmit(,41),goto_table:42',
      'table=42, priority=20,reg0=0x10/0xf0,metadata=0x3e8 actions=goto_table:70',
    ].sort(),
  );
  t.ok(desired.isLearner(BigInt(cookie)));
  t.ok(added.join().includes(`cookie=${cookie}, table=6`), 'one cookie for both');
  desired.update(labSnapshot());
  t.notOk(desired.isLearner(BigInt(cookie)));
});

void t.test(
  'an allow with ports also lets later fragments of the same addresses through, a deny does not',
  async (t) => {
    const match = { dstIP: '10.1.0.25', protocol: 'UDP', dstPorts: [80, 443] };
    t.strictSame(egressMatches({ vni: 1000, match, action: 'allow' }), [
      'udp,metadata=0x3e8,nw_dst=10.1.0.25,nw_frag=later',
      'udp,metadata=0x3e8,nw_dst=10.1.0.25,tp_dst=443',
      'udp,metadata=0x3e8,nw_dst=10.1.0.25,tp_dst=80',
    ]);
    t.equal(egressMatches({ vni: 1000, match, action: 'deny' }).length, 2);
    // With IPv6 they do not even say their protocol: Open vSwitch sees that of the fragment header (RFC 8200 section 4.5).
    for (const [more, want] of [
      [{ dstPort: 80 }, 'udp6,metadata=0x3e8,ipv6_dst=fd00::25,tp_dst=80'],
      [{}, 'udp6,metadata=0x3e8,ipv6_dst=fd00::25'],
    ] as const) {
      const six = { dstIP: 'fd00::25', protocol: 'UDP', ...more };
      t.strictSame(egressMatches({ vni: 1000, match: six, action: 'allow' }), [
        'ipv6,metadata=0x3e8,ipv6_dst=fd00::25,nw_proto=44,nw_frag=later',
        want,
      ]);
      t.strictSame(egressMatches({ vni: 1000, match: six, action: 'deny' }), [want]);
    }
  },
);

void t.test(
  'clauses of a rule and of its replies share a flow, each with its own action',
  async (t) => {
    const match = {
      dstIPs: ['10.0.0.1', '10.0.0.2', '10.0.0.4'],
      protocol: 'TCP',
      dstPorts: [80, 82, 443],
    };
    const spec = { rules: [{ vni: 1000, match, action: 'allow', reverse: true }] };
    const desired = compile(labSnapshot([allowedIn(rule('r', spec), 1000)]));
    const shared = [...desired.flows()]
      .map(([, { flow }]) => flow)
      .filter(
        (flow) => flow.tableId === 22 && formatMatch(matchOf(flow)).includes('nw_frag=later'),
      );
    t.equal(shared.length, 1);
    for (const flow of shared) {
      t.match(formatInstructions(instructionsOf(flow)), /conjunction\(.*conjunction\(/);
    }
  },
);

void t.test('prefixes that start alike keep a fragment flow each', async (t) => {
  const match = {
    dstIPs: ['10.0.0.0/16', '10.0.0.0/16', '10.1.0.0/16'],
    protocol: 'TCP',
    dstPort: 80,
  };
  t.strictSame(
    egressMatches({ vni: 1000, match, action: 'allow' }).filter((text) => text.includes('nw_frag')),
    [
      'tcp,metadata=0x3e8,nw_dst=10.0.0.0/16,nw_frag=later',
      'tcp,metadata=0x3e8,nw_dst=10.1.0.0/16,nw_frag=later',
    ],
  );
});

t.test('whatever a user may write compiles or is refused, and stays inside its VNI', async (t) => {
  const port = fc.oneof(
    fc.integer({ min: 0, max: 65535 }),
    fc.constantFrom('0-7', '1-65535', '80', '8000-8100'),
  );
  const address = fc.constantFrom(
    '10.1.0.5',
    '10.0.0.0/8',
    '0.0.0.0/0',
    'fd00::/8',
    '::ffff:10.1.0.5',
    '::/0',
  );
  const values = fc.record({
    srcIP: address,
    dstIPs: fc.uniqueArray(address, { minLength: 1, maxLength: 4 }),
    protocol: fc.constantFrom('TCP', 'UDP', 'SCTP', 'ICMP', 'ICMPv6', 0, 6, 17, 58, 255),
    srcPort: port,
    dstPorts: fc.uniqueArray(port, { minLength: 1, maxLength: 3 }),
    icmpType: fc.nat(255),
    icmpCode: fc.nat(255),
    dscp: fc.nat(63),
    tcpFlags: fc.constantFrom('+syn', '+syn-ack', '-fin'),
    srcMAC: fc.constant('02:00:00:00:00:01'),
    etherType: fc.constantFrom(0x0800, 0x86dd, 0x0806),
  });
  // Three fields at most: with more, nearly every draw contradicts itself.
  const names = fc.subarray(
    [
      'srcIP',
      'dstIPs',
      'protocol',
      'srcPort',
      'dstPorts',
      'icmpType',
      'icmpCode',
      'dscp',
      'tcpFlags',
      'srcMAC',
      'etherType',
    ],
    { maxLength: 3 },
  );
  const match = fc
    .tuple(values, names)
    .map(([all, some]) =>
      Object.fromEntries(Object.entries(all).filter(([name]) => some.includes(name))),
    );
  const action = fc.constantFrom('allow', 'deny', 'pass');
  let compiled = 0;
  fc.assert(
    fc.property(
      match,
      action,
      fc.constantFrom('platform', 'tenant', 'baseline'),
      (fields, verdict, tier) => {
        const text = { rules: [{ vni: 1000, match: fields, action: verdict }], tier };
        let object;
        try {
          object = rule('r', text);
        } catch {
          return; // The schema refuses it: nothing to compile.
        }
        const [entry] = [...compile(labSnapshot([allowedIn(object, 1000)])).entries()];
        if (entry === undefined || (entry.refusal === undefined) !== entry.flows.length > 0)
          throw new Error('neither');
        if (entry.flows.length > 0) compiled++;
        for (const flow of entry.flows) {
          if (!formatMatch(matchOf(flow)).includes('metadata=0x3e8'))
            throw new Error(formatFlow(flow));
        }
      },
    ),
    { numRuns: 2000 },
  );
  t.ok(compiled > 200, `${compiled} of 2000 compiled`);
});

t.test('each tier has its tables, and direction chooses between them', async (t) => {
  const tables = (tier: string, direction: string, action = 'deny'): string[] => {
    const object = rule('r', { tier, rules: [{ vni: 1000, direction, match: {}, action }] });
    return [...compile(labSnapshot([allowedIn(object, 1000)])).flows()]
      .filter(([, { owner }]) => owner.startsWith('DPURule/'))
      .map(
        ([, { flow }]) =>
          `${flow.tableId}:${formatInstructions(instructionsOf(flow)).replace(/0x[0-9a-f]+/, 'ID')}`,
      )
      .sort();
  };
  t.strictSame(tables('platform', 'Egress'), ['20:set_field:ID->reg2,goto_table:29', '29:drop']);
  t.strictSame(tables('baseline', 'Ingress'), ['55:set_field:ID->reg3,goto_table:59', '59:drop']);
  t.strictSame(tables('policy', 'Both', 'allow'), [
    '23:set_field:ID->reg2,goto_table:29',
    '29:goto_table:40',
    '53:set_field:ID->reg3,goto_table:59',
    '59:goto_table:60',
  ]);
  t.strictSame(tables('admin', 'Both', 'pass'), ['21:goto_table:22', '51:goto_table:52']);
});

void t.test(
  'lower priority numbers win, and at equal priority the more cautious action does',
  async (t) => {
    const actions = ['deny', 'reject', 'redirect', 'pass', 'allow'] as const;
    const ranks = [0, 1, 500, 1000].flatMap((priority) =>
      actions.map((action) => rankOf(priority, action)),
    );
    t.strictSame(
      ranks,
      [...ranks].sort((a, b) => b - a),
    );
    t.equal(new Set(ranks).size, ranks.length);
    t.ok(Math.min(...ranks) > 2, 'above the default action and the fragment drop');
    t.ok(Math.max(...ranks) <= 0xffff);
  },
);

void t.test('what this release cannot do is refused by name and programs nothing', async (t) => {
  const cases: readonly [
    spec: Record<string, unknown>,
    entry: Record<string, unknown>,
    want: RegExp,
  ][] = [
    [{}, { action: 'deny', match: { etherType: 0x88cc } }, /match.etherType/],
    [{ nodeSelector: { rack: 'a' } }, { action: 'deny', match: {} }, /nodeSelector/],
  ];
  for (const [spec, entry, want] of cases) {
    const object = rule('r', { ...spec, rules: [{ vni: 1000, ...entry }] });
    const [compiled] = [...compile(labSnapshot([allowedIn(object, 1000)])).entries()];
    t.equal(compiled?.refusal?.reason, 'Unsupported', String(want));
    t.match(compiled?.refusal?.message, want);
    t.strictSame(compiled?.flows, []);
  }
});

t.test(
  'lists in several dimensions become a conjunction: a sum of flows, not a product',
  async (t) => {
    const many = (third: number): string[] =>
      Array.from({ length: 100 }, (_, i) => `10.${third}.0.${i}`);
    const ranges = Array.from({ length: 10 }, (_, i) => `${1000 + 100 * i}-${1049 + 100 * i}`);
    const match = { srcIPs: many(1), dstIPs: many(2), protocol: 'TCP', dstPorts: ranges };
    const object = rule('r', {
      rules: [{ vni: 1000, direction: 'Egress', match, action: 'deny' }],
    });
    const desired = compile(labSnapshot([allowedIn(object, 1000)]));
    const [entry] = [...desired.entries()];
    const count = (entry?.flows.length ?? 0) + (entry?.clauses.length ?? 0);
    t.ok(
      count > 200 && count < 600,
      `100 sources x 100 destinations x 10 port ranges: ${count} flows`,
    );
    for (const flow of entry?.clauses ?? []) {
      t.equal(flow.priority, rankOf(500, 'deny') - 1);
      t.match(
        formatMatch(matchOf(flow)),
        /^(ip|tcp),metadata=0x3e8,/,
        'every clause has every condition',
      );
    }
    const verdict = entry?.flows.find(({ tableId }) => tableId === 22);
    t.match(
      verdict === undefined ? '' : formatFlow(verdict),
      /conj_id=\d+,metadata=0x3e8 actions=set_field/,
    );
  },
);

t.test(
  'an allow with reverse also admits the replies, where they pass and nothing more',
  async (t) => {
    const flowsOf = (entry: Record<string, unknown>): string[] =>
      [
        ...compile(
          labSnapshot([
            allowedIn(
              rule('r', { rules: [{ vni: 1000, action: 'allow', reverse: true, ...entry }] }),
              1000,
            ),
          ]),
        ).flows(),
      ]
        .filter(
          ([, { owner, flow }]) => owner.startsWith('DPURule/') && [22, 52].includes(flow.tableId),
        )
        .map(([, { flow }]) => `${flow.tableId}: ${formatMatch(matchOf(flow))}`)
        .sort();
    const web = { srcIP: '10.1.0.1', dstIP: '10.1.0.2', protocol: 'TCP', dstPort: 80 };
    t.strictSame(flowsOf({ direction: 'Ingress', match: web }), [
      '22: tcp,metadata=0x3e8,nw_src=10.1.0.2,nw_dst=10.1.0.1,nw_frag=later',
      '22: tcp,metadata=0x3e8,nw_src=10.1.0.2,nw_dst=10.1.0.1,tp_src=80,tcp_flags=+ack',
      '52: tcp,metadata=0x3e8,nw_src=10.1.0.1,nw_dst=10.1.0.2,nw_frag=later',
      '52: tcp,metadata=0x3e8,nw_src=10.1.0.1,nw_dst=10.1.0.2,tp_dst=80',
    ]);
    t.strictSame(flowsOf({ direction: 'Egress', match: { protocol: 'ICMP', icmpType: 8 } }), [
      '22: icmp,metadata=0x3e8,icmp_type=8',
      '22: icmp,metadata=0x3e8,nw_frag=later',
      '52: icmp,metadata=0x3e8,nw_frag=later',
      '52: icmp,metadata=0x3e8,nw_frag=not_later,icmp_type=0',
    ]);
    t.strictSame(flowsOf({ direction: 'Egress', match: { protocol: 'ICMP', icmpType: 3 } }), [
      '22: icmp,metadata=0x3e8,icmp_type=3',
      '22: icmp,metadata=0x3e8,nw_frag=later',
    ]);
    t.strictSame(
      flowsOf({ direction: 'Egress', match: { dstIP: '10.1.0.2', protocol: 'UDP', dstPort: 53 } }),
      [
        '22: udp,metadata=0x3e8,nw_dst=10.1.0.2,nw_frag=later',
        '22: udp,metadata=0x3e8,nw_dst=10.1.0.2,tp_dst=53',
        '52: udp,metadata=0x3e8,nw_src=10.1.0.2,nw_frag=later',
        '52: udp,metadata=0x3e8,nw_src=10.1.0.2,tp_src=53',
      ],
    );
    const wide = {
      srcIPs: ['10.1.0.1', '10.1.0.2', '10.1.0.3'],
      dstIPs: ['10.1.1.1', '10.1.1.2', '10.1.1.3'],
      protocol: 'UDP',
    };
    const object = rule('r', {
      rules: [{ vni: 1000, action: 'allow', reverse: true, match: wide }],
    });
    const [entry] = [...compile(labSnapshot([allowedIn(object, 1000)])).entries()];
    const ids = new Set(
      entry?.clauses.filter(({ tableId }) => tableId === 22).map((flow) => clauseOf(flow)?.id),
    );
    t.equal(ids.size, 2, 'the conjunction of the replies is another than that of the rule');
  },
);

t.test('rules that share a clause share its flow, and each can go without the other', async (t) => {
  const spec = (dstIPs: string[]): Record<string, unknown> => ({
    rules: [
      {
        vni: 1000,
        direction: 'Egress',
        match: { srcIPs: ['10.1.0.1', '10.1.0.2', '10.1.0.3'], dstIPs },
        action: 'deny',
      },
    ],
  });
  const one = allowedIn(rule('one', spec(['10.2.0.1', '10.2.0.2', '10.2.0.3'])), 1000);
  const two = allowedIn(rule('two', spec(['10.3.0.1', '10.3.0.2', '10.3.0.3'])), 1000);
  const desired = compile(labSnapshot([one, two]));
  const shared = [...desired.flows()].filter(([, { owner }]) => owner === 'shared');
  t.equal(shared.length, 3, 'the three sources');
  for (const [, { flow }] of shared) {
    t.match(
      formatInstructions(instructionsOf(flow)),
      /^conjunction\(\d+,1\/2\),conjunction\(\d+,1\/2\)$/,
    );
  }
  for (const entry of desired.entries()) t.equal(desired.shadowedBy(entry), undefined);
  desired.update(labSnapshot([two]));
  t.strictSame(table(desired), table(compile(labSnapshot([two]))));
});

t.test('a match of too many choices is refused, whatever it is made of, and quickly', async (t) => {
  const odd = (count: number): string[] =>
    Array.from({ length: count }, (_, i) => `${2 * i + 1}-${2 * i + 1}`);
  const hosts = Array.from({ length: 1000 }, (_, i) => `fd00::${i.toString(16)}:0:1`);
  const cases: readonly Record<string, unknown>[] = [
    { protocol: 'TCP', srcPorts: odd(200), dstPorts: odd(200) },
    { notSrcIPs: hosts },
  ];
  for (const match of cases) {
    const object = rule('r', { rules: [{ vni: 1000, match, action: 'deny' }] });
    const [entry] = [...compile(labSnapshot([allowedIn(object, 1000)])).entries()];
    t.match(entry?.refusal, {
      reason: 'Unsupported',
      message: /choices of addresses and ports, more than 4096/,
    });
  }
});

void t.test(
  'a rule without a right to its VNI programs nothing, and the others of the object go on',
  async (t) => {
    const object = rule('r', {
      rules: [
        { vni: 1000, match: { dstIP: '10.1.0.25' }, action: 'deny' },
        { vni: 5, match: {}, action: 'deny' },
      ],
    });
    const input = {
      object,
      verdicts: [{ vni: vni(1000) }, { reason: 'VNINotAllowed', message: 'VNI 5 …' }],
    };
    const [first, second] = [...compile(labSnapshot([input])).entries()];
    t.equal(first?.flows.length, 4);
    t.strictSame(second?.refusal, { reason: 'VNINotAllowed', message: 'VNI 5 …' });
    t.strictSame(second?.flows, []);
  },
);

void t.test(
  'every flow of a rule names the VNI, so that no rule of one tenant can match a packet of another',
  async (t) => {
    const specs = [
      {},
      { dstPort: '1-1000' },
      { srcMAC: '02:00:00:00:00:01' },
      { srcIP: '0.0.0.0/0' },
    ];
    for (const match of specs) {
      const object = rule('r', { rules: [{ vni: 1000, match, action: 'allow' }] });
      for (const [, { owner, flow }] of compile(labSnapshot([allowedIn(object, 1000)])).flows()) {
        if (owner.startsWith('DPURule/'))
          t.match(formatMatch(matchOf(flow)), /(^|,)metadata=0x3e8(,|$)/);
      }
    }
  },
);

void t.test('no flow says NORMAL, and a packet from the tunnel is never sent to it', async (t) => {
  const flows = [...compile(labSnapshot()).flows()].map(([, { flow }]) => formatFlow(flow));
  t.strictSame(
    flows.filter((text) => /normal/i.test(text)),
    [],
  );
  for (const text of flows.filter((line) => line.includes('->tun_dst')))
    t.match(text, /reg0=0x2\/0x2002/, 'class local, or returned and begun here');
});

void t.test(
  'an equal match at equal rank belongs to the first name, and the other says by whom',
  async (t) => {
    const spec = {
      rules: [{ name: 'x', vni: 1000, match: { dstIP: '10.1.0.25' }, action: 'deny' }],
    };
    const rules = [rule('second', spec), rule('first', spec)].map((object) =>
      allowedIn(object, 1000),
    );
    const desired = compile(labSnapshot(rules));
    const shadows = Object.fromEntries(
      [...desired.entries()].map((entry) => [entry.name, desired.shadowedBy(entry)]),
    );
    t.strictSame(shadows, { second: 'DPURule/tenant-a/first/x', first: undefined });
    desired.update(labSnapshot(rules.slice(0, 1)));
    const [left] = [...desired.entries()];
    t.equal(
      left === undefined ? 'none' : desired.shadowedBy(left),
      undefined,
      'and gets its flows when the winner goes',
    );
  },
);

void t.test(
  'allows that differ in their ports share what later fragments need, and shadow nobody',
  async (t) => {
    const web = (name: string, dstPort: number): RuleInput =>
      allowedIn(
        rule(name, {
          rules: [{ vni: 1000, match: { protocol: 'TCP', dstPort }, action: 'allow' }],
        }),
        1000,
      );
    const desired = compile(labSnapshot([web('http', 80), web('https', 443), web('copy', 443)]));
    const shadows = Object.fromEntries(
      [...desired.entries()].map((entry) => [entry.name, desired.shadowedBy(entry)]),
    );
    t.strictSame(shadows, { http: undefined, https: 'DPURule/tenant-a/copy/r0', copy: undefined });
  },
);

void t.test('only what changed is compiled again', async (t) => {
  const rules = Array.from({ length: 50 }, (_, i) =>
    allowedIn(
      rule(`r${i}`, { rules: [{ vni: 1000, match: { dstIP: `10.1.1.${i}` }, action: 'deny' }] }),
      1000,
    ),
  );
  const desired = compile(labSnapshot(rules));
  const nothing = desired.update(labSnapshot(rules));
  t.strictSame([nothing.dirtyFlows.size, nothing.dirtyGroups.size, nothing.compiled], [0, 0, 0]);
  const changed = [...rules];
  changed[7] = allowedIn(
    rule('r7', { rules: [{ vni: 1000, match: { dstIP: '10.1.2.7' }, action: 'deny' }] }),
    1000,
  );
  const change = desired.update(labSnapshot(changed));
  t.equal(change.compiled, 1);
  t.equal(change.dirtyFlows.size, 6, 'two rule flows old and new, and the two verdicts that stay');
  const withPort = labSnapshot(changed, {
    locals: [...labSnapshot().locals, local('rep1c', 9, 1000, '02:00:0a:01:01:09', '10.1.0.19')],
  });
  t.equal(desired.update(withPort).compiled, 2, 'the endpoint, and the flood group of its network');
});

void t.test(
  'the flow table is a function of the last snapshot, whatever the way to it',
  async (t) => {
    const pool: RuleInput[] = Array.from({ length: 12 }, (_, i) =>
      allowedIn(
        rule(`r${i % 6}`, {
          tier: i % 2 === 0 ? 'tenant' : 'admin',
          priority: (i % 3) * 100,
          rules: [
            {
              vni: 1000,
              match: { dstIP: `10.1.0.${i % 4}` },
              action: i % 2 === 0 ? 'deny' : 'allow',
            },
            { vni: 1000, match: { dstPort: i % 5 }, action: 'allow' },
            {
              vni: 1000,
              match: {
                srcIPs: ['10.1.0.1', '10.1.0.2', '10.1.0.3'],
                dstIPs: ['10.2.0.1', '10.2.0.2', `10.2.1.${i}`],
              },
              action: 'allow',
            },
          ],
        }),
        1000,
      ),
    );
    const locals = [
      local('p1', 1, 1000, '02:00:0a:01:01:05', '10.1.0.15'),
      local('p2', 2, 1000, '02:00:0a:01:01:06', '10.1.0.16'),
      local('p2', 2, 1000, '02:00:0a:01:01:07', '10.1.0.17'),
      local('p3', 3, 1001, '02:00:0a:01:01:05', '10.1.0.15'),
    ];
    const snapshots = fc
      .record({
        rules: fc
          .shuffledSubarray(pool)
          .map((some) => [
            ...new Map(some.map((input) => [input.object.metadata.name, input])).values(),
          ]),
        locals: fc.subarray(locals),
        networks: fc.subarray([
          network(1000, 'tenant-a'),
          network(1001, 'tenant-b', { unknownUnicast: 'flood' }),
        ]),
        tunnel: fc.boolean(),
      })
      .map(({ rules, locals: some, networks, tunnel }) =>
        labSnapshot(rules, { locals: some, networks, ...(tunnel ? {} : { tunnel: undefined }) }),
      );
    fc.assert(
      fc.property(fc.array(snapshots, { minLength: 1, maxLength: 5 }), (history) => {
        const desired = new DesiredState();
        for (const snapshot of history) desired.update(snapshot);
        const last = history.at(-1);
        t.strictSame(table(desired), last === undefined ? [] : table(compile(last)));
      }),
      { numRuns: 60 },
    );
  },
);

void t.test('ids follow from names, and a collision is settled by sort order', async (t) => {
  const collide = (name: string, salt: number): bigint =>
    BigInt(salt === 0 ? 7 : name.charCodeAt(0) + salt);
  const orders = [
    ['a', 'b', 'c'],
    ['c', 'b', 'a'],
    ['b', 'c', 'a'],
  ];
  const results = orders.map((order) => {
    const ids = new RuleIds(collide);
    order.forEach((name) => ids.add(name));
    return ['a', 'b', 'c'].map((name) => ids.idOf(name));
  });
  t.strictSame(results[1], results[0]);
  t.strictSame(results[2], results[0]);
  t.equal(new Set(results[0]).size, 3);
  const ids = new RuleIds(collide);
  ids.add('b');
  t.strictSame(ids.add('a'), ['b'], 'the displaced name is reported');
  t.strictSame(ids.delete('a'), ['b']);
  t.equal(ids.idOf('b'), 7n);
});

void t.test(
  'a port range is split into at most 30 masked matches that cover exactly it',
  async (t) => {
    t.equal(maskedPorts(1, 65534).length, 30);
    const port = fc.integer({ min: 0, max: 65535 });
    fc.assert(
      fc.property(port, port, port, (a, b, probe) => {
        const [low, high] = a < b ? [a, b] : [b, a];
        const blocks = maskedPorts(low, high);
        const hits = blocks.filter(({ value, mask }) => (probe & mask) === value).length;
        return blocks.length <= 30 && hits === (probe >= low && probe <= high ? 1 : 0);
      }),
    );
  },
);

void t.test(
  'flood groups carry our tag and their VNI, and no other group is taken for ours',
  async (t) => {
    t.equal(isOwnGroup(floodGroupId(vni(1), 'local')), true);
    t.equal(isOwnGroup(floodGroupId(vni(16777215), 'tunnel')), true);
    t.ok(floodGroupId(vni(16777215), 'tunnel') < 0xffffff00, 'a valid group id');
    for (const foreign of [0, 1, 1000, 33554432, 0xfffffff0]) t.equal(isOwnGroup(foreign), false);
  },
);

t.test(
  'numbers of meters follow from the set of names alone, also where hashes collide',
  async (t) => {
    // Four numbers for names that all want the first of them.
    const hash = (_: string, salt: number): bigint => BigInt(salt % 4);
    const numbers = (names: readonly string[], gone: readonly string[] = []): unknown => {
      const ids = new MeterIds(hash);
      for (const name of names) ids.add(name);
      ids.settle();
      for (const name of gone) ids.delete(name);
      ids.settle();
      return names
        .filter((name) => !gone.includes(name))
        .map((name) => [name, ids.idOf(name)])
        .sort();
    };
    const want = [
      ['a', 65536],
      ['b', 65537],
      ['d', 65538],
    ];
    t.strictSame(numbers(['a', 'b', 'd']), want);
    t.strictSame(numbers(['d', 'b', 'a']), want);
    t.strictSame(numbers(['d', 'c', 'b', 'a'], ['c']), want);
    const ids = new MeterIds(hash);
    ['b', 'c', 'c'].forEach((name) => ids.add(name));
    t.strictSame(ids.settle(), []);
    ids.add('a');
    t.strictSame(ids.settle(), ['b', 'c'], 'whose numbers changed');
    ids.delete('c');
    t.strictSame(ids.settle(), [], 'somebody still uses c');
    t.ok(isOwnMeter(ids.idOf('c') ?? 0) && !isOwnMeter(65535) && !isOwnMeter(131072));
  },
);

t.test(
  'a rate limit is a meter of the verdict at egress, and refused where it cannot act',
  async (t) => {
    const limited = (
      entry: Record<string, unknown>,
      spec: Record<string, unknown> = {},
    ): DesiredState =>
      compile(
        labSnapshot([
          allowedIn(
            rule('r', { ...spec, rules: [{ vni: 1000, rateLimit: { pps: 100 }, ...entry }] }),
            1000,
          ),
        ]),
      );
    const desired = limited({ action: 'allow' });
    const verdicts = [...desired.flows()]
      .filter(
        ([, { owner, flow }]) => owner.startsWith('DPURule/') && [29, 59].includes(flow.tableId),
      )
      .map(([, { flow }]) => formatInstructions(instructionsOf(flow)))
      .sort();
    const [id = 0] = desired.meterIds();
    t.strictSame(verdicts, ['goto_table:60', `meter:${id},goto_table:40`]);
    t.ok(isOwnMeter(id));
    for (const [entry, want] of [
      [{ action: 'deny' }, /no meaning with action deny/],
      [{ action: 'allow', direction: 'Ingress' }, /Egress or Both/],
    ] as const) {
      const refused = limited(entry);
      t.match([...refused.entries()][0]?.refusal, { reason: 'Invalid', message: want });
      t.strictSame([...refused.meterIds()], []);
    }
    t.strictSame([...limited({ action: 'allow' }, { enforcement: 'DryRun' }).meterIds()], []);
    desired.update(labSnapshot());
    t.strictSame([...desired.meterIds()], []);
  },
);
