/**
 * Actions, instructions and groups: refusals, round trips, the captured groups
 * (src/openflow/{action,nicira,instruction,group-mod,format}.ts). Flows against captures are in flow-mod.test.ts, hostile
 * bytes in test/fuzz.
 */
import { inspect } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { DecodeError } from '../../src/base/error.ts';
import { decodeActions, encodeActions } from '../../src/openflow/action.ts';
import type { Action } from '../../src/openflow/action.ts';
import { formatGroup, formatInstructions } from '../../src/openflow/format.ts';
import {
  decodeGroupDesc,
  encodeGroup,
  encodeGroupDelete,
  encodeGroupModify,
} from '../../src/openflow/group-mod.ts';
import type { GroupDesc, GroupSpec } from '../../src/openflow/group-mod.ts';
import { decodeInstructions, encodeInstructions } from '../../src/openflow/instruction.ts';
import { records } from '../fixtures/openflow/records.ts';
import { anyAction } from './arbitrary.ts';

const LEARN: Action = { type: 'learn', table: 41, priority: 1, cookie: 1n, specs: [] };
const REFUSED: readonly { action: Action; code: string }[] = [
  { action: { type: 'output', port: 2 ** 32 }, code: 'RANGE' },
  { action: { type: 'output', port: 0xfffffffd, maxLen: 65536 }, code: 'RANGE' },
  { action: { type: 'outputField', field: 'reg1', start: 20, bits: 16 }, code: 'RANGE' },
  { action: { type: 'outputField', field: 'reg1', start: -1 }, code: 'RANGE' },
  { action: { type: 'outputField', field: 'reg1', start: 32 }, code: 'RANGE' },
  { action: { type: 'group', groupId: -1 }, code: 'RANGE' },
  { action: { type: 'setField', field: 'reg0', value: 2 ** 32 }, code: 'RANGE' },
  { action: { type: 'setField', field: 'reg0', value: 1, mask: 2 }, code: 'MASK' },
  { action: { type: 'setField', field: 'reg0', value: 1, mask: -1 }, code: 'RANGE' },
  { action: { type: 'setField', field: 'inPort', value: 65536 }, code: 'RANGE' },
  { action: { type: 'setField', field: 'ethType', value: 1 }, code: 'READ_ONLY' },
  { action: { type: 'setField', field: 'ctState', value: 1 }, code: 'READ_ONLY' },
  {
    action: {
      type: 'move',
      from: { field: 'reg0', start: 0, bits: 32 },
      to: { field: 'reg1', start: 1 },
    },
    code: 'RANGE',
  },
  {
    action: {
      type: 'move',
      from: { field: 'reg0', start: 0, bits: 8 },
      to: { field: 'ipProto', start: 0 },
    },
    code: 'READ_ONLY',
  },
  { action: { type: 'resubmit', table: 256 }, code: 'RANGE' },
  { action: { type: 'resubmit', table: 5, port: 70000 }, code: 'RANGE' },
  { action: { type: 'conjunction', id: 1, clause: 0, clauses: 1 }, code: 'RANGE' },
  { action: { type: 'conjunction', id: 1, clause: 2, clauses: 2 }, code: 'RANGE' },
  { action: { type: 'conjunction', id: 1, clause: 0, clauses: 65 }, code: 'RANGE' },
  { action: { type: 'ct', zone: 65536 }, code: 'RANGE' },
  { action: { type: 'ct', table: 256 }, code: 'RANGE' },
  { action: { type: 'controller', maxLen: 65536, controllerId: 1 }, code: 'RANGE' },
  { action: { type: 'clone', actions: [{ type: 'group', groupId: -1 }] }, code: 'RANGE' },
  { action: { ...LEARN, table: 255 }, code: 'RANGE' },
  { action: { ...LEARN, priority: 65536 }, code: 'RANGE' },
  { action: { ...LEARN, cookie: 1n << 64n }, code: 'RANGE' },
  { action: { ...LEARN, limit: 2 ** 32 }, code: 'RANGE' },
  { action: { ...LEARN, hardTimeout: 65536 }, code: 'RANGE' },
  {
    action: {
      ...LEARN,
      specs: [{ use: 'match', to: { field: 'reg0', start: 0, bits: 4 }, from: 1n }],
    },
    code: 'RANGE',
  },
  {
    action: {
      ...LEARN,
      specs: [{ use: 'load', to: { field: 'reg0', start: 0, bits: 4 }, from: 16n }],
    },
    code: 'RANGE',
  },
  {
    action: {
      ...LEARN,
      specs: [{ use: 'load', to: { field: 'ethType', start: 0, bits: 16 }, from: 1n }],
    },
    code: 'READ_ONLY',
  },
];

void t.test('an action that cannot be is refused', async (t) => {
  for (const { action, code } of REFUSED) {
    t.throws(() => encodeActions([action]), { code: `OFP_ACTION_${code}` }, inspect(action));
  }
});

void t.test('a masked set is one load for each run of bits', async (t) => {
  const set = (value: number | bigint, mask: number | bigint): string =>
    formatInstructions(
      encodeInstructions({ applyActions: [{ type: 'setField', field: 'metadata', value, mask }] }),
    );
  t.equal(set(0x80000001, 0x80000001), set(0x80000001n, 0x80000001n));
  t.equal(set(0xf0f0, 0xf0f0), 'load:0xf->OXM_OF_METADATA[4..7],load:0xf->OXM_OF_METADATA[12..15]');
  t.equal(set(0x12345678, 0xffffffff), 'load:0x12345678->OXM_OF_METADATA[0..31]');
  t.equal(set(0x80000000, 0x80000000), 'load:0x1->OXM_OF_METADATA[31]');
  t.equal(set(0xfffffffe, 0xfffffffe), 'load:0x7fffffff->OXM_OF_METADATA[1..31]');
  t.equal(set(5n, 0xffffffffffffffffn), 'set_field:0x5->metadata');
  t.equal(set(0, 0), 'drop', 'no bits at all: no action, and no apply_actions around it');
});

void t.test('actions and instructions are decoded to what was encoded', async () => {
  const id = fc.nat({ max: 0xffffffff });
  const table = fc.nat({ max: 0xfe });
  const input = fc.record(
    {
      meter: id,
      applyActions: fc.array(anyAction, { minLength: 1, maxLength: 6 }),
      gotoTable: table,
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(input, (instructions) => {
      const bytes = encodeInstructions(instructions);
      const decoded = decodeInstructions(bytes);
      t.strictSame({ ...decoded }, { ...instructions });
      return formatInstructions(decoded) === formatInstructions(bytes);
    }),
    { numRuns: 500 },
  );
});

const GROUPS = records('groups.txt');
const GROUP_SPECS: readonly GroupSpec[] = [
  {
    groupId: 5,
    type: 'all',
    buckets: [
      { actions: [{ type: 'output', port: 1 }] },
      {
        actions: [
          { type: 'setField', field: 'reg0', value: 1 },
          { type: 'resubmit', table: 49 },
        ],
      },
    ],
  },
  {
    groupId: 6,
    type: 'select',
    buckets: [
      { weight: 3, actions: [{ type: 'output', port: 1 }] },
      { actions: [{ type: 'output', port: 2 }] },
    ],
  },
  {
    groupId: 7,
    type: 'ff',
    buckets: [
      { watchPort: 2, actions: [{ type: 'output', port: 2 }] },
      {
        watchPort: 3,
        actions: [
          { type: 'setField', field: 'reg2', value: 0 },
          { type: 'resubmit', table: 5 },
        ],
      },
    ],
  },
  {
    groupId: 8,
    type: 'indirect',
    buckets: [
      {
        actions: [
          { type: 'setField', field: 'reg1', value: 2 },
          { type: 'group', groupId: 5 },
        ],
      },
    ],
  },
  { groupId: 9, type: 'all', buckets: [] },
  { groupId: 10, type: 'all', buckets: [{ actions: [] }] },
  {
    groupId: 0xffffff00,
    type: 'all',
    buckets: [
      {
        actions: [
          { type: 'setField', field: 'reg1', value: 2 },
          { type: 'setField', field: 'reg0', value: 0x20, mask: 0xf0 },
          { type: 'resubmit', table: 49 },
        ],
      },
      {
        actions: [
          { type: 'setField', field: 'tunIpv4Dst', value: 0xc0a8010c },
          { type: 'setField', field: 'tunnelId', value: 1000 },
          { type: 'output', port: 1 },
        ],
      },
    ],
  },
];

function groupsOf(body: Buffer): GroupDesc[] {
  const seen: GroupDesc[] = [];
  decodeGroupDesc(body, (group) => seen.push(group));
  return seen;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

void t.test('a group has the bytes that ovs-ofctl sends and the switch returns', async (t) => {
  t.equal(GROUPS.length, GROUP_SPECS.length);
  for (const [index, { line, mod, dump, text }] of GROUPS.entries()) {
    const spec = GROUP_SPECS[index];
    if (spec === undefined) throw new Error(line);
    const group = encodeGroup(spec);
    mod.fill(0, 4, 8);
    t.equal(hex(group.message), hex(mod), line);
    const [described] = groupsOf(dump);
    t.match(described, { groupId: group.groupId, type: group.type });
    t.equal(hex(described?.buckets ?? Buffer.alloc(1)), hex(group.buckets), line);
    t.equal(formatGroup(group), text);
  }
  t.same(
    groupsOf(Buffer.concat(GROUPS.map(({ dump }) => dump))).map(({ groupId }) => groupId),
    GROUP_SPECS.map(({ groupId }) => groupId),
  );
});

void t.test('a group is modified with all its buckets, and deleted by number', async (t) => {
  const group = encodeGroup({ groupId: 6, type: 'select', buckets: [{ actions: [] }] });
  t.equal(
    hex(encodeGroupModify(group)),
    '040f002000000000' + '0001010000000006' + '00100001ffffffffffffffff00000000',
  );
  t.equal(hex(group.message).slice(16, 20), '0000', 'the group itself still says ADD');
  t.equal(hex(encodeGroupDelete(6)), '040f0010000000000002000000000006');
});

void t.test('a group that cannot be is refused', async (t) => {
  const outputs: Action[] = Array.from({ length: 4000 }, () => ({ type: 'output', port: 1 }));
  for (const [spec, code] of [
    [{ groupId: 0xffffff01, type: 'all', buckets: [] }, 'OFP_GROUP_RANGE'],
    [{ groupId: 1, type: 'all', buckets: [{ actions: [], weight: 65536 }] }, 'OFP_GROUP_RANGE'],
    [{ groupId: 1, type: 'all', buckets: [{ actions: [], watchPort: -1 }] }, 'OFP_GROUP_RANGE'],
    [{ groupId: 1, type: 'ff', buckets: [{ actions: [] }] }, 'OFP_GROUP_WATCH_PORT'],
    [
      {
        groupId: 1,
        type: 'all',
        buckets: [{ actions: outputs }, ...Array.from({ length: 200 }, () => ({ actions: [] }))],
      },
      'OFP_GROUP_TOO_LONG',
    ],
  ] satisfies [GroupSpec, string][]) {
    t.throws(() => encodeGroup(spec), { code });
  }
});

void t.test('group descriptions with a wrong length are decode errors', async (t) => {
  const body = Buffer.from(GROUPS[0]?.dump ?? []);
  t.throws(() => groupsOf(body.subarray(0, 7)), DecodeError);
  t.throws(() => groupsOf(body.subarray(0, body.length - 1)), DecodeError);
  body.writeUInt16BE(4, 0);
  t.throws(() => groupsOf(body), DecodeError);
  t.equal(
    formatGroup({ groupId: 1, type: 9, buckets: Buffer.from('00010203', 'hex') }),
    'group_id=1,type=9,unknown(00010203)',
  );
});

void t.test('nesting is bounded: what lies too deep stays bytes', async (t) => {
  let nested: Action = { type: 'output', port: 1 };
  for (let depth = 0; depth < 200; depth++) nested = { type: 'clone', actions: [nested] };
  const bytes = encodeActions([nested]);
  let [action] = decodeActions(bytes);
  let depth = 0;
  for (; action?.type === 'clone'; depth++) action = action.actions[0];
  t.equal(depth, 16);
  t.equal(action?.type, 'unknown');
  t.equal(hex(encodeActions(decodeActions(bytes))), hex(bytes));
});
