// Zones of the connection tracker: one each, kept where a restart finds them, flushed before they are used.
import fc from 'fast-check';
import t from 'tap';
import {
  planZones,
  readZones,
  trackingOf,
  zoneEntry,
} from '../../../src/agent/overlay/conntrack-zones.ts';
import { ZoneKeeper } from '../../../src/agent/overlay/zone-keeper.ts';
import { until } from '../../support/agent.ts';

const POOL = { first: 100, last: 103 };
const AT = Date.parse('2026-11-25T08:00:00Z');
const NONE: ReadonlyMap<string, string> = new Map();

t.test(
  'what is written down is read again; what is malformed or names a zone twice is not',
  async (t) => {
    const ids = new Map([
      ['dpu-owner', 'dpu-agent/br-int'],
      zoneEntry(1000, { zone: 7, sinceMs: AT }),
      ['dpu-ct-zone-1001', '7 2026-11-25T08:00:00.000Z'],
      ['dpu-ct-zone-1002', '0 2026-11-25T08:00:00.000Z'],
      ['dpu-ct-zone-1003', '8 yesterday'],
      ['dpu-ct-zone-1004', '70000 2026-11-25T08:00:00.000Z'],
      ['dpu-ct-zone-x', '9 2026-11-25T08:00:00.000Z'],
    ]);
    t.equal(ids.get('dpu-ct-zone-1000'), '7 2026-11-25T08:00:00.000Z');
    t.strictSame([...readZones(ids)], [[1000, { zone: 7, sinceMs: AT }]]);
    const { release } = planZones(new Set([1000, 1001]), ids, POOL);
    t.strictSame(
      [...release].sort(),
      [...ids.keys()]
        .filter((key) => key.startsWith('dpu-ct') && key !== 'dpu-ct-zone-1000')
        .sort(),
    );
  },
);

t.test('no zone has two networks, whatever came before, and none is given away twice', (t) => {
  const vnis = fc.uniqueArray(fc.integer({ min: 1, max: 20 }), { maxLength: 8 });
  fc.assert(
    fc.property(fc.array(vnis, { minLength: 1, maxLength: 12 }), (history) => {
      const ids = new Map<string, string>();
      for (const wanted of history) {
        const before = readZones(ids);
        const plan = planZones(new Set(wanted), ids, POOL);
        const inUse = new Set([...before.values()].map(({ zone }) => zone));
        // A zone that is being given back may still have flows of its network.
        for (const { zone } of plan.allocate) if (inUse.has(zone)) return false;
        for (const key of plan.release) ids.delete(key);
        for (const { vni, zone } of plan.allocate)
          ids.set(...zoneEntry(vni, { zone, sinceMs: AT }));
        const zones = [...readZones(ids).values()].map(({ zone }) => zone);
        if (new Set(zones).size !== zones.length || zones.length !== ids.size) return false;
        if (!zones.every((zone) => zone >= POOL.first && zone <= POOL.last)) return false;
        for (const vni of wanted) {
          const had = before.get(vni);
          if (had !== undefined && readZones(ids).get(vni)?.zone !== had.zone) return false;
          if (!readZones(ids).has(vni) && !plan.without.includes(vni)) return false;
        }
      }
      return true;
    }),
  );
  t.end();
});

t.test('the zone follows from the VNI, and a full pool is said', async (t) => {
  const first = planZones(new Set([1000]), NONE, POOL).allocate;
  t.strictSame(planZones(new Set([1000]), NONE, POOL).allocate, first);
  const many = planZones(new Set([1, 2, 3, 4, 5, 6]), NONE, POOL);
  t.equal(many.allocate.length, 4);
  t.strictSame(many.without, [5, 6]);
});

t.test('a warm-up has an end, also where the clock was set back', async (t) => {
  const cases: readonly [afterMs: number, warming: boolean][] = [
    [0, true],
    [59_999, true],
    [60_000, false],
    [-1, false],
  ];
  for (const [afterMs, warming] of cases) {
    const record = { zone: 7, sinceMs: AT };
    t.strictSame(trackingOf(record, AT + afterMs, 60_000), { zone: 7, warming }, String(afterMs));
  }
});

t.test(
  'a zone is flushed before it is written down, and not written when that fails',
  async (t) => {
    const ids = new Map<string, string>();
    const done: string[] = [];
    let broken = true;
    let pokes = 0;
    const keeper = new ZoneKeeper({
      externalIds: () => ids,
      change: async (removed, added) => {
        done.push('change');
        for (const key of removed) ids.delete(key);
        for (const [key, value] of added) ids.set(key, value);
      },
      connection: () => ({
        flushConntrackZone: async (zone) => {
          if (broken) throw new Error('no');
          done.push(`flush ${zone}`);
        },
      }),
      settings: () => ({ pool: POOL, warmUpMs: 300 }),
      poke: () => pokes++,
      logger: { debug() {}, info() {}, warn: () => (broken = false), error() {} },
    });
    t.teardown(() => keeper.close());
    keeper.look(new Set([1000]));
    await until('it is tried again', () => ids.size === 1);
    t.strictSame(done, [`flush ${readZones(ids).get(1000)?.zone}`, 'change']);
    t.equal(keeper.tracking().get(1000)?.warming, true);
    keeper.look(new Set([1000]));
    await until('the end of the warm-up', () => pokes > 0);
    t.equal(keeper.tracking().get(1000)?.warming, false);
    keeper.look(new Set());
    await until('it is given back', () => ids.size === 0);
    keeper.look(new Set([1, 2, 3, 4, 5]));
    await until('a full pool', () => keeper.problems.length === 1);
    t.match(keeper.problems, [{ message: /no zone is left for VNI 5/ }]);
  },
);
