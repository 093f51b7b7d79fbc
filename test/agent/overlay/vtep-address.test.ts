/**
 * The choice of the VTEP address (src/agent/overlay/vtep-address.ts).
 */
import t from 'tap';
import { parseIp, parsePrefix, type IpPrefix } from '../../../src/base/address.ts';
import type { InterfaceAddress } from '../../../src/netlink/address.ts';
import type { Link } from '../../../src/netlink/link.ts';
import {
  findVtepAddress,
  type MachineAddresses,
  type SearchedVtep,
} from '../../../src/agent/overlay/vtep-address.ts';

function prefix(text: string): IpPrefix {
  const parsed = parsePrefix(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

/** A machine from `{p0: ['192.0.2.1/24', ...]}`; interfaces are numbered from 1. */
function machine(interfaces: Readonly<Record<string, readonly string[]>>): MachineAddresses {
  const links: Link[] = [];
  const addresses: InterfaceAddress[] = [];
  for (const [name, texts] of Object.entries(interfaces)) {
    const ifindex = links.length + 1;
    links.push({ ifindex, name, mtuBytes: 1500, flags: 0 });
    for (const text of texts) {
      const [address = '', length] = text.split('/');
      const family = parseIp(address)?.family ?? 4;
      addresses.push({
        ifindex,
        family,
        address,
        prefixLength: Number(length),
        scope: 0,
        flags: 0,
      });
    }
  }
  return { links, addresses };
}

const MACHINE = machine({
  lo: ['127.0.0.1/8', '::1/128'],
  p0: ['192.0.2.1/24', 'fe80::1/64'],
  p1: [],
  p2: ['198.51.100.1/24', '198.51.100.2/24'],
  p3: ['2001:db8::3/64', 'fe80::3/64'],
  p4: ['192.0.2.4/32'],
});

const CASES: readonly { name: string; vtep: SearchedVtep; want: string | RegExp }[] = [
  { name: 'an interface with one IPv4 address', vtep: { interface: 'p0' }, want: '192.0.2.1' },
  {
    name: 'an interface without addresses',
    vtep: { interface: 'p1' },
    want: /^vtep: no IPv4 address of this machine is on interface p1$/,
  },
  {
    name: 'an interface that is not there',
    vtep: { interface: 'p9' },
    want: /^vtep: this machine has no interface p9$/,
  },
  {
    name: 'an interface with two addresses',
    vtep: { interface: 'p2' },
    want: /several addresses are on interface p2: 198\.51\.100\.1 \(p2\), 198\.51\.100\.2 \(p2\); name one with vtep\.ip$/,
  },
  {
    name: 'an interface with IPv6 only',
    vtep: { interface: 'p3' },
    want: /no IPv4 address of this machine is on interface p3, only IPv6 \(2001:db8::3 \(p3\), fe80::3 \(p3\)\), over which it cannot tunnel$/,
  },
  { name: 'a prefix with one address', vtep: { cidr: prefix('192.0.2.0/30') }, want: '192.0.2.1' },
  {
    name: 'a prefix with addresses of two interfaces',
    vtep: { cidr: prefix('192.0.2.0/24') },
    want: /several addresses are on prefix 192\.0\.2\.0\/24: 192\.0\.2\.1 \(p0\), 192\.0\.2\.4 \(p4\)/,
  },
  {
    name: 'a prefix without an address',
    vtep: { cidr: prefix('203.0.113.0/24') },
    want: /^vtep: no IPv4 address of this machine is on prefix 203\.0\.113\.0\/24$/,
  },
  {
    name: 'an IPv6 prefix',
    vtep: { cidr: prefix('2001:db8::/32') },
    want: /on prefix 2001:db8::\/32, only IPv6 \(2001:db8::3 \(p3\)\), over which it cannot tunnel$/,
  },
];

void t.test('the VTEP address is the only IPv4 address that fits, or there is a reason', (t) => {
  for (const { name, vtep, want } of CASES) {
    const found = findVtepAddress(vtep, MACHINE);
    if (typeof want === 'string') t.same(found, { ip: prefix(want) }, name);
    else t.match(found, { problem: want }, name);
  }
  t.end();
});

void t.test('an address whose interface has gone between the two dumps is left out', (t) => {
  const { links, addresses } = MACHINE;
  const rest = links.filter(({ name }) => name !== 'p0');
  t.match(findVtepAddress({ cidr: prefix('192.0.2.0/24') }, { links: rest, addresses }), {
    ip: prefix('192.0.2.4'),
  });
  t.end();
});
