/**
 * Flows against the captured bytes of ovs-ofctl and of a real switch: src/openflow/{flow,flow-mod,flow-stats,format}.ts.
 */
import t from 'tap';
import { DecodeError } from '../../src/base/error.ts';
import type { Action } from '../../src/openflow/action.ts';
import {
  encodeFlow,
  encodedFlowFromDump,
  flowKey,
  instructionsOf,
  matchOf,
  sameActions,
} from '../../src/openflow/flow.ts';
import type { FlowSpec } from '../../src/openflow/flow.ts';
import { decodeFlowMod, encodeFlowDelete } from '../../src/openflow/flow-mod.ts';
import { decodeFlowStats, encodeFlowStatsRequest } from '../../src/openflow/flow-stats.ts';
import type { FlowStats } from '../../src/openflow/flow-stats.ts';
import { formatFlow, formatInstructions, formatMatch } from '../../src/openflow/format.ts';
import { decodeInstructions } from '../../src/openflow/instruction.ts';
import { decodeMatch } from '../../src/openflow/match.ts';
import type { Match } from '../../src/openflow/match.ts';
import { records } from '../fixtures/openflow/records.ts';

const FLOWS = [...records('reference-flows.txt'), ...records('field-flows.txt')];
// What ovs-ofctl prints for fields and actions that this product does not have.
const FOREIGN =
  /mpls|ct_label|tun_ipv6|push_vlan|output:NXM_OF_IN_PORT\[\]\)|send_flow_rem|max_len=100/;

function statsOf(body: Buffer): FlowStats[] {
  const seen: FlowStats[] = [];
  decodeFlowStats(body, (stats) => seen.push(stats));
  return seen;
}

function only(body: Buffer): FlowStats {
  const [stats] = statsOf(body);
  if (stats === undefined) throw new Error('no entry');
  return stats;
}

/** The flow_mod with xid 0, as our encoders leave it. */
function withoutXid(message: Buffer): string {
  const copy = Buffer.from(message);
  copy.fill(0, 4, 8);
  return copy.toString('hex');
}

void t.test('every captured flow_mod is encoded again to the same bytes', async (t) => {
  t.equal(FLOWS.length, 279, 'all captured lines are there');
  for (const { line, mod } of FLOWS.filter(({ text }) => !FOREIGN.test(text))) {
    const flowMod = decodeFlowMod(mod);
    const flow = encodeFlow({
      tableId: flowMod.tableId,
      priority: flowMod.priority,
      cookie: flowMod.cookie,
      match: decodeMatch(flowMod.match),
      instructions: decodeInstructions(flowMod.instructions),
    });
    t.equal(Buffer.from(flow.message).toString('hex'), withoutXid(mod), line);
  }
});

void t.test('a dumped flow has the bytes and the key of the flow that was sent', async (t) => {
  for (const { line, mod, dump } of FLOWS) {
    const stats = only(dump);
    const { tableId, priority, cookie } = stats;
    const dumped = encodedFlowFromDump(tableId, priority, cookie, stats.match, stats.instructions);
    t.equal(Buffer.from(dumped.message).toString('hex'), withoutXid(mod), line);
    t.equal(flowKey(tableId, priority, stats.match), dumped.key, line);
  }
});

void t.test('flows are printed in the words of ovs-ofctl', async (t) => {
  for (const { dump, text } of FLOWS.filter((record) => !FOREIGN.test(record.text))) {
    const { tableId, priority, cookie, match, instructions } = only(dump);
    const flow = encodedFlowFromDump(tableId, priority, cookie, match, instructions);
    t.equal(formatFlow(flow), text);
  }
});

void t.test('what we do not know is printed as hex beside what we know', async (t) => {
  const texts = FLOWS.filter(({ text }) => FOREIGN.test(text)).map(({ dump }) => {
    const stats = only(dump);
    return `${formatMatch(stats.match)} actions=${formatInstructions(stats.instructions)}`;
  });
  t.same(texts, [
    ' actions=unknown(ffff0010000023200027000100000064)',
    ' actions=unknown(0011000881000000),output:1',
    ' actions=unknown(ffff00380000232000100000000a800000000000000000000000290000000000003000000406000000000206000010100000000200000000)',
    'mpls,oxm=8000440400000005 actions=drop',
    'oxm=0001d81000000000000000000000000000000005 actions=drop',
    'oxm=0001da10fe800000000000000000000000000001 actions=drop',
    ' actions=unknown(ffff003800002320002d00000000800000000000000000000001290000000000000000090000000000300000040600000000020600000000)',
  ]);
});

const VNI: Match = [{ field: 'metadata', value: 1000 }];
const SPECS: readonly (FlowSpec & { readonly text: string })[] = [
  {
    text: 'table=0,priority=100,in_port=1,tun_src=192.168.1.12,tun_dst=192.168.1.11,actions=set_field:0x1/0xf->reg0,goto_table:1',
    tableId: 0,
    priority: 100,
    cookie: 1n,
    match: [
      { field: 'tunIpv4Dst', value: 0xc0a8010b },
      { field: 'tunIpv4Src', value: 0xc0a8010cn },
      { field: 'inPort', value: 1 },
    ],
    instructions: {
      applyActions: [{ type: 'setField', field: 'reg0', value: 1, mask: 15 }],
      gotoTable: 1,
    },
  },
  {
    text: 'table=5,priority=100,in_port=2,dl_src=02:00:0a:01:01:05,ipv6,ipv6_src=fe80::/10,actions=goto_table:10',
    tableId: 5,
    priority: 100,
    cookie: 1n,
    match: [
      { field: 'ipv6Src', value: 0xfe80n << 112n, mask: 0xffc0n << 112n },
      { field: 'ethType', value: 0x86dd },
      { field: 'ethSrc', value: 0x02000a010105n },
      { field: 'inPort', value: 2 },
    ],
    instructions: { gotoTable: 10 },
  },
  {
    text: 'table=22,priority=58400,metadata=1000,tcp,nw_dst=10.1.0.25,tp_dst=81,actions=set_field:1->reg2,goto_table:29',
    tableId: 22,
    priority: 58400,
    cookie: 1n,
    match: [
      ...VNI,
      { field: 'ethType', value: 0x0800n },
      { field: 'ipProto', value: 6n },
      { field: 'ipv4Dst', value: 0x0a010019n, mask: 0xffffffffn },
      { field: 'tcpDst', value: 81 },
      { field: 'reg5', value: 0, mask: 0 },
    ],
    instructions: {
      applyActions: [{ type: 'setField', field: 'reg2', value: 1n, mask: 0xffffffff }],
      gotoTable: 29,
    },
  },
  {
    text: 'table=46,priority=100,metadata=1000,reg0=0x1/0xf,actions=clone(set_field:2->reg1,set_field:0x20/0xf0->reg0,resubmit(,49))',
    tableId: 46,
    priority: 100,
    cookie: 1n,
    match: [...VNI, { field: 'reg0', value: 1, mask: 15 }],
    instructions: {
      applyActions: [
        {
          type: 'clone',
          actions: [
            { type: 'setField', field: 'reg1', value: 2 },
            { type: 'setField', field: 'reg0', value: 0x20, mask: 0xf0 },
            { type: 'resubmit', table: 49 },
          ],
        },
      ],
    },
  },
  {
    text: 'table=70,priority=90,metadata=1000,ip,ct_state=+est-rpl+trk,ct_mark=0x1/0x1,actions=ct(commit,zone=7,exec(set_field:0x0/0x1->ct_mark)),goto_table:80',
    tableId: 70,
    priority: 90,
    cookie: 1n,
    match: [
      ...VNI,
      { field: 'ethType', value: 0x0800 },
      { field: 'ctState', value: 0x22, mask: 0x2a },
      { field: 'ctMark', value: 1, mask: 1 },
    ],
    instructions: {
      applyActions: [
        {
          type: 'ct',
          commit: true,
          zone: 7,
          exec: [{ type: 'setField', field: 'ctMark', value: 0, mask: 1 }],
        },
      ],
      gotoTable: 80,
    },
  },
  {
    text: 'table=80,priority=100,actions=output:NXM_NX_REG1[]',
    tableId: 80,
    priority: 100,
    cookie: 1n,
    match: [],
    instructions: { applyActions: [{ type: 'outputField', field: 'reg1' }] },
  },
];

void t.test(
  'a flow written as objects has the bytes that ovs-ofctl sends for its line',
  async (t) => {
    for (const { text, ...spec } of SPECS) {
      const record = FLOWS.find(({ line }) => line.replace(/^cookie=\d+,/, '') === text);
      if (record === undefined) {
        t.fail(`no capture of ${text}`);
        continue;
      }
      const cookie = decodeFlowMod(record.mod).cookie;
      const flow = encodeFlow({ ...spec, cookie });
      t.equal(Buffer.from(flow.message).toString('hex'), withoutXid(record.mod), text);
    }
  },
);

const BASE: FlowSpec = {
  tableId: 22,
  priority: 0x1234,
  cookie: 0xdeadn,
  match: VNI,
  instructions: { gotoTable: 23 },
};

void t.test(
  'flows of one table, priority and match share a key, and differ in actions',
  async (t) => {
    const flow = encodeFlow(BASE);
    const same = encodeFlow({ ...BASE, match: [{ field: 'metadata', value: 1000n }] });
    const other = encodeFlow({ ...BASE, instructions: { gotoTable: 24 } });
    const longer = encodeFlow({ ...BASE, instructions: {} });
    const recookied = encodeFlow({ ...BASE, cookie: 1n });
    t.equal(same.key, flow.key);
    t.equal(other.key, flow.key);
    t.ok(sameActions(flow, same));
    t.notOk(sameActions(flow, other));
    t.notOk(sameActions(flow, longer));
    t.notOk(sameActions(flow, recookied));
    t.not(encodeFlow({ ...BASE, priority: 1 }).key, flow.key);
    t.not(encodeFlow({ ...BASE, tableId: 23 }).key, flow.key);
    t.equal(flow.key, `\x16\x12\x34${Buffer.from(matchOf(flow)).toString('latin1')}`);
    t.same(decodeInstructions(instructionsOf(flow)), { gotoTable: 23 });
  },
);

void t.test('a strict delete names the flow and nothing of what it does', async (t) => {
  const decoded = decodeFlowMod(encodeFlowDelete(encodeFlow(BASE)));
  t.match(decoded, { command: 4, tableId: 22, priority: 0x1234, cookie: 0n, cookieMask: 0n });
  t.match(decoded, { xid: 0, outPort: 0xffffffff, outGroup: 0xffffffff, bufferId: 0xffffffff });
  t.same(decodeMatch(decoded.match), [{ field: 'metadata', value: 1000n }]);
  t.equal(decoded.instructions.length, 0);
});

void t.test('a dumped match in another order of fields is brought into ours', async (t) => {
  const flow = encodeFlow({
    ...BASE,
    match: [
      { field: 'ethType', value: 0x0800 },
      { field: 'ipProto', value: 6 },
    ],
  });
  const swapped = Buffer.from('80001401068000' + '0a020800', 'hex');
  const dumped = encodedFlowFromDump(22, 0x1234, 0xdeadn, swapped, instructionsOf(flow));
  t.equal(dumped.key, flow.key);
  t.ok(sameActions(dumped, flow));
  const widened = Buffer.from('80001401068000' + '0a0288cc', 'hex');
  const kept = encodedFlowFromDump(22, 0x1234, 0xdeadn, widened, instructionsOf(flow));
  t.same(matchOf(kept), widened, 'a match that we would refuse to write stays as it is');
  const cut = Buffer.from('80001401068000' + '0a02', 'hex');
  t.throws(() => encodedFlowFromDump(22, 1, 0n, cut, new Uint8Array()), DecodeError);
  const long = Buffer.alloc(0xffff);
  t.throws(() => encodedFlowFromDump(22, 1, 0n, new Uint8Array(), long), {
    code: 'OFP_FLOW_TOO_LONG',
  });
});

const outputs = (length: number): Action[] =>
  Array.from({ length }, () => ({ type: 'output', port: 1 }));

void t.test('a flow that cannot be is refused', async (t) => {
  for (const [change, code] of [
    [{ tableId: 255 }, 'OFP_FLOW_RANGE'],
    [{ priority: 65536 }, 'OFP_FLOW_RANGE'],
    [{ priority: 1.5 }, 'OFP_FLOW_RANGE'],
    [{ instructions: { gotoTable: 255 } }, 'OFP_INSTRUCTION_RANGE'],
    [{ instructions: { meter: -1 } }, 'OFP_INSTRUCTION_RANGE'],
    [{ instructions: { applyActions: outputs(4091), gotoTable: 23 } }, 'OFP_FLOW_TOO_LONG'],
    [{ instructions: { applyActions: outputs(5000) } }, 'OFP_ACTION_TOO_LONG'],
  ] as const) {
    t.throws(() => encodeFlow({ ...BASE, ...change }), { code });
  }
});

void t.test('the request of a dump filters by table and cookie', async (t) => {
  t.equal(
    Buffer.from(encodeFlowStatsRequest({})).toString('hex'),
    'ff000000ffffffffffffffff00000000' + '0'.repeat(32) + '0001000400000000',
  );
  t.equal(
    Buffer.from(encodeFlowStatsRequest({ tableId: 5, cookie: 1n, cookieMask: 3n })).toString('hex'),
    '05000000ffffffffffffffff00000000' + '00000000000000010000000000000003' + '0001000400000000',
  );
});

void t.test('a flow-stats part gives its entries in order, with their numbers', async (t) => {
  const body = Buffer.concat(FLOWS.map(({ dump }) => dump));
  const entry = FLOWS[0]?.dump.length ?? 0;
  body.writeUInt32BE(77, 4);
  body.writeUInt16BE(11, 14);
  body.writeUInt16BE(12, 16);
  body.writeBigUInt64BE(0x1_0000_0002n, 32);
  body.writeBigUInt64BE(0x20_0000_0000n, 40);
  const seen = statsOf(body);
  t.equal(seen.length, FLOWS.length);
  t.match(seen[0], { durationSec: 77, idleTimeout: 11, hardTimeout: 12, cookie: 1n });
  t.match(seen[0], { packets: 0x100000002, bytes: 0x2000000000, tableId: 0, priority: 100 });
  for (const cut of [1, 47, 56, entry - 1]) {
    t.throws(() => statsOf(body.subarray(0, cut)), DecodeError, `cut at ${cut}`);
  }
  for (const [at, value] of [
    [0, 0],
    [0, entry - 4],
    [50, 3],
    [50, 0xffff],
    [48, 0],
  ] as const) {
    const broken = Buffer.from(body.subarray(0, entry));
    broken.writeUInt16BE(value, at);
    t.throws(() => statsOf(broken), DecodeError, `${value} at ${at}`);
  }
});

void t.test('a flow_mod with a wrong length is a decode error', async (t) => {
  const good = Buffer.from(encodeFlow(BASE).message);
  for (const [at, value] of [
    [0, 0x040d],
    [2, 0xffff],
    [48, 0],
    [50, 3],
    [50, 0x7fff],
  ] as const) {
    const broken = Buffer.from(good);
    broken.writeUInt16BE(value, at);
    t.throws(() => decodeFlowMod(broken), DecodeError, `${value} at ${at}`);
  }
  t.throws(() => decodeFlowMod(good.subarray(0, 40)), DecodeError);
});
