/** The framer: any cut of a stream gives the same messages, bounded memory, refusal of what cannot be framed. */
import fc from 'fast-check';
import t from 'tap';
import { DecodeError } from '../../src/base/error.ts';
import { Framer } from '../../src/openflow/framer.ts';
import { encodeMessage } from '../../src/openflow/header.ts';
import { OFPT } from '../../src/openflow/ofp13.ts';

function feed(framer: Framer, chunks: readonly Buffer[]): string[] {
  const seen: string[] = [];
  for (const chunk of chunks) framer.push(chunk, (message) => seen.push(message.toString('hex')));
  return seen;
}

function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    // A copy each: a chunk that is reused by its owner must not show.
    chunks.push(Buffer.from(bytes.subarray(at, at + size)));
    at += size;
  }
  return chunks;
}

const message = fc
  .tuple(fc.nat({ max: 255 }), fc.nat({ max: 0xffffffff }), fc.uint8Array({ maxLength: 300 }))
  .map(([type, xid, body]) => encodeMessage(type, xid, body));

t.test('any cut of a stream gives the same messages', async (t) => {
  fc.assert(
    fc.property(
      fc.array(message, { minLength: 1, maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 10 }),
      (messages, sizes) => {
        const want = messages.map((bytes) => bytes.toString('hex'));
        t.strictSame(feed(new Framer(), cut(Buffer.concat(messages), sizes)), want);
      },
    ),
    { numRuns: 200 },
  );
});

t.test('random bytes give messages or a DecodeError', async () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 20 }), (chunks) => {
      const framer = new Framer();
      try {
        feed(
          framer,
          chunks.map((chunk) => Buffer.from(chunk)),
        );
      } catch (error) {
        return error instanceof DecodeError;
      }
      return framer.heldBytes < 0x1_0000;
    }),
    { numRuns: 1000 },
  );
});

t.test('a message within one chunk is not copied', async (t) => {
  const chunk = Buffer.concat([
    encodeMessage(OFPT.ECHO_REPLY, 1),
    encodeMessage(14, 2, new Uint8Array(9)),
  ]);
  const shared: boolean[] = [];
  new Framer().push(chunk, (bytes) => shared.push(bytes.buffer === chunk.buffer));
  t.strictSame(shared, [true, true]);
});

t.test('the largest message byte by byte costs its own size', async (t) => {
  const framer = new Framer();
  const largest = encodeMessage(OFPT.ECHO_REQUEST, 7, new Uint8Array(0xffff - 8).fill(1));
  const bytes = Buffer.concat([largest, largest.subarray(0, 20)]);
  const began = performance.now();
  t.strictSame(feed(framer, cut(bytes, [1])), [largest.toString('hex')]);
  t.equal(framer.heldBytes, 20);
  t.comment(`65,555 chunks of one byte: ${Math.round(performance.now() - began)} ms`);
});

for (const { name, hex, want } of [
  { name: 'length 7', hex: '040e000700000001', want: { code: 'DECODE_BAD_LENGTH', offset: 2 } },
  { name: 'length 0', hex: '040e000000000001', want: { code: 'DECODE_BAD_LENGTH', offset: 2 } },
  { name: 'version 1.0', hex: '010e000800000001', want: { code: 'DECODE_BAD_VALUE', offset: 0 } },
  {
    name: 'JSON',
    hex: Buffer.from('{"method":"echo"}').toString('hex'),
    want: { code: 'DECODE_BAD_VALUE' },
  },
]) {
  t.test(`${name} in a header is refused, and everything after it`, async (t) => {
    for (const sizes of [[100], [1], [5]]) {
      const framer = new Framer();
      const bytes = Buffer.from(hex, 'hex');
      t.throws(() => feed(framer, cut(bytes, sizes)), { ...want, protocol: 'openflow' });
      t.throws(() => feed(framer, [encodeMessage(OFPT.ECHO_REPLY, 1)]), want);
    }
  });
}

t.test('HELLO and ERROR may come in another version', async (t) => {
  const bytes = Buffer.from('0600000800000001' + '0101000c0000000100000000', 'hex');
  t.equal(feed(new Framer(), [bytes]).length, 2);
});
