/** Framing: any split gives the same values, limits hold, and no bytes do worse than a DecodeError. */
import fc from 'fast-check';
import t from 'tap';
import { DecodeError } from '../../src/base/error.ts';
import { JsonFramer, type FramerLimits } from '../../src/ovsdb/json-framer.ts';
import type { Json } from '../../src/ovsdb/json-value.ts';

function frame(chunks: readonly (string | Uint8Array)[], limits?: FramerLimits): Json[] {
  const framer = new JsonFramer(limits);
  return chunks.flatMap((chunk) => framer.push(Buffer.from(chunk)));
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof DecodeError) return thrown.code;
    throw thrown;
  }
  return 'no error';
}

const structure = fc.oneof(
  fc.array(fc.jsonValue({ maxDepth: 4 })),
  fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue({ maxDepth: 4 })),
);

void t.test('texts are cut where they end', async (t) => {
  const cases: { name: string; chunks: string[]; want: Json[] }[] = [
    { name: 'one object', chunks: ['{"a":1}'], want: [{ a: 1 }] },
    { name: 'two without a separator', chunks: ['{}[]'], want: [{}, []] },
    { name: 'spaces between', chunks: [' {} \n\t', '\r[1] '], want: [{}, [1]] },
    { name: 'braces in a string', chunks: ['{"a":"}{]["}'], want: [{ a: '}{][' }] },
    { name: 'an escaped quote', chunks: ['["\\"}"]'], want: [['"}']] },
    { name: 'a split escape', chunks: ['["\\', '"}"]'], want: [['"}']] },
    { name: 'an escaped backslash at the end', chunks: ['["\\\\"]', '[]'], want: [['\\'], []] },
    { name: 'an unfinished text', chunks: ['{"a":'], want: [] },
  ];
  for (const { name, chunks, want } of cases) t.strictSame(frame(chunks), want, name);
});

void t.test('a fault has a code, and nothing is accepted after it', async (t) => {
  const cases: { name: string; bytes: string | Uint8Array; limits?: FramerLimits; want: string }[] =
    [
      { name: 'a bare number', bytes: '12', want: 'DECODE_BAD_VALUE' },
      { name: 'a bare string', bytes: '"a"', want: 'DECODE_BAD_VALUE' },
      { name: 'a closing brace first', bytes: '}', want: 'DECODE_BAD_VALUE' },
      { name: 'mixed braces', bytes: '{]', want: 'DECODE_BAD_VALUE' },
      { name: 'malformed JSON', bytes: '{"a"}', want: 'DECODE_BAD_VALUE' },
      {
        name: 'bytes that are not UTF-8',
        bytes: Buffer.from('5b22ff225d', 'hex'),
        want: 'DECODE_BAD_VALUE',
      },
      { name: '201 arrays', bytes: '['.repeat(201), want: 'DECODE_TOO_LARGE' },
      {
        name: 'too many bytes',
        bytes: '["aaaaaaaa"]',
        limits: { maxMessageBytes: 8 },
        want: 'DECODE_TOO_LARGE',
      },
      {
        name: 'too many, unfinished',
        bytes: '["aaaaaaaa',
        limits: { maxMessageBytes: 8 },
        want: 'DECODE_TOO_LARGE',
      },
    ];
  for (const { name, bytes, limits, want } of cases) {
    const framer = new JsonFramer(limits);
    t.equal(
      codeOf(() => framer.push(Buffer.from(bytes))),
      want,
      name,
    );
    t.equal(
      codeOf(() => framer.push(Buffer.from('{}'))),
      'DECODE_BAD_VALUE',
      `${name}: then nothing`,
    );
    t.equal(framer.pendingBytes, 0, `${name}: nothing is kept`);
  }
  t.strictSame(frame(['['.repeat(200) + ']'.repeat(200)]).length, 1, '200 arrays pass');
  t.strictSame(frame(['["aaaa"]'], { maxMessageBytes: 8 }), [['aaaa']], 'exactly the limit passes');
});

void t.test('any split of the stream yields the same values', async () => {
  fc.assert(
    fc.property(fc.array(structure, { maxLength: 5 }), fc.array(fc.nat(60)), (values, cuts) => {
      const bytes = Buffer.from(values.map((value) => JSON.stringify(value)).join(' '));
      const chunks: Buffer[] = [];
      let at = 0;
      for (const cut of cuts) {
        chunks.push(bytes.subarray(at, at + cut));
        at += cut;
      }
      chunks.push(bytes.subarray(at));
      const plain = values.map((value) => JSON.stringify(value));
      const framed = frame(chunks).map((value) => JSON.stringify(value));
      return framed.join('\n') === plain.map((text) => JSON.stringify(JSON.parse(text))).join('\n');
    }),
    { numRuns: 500 },
  );
});

void t.test('a text may come byte by byte', async (t) => {
  const text = Buffer.from(`["${'x'.repeat(300_000)}"]`);
  const framer = new JsonFramer();
  let values: Json[] = [];
  for (let at = 0; at < text.length; at++) values = framer.push(text.subarray(at, at + 1));
  t.equal(JSON.stringify(values[0]).length, text.length);
  t.equal(framer.pendingBytes, 0);
});
