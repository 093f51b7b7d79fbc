// Isolation of networks, judged by the compiled flows: each way to break it is found, and what the compiler makes is sound.
import fc from 'fast-check';
import t from 'tap';
import { makeCookie, type CookieCategory } from '../../../src/agent/flow/cookie.ts';
import { DesiredState } from '../../../src/agent/flow/desired.ts';
import { groupFault, pipelineFlowFault, ruleFlowFault } from '../../../src/agent/flow/isolation.ts';
import { TABLE, type PipelineTable } from '../../../src/agent/flow/pipeline.ts';
import { floodGroupId } from '../../../src/agent/flow/tables/flood.ts';
import { isolated } from '../../../src/agent/flow/units.ts';
import type { Action } from '../../../src/openflow/action.ts';
import { encodeFlow, type EncodedFlow } from '../../../src/openflow/flow.ts';
import { encodeGroup } from '../../../src/openflow/group-mod.ts';
import type { Match } from '../../../src/openflow/match.ts';
import { OFPP } from '../../../src/openflow/ofp13.ts';
import { vni } from '../../support/model.ts';
import { hostileRules, judged, snapshotOfWorld, worldArbitrary } from '../../support/world.ts';

const [MINE, OTHER] = [1000, 1001];
const [MY_PORT, OTHER_PORT, TUNNEL] = [11, 12, 65000];
const NETWORKS = {
  tunnel: TUNNEL,
  vniOf: (ofport: number) =>
    new Map([
      [MY_PORT, MINE],
      [OTHER_PORT, OTHER],
    ]).get(ofport),
  zoneOf: (net: number) => (net === MINE ? 7 : undefined),
};
const mine = { field: 'metadata', value: MINE } as const;

function flow(
  table: PipelineTable,
  match: Match,
  actions: readonly Action[],
  category: CookieCategory = 'endpoint',
): EncodedFlow {
  return encodeFlow({
    tableId: table.id,
    priority: 100,
    cookie: makeCookie(category, 1n),
    match,
    instructions: { applyActions: actions, gotoTable: TABLE.output.id },
  });
}

const set = (field: 'metadata' | 'tunnelId' | 'reg1' | 'reg2' | 'reg5', value: number): Action => ({
  type: 'setField',
  field,
  value,
});
const output = (port: number): Action => ({ type: 'output', port });
const group = (net: number): Action => ({
  type: 'group',
  groupId: floodGroupId(vni(net), 'local'),
});
const moveTo = (field: 'tunnelId' | 'reg1' | 'reg3', from: 'metadata' | 'reg2'): Action => ({
  type: 'move',
  from: { field: from, start: 0, bits: 24 },
  to: { field, start: 0 },
});

/** A learn action that is sound but for what is given. */
function learn(spec: {
  readonly table?: number;
  readonly match?: 'metadata' | 'ethDst';
  readonly port?: number;
  readonly load?: 'reg0' | 'metadata';
}): Action {
  const { table = TABLE.learned.id, match = 'metadata', port = TUNNEL, load = 'reg0' } = spec;
  const bits = match === 'metadata' ? 64 : 48;
  return {
    type: 'learn',
    table,
    priority: 10,
    cookie: makeCookie('learned', 1n),
    specs: [
      { use: 'match', to: { field: match, start: 0, bits }, from: { field: match, start: 0 } },
      { use: 'load', to: { field: 'reg1', start: 0, bits: 32 }, from: BigInt(port) },
      { use: 'load', to: { field: load, start: 4, bits: 4 }, from: 1n },
    ],
  };
}

t.test('a flow of the pipeline that would let networks meet is found', async (t) => {
  const ip = { field: 'ethType', value: 0x0800 } as const;
  const mark: Action[] = [{ type: 'setField', field: 'ctMark', value: 1, mask: 1 }];
  const commit = (zone: number, exec: readonly Action[]): Action => ({
    type: 'ct',
    commit: true,
    zone,
    exec,
  });
  const inPort = (value: number) => ({ field: 'inPort', value }) as const;
  const cases: readonly [name: string, flow: EncodedFlow, want: RegExp | undefined][] = [
    [
      'a port into its network',
      flow(TABLE.classify, [inPort(MY_PORT)], [set('metadata', MINE)]),
      undefined,
    ],
    [
      'a port into another',
      flow(TABLE.classify, [inPort(MY_PORT)], [set('metadata', OTHER)]),
      /into VNI 1001/,
    ],
    ['learning', flow(TABLE.remoteGuard, [mine], [learn({})]), undefined],
    ['learning for all', flow(TABLE.remoteGuard, [], [learn({})]), /every VNI to port 65000/],
    [
      'learning to the port of others',
      flow(TABLE.remoteGuard, [mine], [learn({ port: OTHER_PORT })]),
      /VNI 1000 to port 12/,
    ],
    [
      'learning what other networks meet',
      flow(TABLE.remoteGuard, [mine], [learn({ match: 'ethDst' })]),
      /learns for every network/,
    ],
    [
      'learning elsewhere',
      flow(TABLE.remoteGuard, [mine], [learn({ table: 40 })]),
      /learns into table 40/,
    ],
    [
      'learning a network',
      flow(TABLE.remoteGuard, [mine], [learn({ load: 'metadata' })]),
      /writes a part of metadata/,
    ],
    ['its own connections', flow(TABLE.commit, [mine, ip], [commit(7, mark)]), undefined],
    [
      'connections of others',
      flow(TABLE.commit, [mine, ip], [commit(8, mark)]),
      /connections of VNI 1000 in zone 8/,
    ],
    ['connections of all', flow(TABLE.commit, [ip], [commit(7, mark)]), /every VNI in zone 7/],
    [
      'more than a mark',
      flow(TABLE.commit, [mine, ip], [commit(7, [set('reg1', 1)])]),
      /more to a connection/,
    ],
    ['any port into a network', flow(TABLE.classify, [], [set('metadata', MINE)]), /into VNI 1000/],
    [
      'a VNI into its network',
      flow(TABLE.network, [{ field: 'tunnelId', value: MINE }], [set('metadata', MINE)]),
      undefined,
    ],
    [
      'a VNI into another',
      flow(TABLE.network, [{ field: 'tunnelId', value: MINE }], [set('metadata', OTHER)]),
      /into VNI 1001/,
    ],
    [
      'a network into another',
      flow(TABLE.forward, [mine, inPort(MY_PORT)], [set('metadata', MINE)]),
      /into VNI 1000/,
    ],
    ['to a port of the network', flow(TABLE.forward, [mine], [set('reg1', MY_PORT)]), undefined],
    [
      'to a port of another',
      flow(TABLE.forward, [mine], [set('reg1', OTHER_PORT)]),
      /VNI 1000 to port 12/,
    ],
    ['to a port that is nobody’s', flow(TABLE.forward, [mine], [set('reg1', 99)]), /to port 99/],
    [
      'of any network to a port',
      flow(TABLE.forward, [], [output(MY_PORT)]),
      /every VNI to port 11/,
    ],
    [
      'to the tunnel',
      flow(TABLE.output, [], [moveTo('tunnelId', 'metadata'), output(TUNNEL)]),
      undefined,
    ],
    [
      'to the tunnel with the VNI that it came with',
      flow(TABLE.output, [], [output(TUNNEL)]),
      /every VNI to port 65000/,
    ],
    [
      'to the tunnel as another',
      flow(TABLE.output, [mine], [set('tunnelId', OTHER), output(TUNNEL)]),
      /as VNI 1001/,
    ],
    [
      'the VNI for the wire from elsewhere',
      flow(TABLE.output, [mine], [moveTo('tunnelId', 'reg2')]),
      /writes a part of tunnelId/,
    ],
    [
      'the output from elsewhere',
      flow(TABLE.output, [mine], [moveTo('reg1', 'reg2')]),
      /writes a part of reg1/,
    ],
    [
      'back to where it came from',
      flow(TABLE.output, [inPort(MY_PORT)], [output(OFPP.IN_PORT)]),
      undefined,
    ],
    [
      'back into the tunnel',
      flow(TABLE.output, [inPort(TUNNEL)], [output(OFPP.IN_PORT)]),
      /to port/,
    ],
    ['NORMAL', flow(TABLE.forward, [mine], [output(OFPP.NORMAL)]), /to port 4294967290/],
    ['to its flood group', flow(TABLE.flood, [mine], [group(MINE)]), undefined],
    ['to the flood group of another', flow(TABLE.flood, [mine], [group(OTHER)]), /to group/],
    ['of any network to a flood group', flow(TABLE.flood, [], [group(MINE)]), /every VNI to group/],
    [
      'to a group that is not ours',
      flow(TABLE.flood, [mine], [{ type: 'group', groupId: 7 }]),
      /to group 7/,
    ],
    [
      'in the policy of all',
      flow(TABLE.egressTenant, [], [set('reg2', 1)]),
      /policy of every network/,
    ],
    [
      'in the policy of all, of the pipeline',
      flow(TABLE.egressVerdict, [], [moveTo('reg3', 'reg2')], 'pipeline'),
      undefined,
    ],
    [
      'a part of metadata',
      flow(TABLE.forward, [{ field: 'metadata', value: 0, mask: 1 }], []),
      /a part of metadata/,
    ],
  ];
  for (const [name, each, want] of cases) {
    const fault = pipelineFlowFault(each, NETWORKS);
    if (want === undefined) t.equal(fault, undefined, name);
    else t.match(fault, { what: want, witness: /./ }, name);
  }
  const rest = isolated({ flows: cases.map(([, each]) => each), groups: [] }, NETWORKS);
  const sound = cases.filter(([, , want]) => want === undefined).length;
  t.equal(rest.flows.length, sound, 'what is sound goes on');
  t.equal(rest.faults?.length, cases.length - sound, 'and the rest is told');
});

t.test('a group that copies to another network is found', async (t) => {
  const flood = (...actions: Action[]) =>
    encodeGroup({
      groupId: floodGroupId(vni(MINE), 'local'),
      type: 'all',
      buckets: [{ actions: [set('reg1', MY_PORT)] }, { actions }],
    });
  const cases: readonly [actions: Action[], want: RegExp | undefined][] = [
    [[set('reg1', MY_PORT)], undefined],
    [[set('tunnelId', MINE), output(TUNNEL)], undefined],
    [[set('reg1', OTHER_PORT)], /VNI 1000 to port 12/],
    [[set('tunnelId', OTHER), output(TUNNEL)], /as VNI 1001/],
    [[group(OTHER)], /to group/],
    [[set('metadata', OTHER)], /into VNI 1001/],
  ];
  for (const [actions, want] of cases) {
    const fault = groupFault(flood(...actions), NETWORKS);
    if (want === undefined) t.equal(fault, undefined);
    else t.match(fault, { what: want });
  }
});

t.test('a flow of a rule acts in its network and decides, nothing else', async (t) => {
  const cases: readonly [name: string, flow: EncodedFlow, want: RegExp | undefined][] = [
    ['a verdict', flow(TABLE.egressTenant, [mine], [set('reg2', 1)], 'rule'), undefined],
    [
      'of every network',
      flow(TABLE.egressTenant, [], [set('reg2', 1)], 'rule'),
      /packets of every VNI/,
    ],
    [
      'of another',
      flow(TABLE.egressTenant, [{ field: 'metadata', value: OTHER }], [], 'rule'),
      /of VNI 1001, not of VNI 1000/,
    ],
    ['in another table', flow(TABLE.forward, [mine], [], 'rule'), /table 40/],
    ['sends', flow(TABLE.egressTenant, [mine], [output(MY_PORT)], 'rule'), /sends packets itself/],
    ['floods', flow(TABLE.egressTenant, [mine], [group(MINE)], 'rule'), /sends packets itself/],
    [
      'changes the network',
      flow(TABLE.egressTenant, [mine], [set('metadata', OTHER)], 'rule'),
      /into VNI 1001/,
    ],
  ];
  for (const [name, each, want] of cases) {
    const fault = ruleFlowFault(each, MINE);
    if (want === undefined) t.equal(fault, undefined, name);
    else t.match(fault, { what: want, witness: /./ }, name);
  }
});

t.test('what the compiler makes of any world and any rules is sound', async (t) => {
  let flows = 0;
  const property = fc.property(worldArbitrary, hostileRules, (world, hostile) => {
    const desired = new DesiredState();
    desired.update(snapshotOfWorld(world, judged(world, hostile)));
    flows += desired.flowCount;
    const violations = [...desired.entries()].filter(
      ({ refusal }) => refusal?.reason === 'IsolationViolation',
    );
    t.strictSame([desired.faults, violations], [[], []]);
  });
  fc.assert(property, { numRuns: 100 });
  t.ok(flows > 10_000, `${flows} flows were looked at`);
});
