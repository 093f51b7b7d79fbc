// What dpctl/dump-flows answers, recorded and by hand, and what is made of anything else.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import {
  datapathFlowSteps,
  parseDatapathFlow,
  parseDatapathKey,
  parseKeyFields,
  splitParts,
  type DatapathFlowDump,
} from '../../src/ovsdb/datapath-flow.ts';

const DUMPS = new Map(
  readFileSync(join(import.meta.dirname, '../fixtures/ovsdb/dpctl-dump-flows.txt'), 'utf8')
    .split(/^@ /m)
    .slice(1)
    .map((section) => {
      const end = section.indexOf('\n');
      return [section.slice(0, end), section.slice(end + 1)] as const;
    }),
);

function read(text: string): DatapathFlowDump {
  const steps = datapathFlowSteps(text);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

function recorded(name: string): DatapathFlowDump {
  const text = DUMPS.get(name);
  if (text === undefined) throw new Error(`nothing is recorded as ${name}`);
  return read(text);
}

t.test('every flow of every dump is read, and headlines are none', async (t) => {
  for (const [name, text] of DUMPS) {
    const dump = read(text);
    t.equal(dump.flows.length, text.match(/, actions:/g)?.length, name);
    t.equal(dump.unread, 0, name);
    for (const { key } of dump.flows) t.not(parseDatapathKey(key), undefined, key);
  }
});

t.test('counters, marks and actions are those of the line', async (t) => {
  const [first, second] = recorded('recorded, with -m').flows;
  t.match(first, {
    ufid: '32a0ef88-730b-49dd-8ac7-3feda3e105d0',
    packets: 2,
    bytes: 108,
    usedSeconds: 0.708,
    layer: 'ovs',
    actions: ['rep2a'],
  });
  t.equal(first?.offloaded, undefined);
  t.strictSame(second?.actions, ['drop']);
  const plain = recorded('recorded, without -m').flows;
  t.strictSame(
    plain.map(({ ufid, layer }) => [ufid, layer]),
    plain.map(() => [undefined, undefined]),
  );
  const marks = (name: string): unknown[] =>
    recorded(name).flows.map(({ offloaded, layer, packets }) => [offloaded, layer, packets]);
  t.strictSame(marks('by hand: 4.0, dummy offload provider'), [
    ['yes', 'dummy', 2],
    ['partial', 'ovs', 5],
    ['partial', 'ovs', 7],
  ]);
  t.strictSame(marks('by hand: kernel, tc'), [
    ['yes', 'tc', 40],
    [undefined, 'tc', 9],
    [undefined, 'ovs', 3],
    ['yes', 'tc', 11],
    [undefined, 'ovs', 0],
  ]);
  const tc = recorded('by hand: kernel, tc').flows;
  t.strictSame(
    tc.map(({ actions }) => actions.length),
    [1, 2, 1, 1, 2],
    'commas within an action part none',
  );
  t.equal(tc[4]?.usedSeconds, undefined, 'never');
  const [doca] = recorded('by hand: DOCA, with an attribute that is not known').flows;
  t.strictSame([...(doca?.others ?? [])], [['offload-age', '17']]);
});

t.test('a match is read by name, also behind a VLAN tag', async (t) => {
  const [, , tunnelled, recirculated, tagged] = recorded('by hand: kernel, tc').flows;
  const tunnel = parseDatapathKey(tunnelled?.key ?? '');
  t.equal(parseKeyFields(tunnel?.get('tunnel') ?? '').get('tun_id'), '0x3e8');
  t.equal(parseKeyFields(tunnel?.get('tunnel') ?? '').get('tp_dst'), '4789/0xffff');
  t.equal(tunnel?.get('in_port'), 'vxlan_sys_4789');
  t.equal(parseDatapathKey(recirculated?.key ?? '')?.get('recirc_id'), '0x1f');
  const inner = parseDatapathKey(tagged?.key ?? '');
  t.equal(inner?.get('eth_type'), '0x8100');
  t.equal(parseKeyFields(inner?.get('arp') ?? '').get('tip'), '10.1.0.99');
});

const SOUND = 'in_port(1), packets:1, bytes:2, used:never, actions:drop';

t.test('a line that is no flow is counted, never guessed at', async (t) => {
  t.equal(read(SOUND).flows.length, 1);
  for (const line of [
    'ovs-vswitchd: something else',
    ', packets:1, bytes:2, used:never, actions:drop',
    SOUND.replace('packets:1', 'packets:-1'),
    SOUND.replace('packets:1', 'packets:1e5'),
    SOUND.replace('bytes:2, ', ''),
    SOUND.replace('used:never', 'used:soon'),
    SOUND.replace('drop', ''),
    SOUND.replace('drop', 'ct(commit'),
    SOUND.replace('drop', 'a)b('),
    SOUND.replace('drop', `${'('.repeat(40)}${')'.repeat(40)}`),
    SOUND.replace('drop', `output${'x'.repeat(70_000)}`),
    SOUND.replace('drop', '1,'.repeat(2000)),
  ]) {
    t.equal(parseDatapathFlow(line), undefined, line.slice(0, 80));
    t.match(read(`${line}\n${SOUND}`), { unread: 1, flows: { length: 1 } });
  }
  t.strictSame(splitParts('a,b(c,d),{e,f},'), ['a', 'b(c,d)', '{e,f}']);
  t.throws(() => read('\n'.repeat(65 << 20)), { code: 'DECODE_TOO_LARGE' });
});

t.test('whatever is done to a dump, it is read to its end', async (t) => {
  const text = [...DUMPS.values()].join('');
  t.doesNotThrow(() => {
    const cut = fc.tuple(fc.nat(text.length), fc.nat(300), fc.string({ maxLength: 40 }));
    fc.assert(
      fc.property(cut, ([at, size, put]) => {
        const { flows, unread } = read(text.slice(0, at) + put + text.slice(at + size));
        return flows.length + unread > 0;
      }),
    );
  });
});

t.test('ten thousand flows are read with a pause every few lines', async (t) => {
  const [line = ''] = (DUMPS.get('recorded, with -m') ?? '').split('\n').slice(1);
  // As it comes from JSON.parse: in one piece.
  const text = Buffer.from(`${line}\n`.repeat(10_000)).toString('latin1');
  const steps = datapathFlowSteps(text);
  const times: number[] = [];
  for (;;) {
    const beforeMs = performance.now();
    const step = steps.next();
    times.push(performance.now() - beforeMs);
    if (step.done !== true) continue;
    t.equal(step.value.flows.length, 10_000);
    break;
  }
  const whole = times.reduce((sum, time) => sum + time, 0);
  t.comment(
    `10,000 flows in ${whole.toFixed(0)} ms, longest step ${Math.max(...times).toFixed(1)} ms`,
  );
  t.ok(times.length > 10_000 / 64, `${times.length} steps`);
});
