/**
 * Matches: what is refused, and that decoding gives back what was encoded (src/openflow/{match,oxm,oxm-fields}.ts).
 */
import fc from 'fast-check';
import t from 'tap';
import { DecodeError } from '../../src/base/error.ts';
import { OpenFlowError } from '../../src/openflow/errors.ts';
import { formatMatch } from '../../src/openflow/format.ts';
import { decodeMatch, encodeMatch } from '../../src/openflow/match.ts';
import type { Match, MatchField } from '../../src/openflow/match.ts';
import { OXM_FIELDS, fieldByHeader, fieldByName } from '../../src/openflow/oxm-fields.ts';
import { matchOfFlow } from './arbitrary.ts';

const ip: MatchField = { field: 'ethType', value: 0x0800 };
const ipv6: MatchField = { field: 'ethType', value: 0x86dd };
const arp: MatchField = { field: 'ethType', value: 0x0806 };
const tcp: MatchField = { field: 'ipProto', value: 6 };
const icmp6: MatchField = { field: 'ipProto', value: 58 };
const solicitation: MatchField = { field: 'icmpv6Type', value: 135 };

const REFUSED: readonly { name: string; match: Match; field: string; code: string }[] = [
  ...[
    { name: 'ip_proto without eth_type', match: [tcp], field: 'ipProto' },
    { name: 'nw_dst without eth_type', match: [{ field: 'ipv4Dst', value: 1 }], field: 'ipv4Dst' },
    { name: 'nw_dst of ipv6', match: [ipv6, { field: 'ipv4Dst', value: 1 }], field: 'ipv4Dst' },
    { name: 'ipv6_src of ip', match: [ip, { field: 'ipv6Src', value: 1n }], field: 'ipv6Src' },
    {
      name: 'a port without ip_proto',
      match: [ip, { field: 'tcpDst', value: 1 }],
      field: 'tcpDst',
    },
    { name: 'a UDP port of TCP', match: [ip, tcp, { field: 'udpDst', value: 1 }], field: 'udpDst' },
    {
      name: 'a port of later fragments',
      match: [ip, tcp, { field: 'ipFrag', value: 3 }, { field: 'tcpDst', value: 1 }],
      field: 'tcpDst',
    },
    {
      name: 'tcp_flags without TCP',
      match: [ip, { field: 'tcpFlags', value: 2 }],
      field: 'tcpFlags',
    },
    { name: 'icmp of ipv6', match: [ipv6, { field: 'icmpv4Type', value: 8 }], field: 'icmpv4Type' },
    { name: 'arp_spa of ip', match: [ip, { field: 'arpSpa', value: 1 }], field: 'arpSpa' },
    { name: 'dscp without IP', match: [arp, { field: 'ipDscp', value: 1 }], field: 'ipDscp' },
    { name: 'nw_frag without IP', match: [{ field: 'ipFrag', value: 3 }], field: 'ipFrag' },
    {
      name: 'nd_target without its type',
      match: [ipv6, icmp6, { field: 'ipv6NdTarget', value: 1n }],
      field: 'ipv6NdTarget',
    },
    {
      name: 'nd_target of another code',
      match: [
        ipv6,
        icmp6,
        solicitation,
        { field: 'icmpv6Code', value: 1 },
        { field: 'ipv6NdTarget', value: 1n },
      ],
      field: 'ipv6NdTarget',
    },
    {
      name: 'nd_tll of a solicitation',
      match: [ipv6, icmp6, solicitation, { field: 'ipv6NdTll', value: 1 }],
      field: 'ipv6NdTll',
    },
    {
      name: 'a prerequisite that is masked away',
      match: [
        { field: 'ethType', value: 0, mask: 0 },
        { field: 'ipv4Dst', value: 1 },
      ],
      field: 'ipv4Dst',
    },
  ].map((row) => ({ ...row, match: row.match as Match, code: 'OFP_MATCH_PREREQUISITE' })),
  {
    name: 'a field twice',
    match: [
      { field: 'reg0', value: 1, mask: 1 },
      { field: 'reg0', value: 2, mask: 2 },
    ],
    field: 'reg0',
    code: 'OFP_MATCH_DUPLICATE',
  },
  ...[
    { field: 'reg0', value: 2 ** 32 },
    { field: 'inPort', value: 0xff00 },
    { field: 'inPort', value: 0xfffffeff },
    { field: 'reg0', value: -1 },
    { field: 'reg0', value: 0.5 },
    { field: 'reg0', value: NaN },
    { field: 'reg0', value: -1n },
    { field: 'reg0', value: 1, mask: 2 ** 32 },
    { field: 'ethDst', value: 1n << 48n },
    { field: 'ethDst', value: 2 ** 48 },
    { field: 'metadata', value: 1n << 64n },
    { field: 'metadata', value: 2 ** 53 },
    { field: 'ctState', value: 0x100, mask: 0x100 },
    { field: 'vlanVid', value: 0x2000 },
    { field: 'ctZone', value: 0x10000 },
  ].map((entry) => ({
    name: `${entry.field} with ${entry.value}`,
    match: [entry] as Match,
    field: entry.field,
    code: 'OFP_MATCH_RANGE',
  })),
  ...[
    [arp, { field: 'arpOp', value: 256 }],
    [ip, { field: 'ipDscp', value: 64 }],
    [ip, tcp, { field: 'tcpDst', value: 65536 }],
    [ipv6, { field: 'ipv6Src', value: 1n << 128n }],
  ].map((match) => ({
    name: `${match.at(-1)?.field} that is too wide`,
    match: match as Match,
    field: match.at(-1)?.field ?? '',
    code: 'OFP_MATCH_RANGE',
  })),
  ...[
    { field: 'reg0', value: 0x10, mask: 0xf },
    { field: 'reg0', value: 1, mask: 0 },
    { field: 'ethDst', value: 2 ** 47, mask: 2 ** 40 },
    { field: 'metadata', value: 0x1ffn, mask: 0xff },
    { field: 'inPort', value: 1, mask: 0xff },
    { field: 'ctZone', value: 1, mask: 0xff },
    { field: 'conjId', value: 1, mask: 0xff },
  ].map((entry) => ({
    name: `${entry.field} ${entry.value} with mask ${entry.mask}`,
    match: [entry] as Match,
    field: entry.field,
    code: 'OFP_MATCH_MASK',
  })),
  {
    name: 'a field of somebody else',
    match: [{ field: 'unknown', value: 0, oxm: Buffer.from('8000440400000005', 'hex') }],
    field: 'unknown',
    code: 'OFP_MATCH_UNKNOWN',
  },
];

void t.test('what the switch would widen, drop or reject is refused', async (t) => {
  for (const { name, match, field, code } of REFUSED) {
    t.throws(() => encodeMatch(match), { code, details: { field }, retryable: false }, name);
  }
  t.equal(encodeMatch([]).length, 0, 'a refusal leaves nothing behind for the next match');
});

void t.test('an all-ones mask is dropped, an all-zero mask drops the field', async (t) => {
  const plain = encodeMatch([{ field: 'metadata', value: 5 }]);
  t.same(encodeMatch([{ field: 'metadata', value: 5, mask: 0xffffffffffffffffn }]), plain);
  t.same(
    encodeMatch([
      { field: 'metadata', value: 5 },
      { field: 'reg1', value: 0, mask: 0n },
    ]),
    plain,
  );
  t.same(
    encodeMatch([{ field: 'inPort', value: 5, mask: 0xffffffff }]),
    encodeMatch([{ field: 'inPort', value: 5 }]),
  );
  t.equal(encodeMatch([{ field: 'reg0', value: 0, mask: 0 }]).length, 0);
  t.same(
    encodeMatch([ipv6, { field: 'ipv6Src', value: 5 }]),
    encodeMatch([ipv6, { field: 'ipv6Src', value: 5n }]),
    'a number does for 128 bits',
  );
  t.same(
    encodeMatch([{ field: 'reg0', value: 0, mask: 0 }, ip, { field: 'reg0', value: 7 }]).length,
    14,
  );
});

void t.test('the registry is consistent: headers and names are found again', async (t) => {
  for (const field of OXM_FIELDS) {
    t.equal(fieldByName(field.name), field);
    t.equal(fieldByHeader(field.header), field);
    t.equal(fieldByHeader(field.header + 0x100), field, 'masked');
    t.equal(fieldByHeader(field.nxmHeader), field);
    t.ok(field.bits <= 8 * field.sizeBytes);
  }
  t.equal(new Set(OXM_FIELDS.map(({ name }) => name)).size, OXM_FIELDS.length);
  t.equal(fieldByName('toString'), undefined);
  t.equal(fieldByHeader(0x80004404), undefined);
});

void t.test('what was encoded is decoded again, in any order of fields', async () => {
  fc.assert(
    fc.property(matchOfFlow, fc.infiniteStream(fc.nat()), (match, order) => {
      const shuffled = match
        .map((entry) => ({ entry, key: Number(order.next().value) }))
        .sort((a, b) => a.key - b.key)
        .map(({ entry }) => entry);
      const bytes = encodeMatch(shuffled);
      const rank = ({ field }: MatchField): number => fieldByName(field)?.rank ?? -1;
      const want = [...match].sort((a, b) => rank(a) - rank(b));
      const decoded = decodeMatch(bytes);
      t.strictSame(decoded, want);
      return Buffer.compare(Buffer.from(encodeMatch(decoded)), Buffer.from(bytes)) === 0;
    }),
    { numRuns: 500 },
  );
});

void t.test('any bytes are a match or a decode error, and can be printed', async () => {
  const header = fc.constantFrom(...OXM_FIELDS.flatMap(({ header }) => [header, header + 0x100]));
  const tlv = fc.tuple(header, fc.uint8Array({ maxLength: 40 })).map(([head, payload]) => {
    const bytes = Buffer.alloc(4 + payload.length);
    bytes.writeUInt32BE((head & 0xffffff00) >>> 0, 0);
    bytes[3] = payload.length;
    bytes.set(payload, 4);
    return bytes;
  });
  const input = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.array(tlv, { maxLength: 5 }).map((parts) => Buffer.concat(parts)),
  );
  fc.assert(
    fc.property(input, (bytes) => {
      try {
        const match = decodeMatch(bytes);
        formatMatch(match);
        try {
          encodeMatch(match);
        } catch (error) {
          return error instanceof OpenFlowError;
        }
        return true;
      } catch (error) {
        return error instanceof DecodeError;
      }
    }),
    { numRuns: 2000 },
  );
});

void t.test('a field with a length that is not its own is a decode error', async (t) => {
  for (const hex of [
    '80',
    '800004',
    '8000000400',
    '80000002ffff',
    '80000a0108',
    '8000050800000000000003e8',
    'ffff5402abcd',
  ]) {
    t.throws(() => decodeMatch(Buffer.from(hex, 'hex')), DecodeError, hex);
  }
  t.same(
    decodeMatch(Buffer.from('ffff540600000001abcd', 'hex')).map(({ field }) => field),
    ['unknown'],
    'the number of an ONF field under another experimenter is another field',
  );
});
