// Every check of the doctor: facts of a DPU that is well, and for each check what makes it fail or leaves it unknown.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { DoctorFacts } from '../../../src/agent/doctor/check.ts';
import { CHECKS, examine } from '../../../src/agent/doctor/checks.ts';
import { decodeRoute, encodeRouteRequest } from '../../../src/netlink/route.ts';
import { ip } from '../../support/model.ts';

const link = (ifindex: number, name: string, mtuBytes = 9216) => ({
  ...{ ifindex, name, mtuBytes, flags: 1 },
});
const address = (ifindex: number, text: string) => ({
  ...{ ifindex, family: 4 as const, address: text, prefixLength: 24, scope: 0, flags: 0 },
});
const WELL: DoctorFacts = {
  datapath: 'kernel',
  failMode: 'secure',
  ovsVersion: '3.1.0',
  otherConfig: new Map([['hw-offload', 'true']]),
  vtep: '192.168.1.11',
  links: [link(1, 'oob_net0', 1500), link(2, 'p0')],
  addresses: [address(1, '10.0.0.5'), address(2, '192.168.1.11')],
  routes: [{ peer: '192.168.1.12', ifindex: 2 }],
  udpPorts: new Set([4789]),
  tunnelPorts: '',
  upcalls: '  flows         : (current 3) (avg 2) (max 3) (limit 10000)',
  datapathShow: '  lookups: hit:6 missed:3 lost:0',
  freeBytes: 2 ** 32,
  nowMs: 2000,
  builtMs: 1000,
};

const CASES: readonly (readonly [id: string, Partial<DoctorFacts>, verdict: string, RegExp])[] = [
  ['vtep-plane', { addresses: [address(1, '192.168.1.11')] }, 'fail', /on oob_net0/],
  ['vtep-plane', { addresses: [] }, 'warn', /no interface here has/],
  ['vtep-plane', { vtep: undefined }, 'unknown', /no tunnel/],
  ['mtu', { links: [link(2, 'p0', 1500)] }, 'warn', /MTU 1500, pods may use 1450/],
  ['mtu', { links: undefined }, 'unknown', /not known/],
  ['peer-routes', { routes: [{ peer: '192.168.1.12', ifindex: 1 }] }, 'fail', /by oob_net0/],
  ['peer-routes', { routes: [{ peer: '1.2.3.4', problem: 'no way' }] }, 'fail', /no way/],
  [
    'peer-routes',
    { links: [link(2, 'p0'), link(3, 'p1')], routes: [{ peer: '1.2.3.4', ifindex: 3 }] },
    'warn',
    /1\.2\.3\.4 by p1; the VTEP is on p0/,
  ],
  ['peer-routes', { addresses: [] }, 'unknown', /by p0; the interface of the VTEP is not known/],
  ['peer-routes', { routes: undefined }, 'unknown', /not asked/],
  ['udp-4789', { udpPorts: new Set([53]) }, 'fail', /nothing listens/],
  ['udp-4789', { datapath: 'userspace' }, 'fail', /nothing listens/],
  ['udp-4789', { udpPorts: undefined }, 'unknown', /udp/],
  ['ovs-version', { ovsVersion: '2.17.9' }, 'fail', /2\.17\.9/],
  ['ovs-version', { ovsVersion: undefined }, 'unknown', /version/],
  ['fail-mode', { failMode: undefined }, 'fail', /standalone/],
  ['fail-mode', { otherConfig: undefined }, 'unknown', /OVSDB/],
  [
    'flow-restore-wait',
    { otherConfig: new Map([['flow-restore-wait', 'true']]) },
    'fail',
    /flow-restore-wait=true/,
  ],
  ['upcalls', { datapathShow: 'lookups: hit:0 missed:9 lost:9' }, 'fail', /9 of them were lost/],
  ['upcalls', { datapathShow: 'lookups: hit:0 missed:9000 lost:200' }, 'warn', /200 of them/],
  ['upcalls', { datapathShow: undefined }, 'unknown', /dpctl\/show/],
  ['flow-limit', { upcalls: '(current 950) (avg 2) (max 3) (limit 1000)' }, 'warn', /950/],
  ['flow-limit', { upcalls: 'nothing' }, 'unknown', /upcall\/show/],
  ['hw-offload', { otherConfig: new Map() }, 'fail', /hw-offload=false/],
  ['hw-offload', { datapath: 'userspace' }, 'warn', /userspace/],
  ['tc-policy', { otherConfig: new Map([['tc-policy', 'skip_hw']]) }, 'warn', /skip_hw/],
  ['disk', { freeBytes: 2 ** 20 }, 'fail', /1 MiB/],
  ['disk', { freeBytes: 100 * 2 ** 20 }, 'warn', /100 MiB/],
  ['disk', { freeBytes: undefined }, 'unknown', /state/],
  ['clock', { nowMs: 5 }, 'fail', /1970-01-01/],
  ['clock', { builtMs: undefined }, 'unknown', /date/],
];

t.test('a DPU that is well has only good findings, and each check can fail', async (t) => {
  for (const { id, verdict, remedy } of examine(WELL)) {
    t.equal(verdict, 'ok', id);
    t.equal(remedy, '', id);
  }
  for (const [id, facts, verdict, evidence] of CASES) {
    const found = examine({ ...WELL, ...facts }).find((row) => row.id === id);
    t.equal(found?.verdict, verdict, `${id} ${evidence.source}`);
    t.match(found?.evidence, evidence, id);
    t.not(found?.remedy, '', `${id} says what to do`);
  }
  for (const { id } of CHECKS) {
    t.ok(
      CASES.some(([name, , verdict]) => name === id && verdict !== 'unknown'),
      `${id} has a case that it does not pass`,
    );
  }
  const page = readFileSync(join(import.meta.dirname, '../../../docs/doctor.md'), 'utf8');
  const rows = [...page.matchAll(/^\| `([a-z0-9-]+)` /gm)].map(([, id]) => id);
  t.strictSame(
    rows,
    CHECKS.map(({ id }) => id),
    'docs/doctor.md has every check',
  );
});

t.test('a route is asked for and read as the kernel writes it', async (t) => {
  const request = encodeRouteRequest(ip('192.0.2.7'));
  // struct rtmsg: AF_INET, dst_len 32; then RTA_DST (type 1, 8 bytes).
  t.equal(request.payload.toString('hex'), '022000000000000000000000' + '08000100c0000207');
  const head = { type: 24, flags: 0, seq: 1, pid: 1 };
  const payload = (hex: string): Buffer => Buffer.from(hex, 'hex');
  const rtmsg = '0220000000000001' + '00000000';
  t.strictSame(
    decodeRoute({ ...head, payload: payload(rtmsg + '0800040005000000' + '08000500c0000201') }),
    { type: 1, ifindex: 5, gateway: '192.0.2.1' },
  );
  t.throws(() => decodeRoute({ ...head, payload: payload('02') }), { code: 'DECODE_SHORT' });
  t.throws(() => decodeRoute({ ...head, type: 16, payload: payload(rtmsg) }), {
    code: 'DECODE_UNKNOWN_TYPE',
  });
});
