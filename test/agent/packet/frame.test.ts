// Headers of frames, and the answers to rejected ones, against packets that another program has made.
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { rejectAnswer } from '../../../src/agent/packet/answer.ts';
import { decodeFrame } from '../../../src/agent/packet/frame.ts';

interface Answered {
  readonly name: string;
  readonly packet: Buffer;
  readonly answer: string;
}

const CASES: readonly Answered[] = readFileSync(
  new URL('../../fixtures/packets/reject-answers.txt', import.meta.url),
  'utf8',
)
  .split('\n\n')
  .slice(1)
  .map((block) => {
    const [name = '', packet = '', answer = ''] = block
      .trim()
      .split('\n')
      .map((line) => line.slice(line.indexOf(' ') + 1));
    return { name, packet: Buffer.from(packet, 'hex'), answer };
  });

function answerTo(packet: Uint8Array): Uint8Array | undefined {
  const header = decodeFrame(packet);
  return header === undefined ? undefined : rejectAnswer(packet, header);
}

void t.test('a rejected packet has the answer that its protocol knows, or none', async (t) => {
  t.equal(CASES.length, 19);
  for (const { name, packet, answer } of CASES) {
    const got = answerTo(packet);
    t.equal(got === undefined ? '-' : Buffer.from(got).toString('hex'), answer, name);
  }
});

void t.test('an answer is never answered, unless it cannot be known for one', async (t) => {
  for (const { name, packet } of CASES) {
    const answer = answerTo(packet);
    if (answer !== undefined) t.equal(answerTo(answer), undefined, name);
  }
});

void t.test('the fields of a header are read', async (t) => {
  const named = new Map(CASES.map(({ name, packet }) => [name, decodeFrame(packet)]));
  t.match(named.get('SYN over IPv4'), {
    ethSrc: 0x02000a010105n,
    ethDst: 0x02000a010205n,
    ethType: 0x0800,
    ip: { family: 4, src: 0x0a01000fn, dst: 0x0a010019n, protocol: 6, fragment: 'no' },
    ports: { src: 40000, dst: 80 },
    tcp: { flags: 2, seq: 1000, ack: 0, length: 20 },
  });
  t.match(named.get('UDP over IPv6'), {
    ip: { family: 6, protocol: 17, src: (0xfd00n << 112n) | 0x15n },
    ports: { src: 5000, dst: 7 },
  });
  t.match(named.get('echo request'), { icmp: { type: 8, code: 0 } });
  t.match(named.get('later fragment'), { ip: { fragment: 'later' }, ports: undefined });
  t.match(named.get('IPv6 fragment'), { ip: { fragment: 'first', protocol: 17 } });
});

t.test('any bytes are a header or none, whatever is cut or changed', async () => {
  const packets = CASES.map(({ packet }) => packet);
  fc.assert(
    fc.property(
      fc.constantFrom(...packets),
      fc.nat(200),
      fc.array(fc.tuple(fc.nat(120), fc.nat(255)), { maxLength: 8 }),
      (packet, length, changes) => {
        const bytes = Buffer.from(packet.subarray(0, length));
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        const header = decodeFrame(bytes);
        if ((header === undefined) !== bytes.length < 14) return false;
        const answer = header === undefined ? undefined : rejectAnswer(bytes, header);
        // An ICMP error around what was there of the packet, at most.
        return answer === undefined || answer.length <= 14 + 40 + 8 + bytes.length;
      },
    ),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const header = decodeFrame(bytes);
      if (header !== undefined) rejectAnswer(bytes, header);
    }),
  );
});
