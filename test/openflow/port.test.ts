/** Ports: what a real switch said of its ports (fixtures), and bytes that describe none. */
import fc from 'fast-check';
import t from 'tap';
import { DecodeError } from '../../src/base/error.ts';
import { encodeMessage, messageBody } from '../../src/openflow/header.ts';
import { decodeMultipart } from '../../src/openflow/multipart.ts';
import { OFPT } from '../../src/openflow/ofp13.ts';
import {
  decodePortDescriptions,
  decodePortStatus,
  type PortDescription,
} from '../../src/openflow/port.ts';
import { records, type CapturedRecord } from '../fixtures/openflow/records.ts';
import { portBytes } from '../support/fake-switch.ts';

const RECORDS = new Map(records('ports.txt').map((record) => [record.line, record]));
const recordOf = (line: string): CapturedRecord => {
  const record = RECORDS.get(line);
  if (record === undefined) throw new Error(`no record of ${line}`);
  return record;
};

const CONFIG_NAMES: ReadonlyMap<number, string> = new Map([
  [0, '0'],
  [1, 'PORT_DOWN'],
  [1 << 5, 'NO_FWD'],
]);
const STATE_NAMES: ReadonlyMap<number, string> = new Map([
  [0, '0'],
  [1, 'LINK_DOWN'],
  [4, 'LIVE'],
]);

/** A port as ovs-ofctl prints it, up to its speed. */
function printed({ portNo, name, hwAddr, config, state }: PortDescription): string {
  const number = portNo === 0xfffffffe ? 'LOCAL' : portNo;
  return [
    `${number}(${name}): addr:${hwAddr}`,
    `config:     ${CONFIG_NAMES.get(config)}`,
    `state:      ${STATE_NAMES.get(state)}`,
  ].join(' | ');
}

t.test('descriptions are read as ovs-ofctl reads the same bytes', async (t) => {
  const { dump, text } = recordOf('all ports');
  const ports = decodePortDescriptions(decodeMultipart(dump).body);
  t.strictSame(ports.map(({ portNo, name }) => [portNo, name]).sort(), [
    [1, 'p1'],
    [1000, 'fifteen-letters'],
    [0xfffffffe, 'br0'],
  ]);
  for (const port of ports) t.ok(text.includes(` | ${printed(port)} | `), printed(port));
});

for (const { line, reason, config, state } of [
  { line: 'add-port p2', reason: 'add', config: 0, state: 0 },
  { line: 'mod-port p2 down', reason: 'modify', config: 1, state: 0 },
  { line: 'del-port p2', reason: 'delete', config: 1, state: 1 },
]) {
  t.test(`${line} is a port status of reason ${reason}`, async (t) => {
    const { dump, text } = recordOf(line);
    const status = decodePortStatus(dump);
    t.match(status, { reason, port: { portNo: 2, name: 'p2', config, state } });
    t.ok(text.includes(`: ${printed(status.port)} | `), `${printed(status.port)} in: ${text}`);
  });
}

for (const { given, want } of [
  { given: '', want: '' },
  { given: 'p\0left-over', want: 'p' },
  { given: 'sixteen-letters!', want: 'sixteen-letters!' },
]) {
  t.test(`a name of bytes ${JSON.stringify(given)} is ${JSON.stringify(want)}`, async (t) => {
    t.match(decodePortDescriptions(portBytes(1, given)), [{ name: want }]);
  });
}

t.test('no ports are a description too, but no status', async (t) => {
  t.strictSame(decodePortDescriptions(Buffer.alloc(0)), []);
  const status = encodeMessage(OFPT.PORT_STATUS, 0, Buffer.alloc(8));
  t.throws(() => decodePortStatus(status), { code: 'DECODE_BAD_VALUE' });
});

t.test('every cut of a recorded message is refused with a DecodeError', async (t) => {
  const { dump } = recordOf('add-port p2');
  for (let size = 8; size < dump.length; size++) {
    t.throws(() => decodePortStatus(dump.subarray(0, size)), { code: /^DECODE_/ }, `${size} bytes`);
  }
  const ports = messageBody(recordOf('all ports').dump).subarray(8);
  for (let size = 1; size < 64; size++) {
    const want = { code: 'DECODE_BAD_LENGTH', op: 'openflow.port-desc' };
    t.throws(() => decodePortDescriptions(ports.subarray(0, size)), want, `${size} bytes`);
  }
});

t.test('any bytes give ports or a DecodeError', async () => {
  const readers = [
    (bytes: Uint8Array) => decodePortDescriptions(Buffer.from(bytes)),
    (bytes: Uint8Array) => decodePortStatus(encodeMessage(OFPT.PORT_STATUS, 0, bytes)),
  ];
  const sizes = fc.constantFrom(0, 7, 8, 63, 64, 72, 128, 136);
  const bytes = sizes.chain((size) => fc.uint8Array({ minLength: size, maxLength: size }));
  fc.assert(
    fc.property(bytes, fc.constantFrom(...readers), (given, read) => {
      try {
        read(given);
        return true;
      } catch (error) {
        return error instanceof DecodeError;
      }
    }),
    { numRuns: 2000 },
  );
});
