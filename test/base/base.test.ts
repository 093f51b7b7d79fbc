// Base layer: addresses, branded numbers, deferred promises, errors and the reconnect state machine.
import fc from 'fast-check';
import t from 'tap';
import {
  formatIp,
  formatMac,
  formatPrefix,
  isMulticastMac,
  parseIp,
  parseMac,
  parsePrefix,
  prefixContains,
  type IpPrefix,
} from '../../src/base/address.ts';
import { ALL_ADDRESSES, subtractPrefixes, widestPrefixes } from '../../src/base/prefix-set.ts';
import { asOfPort, asVni, tableId } from '../../src/base/brand.ts';
import { makeDeferred } from '../../src/base/deferred.ts';
import { ConfigError, ConnectionError, DecodeError } from '../../src/base/error.ts';
import { Reconnect } from '../../src/base/reconnect.ts';

/** A prefix of a test. */
function prefixOf(text: string): IpPrefix {
  const parsed = parsePrefix(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

void t.test(
  'an IP prefix is read with its host bits cleared, and anything odd is refused',
  async (t) => {
    const cases: readonly [text: string, want: string | undefined][] = [
      ['10.1.0.5', '10.1.0.5'],
      ['10.1.0.5/16', '10.1.0.0/16'],
      ['0.0.0.0/0', '0.0.0.0/0'],
      ['10.1.0.5/32', '10.1.0.5'],
      ['fd00::1', 'fd00::1'],
      ['FD00:0:0::1/64', 'fd00::/64'],
      ['::/0', '::/0'],
      ['::ffff:10.1.0.5', '::ffff:a01:5'],
      ['10.1', undefined],
      ['0x0a000001', undefined],
      ['010.1.0.5', undefined],
      ['10.1.0.5/33', undefined],
      ['10.1.0.5/', undefined],
      ['10.1.0.5/-1', undefined],
      ['fe80::1%eth0', undefined],
      ['fd00::/129', undefined],
      ['', undefined],
      ['web', undefined],
    ];
    for (const [text, want] of cases) {
      const prefix = parsePrefix(text);
      t.equal(prefix === undefined ? undefined : formatPrefix(prefix), want, JSON.stringify(text));
    }
  },
);

void t.test(
  'an IPv4-mapped IPv6 address stays IPv6, so that it cannot match IPv4 packets',
  async (t) => {
    t.equal(parseIp('::ffff:10.1.0.5')?.family, 6);
  },
);

void t.test('text of an address is read back as the same address', async (t) => {
  const v4 = fc.bigInt({ min: 0n, max: 0xffffffffn });
  const v6 = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n });
  fc.assert(fc.property(v4, (value) => parseIp(formatIp(4, value))?.value === value));
  fc.assert(fc.property(v6, (value) => parseIp(formatIp(6, value))?.value === value));
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: (1n << 48n) - 1n }),
      (mac) => parseMac(formatMac(mac)) === mac,
    ),
  );
  t.equal(parseMac('02:00:0a:01:02:05'), 0x02000a010205n);
  t.equal(parseMac('02-00-0a-01-02-05'), undefined);
  t.equal(isMulticastMac(0x01005e000001n), true);
  t.equal(isMulticastMac(0x02000a010205n), false);
});

void (
  /** A prefix of a test. */
  function prefixOf(text: string): IpPrefix {
    const parsed = parsePrefix(text);
    if (parsed === undefined) throw new Error(text);
    return parsed;
  }
);

t.test('a prefix contains what is inside it, and nothing of another family', async (t) => {
  const prefix = prefixOf;
  t.equal(prefixContains(prefix('10.1.0.0/16'), prefix('10.1.0.5')), true);
  t.equal(prefixContains(prefix('10.1.0.0/16'), prefix('10.0.0.0/8')), false);
  t.equal(prefixContains(prefix('0.0.0.0/0'), prefix('::1')), false);
});

void t.test(
  'a set without another holds exactly what is in the one and not in the other',
  async (t) => {
    const anyPrefix = fc
      .record({ family: fc.constantFrom(4, 6), host: fc.nat(255), length: fc.nat(8) })
      .map(({ family, host, length }) =>
        prefixOf(
          family === 4
            ? `10.0.0.${host}/${24 + length}`
            : `fd00::${host.toString(16)}/${120 + length}`,
        ),
      );
    const probe = fc
      .record({ family: fc.constantFrom(4, 6), host: fc.nat(255) })
      .map(({ family, host }) =>
        prefixOf(family === 4 ? `10.0.0.${host}` : `fd00::${host.toString(16)}`),
      );
    fc.assert(
      fc.property(
        fc.array(anyPrefix, { maxLength: 4 }),
        fc.array(anyPrefix, { maxLength: 4 }),
        probe,
        (some, holes, ip) => {
          const inside = (set: readonly IpPrefix[]): boolean =>
            set.some((prefix) => prefixContains(prefix, ip));
          const widest = widestPrefixes(some);
          const nested = widest.some((one) =>
            widest.some((other) => one !== other && prefixContains(one, other)),
          );
          return (
            !nested &&
            inside(widest) === inside(some) &&
            inside(subtractPrefixes(some, holes)) === (inside(some) && !inside(holes))
          );
        },
      ),
    );
    t.equal(
      subtractPrefixes(ALL_ADDRESSES, [prefixOf('10.1.0.5')]).length,
      33,
      '32 of IPv4, and all of IPv6',
    );
  },
);

t.test('branded numbers keep to their ranges', async (t) => {
  t.equal(asVni(0), undefined);
  t.equal(asVni(16777215), 16777215);
  t.equal(asVni(16777216), undefined);
  t.equal(asVni(1.5), undefined);
  t.equal(asOfPort(-1), undefined, 'OVS writes -1 for a port that it could not open');
  t.equal(asOfPort(65279), 65279);
  t.throws(() => tableId(254), RangeError);
});

void t.test('a deferred settles once, and times out with the given error', async (t) => {
  const late = makeDeferred<number>(
    5,
    () => new ConnectionError('CONN_TIMEOUT', 'no answer', { op: 'x', endpoint: 'y' }),
  );
  await t.rejects(late.promise, { code: 'CONN_TIMEOUT' });
  const settled = makeDeferred<number>(5, () => new Error('late'));
  settled.resolve(7);
  settled.reject(new Error('ignored'));
  settled.renew();
  t.equal(await settled.promise, 7);
});

void t.test(
  'errors show their code and details in JSON, and only a window of the bytes',
  async (t) => {
    const error = new DecodeError('DECODE_SHORT', 'message ends early', {
      protocol: 'openflow',
      op: 'flow-stats.decode',
      offset: 100,
      bytes: new Uint8Array(1000).fill(0xab),
    });
    const json = error.toJSON();
    t.equal(json['code'], 'DECODE_SHORT');
    t.equal((json['details'] as { window: string }).window.length, 128, '64 bytes as hex');
    const config = new ConfigError('agent.yaml', [
      { path: 'peers[0].vtep', message: 'missing', line: 3 },
      { path: '', message: 'empty' },
    ]);
    t.equal(config.message, 'agent.yaml:3: peers[0].vtep: missing\nagent.yaml: empty');
  },
);

void t.test(
  'reconnect: waits double up to the limit and start afresh after a connection that was up',
  async (t) => {
    const fsm = new Reconnect(0, { minBackoffMs: 100, maxBackoffMs: 400, random: () => 1 });
    t.equal(fsm.run(0), 'connect', 'the first attempt is due at once');
    let now = 0;
    const waits: (number | undefined)[] = [];
    for (let i = 0; i < 4; i++) {
      fsm.connecting(now);
      fsm.disconnected(now);
      waits.push(fsm.timeout(now));
      now += fsm.timeout(now) ?? 0;
    }
    t.strictSame(waits, [100, 200, 400, 400]);
    t.equal(fsm.failures, 4);
    fsm.connecting(now);
    fsm.connected(now);
    fsm.disconnected(now);
    t.equal(fsm.timeout(now), 100);
  },
);

void t.test(
  'reconnect: an idle connection is probed once and given up when it stays silent',
  async (t) => {
    const fsm = new Reconnect(0, { probeIntervalMs: 1000, random: () => 1 });
    fsm.connecting(0);
    fsm.connected(0);
    t.equal(fsm.run(999), undefined);
    t.equal(fsm.run(1000), 'probe');
    t.equal(fsm.state, 'idle');
    fsm.activity(1500);
    t.equal(fsm.state, 'active', 'any byte proves life');
    t.equal(fsm.run(2500), 'probe');
    t.equal(fsm.run(3499), undefined);
    t.equal(fsm.run(3500), 'disconnect');
  },
);

void t.test('reconnect: a connect that does not finish is given up', async (t) => {
  const fsm = new Reconnect(0, { connectTimeoutMs: 50 });
  fsm.connecting(10);
  t.equal(fsm.timeout(10), 50);
  t.equal(fsm.run(60), 'disconnect');
});

void t.test('reconnect: without probing an active connection needs no timer', async (t) => {
  const fsm = new Reconnect(0, { probeIntervalMs: 0 });
  fsm.connecting(0);
  fsm.connected(0);
  t.equal(fsm.timeout(5), undefined);
  t.equal(fsm.run(1e9), undefined);
});
