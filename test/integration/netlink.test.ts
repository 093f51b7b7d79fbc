/**
 * The netlink client against this kernel (src/netlink/{socket,client}.ts): in a fresh network namespace with links of several
 * kinds, compared with iproute2, and in our own for what a socket does.
 */
import { readdir, readlink } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { CommandError, run } from '../../demo/command.ts';
import type { InterfaceAddress } from '../../src/netlink/address.ts';
import { NetlinkClient } from '../../src/netlink/client.ts';
import { encodeLinkDump, type Link } from '../../src/netlink/link.ts';
import { NetlinkSocket } from '../../src/netlink/socket.ts';
import {
  addressesOfIp,
  linksOfIp,
  shownAddresses,
  shownLink,
  type IpEntry,
} from '../netlink/iproute2.ts';

const NAMESPACE = `dpu-netlink-${process.pid}`;
const REPORT = fileURLToPath(new URL('netlink-report.ts', import.meta.url));
const SETUP = [
  'link set lo up',
  'link add br0 type bridge',
  'link add veth0 type veth peer name veth1',
  'link set veth0 master br0 mtu 1400 up',
  'link set veth1 up',
  'link add vxlan5001 type vxlan id 5001 dstport 4789',
  'addr add 192.0.2.1/24 dev veth1',
  'addr add 192.0.2.9/24 dev veth1',
  'addr add 198.51.100.1 peer 198.51.100.2/32 dev veth0',
  'addr add 2001:db8::1/64 dev veth1 nodad',
];

/** Why there can be no namespace; false when there can. */
async function reasonToSkip(): Promise<string | false> {
  try {
    await run('ip', ['netns', 'add', NAMESPACE]);
    return false;
  } catch (error) {
    if (error instanceof CommandError) return `cannot make a network namespace: ${error.message}`;
    throw error;
  }
}

/** Sockets of this process. */
async function openSockets(): Promise<number> {
  const names = await readdir('/proc/self/fd');
  const targets = await Promise.all(
    names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')),
  );
  return targets.filter((target) => target.startsWith('socket:')).length;
}

const skip = await reasonToSkip();
if (skip === false) t.teardown(() => run('ip', ['netns', 'del', NAMESPACE]));

void t.test(
  'links and addresses of a fresh namespace are what iproute2 says',
  { skip },
  async (t) => {
    for (const line of SETUP) await run('ip', ['-n', NAMESPACE, ...line.split(' ')]);
    const ip = async (...args: string[]): Promise<IpEntry[]> =>
      JSON.parse(await run('ip', ['-n', NAMESPACE, '-j', ...args])) as IpEntry[];
    // The kernel makes link-local IPv6 addresses a little later: both sides are asked until nothing moved in between.
    for (let attempt = 0; ; attempt++) {
      const before = await ip('addr');
      const report = await run('ip', ['netns', 'exec', NAMESPACE, process.execPath, REPORT]);
      const [links, after] = [await ip('-d', 'link'), await ip('addr')];
      const moved = JSON.stringify(addressesOfIp(before)) !== JSON.stringify(addressesOfIp(after));
      if (moved && attempt < 10) continue;
      const ours = JSON.parse(report) as { links: Link[]; addresses: InterfaceAddress[] };
      t.same(ours.links.map(shownLink), linksOfIp(links));
      t.same(shownAddresses(ours.addresses), addressesOfIp(after));
      t.match(
        ours.links.find(({ name }) => name === 'vxlan5001'),
        { kind: 'vxlan', vxlanId: 5001 },
      );
      t.equal(ours.links.length, 5);
      break;
    }
  },
);

void t.test('calls that overlap are all answered, and closing frees the socket', async (t) => {
  const before = await openSockets();
  const client = NetlinkClient.open();
  t.equal(await openSockets(), before, 'no socket before the first call');
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      index % 2 === 0 ? client.links() : client.addresses(),
    ),
  );
  t.equal(await openSockets(), before + 1, 'one socket for all');
  const [links, addresses] = answers;
  t.ok(links?.some((link) => 'name' in link && link.name === 'lo'));
  for (const [index, answer] of answers.entries())
    t.same(answer, index % 2 === 0 ? links : addresses);
  await client.close();
  t.equal(await openSockets(), before);
  await t.rejects(client.links(), { name: 'ConnectionError', code: 'CONN_CLOSED' });
});

void t.test('closing lets the call in flight end and rejects those behind it', async (t) => {
  const before = await openSockets();
  const client = NetlinkClient.open();
  const first = client.links();
  const second = client.links();
  await Promise.all([
    first.then((links) => t.ok(links.length > 0)),
    t.rejects(second, { code: 'CONN_CLOSED' }),
    // After the first has begun, before the second.
    Promise.resolve().then(() => client.close()),
  ]);
  t.equal(await openSockets(), before);
});

void t.test('a refused request is a NetlinkError, and the socket goes on', async (t) => {
  const socket = new NetlinkSocket();
  t.teardown(() => socket.close());
  const noSuchType = { type: 999, flags: 0, payload: Buffer.alloc(16) };
  const noSuchLink = Buffer.alloc(16);
  noSuchLink.writeInt32LE(0x7ffffff0, 4);
  const results = await Promise.allSettled([
    socket.request(noSuchType, 'netlink.test'),
    socket.request({ type: 18, flags: 0, payload: noSuchLink }, 'netlink.test'),
    socket.request(encodeLinkDump(), 'netlink.test'),
  ]);
  const [type, link, dump] = results;
  t.match(type, {
    reason: { name: 'NetlinkError', code: 'NL_EOPNOTSUPP', errno: 95, family: 0 },
  });
  t.match(link, { reason: { code: 'NL_ENODEV', errno: 19, op: 'netlink.test' } });
  t.match(dump, { status: 'fulfilled' });
});

/** Holds the event loop up, turn after turn, until it is called off: then timers run before what has arrived is read. */
function holdUp(perTurnMs: number): () => void {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  let on = true;
  const turn = (): void => {
    if (!on) return;
    Atomics.wait(cell, 0, 0, perTurnMs);
    setImmediate(turn);
  };
  setImmediate(turn);
  return () => {
    on = false;
  };
}

void t.test(
  'an answer that comes too late costs the socket, and the next request opens another',
  async (t) => {
    const before = await openSockets();
    const socket = new NetlinkSocket({ timeoutMs: 300 });
    const release = holdUp(350);
    const late = socket.request(encodeLinkDump(), 'netlink.test');
    const next = late.catch(release).then(() => socket.request(encodeLinkDump(), 'netlink.test'));
    await t.rejects(late, { name: 'ConnectionError', code: 'CONN_TIMEOUT', retryable: true });
    t.ok((await next).messages.length > 0);
    t.equal(await openSockets(), before + 1, 'the first is gone');
    await socket.close();
    t.equal(await openSockets(), before);
  },
);

void t.test('a family that the kernel does not have is a ConnectionError', async (t) => {
  const socket = new NetlinkSocket({ family: 31 });
  await t.rejects(socket.request(encodeLinkDump(), 'netlink.test'), {
    name: 'ConnectionError',
    code: 'CONN_REFUSED',
    message: /cannot open a netlink socket/,
  });
  await socket.close();
});
