// Meters: the bytes that ovs-ofctl sends and the switch returns, refusals, and entries that are cut short.
import t from 'tap';
import { DecodeError } from '../../src/base/error.ts';
import {
  decodeMeterConfig,
  decodeMeterStats,
  encodeAllMetersRequest,
  encodeMeter,
  encodeMeterDelete,
  encodeMeterModify,
  type MeterDesc,
  type MeterSpec,
  type MeterStats,
} from '../../src/openflow/meter-mod.ts';
import { records } from '../fixtures/openflow/records.ts';

const METERS = records('meters.txt');
const SPECS: readonly MeterSpec[] = [
  { meterId: 1, unit: 'pktps', rate: 1000, burst: 100 },
  { meterId: 65536, unit: 'kbps', rate: 64000, burst: 6400 },
];
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function described(body: Uint8Array): MeterDesc[] {
  const seen: MeterDesc[] = [];
  decodeMeterConfig(body, (meter) => seen.push(meter));
  return seen;
}

function counted(body: Uint8Array): MeterStats[] {
  const seen: MeterStats[] = [];
  decodeMeterStats(body, (stats) => seen.push(stats));
  return seen;
}

void t.test('a meter has the bytes that ovs-ofctl sends and the switch returns', async (t) => {
  for (const [index, spec] of SPECS.entries()) {
    const record = METERS[index];
    if (record === undefined) throw new Error('no record');
    const { line, mod, dump } = record;
    mod.fill(0, 4, 8);
    const meter = encodeMeter(spec);
    t.equal(hex(meter.message), hex(mod), line);
    const [there] = described(dump);
    t.match(there, { meterId: spec.meterId, flags: meter.flags });
    t.equal(hex(there?.bands ?? Buffer.alloc(1)), hex(meter.bands), line);
  }
  t.same(
    described(Buffer.concat(METERS.map(({ dump }) => dump))).map(({ meterId }) => meterId),
    [1, 65536, 131071],
    'others may have meters of another kind',
  );
});

void t.test('a meter is modified with its bands, deleted by number, and asked for', async (t) => {
  const meter = encodeMeter({ meterId: 7, unit: 'pktps', rate: 1, burst: 1 });
  t.equal(hex(encodeMeterModify(meter)).slice(16, 32), '0001000e00000007');
  t.equal(hex(meter.message).slice(16, 20), '0000', 'the meter itself still says ADD');
  t.equal(hex(encodeMeterDelete(7)), '041d0010000000000002000000000007');
  t.equal(hex(encodeAllMetersRequest()), 'ffffffff00000000');
});

void t.test('a meter that cannot be is refused', async (t) => {
  const good: MeterSpec = { meterId: 1, unit: 'kbps', rate: 1, burst: 1 };
  for (const bad of [{ meterId: 0 }, { meterId: 0xffff0001 }, { rate: 0 }, { burst: 2 ** 32 }]) {
    t.throws(() => encodeMeter({ ...good, ...bad }), { code: 'OFP_METER_RANGE' });
  }
});

void t.test('what a meter has counted is read, and entries cut short are errors', async (t) => {
  // struct ofp_meter_stats with one band, written by the specification.
  const entry = Buffer.alloc(56);
  entry.writeUInt32BE(65537, 0);
  entry.writeUInt16BE(56, 4);
  entry.writeBigUInt64BE(1000n, 16);
  entry.writeBigUInt64BE(2n ** 33n, 40);
  const bare = Buffer.from(entry.subarray(0, 40));
  bare.writeUInt16BE(40, 4);
  t.strictSame(counted(Buffer.concat([entry, bare])), [
    { meterId: 65537, packets: 1000, dropped: 2 ** 33 },
    { meterId: 65537, packets: 1000, dropped: 0 },
  ]);
  for (const cut of [1, 39, 55]) t.throws(() => counted(entry.subarray(0, cut)), DecodeError);
  const body = METERS[0]?.dump ?? Buffer.alloc(0);
  for (const cut of [1, 7, 23]) t.throws(() => described(body.subarray(0, cut)), DecodeError);
  const zero = Buffer.from(body);
  zero.writeUInt16BE(0, 0);
  t.throws(() => described(zero), DecodeError);
});
