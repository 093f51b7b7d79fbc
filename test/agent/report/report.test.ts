// What is reported: slices that keep their endpoints, a status that is bounded and quiet, Events of transitions, and no more.
import fc from 'fast-check';
import t from 'tap';
import type { LocalEndpoint } from '../../../src/agent/flow/model.ts';
import type { RuleStatus } from '../../../src/agent/reconcile/rule-status.ts';
import { Chore } from '../../../src/agent/report/chore.ts';
import { planSlices, type SliceSpec } from '../../../src/agent/report/endpoint-slices.ts';
import { EventBudget, transitions } from '../../../src/agent/report/node-events.ts';
import { nodeStatus, type NodeFacts } from '../../../src/agent/report/node-status.ts';
import { dpuNodeStatusSchema } from '../../../src/api/dpu-node.ts';
import { dpuEndpointSliceSpecSchema } from '../../../src/api/dpu-endpoint-slice.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { KubeError } from '../../../src/kube/error.ts';
import { until } from '../../support/agent.ts';
import { ip, ofport, vni } from '../../support/model.ts';

function endpoint(number: number): LocalEndpoint {
  const place = { port: `p${number}`, ofport: ofport(1 + number), vni: vni(1000) };
  return { ...place, mac: 0x02_00_00_00_00_00n + BigInt(number), ips: [ip('10.1.0.5')] };
}

type Slices = ReadonlyMap<string, SliceSpec>;

/** The slices after the plan, and how many objects it wrote. */
function publish(numbers: readonly number[], present: Slices): { slices: Slices; writes: number } {
  const wish = { node: 'dpu-1', vtepIP: '192.168.1.11', locals: numbers.map(endpoint) };
  const { apply, remove } = planSlices(wish, present);
  const slices = new Map([...present, ...apply]);
  for (const name of remove) slices.delete(name);
  return { slices, writes: apply.size + remove.length };
}

function placed(slices: Slices): Map<string, string> {
  const pairs = [...slices].flatMap(([name, spec]) =>
    spec.endpoints.map(({ mac }): [string, string] => [mac, name]),
  );
  return new Map(pairs);
}

t.test('a DPU without endpoints has one slice, for its VTEP', async (t) => {
  const { slices, writes } = publish([], new Map());
  t.strictSame(
    [...slices],
    [['dpu-1-0', { node: 'dpu-1', vtepIP: '192.168.1.11', endpoints: [] }]],
  );
  t.equal(writes, 1);
  t.equal(publish([], slices).writes, 0, 'and is quiet then');
});

t.test('one endpoint more or less is one object written', async (t) => {
  const numbers = Array.from({ length: 250 }, (_, index) => index);
  const { slices } = publish(numbers, new Map());
  t.same([...slices.keys()].sort(), ['dpu-1-0', 'dpu-1-1', 'dpu-1-2']);
  const fewer = publish(numbers.slice(1), slices);
  t.equal(fewer.writes, 1);
  const more = publish([...numbers.slice(1), 250], fewer.slices);
  t.equal(more.writes, 1);
  t.equal(placed(more.slices).size, 250);
  const few = publish([249], more.slices);
  t.same([...few.slices.keys()].sort(), ['dpu-1-0', 'dpu-1-2'], 'empty ones go, but for the first');
});

t.test('names that we would not give go, and their endpoints move', async (t) => {
  const { slices } = publish([1], new Map());
  const [spec] = slices.values();
  if (spec === undefined) throw new Error('no slice');
  for (const name of ['dpu-1-x', 'dpu-1-00', 'dpu-1-99999', 'other', 'dpu-11-0']) {
    const after = publish([1], new Map([[name, spec]]));
    t.same([...after.slices.keys()], ['dpu-1-0'], name);
    t.equal(placed(after.slices).size, 1, name);
  }
});

t.test(
  'whatever comes and goes: all are published once, and those that stay do not move',
  async () => {
    const steps = fc.array(fc.uniqueArray(fc.nat(400), { maxLength: 300 }), { maxLength: 5 });
    fc.assert(
      fc.property(steps, (lists) => {
        let slices: Slices = new Map();
        for (const numbers of lists) {
          const before = placed(slices);
          slices = publish(numbers, slices).slices;
          const after = placed(slices);
          const total = [...slices.values()].reduce((sum, spec) => sum + spec.endpoints.length, 0);
          if (total !== numbers.length || after.size !== numbers.length) return false;
          for (const [mac, name] of after) {
            if (before.has(mac) && before.get(mac) !== name) return false;
          }
          for (const spec of slices.values()) dpuEndpointSliceSpecSchema.parse(spec);
          if (publish(numbers, slices).writes !== 0) return false;
        }
        return true;
      }),
      { numRuns: 30 },
    );
  },
);

function row(index: number): RuleStatus {
  return {
    ...{
      namespace: 'tenant-a',
      name: `r${index}`,
      rule: 'web',
      accepted: false,
      programmed: false,
    },
    ...{ reason: 'Invalid', message: 'x'.repeat(5000), flows: 0, cookie: 0n },
  };
}

const FACTS: NodeFacts = {
  vtepIP: '192.168.1.11',
  versions: { agent: '0.1.0' },
  datapathType: 'system',
  marks: new Map([['DPURule', '17']]),
  endpoints: 3,
  ruleEntries: 9,
  notReady: [],
  notReadyTotal: 0,
  agentNotReady: [],
};
const NOON = '2026-11-25T12:00:00Z';
const LATER = '2026-11-25T12:00:05Z';

t.test('a status is valid and small whatever is wrong, and says how much is', async (t) => {
  const notReady = Array.from({ length: 200 }, (_, index) => row(index));
  const agentNotReady = ['no tunnel: '.repeat(500)];
  const facts = { ...FACTS, notReady, notReadyTotal: 5000, agentNotReady };
  const status = nodeStatus(facts, undefined, NOON);
  t.ok(dpuNodeStatusSchema.safeParse(status).success);
  t.equal(status.notReady?.length, 50);
  t.equal(status.notReadyTotal, 5000);
  t.ok(JSON.stringify(status).length < 24_000, 'bytes');
  t.match(nodeStatus(FACTS, undefined, NOON).marks, { rules: '17' });
});

t.test('a status that says the same is the same, with the time of its transition', async (t) => {
  const first = nodeStatus(FACTS, undefined, NOON);
  t.strictSame(nodeStatus(FACTS, first, LATER), first);
  const broken = nodeStatus({ ...FACTS, agentNotReady: ['no switch'] }, first, LATER);
  t.match(broken.conditions, [{ type: 'Ready', status: 'False', lastTransitionTime: LATER }]);
});

t.test('versions that are no decimals get a condition', async (t) => {
  const status = nodeStatus({ ...FACTS, marks: new Map([['DPURule', 'v1x']]) }, undefined, NOON);
  t.match(status.conditions?.[1], { type: 'VersionsComparable', status: 'False', message: /v1x/ });
});

t.test('Events are told of transitions, within a budget', async (t) => {
  const good = nodeStatus(FACTS, undefined, NOON);
  const down = nodeStatus({ ...FACTS, agentNotReady: ['no switch'] }, undefined, NOON);
  const failing = nodeStatus({ ...FACTS, notReady: [row(1)], notReadyTotal: 1 }, undefined, NOON);
  const more = nodeStatus({ ...FACTS, notReady: [row(1)], notReadyTotal: 2 }, undefined, NOON);
  const reasons = (...pair: Parameters<typeof transitions>): string[] =>
    transitions(...pair).map(({ reason }) => reason);
  t.same(reasons(undefined, good), ['Started']);
  t.same(reasons(undefined, failing), ['Started', 'RulesNotReady']);
  t.same(reasons(good, good), []);
  t.same(reasons(good, down), ['NotReady']);
  t.same(reasons(down, good), ['Ready']);
  t.same(reasons(good, failing), ['RulesNotReady']);
  t.same(reasons(failing, more), [], 'still failing');
  t.same(reasons(more, good), ['RulesReady']);
  const budget = new EventBudget(0);
  const burst = Array.from({ length: 50 }, () => budget.take(1000));
  t.equal(burst.filter(Boolean).length, 10);
  t.notOk(budget.take(179_999));
  t.ok(budget.take(180_000), 'one more after three minutes');
  t.notOk(budget.take(180_001));
});

t.test('a chore that fails is tried again, and joins what is asked meanwhile', async (t) => {
  let runs = 0;
  const chore = new Chore({
    name: 'test',
    work: async () => {
      if (++runs < 3) throw new KubeError('SOURCE_KUBE_REFUSED', 'no', { retryAfterMs: 1 });
    },
    ...{ minMs: 1, maxBackoffMs: 5, logger: silentLogger },
  });
  chore.start();
  for (let index = 0; index < 100; index++) chore.poke();
  await until('two faults and a success', () => runs === 3);
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(runs, 3, 'a hundred wishes were one');
  chore.poke();
  await until('once more', () => runs === 4);
  await chore.close();
  chore.poke();
  t.equal(runs, 4);
});
