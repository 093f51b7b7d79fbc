/**
 * Regenerates test/fixtures/openflow from the flow and group lines beside this file: `node test/capture/capture-openflow.ts`.
 * For each line it records what ovs-ofctl sends (through a sink that pretends to be a switch), what a real switch then dumps,
 * and what ovs-ofctl prints for that. Needs ovs-ofctl, ovs-vsctl, ovs-vswitchd and ovsdb-server; uses a private OVS.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const HELLO = Buffer.from('0400000800000001', 'hex');
const here = import.meta.dirname;
const out = join(here, '../fixtures/openflow');
const dir = mkdtempSync(join(tmpdir(), 'capture-'));
const env = { ...process.env, OVS_RUNDIR: dir, OVS_LOGDIR: dir, OVS_DBDIR: dir };

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function ofctl(verb: string, target: string, ...args: string[]): string {
  return run(
    'ovs-ofctl',
    '--no-names',
    '-O',
    'OpenFlow13',
    verb,
    `unix:${join(dir, target)}`,
    ...args,
  );
}

function messages(buffer: Buffer): { whole: Buffer[]; rest: Buffer } {
  const whole: Buffer[] = [];
  let at = 0;
  while (buffer.length - at >= 8 && buffer.length - at >= buffer.readUInt16BE(at + 2)) {
    const size = buffer.readUInt16BE(at + 2);
    whole.push(buffer.subarray(at, at + size));
    at += size;
  }
  return { whole, rest: buffer.subarray(at) };
}

/** Runs `ovs-ofctl verb sink file` and returns the messages of `type` that it sent. */
async function capture(verb: string, file: string, type: number): Promise<Buffer[]> {
  const seen: Buffer[] = [];
  const server = createServer((socket) => {
    let pending: Buffer = Buffer.alloc(0);
    socket.write(HELLO);
    socket.on('data', (chunk: Buffer) => {
      const { whole, rest } = messages(Buffer.concat([pending, chunk]));
      pending = rest;
      for (const message of whole) {
        if (message[1] === type) seen.push(Buffer.from(message));
        // Echo request 2 and barrier request 20 are answered by the same bytes with the type one higher.
        if (message[1] === 2 || message[1] === 20) {
          const reply = Buffer.from(message);
          reply[1] = message[1] + 1;
          socket.write(reply);
        }
      }
    });
    socket.on('error', () => socket.destroy());
  });
  const path = join(dir, 'sink');
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const { spawn } = await import('node:child_process');
  const child = spawn('ovs-ofctl', ['--no-names', '-O', 'OpenFlow13', verb, `unix:${path}`, file], {
    env,
    stdio: 'inherit',
  });
  const status = await new Promise<number | null>((resolve) => child.on('exit', resolve));
  server.close();
  if (status !== 0) throw new Error(`ovs-ofctl ${verb} ${file}: exit ${status}`);
  return seen;
}

/** Bodies of the multipart replies of `type`, entries split by the 16-bit length at their start. */
async function dump(type: number, body: Buffer): Promise<Buffer[]> {
  const request = Buffer.alloc(16 + body.length);
  request.set([4, 18, 0, request.length, 0, 0, 0, 9, 0, type]);
  request.set(body, 16);
  const entries: Buffer[] = [];
  await new Promise<void>((resolve, reject) => {
    const socket = connect(join(dir, 'br0.mgmt'));
    let pending: Buffer = Buffer.alloc(0);
    socket.on('error', reject);
    socket.write(Buffer.concat([HELLO, request]));
    socket.on('data', (chunk: Buffer) => {
      const { whole, rest } = messages(Buffer.concat([pending, chunk]));
      pending = rest;
      for (const message of whole.filter((candidate) => candidate[1] === 19)) {
        for (let at = 16; at < message.length; at += message.readUInt16BE(at)) {
          entries.push(Buffer.from(message.subarray(at, at + message.readUInt16BE(at))));
        }
        if ((message.readUInt16BE(10) & 1) === 0) {
          socket.destroy();
          resolve();
        }
      }
    });
  });
  return entries;
}

function lines(name: string): string[] {
  return readFileSync(join(here, name), 'utf8').trim().split('\n');
}

function save(
  name: string,
  records: { line: string; mod: Buffer; dump: Buffer; text: string }[],
): void {
  const version = run('ovs-ofctl', '--version').split('\n')[0] ?? '';
  const head =
    `# Captured by test/capture/capture-openflow.ts with ${version} (OpenFlow 1.3, --no-names).\n` +
    '# line: given to ovs-ofctl; mod: the message it sent; dump: the entry that the switch returned; text: as ovs-ofctl prints it\n';
  const body = records.map(
    ({ line, mod, dump: entry, text }) =>
      `\nline ${line}\nmod ${mod.toString('hex')}\ndump ${entry.toString('hex')}\ntext ${text}\n`,
  );
  writeFileSync(join(out, name), head + body.join(''));
  console.log(`${name}: ${records.length} records`);
}

function found<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`no ${what}`);
  return value;
}

async function captureFlows(name: string, flows: string[]): Promise<void> {
  const file = join(dir, name);
  // The cookie finds the line's entry in the dump.
  writeFileSync(file, flows.map((line, index) => `cookie=${index + 1},${line}\n`).join(''));
  const mods = await capture('add-flows', file, 14);
  ofctl('del-flows', 'br0.mgmt');
  ofctl('add-flows', 'br0.mgmt', file);
  const request = Buffer.alloc(40);
  request[0] = 0xff;
  request.fill(0xff, 4, 12);
  request.set([0, 1, 0, 4], 32);
  const byCookie = new Map(
    (await dump(1, request)).map((entry) => [Number(entry.readBigUInt64BE(24)), entry]),
  );
  const texts = new Map(
    run(
      'ovs-ofctl',
      '--no-names',
      '--no-stats',
      '-O',
      'OpenFlow13',
      'dump-flows',
      `unix:${dir}/br0.mgmt`,
    )
      .split('\n')
      .flatMap((text) => {
        const cookie = /cookie=(0x[0-9a-f]+)/.exec(text)?.[1];
        return cookie === undefined ? [] : [[Number(cookie), text.trim()] as const];
      }),
  );
  save(
    name,
    flows.map((line, index) => {
      const entry = Buffer.from(found(byCookie.get(index + 1), `dump of ${line}`));
      entry.fill(0, 4, 12); // the duration would differ from run to run
      return {
        line: `cookie=${index + 1},${line}`,
        mod: found(mods[index], `mod of ${line}`),
        dump: entry,
        text: found(texts.get(index + 1), `text of ${line}`),
      };
    }),
  );
}

async function captureGroups(): Promise<void> {
  const groups = lines('groups.txt');
  const mods = await capture('add-groups', join(here, 'groups.txt'), 15);
  ofctl('add-groups', 'br0.mgmt', join(here, 'groups.txt'));
  const byId = new Map(
    (await dump(7, Buffer.alloc(0))).map((entry) => [entry.readUInt32BE(4), entry]),
  );
  const texts = new Map(
    ofctl('dump-groups', 'br0.mgmt')
      .split('\n')
      .map((text) => [Number(/group_id=(\d+)/.exec(text)?.[1]), text.trim()]),
  );
  save(
    'groups.txt',
    groups.map((line, index) => {
      const id = Number(/group_id=(\d+)/.exec(line)?.[1]);
      return {
        line,
        mod: found(mods[index], `mod of ${line}`),
        dump: found(byId.get(id), `dump of ${line}`),
        text: found(texts.get(id), `text of ${line}`),
      };
    }),
  );
}

/** ovs-ofctl has no `add-meters`: one call for each line. */
async function captureMeters(): Promise<void> {
  const meters = lines('meters.txt');
  const mods: Buffer[] = [];
  for (const line of meters) {
    mods.push(...(await capture('add-meter', line, 29)));
    ofctl('add-meter', 'br0.mgmt', line);
  }
  // OFPM_ALL and padding.
  const all = Buffer.from('ffffffff00000000', 'hex');
  const byId = new Map((await dump(10, all)).map((entry) => [entry.readUInt32BE(4), entry]));
  const texts = new Map(
    ofctl('dump-meters', 'br0.mgmt')
      .split(/\n(?=meter=)/)
      .map((text) => [
        Number(/meter=(\d+)/.exec(text)?.[1]),
        text.slice(text.indexOf('meter=')).replaceAll(/\s+/g, ' ').trim(),
      ]),
  );
  save(
    'meters.txt',
    meters.map((line, index) => {
      const id = Number(/meter=(\d+)/.exec(line)?.[1]);
      return {
        line,
        mod: found(mods[index], `mod of ${line}`),
        dump: found(byId.get(id), `dump of ${line}`),
        text: found(texts.get(id), `text of ${line}`),
      };
    }),
  );
  ofctl('del-meters', 'br0.mgmt');
}

function daemonPid(name: string): number {
  return Number(readFileSync(join(dir, `${name}.pid`), 'utf8'));
}

try {
  const db = join(dir, 'conf.db');
  const socket = join(dir, 'db.sock');
  const daemon = (name: string): string[] => [
    `--pidfile=${join(dir, `${name}.pid`)}`,
    `--unixctl=${join(dir, `${name}.ctl`)}`,
    '--detach',
    '--no-chdir',
    `--log-file=${join(dir, `${name}.log`)}`,
    '-vconsole:off',
  ];
  run('ovsdb-tool', 'create', db, '/usr/share/openvswitch/vswitch.ovsschema');
  run('ovsdb-server', db, `--remote=punix:${socket}`, ...daemon('ovsdb'));
  run('ovs-vsctl', `--db=unix:${socket}`, '--no-wait', 'init');
  run(
    'ovs-vswitchd',
    `unix:${socket}`,
    '--enable-dummy=override',
    '--disable-system',
    ...daemon('vswitchd'),
  );
  run(
    'ovs-vsctl',
    `--db=unix:${socket}`,
    ...['add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=dummy', 'fail_mode=secure'],
    'protocols=OpenFlow13',
  );
  await captureGroups();
  await captureMeters();
  ofctl('add-meter', 'br0.mgmt', 'meter=3,kbps,band=type=drop,rate=1000');
  await captureFlows('reference-flows.txt', lines('reference-flows.txt'));
  await captureFlows(
    'field-flows.txt',
    lines('field-flows.txt').map((line, index) => `table=100,priority=${index + 1},${line}`),
  );
} finally {
  for (const name of ['vswitchd', 'ovsdb']) process.kill(daemonPid(name));
  rmSync(dir, { recursive: true, force: true });
}
