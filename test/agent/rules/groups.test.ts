// Groups: which rules see which addresses, which wait, and how little is compiled when one member changes.
import t from 'tap';
import { clauseOf } from '../../../src/agent/flow/conjunction.ts';
import { DesiredState } from '../../../src/agent/flow/desired.ts';
import type { Snapshot } from '../../../src/agent/flow/model.ts';
import type { CompiledEntry } from '../../../src/agent/flow/rule-flows.ts';
import { buildRuleSet, type RuleSet } from '../../../src/agent/rules/rule-set.ts';
import type { SourceObject } from '../../../src/agent/sources/source.ts';
import { readConfig } from '../../../src/agent/config.ts';
import { objectKey, parseObject } from '../../../src/api/object.ts';
import { matchOf } from '../../../src/openflow/flow.ts';
import { formatMatch } from '../../../src/openflow/format.ts';
import { labSnapshot } from '../../support/model.ts';

const CONFIG = readConfig(
  JSON.stringify({
    node: 'dpu-1',
    rules: { source: 'directory', path: '/rules' },
    customer: { name: 'c', vnis: ['1000-1999'] },
    vtep: { ip: '192.168.1.11' },
    networks: [
      { vni: 1000, name: 'tenant-a', namespaces: ['tenant-a'] },
      { vni: 1001, name: 'tenant-b', namespaces: ['tenant-a'] },
    ],
  }),
  'agent.yaml',
  {},
);

type Fields = Readonly<Record<string, unknown>>;

/** Objects that change one at a time, and what is compiled of them. */
class World {
  readonly #objects = new Map<string, SourceObject>();
  readonly desired = new DesiredState();
  #ruleSet: RuleSet | undefined;

  #put(kind: string, name: string, spec: Fields, labels: Fields = {}): void {
    const apiVersion = 'dpu.network/v1alpha1';
    const { object, problems } = parseObject({
      apiVersion,
      kind,
      metadata: { name, namespace: 'tenant-a', labels },
      spec,
    });
    if (object === undefined) throw new Error(JSON.stringify(problems));
    this.#objects.set(objectKey(object), { object, origin: 'test' });
  }

  group(name: string, spec: Fields = {}): this {
    this.#put('DPUGroup', name, spec);
    return this;
  }

  slice(group: string, name: string, ...entries: Fields[]): this {
    this.#put('DPUGroupSlice', name, { entries }, { 'dpu.network/group': group });
    return this;
  }

  rule(name: string, entry: Fields): this {
    this.#put('DPURule', name, {
      rules: [{ name: 'r', vni: 1000, direction: 'Egress', ...entry }],
    });
    return this;
  }

  remove(key: string): this {
    this.#objects.delete(key);
    return this;
  }

  /** Compiles; number of units that were. */
  update(): number {
    this.#ruleSet = buildRuleSet(this.#objects, CONFIG, this.#ruleSet);
    const rules = [...this.#ruleSet.rules.values()].map(({ rule, verdicts }) => ({
      object: rule,
      verdicts,
    }));
    const snapshot: Snapshot = labSnapshot(rules);
    return this.desired.update(snapshot).compiled;
  }

  entry(name: string): CompiledEntry {
    const found = [...this.desired.entries()].find((entry) => entry.name === name);
    if (found === undefined) throw new Error(name);
    return found;
  }

  /** The matches of a rule in its tier's table, clauses with their number. */
  matches(name: string): string[] {
    const { flows, clauses } = this.entry(name);
    return [
      ...flows.filter(({ tableId }) => tableId === 22).map((flow) => formatMatch(matchOf(flow))),
      ...clauses.map((flow) => {
        const action = clauseOf(flow);
        return `${(action?.clause ?? 0) + 1}/${action?.clauses} ${formatMatch(matchOf(flow))}`;
      }),
    ]
      .map((text) => text.replace(',metadata=0x3e8', '').replace(/conj_id=\d+/, 'conj_id'))
      .sort();
  }
}

t.test('a group is its prefixes without the exceptions, and the members of its VNI', async (t) => {
  const world = new World()
    .group('g', { podSelector: {}, cidrs: ['10.9.0.0/30', '10.9.0.2'], except: ['10.9.0.1'] })
    .slice('g', 'g-1', { ip: '10.9.0.1', vni: 1000 }, { ip: '10.1.0.5', vni: 1001 })
    .slice('g', 'g-2', { ip: 'fd00::5', vni: 1000 }, { ip: '10.9.0.3', vni: 1000 })
    .slice('other', 'g-3', { ip: '10.1.0.77', vni: 1000 })
    .rule('r', { action: 'deny', match: { srcGroup: 'g', notSrcIPs: ['10.9.0.3'] } });
  world.update();
  t.strictSame(world.matches('r'), [
    'ip,nw_src=10.9.0.0',
    'ip,nw_src=10.9.0.1',
    'ip,nw_src=10.9.0.2',
    'ipv6,ipv6_src=fd00::5',
  ]);
  t.equal(world.entry('r').leftOut, 1);
});

t.test('a rule waits for a group that is absent or unresolved, and says for whom', async (t) => {
  const world = new World()
    .rule('r', { action: 'deny', match: { dstGroup: 'g' } })
    .rule('both', { action: 'deny', match: { srcGroup: 'ok', dstGroup: 'g' } })
    .group('ok', { cidrs: ['10.0.0.1'] });
  world.update();
  for (const name of ['r', 'both']) {
    t.match(world.entry(name).refusal, {
      reason: 'GroupNotFound',
      message: /no DPUGroup g in namespace tenant-a \(match\.dstGroup\)/,
    });
  }
  world.group('g', { namespaceSelector: {}, cidrs: ['10.0.0.2'] }).update();
  t.match(world.entry('r').refusal, { reason: 'GroupNotFound', message: /dpu-spoke/ });
  t.strictSame(world.matches('r'), [], 'its prefixes alone would be another rule');
  world.slice('g', 'g-1').update();
  t.strictSame(world.matches('r'), ['ip,nw_dst=10.0.0.2']);
  world.remove('DPUGroup/tenant-a/g').update();
  t.equal(world.entry('r').refusal?.reason, 'GroupNotFound');
});

t.test('an empty group matches nothing, and its rule is accepted', async (t) => {
  const world = new World()
    .group('none')
    .group('pods', { podSelector: {} })
    .slice('pods', 'pods-1')
    .rule('src', { action: 'deny', match: { srcGroup: 'none' } })
    .rule('dst', { action: 'allow', reverse: true, match: { dstGroup: 'pods', dstPort: 80 } })
    .rule('port', { action: 'allow', match: { dstGroup: 'pods', dstPortName: 'http' } });
  world.update();
  for (const name of ['src', 'dst', 'port']) {
    const { refusal, flows, clauses } = world.entry(name);
    t.strictSame([refusal, flows, clauses], [undefined, [], []], name);
  }
});

t.test('a named port is resolved for each endpoint, and no set completes another', async (t) => {
  const world = new World()
    .group('clients', { cidrs: ['10.2.0.1', '10.2.0.2', '10.2.0.4'] })
    .group('web', { podSelector: {} })
    .slice(
      'web',
      'web-1',
      { ip: '10.1.0.1', vni: 1000, ports: { http: ['TCP', 80], dns: ['UDP', 53] } },
      { ip: '10.1.0.2', vni: 1000, ports: { http: ['TCP', 8080] } },
      { ip: '10.1.0.4', vni: 1000, ports: { http: ['TCP', 8080] } },
      { ip: '10.1.0.16', vni: 1000, ports: { http: ['TCP', 8080] } },
      { ip: '10.1.0.7', vni: 1000, ports: { http: ['UDP', 80] } },
      { ip: '10.1.0.8', vni: 1000 },
    )
    .rule('udp', {
      action: 'deny',
      match: { srcIP: '10.2.0.1', dstGroup: 'web', dstPortName: 'http', protocol: 'UDP' },
    })
    .rule('any', { action: 'deny', match: { dstGroup: 'web', dstPortName: 'http' } })
    .rule('grouped', {
      action: 'allow',
      match: { srcGroup: 'clients', dstGroup: 'web', dstPortName: 'http', protocol: 'TCP' },
    });
  world.update();
  t.strictSame(world.matches('udp'), ['udp,nw_src=10.2.0.1,nw_dst=10.1.0.7,tp_dst=80']);
  t.strictSame(world.matches('any'), [
    'tcp,nw_dst=10.1.0.1,tp_dst=80',
    'tcp,nw_dst=10.1.0.16,tp_dst=8080',
    'tcp,nw_dst=10.1.0.2,tp_dst=8080',
    'tcp,nw_dst=10.1.0.4,tp_dst=8080',
    'udp,nw_dst=10.1.0.7,tp_dst=80',
  ]);
  const sources = ['10.2.0.1', '10.2.0.2', '10.2.0.4'];
  t.strictSame(
    world.matches('grouped'),
    [
      'conj_id',
      ...sources.map((ip) => `1/2 tcp,nw_src=${ip},tp_dst=8080`),
      ...['10.1.0.16', '10.1.0.2', '10.1.0.4'].map((ip) => `2/2 tcp,nw_dst=${ip},tp_dst=8080`),
      ...sources.map((ip) => `1/2 tcp,nw_src=${ip},nw_frag=later`),
      ...['10.1.0.1', '10.1.0.16', '10.1.0.2', '10.1.0.4'].map(
        (ip) => `2/2 tcp,nw_dst=${ip},nw_frag=later`,
      ),
      ...sources.map((ip) => `tcp,nw_src=${ip},nw_dst=10.1.0.1,tp_dst=80`),
    ].sort(),
  );
});

t.test(
  'a member that comes or goes compiles the rules that name its group, no others',
  async (t) => {
    const world = new World()
      .group('g', { podSelector: {} })
      .group('other', { cidrs: ['10.0.0.1'] });
    const members = Array.from({ length: 1000 }, (_, index) => ({
      ip: `10.1.${index >> 8}.${index & 0xff}`,
      vni: 1000,
    }));
    world.slice('g', 'g-1', ...members);
    for (let index = 0; index < 50; index++) {
      world.rule(`r${index}`, { action: 'deny', match: { srcGroup: 'other', dstPort: index } });
    }
    const match = { srcGroup: 'g', protocol: 'TCP', dstPorts: [80, 443] };
    world.rule('one', { action: 'allow', match });
    world.rule('two', { action: 'allow', match: { ...match, dstPorts: [80, 8443] } });
    world.update();
    const { size } = new Set(['one', 'two'].flatMap((name) => keysOf(world.entry(name))));
    t.ok(size < 1020, `${size} flows: the rules share the clauses of their group`);
    t.equal(world.slice('g', 'g-2', { ip: '10.3.0.1', vni: 1000 }).update(), 2);
    t.ok(world.matches('one').includes('1/2 ip,nw_src=10.3.0.1'));
    t.equal(world.group('other', { cidrs: ['10.0.0.1'], except: ['fd00::1'] }).update(), 50);
    t.equal(world.update(), 0);
    world.remove('DPUGroupSlice/tenant-a/g-2').update();
    t.notOk(world.matches('one').includes('1/2 ip,nw_src=10.3.0.1'));
  },
);

function keysOf({ flows, clauses }: CompiledEntry): string[] {
  return [...flows, ...clauses].map(({ key }) => key);
}
