/** Notation, schema, updates and cache: what goes over the wire and what comes back, without a socket. */
import fc from 'fast-check';
import t from 'tap';
import { DecodeError } from '../../src/base/error.ts';
import { OvsdbError, ovsdbErrorFrom } from '../../src/ovsdb/errors.ts';
import type { Json } from '../../src/ovsdb/json-value.ts';
import {
  decodeValue,
  encodeLockName,
  encodeValue,
  type Atom,
  type Value,
} from '../../src/ovsdb/notation.ts';
import {
  assertLock,
  deleteRows,
  insert,
  mutate,
  mutation,
  select,
  update,
  wait,
  comment,
} from '../../src/ovsdb/operation.ts';
import { rowIs, when } from '../../src/ovsdb/condition.ts';
import {
  decodeColumn,
  defaultValue,
  parseSchema,
  type ColumnSchema,
} from '../../src/ovsdb/schema.ts';
import { TableCache } from '../../src/ovsdb/table-cache.ts';
import { decodeTableUpdates, patchRow, valueEquals } from '../../src/ovsdb/table-update.ts';
import { decodeTransactReply, Transaction } from '../../src/ovsdb/transaction.ts';
import { parseInterface, readBridge } from '../../src/ovsdb/vswitch.ts';
import { FAKE_SCHEMA } from '../support/fake-ovsdb.ts';

const A = '00000000-0000-0000-0000-00000000000a';
const B = '00000000-0000-0000-0000-00000000000b';
const PORT =
  parseSchema(FAKE_SCHEMA).tables.get('Port')?.columns ?? new Map<string, ColumnSchema>();
const TABLES = new Map([['Port', PORT]]);

function column(name: string): ColumnSchema {
  const found = PORT.get(name);
  if (found === undefined) throw new Error(name);
  return found;
}

void t.test('values are written and read as RFC 7047 section 5.1 says', async (t) => {
  const cases: { value: Value; wire: Json }[] = [
    { value: 'a', wire: 'a' },
    { value: 5, wire: 5 },
    { value: { uuid: A }, wire: ['uuid', A] },
    { value: [], wire: ['set', []] },
    { value: ['a', 'b'], wire: ['set', ['a', 'b']] },
    { value: new Map([['k', 'v']]), wire: ['map', [['k', 'v']]] },
    { value: new Map([['__proto__', 'v']]), wire: ['map', [['__proto__', 'v']]] },
  ];
  for (const { value, wire } of cases) {
    t.strictSame(encodeValue(value), wire, JSON.stringify(wire));
    t.strictSame(decodeValue(wire), value, `${JSON.stringify(wire)} back`);
  }
  const bad: Json[] = [
    null,
    {},
    [],
    ['uuid', 'x'],
    ['set'],
    ['set', [null]],
    ['map', [['a']]],
    ['map', 1],
    ['uuid', 5],
  ];
  for (const wire of bad) t.throws(() => decodeValue(wire), DecodeError, JSON.stringify(wire));
});

void t.test('a lock gets a name that the server takes', async (t) => {
  const cases: [string, string][] = [
    ['ovn_northd', 'ovn_northd'],
    ['dpu-agent/br-int', 'dpu_2dagent_2fbr_2dint'],
    ['1st', '_1st'],
  ];
  for (const [name, id] of cases) t.equal(encodeLockName(name), id);
  t.equal(assertLock('a/b')['lock'], 'a_2fb');
});

void t.test('operations have the wire form of RFC 7047 section 5.2', async (t) => {
  const where = [when('name', '==', 'br-int')];
  t.strictSame(insert('Port', { name: 'p', trunks: [1] }, 'row1'), {
    op: 'insert',
    table: 'Port',
    row: { name: 'p', trunks: ['set', [1]] },
    'uuid-name': 'row1',
  });
  t.strictSame(select('Port', [rowIs({ uuid: A })]), {
    op: 'select',
    table: 'Port',
    where: [['_uuid', '==', ['uuid', A]]],
  });
  t.strictSame(update('Port', where, { name: 'q' })['row'], { name: 'q' });
  t.strictSame(mutate('Port', where, [mutation('trunks', 'insert', [1])])['mutations'], [
    ['trunks', 'insert', ['set', [1]]],
  ]);
  t.strictSame(deleteRows('Port', where), {
    op: 'delete',
    table: 'Port',
    where: [['name', '==', 'br-int']],
  });
  t.strictSame(wait('Port', where, ['name'], '!=', [{ name: 'x' }], 5)['timeout'], 5);
  t.strictSame(comment('hello'), { op: 'comment', comment: 'hello' });
  const transaction = new Transaction();
  const port = transaction.insert('Port', { name: 'p' });
  transaction.add(mutate('Bridge', where, [mutation('ports', 'insert', [port])]));
  t.strictSame(transaction.operations[1]?.['mutations'], [
    ['ports', 'insert', ['set', [['named-uuid', 'row0']]]],
  ]);
});

void t.test('a transaction reply names the operation that failed', async (t) => {
  const operations = [insert('Port', {}), comment('c'), select('Port', [])];
  const good = decodeTransactReply(operations, [
    { uuid: ['uuid', A] },
    {},
    { rows: [{ name: 'p' }] },
  ]);
  t.strictSame(good, [{ uuid: { uuid: A } }, {}, { rows: [new Map([['name', 'p']])] }]);
  const failed = (reply: Json): unknown => {
    try {
      return decodeTransactReply(operations, reply);
    } catch (thrown) {
      return thrown;
    }
  };
  t.match(failed([{ uuid: ['uuid', A] }, {}, { error: 'constraint violation', details: 'two' }]), {
    name: 'OvsdbError',
    code: 'OVSDB_CONSTRAINT_VIOLATION',
    operationIndex: 2,
    table: 'Port',
    message: 'constraint violation: two',
    retryable: false,
  });
  t.match(failed([{}, {}, {}, { error: 'referential integrity violation' }]), {
    code: 'OVSDB_REFERENTIAL_INTEGRITY_VIOLATION',
    operationIndex: 3,
    table: undefined,
  });
  for (const bad of [
    null,
    {},
    [],
    [{}, {}, 5],
    [{ uuid: 'x' }, {}, {}],
    [{ count: 'x' }, {}, {}],
  ] as Json[]) {
    t.type(failed(bad), DecodeError, JSON.stringify(bad));
  }
});

void t.test('an error of any form becomes an OvsdbError', async (t) => {
  const cases: [Json, string, boolean][] = [
    ['unknown database', 'OVSDB_UNKNOWN_DATABASE', false],
    [{ error: 'I/O error', details: 'disk' }, 'OVSDB_IO_ERROR', true],
    [{ error: 'timed out' }, 'OVSDB_TIMED_OUT', true],
    [{ error: 'never heard' }, 'OVSDB_UNKNOWN', false],
    [{ error: '__proto__' }, 'OVSDB_UNKNOWN', false],
    [[1, 2], 'OVSDB_UNKNOWN', false],
  ];
  for (const [error, code, retryable] of cases) {
    const made = ovsdbErrorFrom(error, { op: 'ovsdb.transact' });
    t.type(made, OvsdbError);
    t.equal(made.code, code);
    t.equal(made.retryable, retryable, code);
  }
});

void t.test('a column has one shape, whatever the wire form', async (t) => {
  t.strictSame(decodeColumn(column('tag'), 7), [7], 'an optional value is an array');
  t.strictSame(decodeColumn(column('tag'), ['set', []]), []);
  t.strictSame(decodeColumn(column('trunks'), ['set', [1, 2]]), [1, 2]);
  t.equal(decodeColumn(column('name'), 'p'), 'p');
  t.strictSame(defaultValue(column('name')), '');
  t.strictSame(defaultValue(column('external_ids')), new Map());
  for (const [name, wire] of [
    ['name', 5],
    ['tag', 'x'],
    ['tag', 1.5],
    ['external_ids', 'x'],
    ['external_ids', ['map', [['a', 1]]]],
  ] as [string, Json][]) {
    t.throws(
      () => decodeColumn(column(name), wire),
      DecodeError,
      `${name} ${JSON.stringify(wire)}`,
    );
  }
  const badSchemas: Json[] = [
    null,
    {},
    { name: 'x' },
    { name: 'x', tables: { a: { columns: { b: { type: 'odd' } } } } },
  ];
  for (const schema of badSchemas) t.throws(() => parseSchema(schema), DecodeError);
});

void t.test('update2 differences are toggled in', async (t) => {
  const row = new Map<string, Value>([
    ['name', 'p'],
    ['tag', [1]],
    ['trunks', [1, 2]],
    [
      'external_ids',
      new Map([
        ['a', '1'],
        ['b', '2'],
      ]),
    ],
  ]);
  const [modify] = decodeTableUpdates(
    TABLES,
    {
      Port: {
        [A]: {
          modify: {
            tag: ['set', []],
            trunks: ['set', [2, 3]],
            external_ids: [
              'map',
              [
                ['a', '1'],
                ['b', '9'],
                ['c', '3'],
              ],
            ],
          },
        },
      },
    },
    2,
  );
  if (modify?.kind !== 'patch') throw new Error('no patch');
  const patched = patchRow(PORT, row, modify.row);
  t.strictSame(patched.get('tag'), []);
  t.strictSame(patched.get('trunks'), [1, 3]);
  t.strictSame(
    patched.get('external_ids'),
    new Map([
      ['b', '9'],
      ['c', '3'],
    ]),
  );
  t.equal(patched.get('name'), 'p');
  t.strictSame(row.get('trunks'), [1, 2], 'the old row is as it was');
});

void t.test('applying a difference twice gives back the set (property)', async () => {
  const sets = fc.uniqueArray(fc.integer(), { maxLength: 20 });
  fc.assert(
    fc.property(sets, sets, (set, difference) => {
      const row = new Map<string, Value>([['trunks', set]]);
      const patch = new Map<string, Value>([['trunks', difference]]);
      const twice = patchRow(PORT, patchRow(PORT, row, patch), patch);
      return valueEquals(twice.get('trunks'), set);
    }),
  );
});

void t.test('rows beyond the bound are refused, and deleted ones no longer count', async (t) => {
  const cache = new TableCache(1500);
  const apply = (updates: Json) => cache.apply(TABLES, decodeTableUpdates(TABLES, updates, 2));
  const name = 'x'.repeat(600);
  for (let round = 0; round < 5; round++) {
    apply({ Port: { [A]: { insert: { name } } } });
    apply({ Port: { [A]: { delete: null } } });
  }
  apply({ Port: { [A]: { insert: { name } } } });
  apply({ Port: { [A]: { modify: { name: 'a' } } } });
  apply({ Port: { [A]: { modify: { name } } } });
  t.throws(() => apply({ Port: { [B]: { insert: { name } } } }), { code: 'DECODE_TOO_LARGE' });
  t.strictSame([...cache.rows('Port').keys()], [A], 'nothing of it was applied');
  const both: Json = { Port: { [A]: { initial: { name } }, [B]: { initial: { name } } } };
  t.throws(() => cache.replace(decodeTableUpdates(TABLES, both, 2)), { code: 'DECODE_TOO_LARGE' });
});

void t.test('the cache reports what changed, and all of a message or nothing', async (t) => {
  const cache = new TableCache();
  const apply = (updates: Json, form: 1 | 2 = 2) =>
    cache.apply(TABLES, decodeTableUpdates(TABLES, updates, form));
  t.match(apply({ Port: { [A]: { insert: { name: 'a' } } } }), [
    { table: 'Port', uuid: A, old: undefined },
  ]);
  t.strictSame(cache.row('Port', A)?.get('tag'), [], 'defaults are filled in');
  t.strictSame(
    apply({ Port: { [A]: { modify: { name: 'a' } } } }),
    [],
    'an equal value is no change',
  );
  t.throws(
    () => apply({ Port: { [A]: { modify: { name: 'z' } }, [B]: { modify: { name: 'b' } } } }),
    DecodeError,
  );
  t.equal(cache.row('Port', A)?.get('name'), 'a', 'nothing of the bad message was applied');
  t.match(apply({ Port: { [B]: { new: { name: 'b' } } } }, 1), [{ uuid: B }]);
  const kept = cache.row('Port', A);
  const changes = cache.replace(
    decodeTableUpdates(TABLES, { Port: { [A]: { initial: { name: 'a' } } } }, 2),
  );
  t.match(changes, [{ uuid: B, new: undefined }]);
  t.equal(changes.length, 1);
  t.equal(cache.row('Port', A), kept, 'an equal row stays the same object');
  t.strictSame(apply({ Port: { [A]: { delete: null } } }).length, 1);
  t.equal(cache.rows('Port').size, 0);
  t.throws(
    () => cache.replace(decodeTableUpdates(TABLES, { Port: { [A]: { delete: null } } }, 2)),
    DecodeError,
  );
  const bad: Json[] = [
    null,
    { Bridge: {} },
    { Port: [] },
    { Port: { [A]: 5 } },
    { Port: { [A]: {} } },
    { Port: { [A]: { insert: { name: 5 } } } },
  ];
  for (const updates of bad)
    t.throws(() => decodeTableUpdates(TABLES, updates, 2), DecodeError, JSON.stringify(updates));
  for (const name of ['__proto__', 'constructor']) {
    t.throws(
      () => decodeTableUpdates(TABLES, JSON.parse(`{"${name}":{}}`) as Json, 2),
      DecodeError,
      name,
    );
  }
});

void t.test('equality looks at content, not at order', async (t) => {
  const map = (entries: [Atom, Atom][]): Value => new Map(entries);
  t.ok(valueEquals([1, 2], [2, 1]));
  t.notOk(valueEquals([1], [2]));
  t.ok(
    valueEquals(
      map([
        ['a', 1],
        ['b', 2],
      ]),
      map([
        ['b', 2],
        ['a', 1],
      ]),
    ),
  );
  t.notOk(valueEquals(map([['a', 1]]), [1]));
  t.ok(valueEquals({ uuid: A }, { uuid: A }));
  t.notOk(valueEquals({ uuid: A }, undefined));
});

void t.test('an ofport is a port or nothing', async (t) => {
  const cases: [Value | undefined, number | undefined][] = [
    [[5], 5],
    [[], undefined],
    [[-1], undefined],
    [[65534], undefined],
    [undefined, undefined],
  ];
  for (const [ofport, want] of cases) {
    const row = new Map<string, Value>(ofport === undefined ? [] : [['ofport', ofport]]);
    t.equal(parseInterface(A, row).ofport, want, JSON.stringify(ofport));
  }
  t.equal(readBridge(new TableCache(), 'br-int'), undefined);
});
