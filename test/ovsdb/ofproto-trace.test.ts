// What ofproto/trace answers, as recorded from a real ovs-vswitchd, and what is made of anything else.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { DecodeError } from '../../src/base/error.ts';
import { parseOfprotoTrace, type TracedPass } from '../../src/ovsdb/ofproto-trace.ts';

const RECORDED = new Map(
  readFileSync(join(import.meta.dirname, '../fixtures/ovsdb/ofproto-trace.txt'), 'utf8')
    .split(/^@ /m)
    .slice(1)
    .map((section) => {
      const end = section.indexOf('\n');
      return [section.slice(0, end), section.slice(end + 1)] as const;
    }),
);

function recorded(name: string): TracedPass[] {
  const text = RECORDED.get(name);
  if (text === undefined) throw new Error(`nothing is recorded as ${name}`);
  return parseOfprotoTrace(text);
}

/** Steps as `copy>table:actions`, so that a case reads in one line each. */
function shape({ steps }: TracedPass): string[] {
  return steps.map(({ copy, kind, table, actions }) => {
    const place = copy.length === 0 ? '' : `${copy.join('.')}>`;
    return `${place}${kind === 'table' ? table : kind}: ${actions.map(({ text }) => text).join(' ')}`;
  });
}

t.test('a plain way: tables, matches, cookies, actions, and what the datapath does', (t) => {
  const passes = recorded('denied by a rule');
  t.equal(passes.length, 1);
  const [pass] = passes;
  t.match(pass?.flow, /^tcp,in_port=2,.*tp_dst=81,tcp_flags=0$/);
  t.strictSame(
    pass?.steps.map(({ table }) => table),
    [0, 5, 10, 17, 20, 21, 22, 29],
  );
  t.match(pass?.steps[6], {
    kind: 'table',
    bridge: 'br-int',
    copy: [],
    match: 'tcp,metadata=0x3e8,nw_dst=10.1.0.25,tp_dst=81',
    priority: 52_000,
    actions: [{ text: /^set_field:0x[0-9a-f]+->reg2$/ }, { text: 'goto_table:29' }],
  });
  t.equal((pass?.steps[6]?.cookie ?? 0n) >> 40n, 0xd9a616n, 'a cookie of a rule');
  t.strictSame(pass?.steps[4]?.match, '', 'a flow that matches everything');
  t.equal(pass?.datapathActions, 'drop');
  t.match(pass?.finalFlow, /^tcp,reg0=0x2,/);
  t.match(pass?.megaflow, /^recirc_id=0,eth,tcp,/);
  t.end();
});

t.test(
  'what Open vSwitch remarks stands with its action, also where another bridge goes on',
  (t) => {
    const [pass] = recorded('allowed through the native tunnel');
    const output = pass?.steps.find(({ table, bridge }) => table === 80 && bridge === 'br-int');
    t.match(output?.actions, [
      { text: 'move:OXM_OF_METADATA[0..23]->NXM_NX_TUN_ID[0..23]' },
      {
        text: 'output:65000',
        details: [
          'output to native tunnel',
          'tunneling to 192.168.1.12 via br-phy',
          /^tunneling from/,
        ],
        warnings: [],
      },
    ]);
    t.strictSame(output?.actions[0]?.details, ['NXM_NX_TUN_ID[0..23] is now 0x3e8']);
    const last = pass?.steps.at(-1);
    t.match(last, { bridge: 'br-phy', table: 0, actions: [{ text: 'NORMAL' }] });
    t.match(pass?.datapathActions, /^tnl_push\(.*\),\d+$/);
    t.end();
  },
);

t.test(
  'each bucket is a copy, groups in groups too, and what follows belongs to the packet',
  (t) => {
    const [flood] = recorded('flooded');
    const copies = flood?.steps.filter(({ kind }) => kind === 'bucket').map(({ copy }) => copy);
    t.strictSame(copies, [[0], [1]]);
    const inFirst = flood?.steps.filter(({ copy }) => copy[0] === 0).map(({ table }) => table);
    t.strictSame(inFirst, [undefined, 49, 50, 51, 52, 53, 54, 55, 59, 60, 70, 80]);
    const [nested] = recorded('a group in a group');
    t.strictSame(nested === undefined ? [] : shape(nested), [
      '0: group:7',
      '0>bucket: group:8',
      '0.0>bucket: output:1',
      '0.1>bucket: output:2',
      '1>bucket: set_field:0x3->reg4 resubmit(,206)',
      '1>206: drop',
    ]);
    t.strictSame(nested?.steps[3]?.actions[0]?.warnings, ['skipping output to input port']);
    t.equal(nested?.steps[5]?.match, undefined, 'no flow matched');
    t.end();
  },
);

t.test('a recirculation is a pass of its own, with its headline', (t) => {
  const passes = recorded('recirculated as new');
  t.equal(passes.length, 2);
  t.match(
    passes[1]?.title,
    /^recirc\(0x[0-9a-f]+\) - resume conntrack with default ct_state=trk\|new/,
  );
  t.strictSame(passes.map(shape), [
    [
      '0: resubmit(,200) clone(set_field:0x1->reg5,resubmit(,204)) set_field:0x1->reg5 resubmit(,204)',
      '200: ct(table=201,zone=5) drop',
      '204: drop',
    ],
    [
      'resume: Resuming from table 201',
      '201: ct(commit,zone=5) drop resubmit(,202) output:1',
      '202: CONTROLLER:65535 learn(table=203,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[])',
    ],
  ]);
  t.match(passes[1]?.datapathActions, /^ct\(commit,zone=5\),userspace\(.*\),\d+$/);
  const established = recorded('recirculated as established');
  t.match(established[1]?.title, 'resume conntrack with ct_state=est|trk');
  t.equal(established[1]?.steps.at(-1)?.cookie, 0x77n);
  t.end();
});

t.test('a loop, ports that are not there and the input port say why nothing comes of them', (t) => {
  const [loop] = recorded('a loop');
  t.match(loop?.notes.join(), /Translation failed \(Recursion too deep\), packet is dropped/);
  t.equal(loop?.datapathActions, 'drop');
  const [several] = recorded('several outputs, two of them in vain');
  const actions = several?.steps[0]?.actions ?? [];
  t.strictSame(
    actions.map(({ text, warnings }) => [text, warnings.length]),
    [
      ['output:1', 0],
      ['output:77', 1],
      ['output:2', 1],
    ],
  );
  t.end();
});

t.test('every recorded answer is read to the last line', (t) => {
  for (const [name, text] of RECORDED) {
    const passes = parseOfprotoTrace(text);
    const tables = passes.flatMap(({ steps }) => steps).filter(({ kind }) => kind === 'table');
    const inText = text.match(/^ *\d+\. /gm) ?? [];
    t.equal(tables.length, inText.length, name);
  }
  t.end();
});

/** A typed error or a value, never anything else. */
function isTyped(text: string): boolean {
  try {
    return parseOfprotoTrace(text).length > 0;
  } catch (error) {
    return error instanceof DecodeError;
  }
}

t.test('anything else is a typed error, however it was damaged', (t) => {
  for (const text of [
    '',
    'Flow: x',
    'Datapath actions: drop',
    'br-int: unknown bridge',
    '====\n=',
  ]) {
    t.throws(() => parseOfprotoTrace(text), { code: 'DECODE_BAD_VALUE' }, text);
  }
  t.throws(() => parseOfprotoTrace('Flow: x\n'.repeat(1 << 20)), { code: 'DECODE_TOO_LARGE' });
  const deep = Array.from({ length: 10_001 }, (_, index) => `${' '.repeat(index)}0. priority 0`);
  t.throws(() => parseOfprotoTrace(`Flow: x\n${deep.join('\n')}`), { code: 'DECODE_TOO_LARGE' });
  const lines = [...RECORDED.values()].flatMap((text) => text.split('\n'));
  t.doesNotThrow(() => {
    fc.assert(fc.property(fc.string({ maxLength: 400 }), isTyped));
    const line = fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...lines) }, fc.string());
    const shuffled = fc.array(line, { maxLength: 60 }).map((some) => `Flow: x\n${some.join('\n')}`);
    fc.assert(fc.property(shuffled, isTyped), { numRuns: 300 });
    const cut = fc.tuple(fc.constantFrom(...RECORDED.values()), fc.nat(4000), fc.nat(200));
    fc.assert(
      fc.property(cut, ([text, at, size]) => isTyped(text.slice(0, at) + text.slice(at + size))),
    );
  });
  t.end();
});
