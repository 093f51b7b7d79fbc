// Entries that can never decide: named only when it is so, against the executable model; and what is named in plain cases.
import fc from 'fast-check';
import t from 'tap';
import { DesiredState } from '../../../src/agent/flow/desired.ts';
import { rangesContain, rangesOf, commonLength } from '../../../src/base/address-range.ts';
import { parsePrefix, prefixContains, type IpPrefix } from '../../../src/base/address.ts';
import { evaluate } from '../../support/evaluator.ts';
import { allowedIn, labSnapshot, rule } from '../../support/model.ts';
import { packetArbitrary, snapshotOfWorld, worldArbitrary } from '../../support/world.ts';

const smallPrefix = fc
  .tuple(fc.integer({ min: 0, max: 15 }), fc.integer({ min: 28, max: 32 }))
  .map(([low, length]) => `10.0.0.${low}/${length}`);
const smallSet = fc.array(smallPrefix, { maxLength: 6 });

function prefixesOf(texts: readonly string[]): IpPrefix[] {
  return texts.map(parsePrefix).filter((prefix) => prefix !== undefined);
}

t.test('ranges say of small sets what counting their addresses says', async () => {
  const all = prefixesOf(Array.from({ length: 16 }, (_, low) => `10.0.0.${low}`));
  const members = (set: readonly IpPrefix[]): IpPrefix[] =>
    all.filter((address) => set.some((prefix) => prefixContains(prefix, address)));
  fc.assert(
    fc.property(smallSet, smallSet, (one, other) => {
      const [outer, inner] = [prefixesOf(one), prefixesOf(other)];
      const inOuter = members(outer);
      const want = members(inner).every((address) => inOuter.includes(address));
      return rangesContain(rangesOf(outer, 4), rangesOf(inner, 4)) === want;
    }),
    { numRuns: 1000 },
  );
  fc.assert(
    fc.property(fc.array(smallPrefix, { minLength: 1, maxLength: 4 }), (texts) => {
      const set = rangesOf(prefixesOf(texts), 4);
      const length = commonLength(set, 4);
      const holding = (bits: number): boolean => {
        const [hull] = prefixesOf([`${texts[0]?.split('/')[0]}/${bits}`]);
        return hull !== undefined && rangesContain(rangesOf([hull], 4), set);
      };
      return holding(length) && (length === 32 || !holding(length + 1));
    }),
  );
  t.strictSame(rangesOf(prefixesOf(['10.0.0.0/8', 'fd00::1']), 6).length, 1);
});

/** Names of entries with what decides before them. */
function claims(desired: DesiredState): Map<string, string> {
  return new Map(
    [...desired.entries()].flatMap((entry) => {
      const decider = desired.deciderBefore(entry);
      if (decider === undefined) return [];
      return [[entry.key, `${decider.name}${decider.fragmentsPass ? ' but fragments' : ''}`]];
    }),
  );
}

t.test('no entry that is named ever decides in the executable model', async (t) => {
  let named = 0;
  fc.assert(
    fc.property(
      worldArbitrary.chain((world) =>
        fc.tuple(
          fc.constant(world),
          fc.array(packetArbitrary(world), { minLength: 60, maxLength: 60 }),
        ),
      ),
      ([world, packets]) => {
        const desired = new DesiredState();
        desired.update(snapshotOfWorld(world));
        const found = claims(desired);
        named += found.size;
        if (found.size === 0) return true;
        return packets.every((packet) => {
          const { egress, ingress } = evaluate(world, packet);
          const deciders = [egress, ...ingress].flatMap((decision) => decision?.by ?? []);
          return deciders.every((name) => {
            const claim = found.get(name);
            return (
              claim === undefined ||
              (claim.endsWith(' but fragments') && packet.fragment === 'later')
            );
          });
        });
      },
    ),
    { numRuns: 500 },
  );
  t.ok(named > 100, `${named} entries were named`);
});

interface Case {
  readonly name: string;
  readonly outer: Readonly<Record<string, unknown>>;
  readonly inner: Readonly<Record<string, unknown>>;
  /** Undefined: not named. */
  readonly want?: 'named' | 'but fragments';
}

const DENY = { priority: 1, action: 'deny' };
const NARROW = { srcIP: '10.1.0.5', dstIP: '10.2.0.9', protocol: 'TCP', dstPort: 80 };

const CASES: readonly Case[] = [
  { name: 'everything', outer: { ...DENY }, inner: { match: NARROW }, want: 'named' },
  {
    name: 'a larger prefix and more ports',
    outer: { ...DENY, match: { srcIP: '10.1.0.0/16', dstPorts: ['70-79', '80-90'] } },
    inner: { match: NARROW },
    want: 'but fragments',
  },
  {
    name: 'an allow, which takes the later fragments too',
    outer: { priority: 1, action: 'allow', match: { dstPort: '1-100' } },
    inner: { match: NARROW },
    want: 'named',
  },
  {
    name: 'adjacent prefixes that make up the whole',
    outer: { ...DENY, match: { dstIPs: ['10.2.0.0/25', '10.2.0.128/25'] } },
    inner: { match: { dstIP: '10.2.0.0/24' } },
    want: 'named',
  },
  {
    name: 'all but the excluded address',
    outer: { ...DENY, match: { notSrcIPs: ['10.1.0.6'] } },
    inner: { match: NARROW },
    want: 'named',
  },
  {
    name: 'a hole where the entry is',
    outer: { ...DENY, match: { srcIP: '10.1.0.0/16', notSrcIPs: ['10.1.0.5'] } },
    inner: { match: NARROW },
  },
  {
    name: 'a pass of the same tier',
    outer: { priority: 1, action: 'pass' },
    inner: { match: NARROW },
    want: 'named',
  },
  {
    name: 'caution at equal priority',
    outer: { action: 'deny', match: { protocol: 'TCP' } },
    inner: { match: NARROW },
    want: 'named',
  },
  { name: 'equal rank', outer: { action: 'allow' }, inner: { match: NARROW } },
  { name: 'a later rank', outer: { ...DENY, priority: 501 }, inner: { match: NARROW } },
  {
    name: 'another protocol',
    outer: { ...DENY, match: { protocol: 'UDP' } },
    inner: { match: NARROW },
  },
  {
    name: 'one family of two',
    outer: { ...DENY, match: { srcIP: '0.0.0.0/0' } },
    inner: { match: { protocol: 'TCP' } },
  },
  {
    name: 'one direction of two',
    outer: { ...DENY, direction: 'Egress' },
    inner: { match: NARROW },
  },
  {
    name: 'that direction',
    outer: { ...DENY, direction: 'Egress' },
    inner: { match: NARROW, direction: 'Egress' },
    want: 'named',
  },
  {
    name: 'a field that the entry leaves open',
    outer: { ...DENY, match: { dscp: 46 } },
    inner: { match: NARROW },
  },
  { name: 'replies of its own', outer: { ...DENY }, inner: { match: NARROW, reverse: true } },
  {
    name: 'flags in other words',
    outer: { ...DENY, match: { tcpFlags: '+syn' } },
    inner: { match: { tcpFlags: '+syn-ack' } },
  },
];

for (const { name, outer, inner, want } of CASES) {
  t.test(`${name}: ${want ?? 'not named'}`, async (t) => {
    const desired = new DesiredState();
    const rules = [
      allowedIn(rule('outer', { rules: [{ name: 'o', vni: 1000, ...outer }] }), 1000),
      allowedIn(
        rule('inner', { rules: [{ name: 'i', vni: 1000, action: 'allow', ...inner }] }),
        1000,
      ),
    ];
    desired.update(labSnapshot(rules));
    const said = want === 'named' ? '' : ' but fragments';
    t.strictSame(
      [...claims(desired)],
      want === undefined ? [] : [['DPURule/tenant-a/inner/i', `DPURule/tenant-a/outer/o${said}`]],
    );
    desired.update(labSnapshot(rules.slice(1)));
    t.strictSame([...claims(desired)], [], 'nothing without the other');
    desired.update(labSnapshot(rules.toReversed()));
    t.equal(claims(desired).size, want === undefined ? 0 : 1, 'found when it comes back');
  });
}

t.test('tiers, networks and rules on trial are told apart', async (t) => {
  const one = (name: string, spec: Record<string, unknown>, net = 1000, action = 'deny') =>
    allowedIn(rule(name, { ...spec, rules: [{ name: 'r', vni: net, action }] }), net);
  const inner = one('inner', { tier: 'policy' }, 1000, 'allow');
  for (const [name, outer, want] of [
    ['an earlier tier', one('o', { tier: 'admin' }), 1],
    ['a pass of an earlier tier', one('o', { tier: 'admin' }, 1000, 'pass'), 0],
    ['another network', one('o', { tier: 'admin' }, 1001), 0],
    ['a rule on trial', one('o', { tier: 'admin', enforcement: 'DryRun' }), 0],
    ['a rule that is suspended', one('o', { tier: 'admin', enforcement: 'Suspended' }), 0],
    ['a later tier', one('o', { tier: 'baseline', priority: 0 }), 0],
  ] as const) {
    const desired = new DesiredState();
    desired.update(labSnapshot([outer, inner]));
    const found = [...claims(desired)].filter(([key]) => key.includes('inner'));
    t.equal(found.length, want, name);
  }
});

t.test('what a pass leads past a rule gets to the next tier all the same', async (t) => {
  const rules = (passPriority: number) => [
    allowedIn(
      rule('a', { tier: 'admin', rules: [{ name: 'r', vni: 1000, action: 'deny' }] }),
      1000,
    ),
    allowedIn(
      rule('p', {
        tier: 'admin',
        priority: passPriority,
        rules: [{ name: 'r', vni: 1000, action: 'pass', match: { protocol: 'TCP' } }],
      }),
      1000,
    ),
    allowedIn(rule('inner', { rules: [{ name: 'r', vni: 1000, action: 'allow' }] }), 1000),
  ];
  const desired = new DesiredState();
  desired.update(labSnapshot(rules(1)));
  t.notOk(claims(desired).has('DPURule/tenant-a/inner/r'), 'the pass comes first');
  desired.update(labSnapshot(rules(501)));
  t.ok(claims(desired).has('DPURule/tenant-a/inner/r'), 'the pass comes too late');
});

t.test('asking for 10,000 entries is not quadratic', async (t) => {
  const rules = Array.from({ length: 40 }, (_, object) =>
    allowedIn(
      rule(`r${object}`, {
        rules: Array.from({ length: 250 }, (_, index) => ({
          vni: 1000,
          action: index % 2 === 0 ? 'allow' : 'deny',
          priority: object * 20 + (index % 20),
          match: {
            dstIP: `10.${object}.${index}.0/24`,
            protocol: 'TCP',
            dstPorts: ['1-9', index + 10],
          },
        })),
      }),
      1000,
    ),
  );
  const desired = new DesiredState();
  desired.update(labSnapshot(rules));
  const start = process.cpuUsage();
  const { size } = claims(desired);
  const { user } = process.cpuUsage(start);
  t.comment(`${size} named of 10,000, in ${Math.round(user / 1000)} ms of CPU`);
  t.equal(size, 0);
  t.ok(user < 10_000_000, `${user} us`);
});
