/**
 * Regenerates test/fixtures/openflow/flow-monitor.txt: `node test/capture/capture-flow-monitor.ts`. Records the request of
 * `ovs-ofctl monitor br watch:` on its way to a real switch, sends the same bytes on a connection of its own, and records
 * what the switch says while ovs-ofctl changes flows. Texts are `ovs-ofctl ofp-print` of the recorded bytes. Needs
 * ovs-ofctl, ovs-vsctl, ovs-vswitchd and ovsdb-server; uses a private OVS.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const OFCTL: string = 'ovs-ofctl';
const HELLO = Buffer.from('0400000800000001', 'hex');
const dir = mkdtempSync(join(tmpdir(), 'capture-'));
const env = { ...process.env, OVS_RUNDIR: dir, OVS_LOGDIR: dir, OVS_DBDIR: dir };
const bridge = join(dir, 'br0.mgmt');
const seen: { line: string; mod: string; dump: string; text: string }[] = [];

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

async function ofctl(verb: string, ...args: string[]): Promise<void> {
  const all = ['-O', 'OpenFlow13', verb, `unix:${bridge}`, ...args];
  await promisify(execFile)(OFCTL, all, { env });
}

function messages(buffer: Buffer): { whole: Buffer[]; rest: Buffer } {
  const whole: Buffer[] = [];
  let at = 0;
  while (buffer.length - at >= 8 && buffer.length - at >= buffer.readUInt16BE(at + 2)) {
    const size = buffer.readUInt16BE(at + 2);
    whole.push(Buffer.from(buffer.subarray(at, at + size)));
    at += size;
  }
  return { whole, rest: buffer.subarray(at) };
}

function print(message: Buffer): string {
  const hex = (message.toString('hex').match(/../g) ?? []).join(' ');
  const text = run(OFCTL, '--no-names', '-m', 'ofp-print', hex);
  return (text.split('\n00000000')[0] ?? '').trim().split(/\n\s*/).join(' | ');
}

/** The request that `ovs-ofctl monitor` sends, seen by a proxy between it and the switch. */
async function requestOf(watch: string): Promise<Buffer> {
  const path = join(dir, 'proxy');
  let request: Buffer | undefined;
  const server = createServer((client) => {
    const upstream = connect(bridge);
    let pending: Buffer = Buffer.alloc(0);
    client.pipe(upstream).pipe(client);
    client.on('data', (chunk: Buffer) => {
      const { whole, rest } = messages(Buffer.concat([pending, chunk]));
      pending = rest;
      request ??= whole.find((message) => message[1] === 18 && message.readUInt16BE(8) === 0xffff);
    });
    for (const socket of [client, upstream]) socket.on('error', () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const child = spawn(OFCTL, ['-O', 'OpenFlow13', 'monitor', `unix:${path}`, `watch:${watch}`], {
    env,
    stdio: 'ignore',
  });
  while (request === undefined) await sleep(20);
  child.kill();
  server.close();
  return request;
}

function daemonPid(name: string): number {
  return Number(readFileSync(join(dir, `${name}.pid`), 'utf8'));
}

try {
  const socket = join(dir, 'db.sock');
  const daemon = (name: string): string[] => [
    `--pidfile=${join(dir, `${name}.pid`)}`,
    `--unixctl=${join(dir, `${name}.ctl`)}`,
    ...['--detach', '--no-chdir', `--log-file=${join(dir, `${name}.log`)}`, '-vconsole:off'],
  ];
  run('ovsdb-tool', 'create', join(dir, 'conf.db'), '/usr/share/openvswitch/vswitch.ovsschema');
  run('ovsdb-server', join(dir, 'conf.db'), `--remote=punix:${socket}`, ...daemon('ovsdb'));
  run('ovs-vsctl', `--db=unix:${socket}`, '--no-wait', 'init');
  const dummy = ['--enable-dummy=override', '--disable-system'];
  run('ovs-vswitchd', `unix:${socket}`, ...dummy, ...daemon('vswitchd'));
  run(
    'ovs-vsctl',
    `--db=unix:${socket}`,
    ...['add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=dummy', 'fail_mode=secure'],
    'protocols=OpenFlow13',
  );
  const request = await requestOf('!initial,!own');
  request.writeUInt32BE(0, 4);
  const save = (line: string, mod: Buffer, dump: Buffer): void => {
    const text = print(mod.length > 0 ? mod : dump);
    seen.push({ line, mod: mod.toString('hex'), dump: dump.toString('hex'), text });
  };
  const none = Buffer.alloc(0);
  save('watch:!initial,!own', request, none);
  for (const watch of ['table=3', '!initial,!actions,table=7']) {
    const other = await requestOf(watch);
    other.writeUInt32BE(0, 4);
    // ovs-ofctl numbers its monitors from 0 in each process.
    save(`watch:${watch}`, other, none);
  }

  const monitor = connect(bridge);
  let got: Buffer[] = [];
  let pending: Buffer = Buffer.alloc(0);
  monitor.on('data', (chunk: Buffer) => {
    const { whole, rest } = messages(Buffer.concat([pending, chunk]));
    pending = rest;
    got.push(...whole.filter(([, type]) => type === 19 || type === 4 || type === 1));
  });
  monitor.write(Buffer.concat([HELLO, request]));
  const record = async (line: string, act: () => Promise<void> | void): Promise<void> => {
    await sleep(100);
    got = [];
    await act();
    await sleep(300);
    for (const message of got) save(line, none, message);
  };
  const steps = [
    ['add-flow', 'table=3,priority=5,cookie=0x77,ip,nw_dst=10.0.0.0/8,actions=output:2'],
    ['mod-flows', 'table=3,actions=drop'],
    ['add-flow', 'table=3,priority=5,cookie=0x78,ip,nw_dst=10.0.0.0/8,actions=goto_table:4'],
    [
      'add-flow',
      'table=4,priority=65535,idle_timeout=1000,hard_timeout=2000,ipv6,ipv6_src=2001:db8::/32,tcp6,tp_dst=80,reg1=7,actions=drop',
    ],
    ['add-flow', 'table=3,priority=0,actions=drop'],
    ['del-flows', 'table=3'],
  ] as const;
  for (const [verb, flow] of steps) await record(`${verb} ${flow}`, () => ofctl(verb, flow));
  await ofctl('add-group', 'group_id=9,type=all,bucket=output:1');
  await record('del-groups', async () => {
    await ofctl('add-flow', 'table=5,actions=group:9');
    await ofctl('del-groups', 'group_id=9');
  });
  await record('own delete of everything', () => {
    // An own flow_mod: DELETE of every flow, xid 0x1234.
    const mod = Buffer.alloc(56);
    mod.set([4, 14, 0, 56, 0, 0, 0x12, 0x34]);
    mod.set([0xff, 3], 24);
    mod.fill(0xff, 32, 44);
    mod.set([0, 1, 0, 4], 48);
    monitor.write(mod);
  });
  // A monitor that does not read is paused; the sockets take some hundred kilobytes before that.
  const file = join(dir, 'many');
  const many = Array.from(
    { length: 12_000 },
    (_, index) => `table=6,priority=${index},ip,nw_src=10.1.1.1,nw_dst=10.2.2.2,actions=drop\n`,
  );
  writeFileSync(file, many.join(''));
  await record('PAUSED', async () => {
    monitor.pause();
    await ofctl('add-flows', file);
    monitor.resume();
    await sleep(500);
    got = got.filter(([, type]) => type === 4);
  });
  await record('cancel of an unknown monitor', () => {
    const cancel = Buffer.alloc(20);
    cancel.set([4, 4, 0, 20, 0, 0, 0, 3, 0x4f, 0x4e, 0x46, 0, 0, 0, 0x07, 0x4e, 0, 0, 0, 99]);
    monitor.write(cancel);
  });
  await record('after cancel: nothing', async () => {
    const cancel = Buffer.alloc(20);
    cancel.set([4, 4, 0, 20, 0, 0, 0, 3, 0x4f, 0x4e, 0x46, 0, 0, 0, 0x07, 0x4e, 0, 0, 0, 0]);
    monitor.write(cancel);
    await sleep(50);
    await ofctl('add-flow', 'table=9,actions=drop');
  });
  monitor.destroy();

  const version = run(OFCTL, '--version').split('\n')[0] ?? '';
  const head =
    `# Captured by test/capture/capture-flow-monitor.ts with ${version} (OpenFlow 1.3).\n` +
    '# line: what was done; mod: the request of ovs-ofctl, xid 0; dump: a message of the switch; text: ovs-ofctl ofp-print\n';
  const body = seen.map(
    ({ line, mod, dump, text }) => `\nline ${line}\nmod ${mod}\ndump ${dump}\ntext ${text}\n`,
  );
  const out = join(import.meta.dirname, '../fixtures/openflow/flow-monitor.txt');
  writeFileSync(out, head + body.join(''));
  console.log(`flow-monitor.txt: ${seen.length} records`);
} finally {
  for (const name of ['vswitchd', 'ovsdb']) process.kill(daemonPid(name));
  rmSync(dir, { recursive: true, force: true });
}
