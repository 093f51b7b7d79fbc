/**
 * The decoders of src/ovsdb, with messages as in RFC 7047 and ovsdb-server(7) as samples. What is cut out of the stream is
 * mutated as bytes; what is read out of JSON as JSON, since most broken bytes would not get past JSON.parse.
 */
import { Buffer } from 'node:buffer';
import { readFileSync } from 'node:fs';
import {
  datapathFlowSteps,
  parseDatapathKey,
  parseKeyFields,
} from '../../src/ovsdb/datapath-flow.ts';
import { JsonFramer } from '../../src/ovsdb/json-framer.ts';
import { JsonRpc } from '../../src/ovsdb/jsonrpc.ts';
import { isJsonArray, type Json } from '../../src/ovsdb/json-value.ts';
import { decodeValue } from '../../src/ovsdb/notation.ts';
import { comment, insert, select } from '../../src/ovsdb/operation.ts';
import { parseSchema, type ColumnSchema } from '../../src/ovsdb/schema.ts';
import { TableCache } from '../../src/ovsdb/table-cache.ts';
import { decodeTableUpdates } from '../../src/ovsdb/table-update.ts';
import { decodeTransactReply } from '../../src/ovsdb/transaction.ts';
import { parseUnixctlReply } from '../../src/ovsdb/unixctl.ts';
import { parseInterface, parseNextConfig, parsePort } from '../../src/ovsdb/vswitch.ts';
import { FAKE_SCHEMA } from '../support/fake-ovsdb.ts';
import { bytesDecoder, jsonDecoder, outcomeOf, type FuzzedDecoder } from './decoder.ts';
import { anyCut, Random } from './mutation.ts';

const A = '00000000-0000-0000-0000-00000000000a';
const B = '00000000-0000-0000-0000-00000000000b';
const COLUMNS =
  parseSchema(FAKE_SCHEMA).tables.get('Port')?.columns ?? new Map<string, ColumnSchema>();
const TABLES = new Map([['Port', COLUMNS]]);
const ROW = {
  name: 'p1',
  tag: 7,
  trunks: ['set', [1, 2, 3]],
  external_ids: [
    'map',
    [
      ['iface-id', 'pod-a'],
      ['vni', '1000'],
    ],
  ],
} as const;

const UPDATES_1: readonly Json[] = [
  { Port: { [A]: { new: ROW } } },
  { Port: { [A]: { old: { tag: ['set', []] }, new: ROW }, [B]: { old: ROW } } },
];
const UPDATES_2: readonly Json[] = [
  { Port: { [A]: { initial: ROW }, [B]: { insert: { name: 'p2' } } } },
  { Port: { [A]: { modify: { trunks: ['set', [3, 4]], tag: ['set', []] } } } },
  { Port: { [A]: { modify: { external_ids: ['map', [['vni', '2000']]] } } } },
  { Port: { [A]: { delete: null } } },
];
const MESSAGES: readonly Json[] = [
  { id: 1, result: { found: true, rows: [ROW] }, error: null },
  { id: 1, result: null, error: { error: 'constraint violation', details: 'no such "row"' } },
  { id: null, method: 'update3', params: ['monitor', A, UPDATES_2[1] ?? null] },
  { id: 'echo', method: 'echo', params: [] },
  { id: null, method: 'locked', params: ['dpu_agent'] },
];
const OPERATIONS = [
  insert('Port', { name: 'p1' }, 'row0'),
  select('Port', [], ['name']),
  comment('fuzz'),
];
const REPLIES: readonly Json[] = [
  [{ uuid: ['uuid', A] }, { rows: [{ ...ROW, next_cfg: 5 }] }, {}],
  [{ uuid: ['uuid', A] }, { error: 'unknown column', details: 'no' }, null],
  [{ count: 1 }, { rows: [{ next_cfg: 5 }] }, {}, { error: 'timed out' }],
];
const UNIXCTL: readonly Json[] = [
  { id: 1, result: 'br-int\n', error: null },
  { id: 1, error: '"nothing" is not a valid command\n' },
];

/** Recorded dumps of a datapath, one sample each. */
const DUMPS = readFileSync(
  new URL('../fixtures/ovsdb/dpctl-dump-flows.txt', import.meta.url),
  'latin1',
)
  .split(/^@ .*\n/m)
  .slice(1)
  .map((text) => Buffer.from(text, 'latin1'));

/** Reads a dump to its end, and the match of each flow. */
function readDump(input: Buffer): void {
  const steps = datapathFlowSteps(input.toString('latin1'));
  let step = steps.next();
  while (step.done !== true) step = steps.next();
  for (const { key } of step.value.flows) {
    for (const value of parseDatapathKey(key)?.values() ?? []) parseKeyFields(value);
  }
}

function frame(chunks: readonly Buffer[]): string {
  const framer = new JsonFramer();
  return outcomeOf(() => [...chunks.flatMap((chunk) => framer.push(chunk)), framer.pendingBytes]);
}

function frameAnyCut(stream: Buffer): void {
  const whole = frame([stream]);
  const cut = frame(anyCut(stream, new Random(stream.length)));
  if (whole !== cut) throw new Error(`cut: ${cut}, whole: ${whole}`);
  new JsonFramer().push(stream);
}

function receive(message: Json): void {
  const rpc = new JsonRpc({
    endpoint: 'fuzz',
    send: () => {},
    onNotification: (_, params) => {
      if (!isJsonArray(params)) throw new Error('params that are no array were handed on');
    },
    requestTimeoutMs: 60_000,
  });
  rpc.request('transact', [], (reply) => decodeTransactReply(OPERATIONS, reply)).catch(() => {});
  try {
    rpc.receive(message);
  } finally {
    rpc.close(new Error('end'));
  }
}

/** Applies an update to a cache that holds one row, and reads what it then holds. */
function update(form: 1 | 2, json: Json): void {
  const cache = new TableCache();
  cache.replace(decodeTableUpdates(TABLES, { Port: { [A]: { initial: ROW } } }, 2));
  const updates = decodeTableUpdates(TABLES, json, form);
  cache.apply(TABLES, updates);
  for (const [uuid, row] of cache.rows('Port')) {
    parsePort(uuid, row);
    parseInterface(uuid, row);
  }
  // Not every update is one that a monitor may begin with.
  outcomeOf(() => cache.replace(updates));
}

const VALUES: readonly Json[] = Object.values(ROW);
const STREAMS = [MESSAGES, UPDATES_1, UPDATES_2, [FAKE_SCHEMA]].map((values) =>
  Buffer.from(values.map((value) => JSON.stringify(value)).join('\n')),
);

/** All decoders of OVSDB, and that of the control sockets, which speak JSON-RPC too. */
export const OVSDB_DECODERS: readonly FuzzedDecoder[] = [
  bytesDecoder('ovsdb framer', STREAMS, frameAnyCut),
  jsonDecoder('ovsdb notation', VALUES, (json) => void decodeValue(json)),
  jsonDecoder('ovsdb schema', [FAKE_SCHEMA], (json) => void parseSchema(json)),
  jsonDecoder('ovsdb update', UPDATES_1, (json) => update(1, json)),
  jsonDecoder('ovsdb update2', UPDATES_2, (json) => update(2, json)),
  jsonDecoder('ovsdb transact reply', REPLIES, (json) => {
    parseNextConfig(decodeTransactReply(OPERATIONS, json)[1]);
  }),
  jsonDecoder('ovsdb jsonrpc', MESSAGES, receive),
  bytesDecoder('datapath flow dump', DUMPS, readDump),
  jsonDecoder('unixctl reply', UNIXCTL, (json) => void parseUnixctlReply('fuzz', json)),
];
