/**
 * Netlink bytes against recordings of the kernel, which carry what iproute2 said at the same time, and against broken ones
 * (src/netlink/{attribute,message,link,address,errors}.ts). The socket is in test/integration/netlink.test.ts.
 */
import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { decodeAddress, encodeAddressDump } from '../../src/netlink/address.ts';
import {
  attributesByType,
  decodeAttributes,
  encodeAttribute,
  encodeNested,
  readText,
} from '../../src/netlink/attribute.ts';
import { NetlinkError } from '../../src/netlink/errors.ts';
import { decodeLink, encodeLinkDump } from '../../src/netlink/link.ts';
import {
  Answer,
  decodeMessages,
  decodeEnding,
  encodeMessage,
  NLM_F,
  NLMSG,
  type NetlinkMessage,
} from '../../src/netlink/message.ts';
import { addressesOfIp, linksOfIp, shownAddresses, shownLink, type IpEntry } from './iproute2.ts';

const OP = 'netlink.test';
const PLACE = { op: OP, family: 0 };

interface Section {
  /** What `ip` said, where it was asked. */
  readonly ip: readonly IpEntry[];
  readonly datagrams: readonly Buffer[];
}

/** Sections of a recording by title. */
async function recording(name: string): Promise<ReadonlyMap<string, Section>> {
  const text = await readFile(new URL(`../fixtures/netlink/${name}.hex`, import.meta.url), 'utf8');
  const sections = text.split(/^@ /m).slice(1);
  return new Map(
    sections.map((section) => {
      const [title = '', ...lines] = section.trim().split('\n');
      const said = lines.filter((line) => line.startsWith('ip ')).map((line) => line.slice(3));
      const datagrams = lines.filter((line) => /^[0-9a-f]+$/.test(line));
      return [
        title,
        {
          ip: JSON.parse(said[0] ?? '[]') as IpEntry[],
          datagrams: datagrams.map((line) => Buffer.from(line, 'hex')),
        },
      ];
    }),
  );
}

function sectionOf(sections: ReadonlyMap<string, Section>, title: string): Section {
  const section = sections.get(title);
  if (section === undefined) throw new Error(`no section ${title}`);
  return section;
}

/** Data messages of a recorded dump. */
function answerOf(section: Section): NetlinkMessage[] {
  const answer = new Answer(PLACE);
  const ends = section.datagrams.flatMap(decodeMessages).map((message) => answer.push(message));
  t.same(ends.indexOf(true), ends.length - 1, 'only the last message ends the dump');
  return answer.messages;
}

void t.test('a recorded dump of links says what iproute2 says', async (t) => {
  const section = sectionOf(await recording('links'), 'links');
  const links = answerOf(section).map(decodeLink);
  t.equal(links.length, 5);
  t.same(links.map(shownLink), linksOfIp(section.ip));
  const vxlan = links.find(({ kind }) => kind === 'vxlan');
  t.match(vxlan, { name: 'vxlan5001', vxlanId: 5001 });
  t.match(
    links.find(({ name }) => name === 'veth0'),
    { kind: 'veth', mtuBytes: 1400, master: links.find(({ name }) => name === 'br0')?.ifindex },
  );
});

void t.test('a recorded dump of addresses says what iproute2 says', async (t) => {
  const section = sectionOf(await recording('addresses'), 'addresses');
  const addresses = answerOf(section).map(decodeAddress);
  t.same(
    shownAddresses(addresses.filter((address) => address !== undefined)),
    addressesOfIp(section.ip),
  );
  const texts = addresses.map((found) => found?.address);
  t.ok(texts.includes('198.51.100.1'), 'our end of a point-to-point link');
  t.notOk(texts.includes('198.51.100.2'), 'not the other end');
});

void t.test('requests are the bytes that the recording was asked with', (t) => {
  const dump = (request: { type: number; flags: number; payload: Buffer }): string =>
    encodeMessage({ ...request, flags: request.flags | 1, seq: 7, pid: 0 }).toString('hex');
  // As capture-netlink.py builds them with struct.pack.
  t.equal(
    dump(encodeLinkDump()),
    `28000000120001030700000000000000${'00'.repeat(16)}08001d0008000000`,
  );
  t.equal(dump(encodeAddressDump()), `18000000160001030700000000000000${'00'.repeat(8)}`);
  t.end();
});

const ERRORS: readonly { title: string; want: object | undefined }[] = [
  { title: 'acknowledged', want: undefined },
  { title: 'no such device', want: { code: 'NL_ENODEV', errno: 19, extAck: {} } },
  { title: 'no such message type', want: { code: 'NL_EOPNOTSUPP', errno: 95 } },
  {
    title: 'message',
    want: { code: 'NL_EINVAL', extAck: { message: 'mtu less than device minimum' } },
  },
  {
    title: 'message, capped',
    want: { code: 'NL_EINVAL', message: 'invalid argument: mtu less than device minimum' },
  },
  {
    title: 'message and offset',
    want: {
      code: 'NL_ERANGE',
      extAck: { message: 'Attribute failed policy validation', offset: 32 },
    },
  },
  {
    title: 'prefix too long',
    want: { code: 'NL_EINVAL', extAck: { message: 'ipv4: Invalid prefix length' } },
  },
];

void t.test('recorded errors become NetlinkErrors with what the kernel said', async (t) => {
  const sections = await recording('errors');
  t.same(
    [...sections.keys()],
    ERRORS.map(({ title }) => title),
  );
  for (const { title, want } of ERRORS) {
    const [message] = sectionOf(sections, title).datagrams.flatMap(decodeMessages);
    if (message === undefined) throw new Error(title);
    const error = decodeEnding(message, PLACE);
    if (want === undefined) t.equal(error, undefined, title);
    else t.match(error, { ...want, op: 'netlink.test', family: 0, retryable: false }, title);
  }
});

void t.test('an errno has the name that the kernel headers give it', (t) => {
  const cases: readonly [number, string, boolean][] = [
    [1, 'NL_EPERM', false],
    [7, 'NL_E2BIG', false],
    [4, 'NL_EINTR', true],
    [16, 'NL_EBUSY', true],
    [34, 'NL_ERANGE', false],
    [41, 'NL_ERRNO_41', false],
    [95, 'NL_EOPNOTSUPP', false],
    [105, 'NL_ENOBUFS', true],
    [524, 'NL_ERRNO_524', false],
  ];
  for (const [errno, code, retryable] of cases) {
    t.match(new NetlinkError(PLACE, errno).toJSON(), { code, retryable, details: { errno } });
  }
  t.equal(new NetlinkError(PLACE, 524).message, 'error 524');
  t.end();
});

const u32Bytes = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const data = (type: number, flags: number, payload: Buffer): NetlinkMessage => ({
  type,
  flags,
  seq: 1,
  pid: 0,
  payload,
});
const errnoBytes = (errno: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(-errno);
  return bytes;
};

void t.test('an answer knows its end, its interruption and its limits', (t) => {
  const answer = new Answer(PLACE);
  t.notOk(answer.push(data(NLMSG.NOOP, 0, Buffer.alloc(0))));
  t.notOk(answer.push(data(16, NLM_F.MULTI, Buffer.alloc(4))));
  t.notOk(answer.interrupted);
  t.notOk(answer.push(data(16, NLM_F.MULTI | NLM_F.DUMP_INTR, Buffer.alloc(4))));
  t.notOk(answer.ended);
  t.ok(answer.push(data(NLMSG.DONE, NLM_F.MULTI, errnoBytes(0))));
  t.ok(answer.ended);
  t.ok(answer.interrupted);
  t.equal(answer.messages.length, 2);

  const failed = new Answer(PLACE);
  t.throws(() => failed.push(data(NLMSG.DONE, NLM_F.MULTI, errnoBytes(12))), {
    code: 'NL_ENOMEM',
    retryable: true,
  });
  t.ok(failed.ended, 'a refusal is an end');
  t.ok(new Answer(PLACE).push(data(NLMSG.DONE, 0, Buffer.alloc(0))), 'an end without a number');
  t.throws(() => new Answer(PLACE).push(data(NLMSG.OVERRUN, 0, Buffer.alloc(0))), {
    code: 'NL_ENOBUFS',
    retryable: true,
  });

  const big = new Answer(PLACE);
  const mebibyte = data(16, NLM_F.MULTI, Buffer.alloc(1024 * 1024));
  for (let count = 0; count < 64; count++) big.push(mebibyte);
  t.throws(() => big.push(mebibyte), { code: 'DECODE_TOO_LARGE' });
  t.notOk(big.ended);
  const many = new Answer(PLACE);
  const empty = data(16, NLM_F.MULTI, Buffer.alloc(0));
  for (let count = 0; count < 131_072; count++) many.push(empty);
  t.throws(() => many.push(empty), { code: 'DECODE_TOO_LARGE' });
  t.end();
});

const header = Buffer.alloc(16);
const BAD: readonly { name: string; decode: () => unknown; code: string }[] = [
  { name: 'half a header', decode: () => decodeMessages(Buffer.alloc(15)), code: 'SHORT' },
  { name: 'a message of length 0', decode: () => decodeMessages(header), code: 'BAD_LENGTH' },
  {
    name: 'a message longer than its datagram',
    decode: () => decodeMessages(Buffer.concat([u32Bytes(17), Buffer.alloc(12)])),
    code: 'BAD_LENGTH',
  },
  {
    name: 'half an attribute header',
    decode: () => [...decodeAttributes(Buffer.alloc(3), OP)],
    code: 'SHORT',
  },
  {
    name: 'an attribute of length 3',
    decode: () => [...decodeAttributes(Buffer.from('03000000', 'hex'), OP)],
    code: 'BAD_LENGTH',
  },
  {
    name: 'a nested attribute that leaves its parent',
    decode: () =>
      [...decodeAttributes(encodeAttribute(1, Buffer.from('0c000100', 'hex')), OP)].map(
        ({ value }) => attributesByType(value, OP),
      ),
    code: 'BAD_LENGTH',
  },
  {
    name: 'another message than a link',
    decode: () => decodeLink(data(17, 0, header)),
    code: 'UNKNOWN_TYPE',
  },
  {
    name: 'half a link',
    decode: () => decodeLink(data(16, 0, header.subarray(1))),
    code: 'SHORT',
  },
  {
    name: 'a link without a name',
    decode: () =>
      decodeLink(data(16, 0, Buffer.concat([header, encodeAttribute(4, u32Bytes(1500))]))),
    code: 'BAD_VALUE',
  },
  {
    name: 'an MTU of two bytes',
    decode: () =>
      decodeLink(
        data(
          16,
          0,
          Buffer.concat([
            header,
            encodeAttribute(3, Buffer.from('lo')),
            encodeAttribute(4, Buffer.alloc(2)),
          ]),
        ),
      ),
    code: 'BAD_LENGTH',
  },
  {
    name: 'another message than an address',
    decode: () => decodeAddress(data(16, 0, header)),
    code: 'UNKNOWN_TYPE',
  },
  {
    name: 'half an address',
    decode: () => decodeAddress(data(20, 0, Buffer.alloc(7))),
    code: 'SHORT',
  },
  {
    name: 'an IPv4 prefix of 33 bits',
    decode: () => decodeAddress(data(20, 0, Buffer.from('0221000001000000', 'hex'))),
    code: 'BAD_VALUE',
  },
  {
    name: 'an address entry without an address',
    decode: () => decodeAddress(data(20, 0, Buffer.from('0220000001000000', 'hex'))),
    code: 'BAD_VALUE',
  },
  {
    name: 'an IPv6 entry with an IPv4 address',
    decode: () =>
      decodeAddress(
        data(
          20,
          0,
          Buffer.concat([
            Buffer.from('0a20000001000000', 'hex'),
            encodeAttribute(1, Buffer.alloc(4)),
          ]),
        ),
      ),
    code: 'BAD_VALUE',
  },
  {
    name: 'an error without errno',
    decode: () => decodeEnding(data(NLMSG.ERROR, 0, Buffer.alloc(3)), PLACE),
    code: 'SHORT',
  },
  {
    name: 'a positive errno',
    decode: () => decodeEnding(data(NLMSG.ERROR, 0, u32Bytes(1)), PLACE),
    code: 'BAD_VALUE',
  },
  {
    name: 'an error whose quoted request leaves the message',
    decode: () =>
      decodeEnding(
        data(
          NLMSG.ERROR,
          NLM_F.ACK_TLVS,
          Buffer.concat([errnoBytes(22), u32Bytes(64), Buffer.alloc(12)]),
        ),
        PLACE,
      ),
    code: 'BAD_LENGTH',
  },
];

void t.test('bytes that are wrong are a DecodeError', (t) => {
  for (const { name, decode, code } of BAD) {
    t.throws(decode, { name: 'DecodeError', code: `DECODE_${code}`, protocol: 'netlink' }, name);
  }
  t.end();
});

void t.test('an address of another family is left out', (t) => {
  t.equal(decodeAddress(data(20, 0, Buffer.from('2320000001000000', 'hex'))), undefined);
  t.end();
});

void t.test('what does not fit into an attribute is refused', (t) => {
  t.throws(() => encodeAttribute(1, Buffer.alloc(65_532)), RangeError);
  t.equal(encodeAttribute(0x3fff, Buffer.alloc(65_531)).length, 65_536);
  t.end();
});

const bytes = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));
const plain = fc.record({ type: fc.integer({ min: 0, max: 0x3fff }), payload: bytes(40) });

function property<Input>(t: Test, arbitrary: fc.Arbitrary<Input>, holds: (input: Input) => void) {
  t.doesNotThrow(() => {
    fc.assert(fc.property(arbitrary, holds), { numRuns: 2000 });
  });
}

void t.test('attributes come back as they were encoded, nested ones too', (t) => {
  property(t, fc.tuple(plain, fc.array(plain), plain), ([before, inner, after]) => {
    const encode = ({ type, payload }: typeof before): Buffer => encodeAttribute(type, payload);
    const encoded = Buffer.concat([
      encode(before),
      encodeNested(7, inner.map(encode)),
      encode(after),
    ]);
    const [first, nested, last, ...rest] = [...decodeAttributes(encoded, OP)];
    if (first === undefined || nested === undefined || last === undefined || rest.length > 0)
      throw new Error('not three attributes');
    const seen = [first, ...decodeAttributes(nested.value, OP), last];
    const want = [before, ...inner, after];
    if (nested.type !== 7 || seen.length !== want.length) throw new Error('wrong nesting');
    for (const [index, attribute] of seen.entries()) {
      const wanted = want[index];
      if (attribute.type !== wanted?.type || !attribute.value.equals(wanted.payload))
        throw new Error(`attribute ${index} differs`);
    }
  });
  t.end();
});

void t.test('messages come back as they were encoded', (t) => {
  const message = fc.record({
    type: fc.nat(0xffff),
    flags: fc.nat(0xffff),
    seq: fc.nat(0xffffffff),
    pid: fc.nat(0xffffffff),
    payload: bytes(40),
  });
  property(t, fc.array(message), (messages) => {
    const shown = (list: readonly NetlinkMessage[]): string =>
      JSON.stringify(list.map((one) => ({ ...one, payload: one.payload.toString('hex') })));
    const decoded = decodeMessages(Buffer.concat(messages.map(encodeMessage)));
    if (shown(decoded) !== shown(messages)) throw new Error(shown(decoded));
  });
  t.end();
});

void t.test('a text ends at its NUL or with its bytes', (t) => {
  for (const [hex, want] of [
    ['6c6f00', 'lo'],
    ['6c6f', 'lo'],
    ['', ''],
    ['00ff', ''],
  ] as const) {
    const [attribute] = decodeAttributes(encodeAttribute(3, Buffer.from(hex, 'hex')), OP);
    t.equal(attribute && readText(attribute.value), want);
  }
  t.end();
});
