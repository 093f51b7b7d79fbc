// Which packets of a rule stay out of the hardware, by compiled rules on each kind of datapath; and that docs and code agree.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { DesiredState } from '../../../src/agent/flow/desired.ts';
import type { EntryVerdict } from '../../../src/agent/flow/model.ts';
import type { CompiledEntry } from '../../../src/agent/flow/rule-flows.ts';
import { lintEntry, type LintContext, type LintPort } from '../../../src/agent/offload/lint.ts';
import { DATAPATH_KINDS, REASONS } from '../../../src/agent/offload/reason.ts';
import { encodeFlow } from '../../../src/openflow/flow.ts';
import type { Action } from '../../../src/openflow/action.ts';
import { labSnapshot, network, ofport, rule, vni } from '../../support/model.ts';

const REPRESENTORS: readonly LintPort[] = [
  { name: 'rep1a', ofport: 2, backing: 'representor', switchId: 'aa' },
  { name: 'dev', ofport: 9, backing: 'representor', switchId: 'aa' },
];
const CONTEXT: LintContext = {
  datapath: 'kernel',
  tracked: false,
  ports: REPRESENTORS,
  endpoints: new Set([2]),
  flood: { remote: 1, local: 1 },
};

/** The one entry of a rule, compiled for VNI 1000. */
function entry(spec: Record<string, unknown>, verdict: Partial<EntryVerdict> = {}): CompiledEntry {
  const object = rule('r', { rules: [{ vni: 1000, ...spec }] });
  const networks = [network(1000, 'tenant-a', { tracking: verdict.tracking })];
  const desired = new DesiredState();
  desired.update(
    labSnapshot([{ object, verdicts: [{ vni: vni(1000), ...verdict }] }], { networks }),
  );
  const [only] = [...desired.entries()];
  if (only === undefined || only.refusal !== undefined) throw new Error(JSON.stringify(only));
  return only;
}

function lint(compiled: CompiledEntry, context: Partial<LintContext> = {}): string[] {
  return lintEntry(compiled, { ...CONTEXT, ...context }).map(
    ({ code, scope }) => `${code} ${scope}`,
  );
}

const TRACKING = { zone: 7, warming: false };
const LEGS = { near: ofport(9), far: ofport(9) };
const WIDE = {
  srcIPs: ['10.1.0.1', '10.1.0.9', '10.1.0.17'],
  dstIPs: ['10.1.0.2', '10.1.0.33', '10.1.0.65'],
};
const redirect = {
  action: 'redirect',
  redirectPort: 'dev',
  match: { protocol: 'TCP', dstPort: 80 },
};

const CASES: readonly {
  readonly name: string;
  readonly spec: Record<string, unknown>;
  readonly verdict?: Partial<EntryVerdict>;
  readonly context?: Partial<LintContext>;
  readonly want: readonly string[];
}[] = [
  {
    name: 'a plain deny of a port offloads',
    spec: { action: 'deny', match: { dstIP: '10.1.0.25', protocol: 'TCP', dstPort: 81 } },
    want: [],
  },
  {
    name: 'a rule of every packet is touched by ICMP where connections are tracked',
    spec: { action: 'allow', match: {} },
    verdict: { tracking: TRACKING },
    context: { tracked: true },
    want: ['StatefulICMP some', 'Recirculation all'],
  },
  {
    name: 'a rule of ICMP alone never offloads there',
    spec: { action: 'allow', match: { protocol: 'ICMP' } },
    verdict: { tracking: TRACKING },
    context: { tracked: true },
    want: ['StatefulICMP all', 'Recirculation all'],
  },
  {
    name: 'ICMPv6 is ICMP',
    spec: { action: 'deny', match: { protocol: 'ICMPv6' } },
    verdict: { tracking: TRACKING },
    context: { tracked: true },
    want: ['StatefulICMP all', 'Recirculation all'],
  },
  {
    name: 'TCP is none, also as a conjunction',
    spec: { action: 'deny', match: { ...WIDE, protocol: 'TCP', dstPorts: [80, 443] } },
    verdict: { tracking: TRACKING },
    context: { tracked: true },
    want: ['Recirculation all'],
  },
  {
    name: 'a conjunction of addresses takes ICMP too',
    spec: { action: 'deny', match: WIDE },
    verdict: { tracking: TRACKING },
    context: { tracked: true },
    want: ['StatefulICMP some', 'Recirculation all'],
  },
  {
    name: 'without tracking ICMP offloads',
    spec: { action: 'allow', match: { protocol: 'ICMP' } },
    want: [],
  },
  {
    name: 'DSCP is a part of the TOS byte',
    spec: { action: 'deny', match: { srcIP: '10.1.0.5', dscp: 46 } },
    want: ['DSCPMask all'],
  },
  {
    name: 'DOCA matches DSCP',
    spec: { action: 'deny', match: { srcIP: '10.1.0.5', dscp: 46 } },
    context: { datapath: 'doca' },
    want: [],
  },
  {
    name: 'a rate limit is offloaded, its byte counter is not',
    spec: { action: 'allow', match: { srcIP: '10.1.0.5' }, rateLimit: { kbps: 1000 } },
    want: ['MeterByteCount none'],
  },
  {
    name: 'a reject is answered by the agent, which needs each packet',
    spec: { action: 'reject', match: { srcIP: '10.1.0.5' } },
    want: ['Logging all', 'MeterByteCount none'],
  },
  {
    name: 'a redirect to a representor offloads',
    spec: redirect,
    verdict: { legs: LEGS },
    want: [],
  },
  {
    name: 'a redirect to any other port does not',
    spec: redirect,
    verdict: { legs: LEGS },
    context: { ports: [{ name: 'dev', ofport: 9, backing: 'software' }] },
    want: ['RedirectPortNotRepresentor all'],
  },
  {
    name: 'of a port that nobody could be asked about nothing is said',
    spec: redirect,
    verdict: { legs: LEGS },
    context: { ports: [{ name: 'dev', ofport: 9, backing: 'unknown' }] },
    want: [],
  },
  {
    name: 'an endpoint on an internal port keeps its own packets in software',
    spec: { action: 'deny', match: { dstPort: 80 } },
    context: { ports: [{ name: 'int0', ofport: 2, backing: 'software' }] },
    want: ['EndpointNotRepresentor some'],
  },
  {
    name: 'legs and endpoints on two cards are no one path',
    spec: redirect,
    verdict: { legs: LEGS },
    context: {
      ports: [
        { name: 'rep1a', ofport: 2, backing: 'representor', switchId: 'aa' },
        { name: 'dev', ofport: 9, backing: 'representor', switchId: 'bb' },
      ],
    },
    want: ['MixedSwitches some'],
  },
  {
    name: 'a flood to eight peers has too many actions, and a rule of every packet is touched by it',
    spec: { action: 'deny', match: {} },
    context: { flood: { remote: 8, local: 1 } },
    want: ['TooManyActions some'],
  },
  {
    name: 'a flood to seven peers and two ports just fits',
    spec: { action: 'deny', match: {} },
    context: { flood: { remote: 7, local: 2 } },
    want: [],
  },
  {
    name: 'a rule of one unicast address sees no flooded packet',
    spec: { action: 'deny', match: { dstIP: '10.1.0.25' } },
    context: { flood: { remote: 80, local: 1 } },
    want: [],
  },
  {
    name: 'on the userspace datapath nothing offloads, and nothing else matters',
    spec: { action: 'allow', match: { protocol: 'ICMP' } },
    context: { datapath: 'userspace', tracked: true },
    want: ['UserspaceDatapath all'],
  },
];

t.test('reasons of compiled rules', async (t) => {
  for (const { name, spec, verdict, context, want } of CASES) {
    t.strictSame(lint(entry(spec, verdict), context), want, name);
  }
});

/** An entry of one flow in the first egress tier, for what no rule of this release compiles to. */
function flowEntry(actions: readonly Action[], field?: 'pktMark'): CompiledEntry {
  const base = entry({ action: 'deny', match: { srcIP: '10.1.0.5' } });
  const match = field === undefined ? [] : [{ field, value: 1 } as const];
  const spec = { tableId: 20, priority: 1, cookie: base.cookie, match };
  return { ...base, flows: [encodeFlow({ ...spec, instructions: { applyActions: actions } })] };
}

t.test('reasons of actions, which later verbs will use', async (t) => {
  const out = (port: number): Action => ({ type: 'output', port });
  const cases: readonly [name: string, CompiledEntry, want: readonly string[]][] = [
    [
      'a packet-in',
      flowEntry([{ type: 'controller', maxLen: 128, controllerId: 1 }]),
      ['Logging all'],
    ],
    [
      'a packet-in inside a clone',
      flowEntry([
        { type: 'clone', actions: [{ type: 'controller', maxLen: 128, controllerId: 1 }] },
      ]),
      ['Logging all'],
    ],
    [
      'a mark that is set',
      flowEntry([{ type: 'setField', field: 'pktMark', value: 5 }]),
      ['PacketMark all'],
    ],
    ['a mark that is matched', flowEntry([], 'pktMark'), ['PacketMark all']],
    [
      'an action that this product does not know',
      flowEntry([{ type: 'unknown', bytes: Buffer.from('ffff00080000000a', 'hex') }]),
      ['UnsupportedAction all'],
    ],
    [
      'seventeen outputs',
      flowEntry(Array.from({ length: 17 }, () => out(40))),
      ['TooManyActions all'],
    ],
    [
      'registers cost nothing',
      flowEntry(Array.from({ length: 20 }, () => ({ type: 'setField', field: 'reg2', value: 1 }))),
      [],
    ],
  ];
  for (const [name, compiled, want] of cases) t.strictSame(lint(compiled), want, name);
  t.strictSame(
    lintEntry({ flows: [], clauses: [], meters: [] }, CONTEXT),
    [],
    'no flows, no reason',
  );
});

t.test('every code has its row in docs/offload.md, and there is no other', async (t) => {
  const text = readFileSync(join(import.meta.dirname, '../../../docs/offload.md'), 'utf8');
  // Codes begin with a capital; the page has tables of marks and verdicts too.
  const rows = [...text.matchAll(/^\| `([A-Z]\w+)` +\|(.*)\|$/gm)].map(([, code, rest]) => ({
    code,
    cells: (rest ?? '').split('|').map((cell) => cell.trim()),
  }));
  t.strictSame(rows.map(({ code }) => code).sort(), Object.keys(REASONS).sort());
  for (const { code, cells } of rows) {
    t.equal(cells.length, 4, `${code}: where, what, why, how to change the rule`);
    t.notOk(cells.includes(''), `${code}: no cell is empty`);
  }
  for (const { code, cells } of rows) {
    const known: readonly string[] =
      Object.entries(REASONS).find(([name]) => name === code)?.[1].kinds ?? [];
    const said = DATAPATH_KINDS.filter((kind) => cells[0]?.includes(kind));
    t.strictSame(
      said,
      DATAPATH_KINDS.filter((kind) => known.includes(kind)),
      `${code}: where it holds`,
    );
  }
});
