/**
 * Regenerates test/fixtures/openflow/ports.txt: `node test/capture/capture-ports.ts`. Records what a real switch says of its
 * ports: the description of all of them, and a status message for each thing that ovs-vsctl and ovs-ofctl do to one. Texts
 * are `ovs-ofctl ofp-print` of the recorded bytes. The socket is driven by hand: nothing under test is used. Needs OVS.
 */
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ovsSandbox } from '../support/ovs-sandbox.ts';

const HELLO = '0400000800000001';
/** SET_ASYNC: port status of all three reasons, for masters and slaves. */
const SET_ASYNC = '041c002000000002' + '00000000'.repeat(2) + '00000007'.repeat(2) + '00'.repeat(8);
const PORT_DESC = '0412001000000003' + '000d000000000000';
const PORT_STATUS_TYPE = 12;
const MULTIPART_REPLY_TYPE = 19;

const teardowns: (() => Promise<void>)[] = [];
const ovs = await ovsSandbox(
  {
    after: (teardown) => void teardowns.push(teardown),
    skip: (reason) => {
      throw new Error(reason);
    },
  },
  { dummy: true },
);
if (ovs === undefined) throw new Error('no sandbox');
const bridge = `unix:${join(ovs.rundir, 'br0.mgmt')}`;

async function print(message: Buffer): Promise<string> {
  const hex = (message.toString('hex').match(/../g) ?? []).join(' ');
  const text = (await ovs?.ofctl('--no-names', 'ofp-print', hex)) ?? '';
  return (text.split('\n00000000')[0] ?? '').trim().split(/\n\s*/).join(' | ');
}

const seen: Buffer[] = [];
const port = (name: string, ofport: number): string[] => [
  ...['--', 'add-port', 'br0', name],
  ...['--', 'set', 'Interface', name, 'type=dummy', `ofport_request=${ofport}`],
];

/** The next message of `type`. Others are dropped. */
async function next(type: number): Promise<Buffer> {
  for (;;) {
    const message = seen.shift();
    if (message === undefined) await sleep(2);
    else if (message.readUInt8(1) === type) return message;
  }
}

try {
  await ovs.vsctl(
    ...['add-br', 'br0', '--', 'set', 'Bridge', 'br0', 'datapath_type=dummy'],
    ...['fail_mode=secure', 'protocols=OpenFlow13', 'other_config:hwaddr="0a:00:00:00:00:fe"'],
    // The longest name that Linux allows, and a port number of more than eight bits.
    ...port('p1', 1),
    ...port('fifteen-letters', 1000),
  );
  await ovs.ofctl('-O', 'OpenFlow13', 'mod-port', bridge, '1', 'no-forward');
  const socket = connect(join(ovs.rundir, 'br0.mgmt'));
  let pending: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    while (pending.length >= 8 && pending.length >= pending.readUInt16BE(2)) {
      seen.push(Buffer.from(pending.subarray(0, pending.readUInt16BE(2))));
      pending = pending.subarray(pending.readUInt16BE(2));
    }
  });
  socket.write(Buffer.from(HELLO + SET_ASYNC + PORT_DESC, 'hex'));

  const records = [{ line: 'all ports', dump: await next(MULTIPART_REPLY_TYPE) }];
  const steps: [line: string, step: () => Promise<unknown>][] = [
    ['add-port p2', () => ovs.vsctl(...port('p2', 2).slice(1))],
    ['mod-port p2 down', () => ovs.ofctl('-O', 'OpenFlow13', 'mod-port', bridge, '2', 'down')],
    ['del-port p2', () => ovs.vsctl('del-port', 'br0', 'p2')],
  ];
  for (const [line, step] of steps) {
    await step();
    records.push({ line, dump: await next(PORT_STATUS_TYPE) });
    // One thing at a time: a second message about the same step is not a record of the next.
    await sleep(200);
    seen.length = 0;
  }
  socket.destroy();

  const version = (await ovs.ofctl('--version')).split('\n')[0] ?? '';
  const texts = await Promise.all(records.map(({ dump }) => print(dump)));
  const head =
    `# Captured by test/capture/capture-ports.ts with ${version} (OpenFlow 1.3, dummy ports).\n` +
    '# line: what was done; dump: the message of the switch; text: ovs-ofctl --no-names ofp-print\n';
  const body = records.map(
    ({ line, dump }, i) => `\nline ${line}\ndump ${dump.toString('hex')}\ntext ${texts[i] ?? ''}\n`,
  );
  writeFileSync(join(import.meta.dirname, '../fixtures/openflow/ports.txt'), head + body.join(''));
} finally {
  for (const teardown of teardowns) await teardown();
}
