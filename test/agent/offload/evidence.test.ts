// What the datapath has done, by rule: from dumps of cards that are not here, with verdicts weighted by packets; and what a
// rule would change.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { hashName, makeCookie } from '../../../src/agent/flow/cookie.ts';
import { compileRule } from '../../../src/agent/flow/rule-flows.ts';
import { allSteps } from '../../../src/agent/flow/steps.ts';
import { Attribution, wayOf } from '../../../src/agent/offload/attribution.ts';
import {
  emptyCounts,
  hardwareShare,
  placeOf,
  verdictOf,
  type FlowPlace,
} from '../../../src/agent/offload/evidence.ts';
import type { LintContext } from '../../../src/agent/offload/lint.ts';
import { megaflowRegion } from '../../../src/agent/offload/megaflow-region.ts';
import { sumSteps } from '../../../src/agent/offload/offload-reader.ts';
import { datapathKind, lintPorts } from '../../../src/agent/offload/port-backing.ts';
import { whatIfSteps, type WhatIf } from '../../../src/agent/offload/what-if.ts';
import { ConnectionError } from '../../../src/base/error.ts';
import { datapathFlowSteps, type DatapathFlow } from '../../../src/ovsdb/datapath-flow.ts';
import { OvsdbError } from '../../../src/ovsdb/errors.ts';
import { parseOfprotoTrace } from '../../../src/ovsdb/ofproto-trace.ts';
import { ofport, rule, vni } from '../../support/model.ts';

function fixture(file: string): ReadonlyMap<string, string> {
  const text = readFileSync(join(import.meta.dirname, '../../fixtures/ovsdb', file), 'utf8');
  const sections = text.split(/^@ /m).slice(1);
  return new Map(
    sections.map((section) => {
      const end = section.indexOf('\n');
      return [section.slice(0, end), section.slice(end + 1)] as const;
    }),
  );
}
const DUMPS = fixture('dpctl-dump-flows.txt');
const TRACES = fixture('ofproto-trace.txt');

function flowsOf(name: string): readonly DatapathFlow[] {
  return allSteps(datapathFlowSteps(DUMPS.get(name) ?? '')).flows;
}

t.test('only a mark of hardware is hardware: in tc alone is software', async (t) => {
  const places = (name: string): FlowPlace[] => flowsOf(name).map(placeOf);
  t.strictSame(places('by hand: kernel, tc'), [
    'hardware',
    'tc',
    'software',
    'hardware',
    'software',
  ]);
  t.strictSame(places('by hand: 4.0, dummy offload provider'), ['hardware', 'partial', 'partial']);
  t.strictSame(places('by hand: DOCA, with an attribute that is not known'), ['hardware']);
  t.strictSame(places('recorded, with -m'), ['software', 'software', 'software']);
  const [flow] = flowsOf('recorded, with -m');
  if (flow === undefined) throw new Error('no flow');
  t.equal(placeOf({ ...flow, offloaded: 'yes' }), 'partial', 'yes on the layer ovs is none');
});

t.test('verdicts are weighted by packets', async (t) => {
  const verdict = (packets: Partial<Record<FlowPlace, number>>): unknown => {
    const counts = emptyCounts();
    for (const place of ['hardware', 'partial', 'tc', 'software'] as const) {
      counts[place] = { flows: 1, packets: packets[place] ?? 0 };
    }
    return [verdictOf(counts), hardwareShare(counts)];
  };
  t.strictSame(verdict({ hardware: 5 }), ['full', 1]);
  t.strictSame(verdict({ hardware: 3, software: 1 }), ['partial', 0.75]);
  t.strictSame(verdict({ hardware: 3, tc: 1 }), ['partial', 0.75]);
  t.strictSame(verdict({ partial: 3 }), ['partial', 0]);
  t.strictSame(verdict({ tc: 9 }), ['none', 0]);
  t.strictSame(verdict({ software: 9 }), ['none', 0]);
  t.strictSame(verdict({}), ['notObserved', undefined], 'flows that no packet has met');
  t.equal(verdictOf(undefined), 'notObserved');
});

const A = makeCookie('rule', 1n);
const B = makeCookie('rule', 2n);

t.test('a flow counts for each rule that it met, and what is unknown is said', async (t) => {
  const flows = flowsOf('by hand: kernel, tc');
  const ways = new Map([
    [flows[0]?.key, { rules: [A, B], vni: 1000 }],
    [flows[1]?.key, { rules: [B], vni: 1000 }],
    [flows[2]?.key, { rules: [], vni: undefined }],
  ]);
  const sum = allSteps(sumSteps(flows, { wayOf: (key) => ways.get(key) }));
  t.equal(verdictOf(sum.rules.get(A)), 'full');
  t.equal(verdictOf(sum.rules.get(B)), 'partial');
  t.equal(hardwareShare(sum.rules.get(B)), 40 / 49);
  t.strictSame(sum.unattributed, { flows: 2, packets: 11 });
  t.equal(sum.places.hardware.packets, 51);
});

t.test('a trace names the rules of our bridge, and the network', async (t) => {
  const passes = parseOfprotoTrace(TRACES.get('denied by a rule') ?? '');
  const way = wayOf(passes, 'br-int');
  t.equal(way.rules.length, 1);
  t.equal((way.rules[0] ?? 0n) >> 40n, 0xd9a616n);
  t.equal(way.vni, 1000);
  t.strictSame(wayOf(passes, 'br-other').rules, [], 'a bridge of others has none of ours');
});

t.test('the heaviest flows are asked for first, each once, until our flows change', async (t) => {
  const [model] = flowsOf('recorded, with -m');
  if (model === undefined) throw new Error('no flow');
  const flows = Array.from({ length: 600 }, (_, index) => ({
    ...model,
    key: `in_port(${index})`,
    packets: index,
  }));
  let now = 0;
  const attribution = new Attribution('br-int', () => now);
  const asked: string[] = [];
  const trace = async (key: string): Promise<ReturnType<typeof parseOfprotoTrace>> => {
    asked.push(key);
    if (key === 'in_port(599)') {
      throw new OvsdbError('OVSDB_UNIXCTL_FAILED', 'no such port', { op: 'unixctl.ofproto/trace' });
    }
    return parseOfprotoTrace(TRACES.get('denied by a rule') ?? '');
  };
  t.equal(await attribution.learn(flows, trace), 600 - 256);
  t.strictSame(asked.slice(0, 2), ['in_port(599)', 'in_port(598)']);
  t.strictSame(attribution.wayOf('in_port(599)'), { rules: [], vni: undefined }, 'nobody’s');
  t.equal(attribution.wayOf('in_port(598)')?.rules.length, 1);
  t.equal(await attribution.learn(flows, trace), 600 - 512);
  t.equal(await attribution.learn(flows, trace), 0);
  t.equal(new Set(asked).size, 600);
  t.equal(asked.length, 600);
  now += 300_001;
  t.equal(attribution.wayOf('in_port(598)'), undefined, 'old');
  attribution.forget();
  await attribution.learn(flows.slice(0, 1), trace);
  t.equal(asked.length, 601);
  const down = new ConnectionError('CONN_REFUSED', 'no', { op: 'x', endpoint: 'y' });
  await t.rejects(
    attribution.learn(flows, async () => Promise.reject(down)),
    { code: 'CONN_REFUSED' },
  );
});

const CONTEXT: LintContext = {
  datapath: 'kernel',
  tracked: true,
  ports: [],
  endpoints: new Set(),
  flood: { remote: 1, local: 1 },
};

function whatIf(match: Record<string, unknown>, context: Partial<LintContext> = {}): WhatIf {
  const object = rule('r', { rules: [{ vni: 1000, action: 'deny', match }] });
  const entries = compileRule(object, [{ vni: vni(1000) }], hashName, () => 1);
  const candidates = entries.map((entry) => ({ entry, context: { ...CONTEXT, ...context } }));
  const flows = [
    ...flowsOf('by hand: kernel, tc'),
    ...flowsOf('by hand: 4.0, dummy offload provider'),
  ];
  return allSteps(
    whatIfSteps(
      candidates,
      flows.map((flow) => ({ flow, way: { rules: [], vni: 1000 } })),
    ),
  );
}

t.test('a rule takes out of hardware what it may match and cannot be offloaded', async (t) => {
  // Recirculation holds for every packet of a network with tracking: three flows of IPv4 may be of 10.1.0.15 to .16.
  const stateful = whatIf({ srcIP: '10.1.0.15', dstIP: '10.1.0.16' });
  t.strictSame(stateful.leaving, { flows: 2, packets: 42 });
  t.equal(stateful.flows[0]?.because[0]?.rule, 'tenant-a/r/r0');
  t.strictSame(whatIf({ srcIP: '10.1.0.15', dstIP: '10.1.0.16' }, { tracked: false }).leaving, {
    flows: 0,
    packets: 0,
  });
  const dscp = whatIf({ dstIP: 'fd00::/16', dscp: 46 }, { tracked: false });
  t.strictSame(dscp.leaving, { flows: 1, packets: 11 });
  t.strictSame(
    dscp.flows[0]?.because[0]?.reasons.map(({ code }) => code),
    ['DSCPMask'],
  );
  const nothing = whatIf({ srcIP: '172.16.0.1', dstPort: 9 }, { tracked: false });
  t.strictSame(nothing.leaving, { flows: 0, packets: 0 });
  t.strictSame(whatIf({ protocol: 'UDP', dstIP: '10.1.0.16' }).leaving.packets, 42);
  t.strictSame(
    whatIf({ protocol: 'UDP', dstIP: '10.1.0.16' }, { datapath: 'doca' }).leaving.packets,
    0,
    'TCP and UDP through ct are no reason there',
  );
  t.strictSame(
    whatIf({ dstIP: '10.1.0.16' }, { datapath: 'doca' }).leaving,
    { flows: 1, packets: 40 },
    'of a rule that ICMP may match, only what may be ICMP: a flow of UDP alone stays',
  );
});

t.test('a rule of another network touches nothing', async (t) => {
  const object = rule('r', { rules: [{ vni: 1001, action: 'deny', match: { protocol: 'ICMP' } }] });
  const [entry] = compileRule(object, [{ vni: vni(1001) }], hashName, () => 1);
  if (entry === undefined) throw new Error('no entry');
  const flows = flowsOf('by hand: kernel, tc').map((flow) => ({
    flow,
    way: { rules: [], vni: 1000 },
  }));
  t.equal(allSteps(whatIfSteps([{ entry, context: CONTEXT }], flows)).touched.flows, 0);
  const unknown = flows.map(({ flow }) => ({ flow, way: undefined }));
  t.not(
    allSteps(whatIfSteps([{ entry, context: CONTEXT }], unknown)).touched.flows,
    0,
    'without a known network it may be any',
  );
});

t.test('a datapath match is a region, with its masks', async (t) => {
  const region = megaflowRegion(
    'in_port(1),eth(src=02:00:00:00:00:01,dst=01:00:5e:00:00:01/ff:ff:ff:00:00:00),eth_type(0x0800),ipv4(src=10.1.0.0/255.255.0.0,dst=10.1.0.9,proto=6),tcp(src=5/0,dst=80/0xfff8),odd(x)',
    7,
  );
  t.strictSame(region.get('ipv4Src'), { value: 0x0a010000n, mask: 0xffff0000n });
  t.strictSame(region.get('tcpDst'), { value: 80n, mask: 0xfff8n });
  t.strictSame(region.get('ethDst'), { value: 0x01005e000001n, mask: 0xffffff000000n });
  t.strictSame(region.get('ipProto'), { value: 6n, mask: 0xffn });
  t.equal(region.get('metadata')?.value, 7n);
  t.equal(megaflowRegion('no match at all', undefined).size, 0);
});

t.test('ports are backed by the card, by software, or by nobody knows what', async (t) => {
  const port = (name: string, type: string, options: [string, string][] = []) => ({
    ...{ name, type, ofport: ofport(5), options: new Map(options) },
  });
  const link = (name: string, physSwitchId?: string) => ({
    ...{ ifindex: 1, name, mtuBytes: 1500, flags: 0 },
    ...(physSwitchId === undefined ? {} : { physSwitchId }),
  });
  const links = [link('pf0vf0', 'ab12'), link('veth0')];
  const cases: readonly [Parameters<typeof lintPorts>[0][number], string][] = [
    [port('pf0vf0', ''), 'representor'],
    [port('veth0', ''), 'software'],
    [port('br-int', 'internal'), 'software'],
    [port('gone', ''), 'unknown'],
    [port('d0', 'dpdk', [['dpdk-devargs', '0000:03:00.0,representor=[0]']]), 'representor'],
    [port('d1', 'dpdk', [['dpdk-devargs', '0000:03:00.0']]), 'unknown'],
  ];
  for (const [facts, want] of cases) {
    t.equal(lintPorts([facts], links)[0]?.backing, want, facts.name);
  }
  t.equal(lintPorts([port('veth0', '')], undefined)[0]?.backing, 'unknown', 'no netlink');
  t.equal(lintPorts([port('pf0vf0', '')], links)[0]?.switchId, 'ab12');
  t.equal(datapathKind('system', undefined), 'kernel');
  t.equal(datapathKind('netdev', undefined), 'userspace');
  t.equal(datapathKind('netdev', { otherConfig: new Map([['doca-init', 'true']]) }), 'doca');
});
