/**
 * Random flows of our encoder in a real switch: it takes them all, dumps the very same bytes, and ovs-ofctl prints them as we
 * do. The socket is driven by hand here, so that the codecs are tested without the client.
 */
import fc from 'fast-check';
import { connect } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import type { Action } from '../../src/openflow/action.ts';
import { encodeFlow, encodedFlowFromDump } from '../../src/openflow/flow.ts';
import type { EncodedFlow } from '../../src/openflow/flow.ts';
import { decodeFlowStats, encodeFlowStatsRequest } from '../../src/openflow/flow-stats.ts';
import { formatFlow } from '../../src/openflow/format.ts';
import type { Match } from '../../src/openflow/match.ts';
import { OXM_FIELDS } from '../../src/openflow/oxm-fields.ts';
import { matchOfFlow } from '../openflow/arbitrary.ts';
import { ovsSandbox } from '../support/ovs-sandbox.ts';

const FLOWS = 1500;
const HELLO = Buffer.from('0400000800000001', 'hex');

/** Sends messages and a barrier-like dump request; resolves with the bodies of the dump and the errors. */
function exchange(
  path: string,
  messages: readonly Uint8Array[],
): Promise<{ bodies: Buffer[]; errors: string[] }> {
  const body = encodeFlowStatsRequest({});
  const request = Buffer.alloc(16);
  request.set([4, 18, 0, 16 + body.length, 0, 0, 0, 9, 0, 1]);
  return new Promise((resolve, reject) => {
    const bodies: Buffer[] = [];
    const errors: string[] = [];
    let pending: Buffer = Buffer.alloc(0);
    const socket = connect(path);
    socket.on('error', reject);
    socket.write(Buffer.concat([HELLO, ...messages, request, body]));
    socket.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 8 && pending.length >= pending.readUInt16BE(2)) {
        const message = pending.subarray(0, pending.readUInt16BE(2));
        pending = pending.subarray(message.length);
        if (message[1] === 1) errors.push(message.toString('hex'));
        if (message[1] !== 19) continue;
        bodies.push(message.subarray(16));
        if ((message.readUInt16BE(10) & 1) === 0) {
          socket.destroy();
          resolve({ bodies, errors });
        }
      }
    });
  });
}

/** Actions that suit any match. */
function actionsOf(seed: number): Action[] {
  const free = OXM_FIELDS.filter(
    ({ writable, prerequisites, name }) =>
      writable && prerequisites.length === 0 && name !== 'ctMark' && name !== 'vlanVid',
  );
  const field = free[seed % free.length];
  if (field === undefined) return [];
  const value = (BigInt(seed) * 0x9e3779b97f4a7c15n) % (1n << BigInt(field.nxmBits));
  const mask = (BigInt(seed) * 0xc2b2ae3d27d4eb4fn) % (1n << BigInt(field.nxmBits));
  const { name } = field;
  return [
    { type: 'setField', field: name, value },
    ...(name === 'inPort'
      ? []
      : [{ type: 'setField', field: name, value: value & mask, mask } as const]),
    { type: 'move', from: { field: 'reg3', start: 4, bits: 8 }, to: { field: name, start: 7 } },
    { type: 'output', port: 1 + (seed % 0xfe00) },
  ];
}

function randomFlows(): EncodedFlow[] {
  const matches: Match[] = fc.sample(matchOfFlow, { numRuns: FLOWS, seed: 13 });
  return matches.map((match, index) =>
    encodeFlow({
      tableId: index % 10,
      priority: index + 1,
      cookie: BigInt(index + 1),
      match,
      instructions: { applyActions: actionsOf(index), gotoTable: 11 + (index % 200) },
    }),
  );
}

void t.test(
  'random flows come back from the switch as they were sent, and are printed alike',
  async (t) => {
    const ovs = await ovsSandbox(t, { dummy: true });
    if (ovs === undefined) return;
    await ovs.vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'fail_mode=secure');
    await ovs.vsctl('set', 'bridge', 'br0', 'datapath_type=netdev', 'protocols=OpenFlow13');
    const flows = randomFlows();
    const path = join(ovs.rundir, 'br0.mgmt');
    const { bodies, errors } = await exchange(
      path,
      flows.map(({ message }) => message),
    );
    t.same(errors, [], 'the switch accepts every flow');
    const sent = new Map(flows.map((flow) => [flow.cookie, flow]));
    const printed = new Map(
      (
        await ovs.ofctl(
          '--no-names',
          '--no-stats',
          '-O',
          'OpenFlow13',
          'dump-flows',
          `unix:${path}`,
        )
      )
        .split('\n')
        .map((line) => [BigInt(/cookie=(0x[0-9a-f]+)/.exec(line)?.[1] ?? -1), line.trim()]),
    );
    let seen = 0;
    for (const body of bodies) {
      decodeFlowStats(body, (stats) => {
        seen++;
        const { tableId, priority, cookie, match, instructions } = stats;
        const flow = sent.get(cookie);
        const dumped = encodedFlowFromDump(tableId, priority, cookie, match, instructions);
        const text = flow === undefined ? '' : formatFlow(flow);
        t.equal(
          Buffer.from(dumped.message).toString('hex'),
          Buffer.from(flow?.message ?? []).toString('hex'),
          text,
        );
        t.equal(text, printed.get(cookie));
      });
    }
    t.equal(seen, FLOWS);
  },
);
