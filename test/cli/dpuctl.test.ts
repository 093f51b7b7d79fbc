/**
 * dpuctl against a fake agent on a Unix socket: what a person reads, what a program reads, and how it ends. The tables are
 * written out as they shall appear.
 */
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import t from 'tap';
import { VERSION } from '../../src/base/version.ts';
import { askAgent } from '../../src/cli/client.ts';
import { runDpuctl } from '../../src/cli/program.ts';
import { formatCount, formatSpan, formatTable, plain, wrap } from '../../src/cli/terminal.ts';
import { fakeAgent, type FakeAnswer } from '../support/fake-agent.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

interface Result {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

async function dpuctl(
  args: readonly string[],
  options: { env?: Record<string, string>; width?: number; colours?: boolean } = {},
): Promise<Result> {
  let out = '';
  let err = '';
  const exit = await runDpuctl(args, {
    env: options.env ?? {},
    layout: { width: options.width ?? 100, colours: options.colours ?? false },
    print: (text) => (out += text),
    complain: (text) => (err += text),
  });
  return { exit, out, err };
}

const STATUS = {
  version: '0.1.0',
  node: 'dpu-1',
  ready: true,
  notReady: [],
  startedAt: '2026-11-25T06:38:27.364Z',
  uptimeSeconds: 93_784,
  bridge: { name: 'br-int', datapathType: 'netdev', datapathId: '0x7a9240872d44' },
  vtep: { ip: '192.168.1.11', ofport: 65_000, problem: null },
  ovsdb: { connected: true, lock: true },
  openflow: { connected: true },
  source: { kind: 'directory', path: '/etc/dpu-agent/rules.d', revision: 7, objects: 2 },
  rules: { total: 2, programmed: 2, pending: 0, refused: 0 },
  flows: { desired: 1084, installed: 1084, foreign: 0 },
  lastSync: { at: '2026-11-25T06:38:27.784Z', durationMs: 2.71, flowMods: 4 },
  endpoints: { local: 3, remote: 1 },
  problems: [],
  fieldOfALaterVersion: true,
};

const RULES = [
  {
    namespace: 'tenant-a',
    name: 'no-metrics',
    rule: 'tcp-81',
    accepted: true,
    programmed: true,
    reason: '',
    message: '',
    flows: 4,
    packets: 12,
    bytes: 1_234_567,
  },
  {
    namespace: 'tenant-b',
    name: 'foreign-tier',
    rule: 'everything',
    accepted: false,
    programmed: false,
    reason: 'TierNotAllowed',
    message: 'namespace tenant-b may not use tier platform; accepted: namespaces dpu-system',
    flows: 0,
    packets: 0,
    bytes: 0,
  },
  {
    namespace: 'tenant-a',
    name: 'later',
    rule: 'r1',
    accepted: true,
    programmed: false,
    reason: 'SwitchDown',
    message: '',
    flows: 0,
    packets: 0,
    bytes: 0,
  },
];

const FLOWS = [
  {
    table: 22,
    priority: 0,
    cookie: '0x2',
    match: '',
    actions: 'goto_table:23',
    rule: 'base',
    packets: 0,
    bytes: 0,
  },
  {
    table: 22,
    priority: 58_400,
    cookie: '0xd9a611cae662172f',
    match: 'tcp,metadata=0x3e8,nw_dst=10.1.0.25,tp_dst=81',
    actions: 'set_field:0xb931f73c->reg2,goto_table:29',
    rule: 'tenant-a/no-metrics/tcp-81',
    packets: 12,
    bytes: 888,
  },
  {
    table: 0,
    priority: 10,
    cookie: '0x1',
    match: 'in_port=65000',
    actions: 'drop',
    rule: 'drop/UnknownPeer',
    packets: 3,
    bytes: 210,
  },
];

void t.test('status says on a few lines that all is well, and ends with 0', async (t) => {
  const agent = await fakeAgent(t, { '/status': STATUS });
  const result = await dpuctl(['--socket', agent.socket, 'status']);
  t.equal(
    result.out,
    `\
node       dpu-1   dpu-agent 0.1.0
ready      yes
up         1d 2h, since 2026-11-25T06:38:27.364Z
bridge     br-int  netdev  0x7a9240872d44
vtep       192.168.1.11  ofport 65000
ovsdb      connected, holds the lock
openflow   connected
source     directory  /etc/dpu-agent/rules.d   revision 7, 2 objects
rules      2 of 2 programmed, 0 pending, 0 refused
flows      1_084 of 1_084 installed, 0 foreign
endpoints  3 local, 1 remote
last sync  2026-11-25T06:38:27.784Z, 4 flow_mods in 2.7 ms
problems   none
`,
  );
  t.strictSame([result.exit, result.err, agent.asked], [0, '', ['/status']]);
});

void t.test('status names what is wrong, and ends with 1', async (t) => {
  const agent = await fakeAgent(t, {
    '/status': {
      ...STATUS,
      ready: false,
      notReady: ['openflow: not connected', 'no complete sync yet'],
      uptimeSeconds: 0,
      bridge: { name: 'br-int', datapathType: 'netdev', datapathId: null },
      vtep: { ip: null, ofport: null, problem: 'no IPv4 address on interface p0' },
      ovsdb: { connected: true, lock: false },
      openflow: { connected: false },
      source: { ...STATUS.source, staleSince: '2026-11-24T00:00:00.000Z' },
      rules: { total: 3, programmed: 1, pending: 1, refused: 1 },
      lastSync: null,
      problems: [
        { file: 'a.yaml', line: 9, path: 'spec.priority', message: '7777 is not accepted' },
        { path: 'vtep0', message: 'ofport is -1' },
      ],
    },
  });
  const result = await dpuctl(['status', '--socket', agent.socket]);
  t.equal(
    result.out,
    `\
node       dpu-1   dpu-agent 0.1.0
ready      no: openflow: not connected; no complete sync yet
up         0s, since 2026-11-25T06:38:27.364Z
bridge     br-int  netdev
vtep       none   no IPv4 address on interface p0
ovsdb      connected, waits for the lock
openflow   not connected
source     directory  /etc/dpu-agent/rules.d   revision 7, 2 objects, stale since 2026-11-24T00:00:00.000Z
rules      1 of 3 programmed, 1 pending, 1 refused
flows      1_084 of 1_084 installed, 0 foreign
endpoints  3 local, 1 remote
last sync  never
problems   a.yaml:9: spec.priority: 7777 is not accepted
           vtep0: ofport is -1
`,
  );
  t.equal(result.exit, 1);
});

const UNWELL: readonly { name: string; change: object; exit: number }[] = [
  { name: 'ready and no problem', change: {}, exit: 0 },
  { name: 'not ready', change: { ready: false, notReady: ['no tunnel'] }, exit: 1 },
  {
    name: "ready, with a problem in somebody's file",
    change: { problems: [{ message: 'x' }] },
    exit: 0,
  },
];
void t.test(
  'status ends with 1 when the agent is not ready and only then, with --json too',
  async (t) => {
    for (const { name, change, exit } of UNWELL) {
      const agent = await fakeAgent(t, { '/status': { ...STATUS, ...change } });
      for (const more of [[], ['--json']]) {
        const result = await dpuctl(['status', '--socket', agent.socket, ...more]);
        t.equal(result.exit, exit, `${name} ${more.join('')}`);
      }
    }
  },
);

void t.test('rules are a table of 100 columns with the reasons wrapped', async (t) => {
  const agent = await fakeAgent(t, { '/rules': RULES });
  const result = await dpuctl(['rules', '--socket', agent.socket]);
  t.equal(
    result.out,
    `\
NAMESPACE  NAME          RULE        STATE       FLOWS  PACKETS      BYTES  REASON
tenant-a   no-metrics    tcp-81      programmed      4       12  1_234_567
tenant-b   foreign-tier  everything  refused         0        0          0  TierNotAllowed:
                                                                            namespace tenant-b may
                                                                            not use tier platform;
                                                                            accepted: namespaces
                                                                            dpu-system
tenant-a   later         r1          pending         0        0          0  SwitchDown
3 rules: 1 programmed, 1 refused, 1 pending
`,
  );
  t.equal(result.exit, 0);
});

const FILTERS: readonly { args: string[]; names: string[] }[] = [
  { args: [], names: ['no-metrics', 'foreign-tier', 'later'] },
  { args: ['--namespace', 'tenant-a'], names: ['no-metrics', 'later'] },
  { args: ['--not-programmed'], names: ['foreign-tier', 'later'] },
  { args: ['--not-programmed', '--namespace', 'tenant-a'], names: ['later'] },
  { args: ['--namespace', 'tenant'], names: [] },
];
void t.test('rules filters by namespace and state, for people and programs alike', async (t) => {
  const agent = await fakeAgent(t, { '/rules': RULES });
  for (const { args, names } of FILTERS) {
    const shown = await dpuctl(['rules', '--socket', agent.socket, '--wide', ...args]);
    const lines = shown.out.split('\n').filter((line) => line.startsWith('tenant-'));
    t.strictSame(
      lines.map((line) => line.split(/ +/)[1]),
      names,
      args.join(' '),
    );
    const { out } = await dpuctl(['rules', '--socket', agent.socket, '--json', ...args]);
    t.strictSame(
      (JSON.parse(out) as { name: string }[]).map(({ name }) => name),
      names,
    );
  }
  const none = await dpuctl(['rules', '--socket', agent.socket, '--namespace', 'nobody']);
  t.strictSame([none.out, none.exit], ['no rules\n', 0]);
});

void t.test('flows are sorted by table and priority, and wrapped behind commas', async (t) => {
  const agent = await fakeAgent(t, { '/flows': FLOWS });
  const result = await dpuctl(['flows', '--socket', agent.socket]);
  t.equal(
    result.out,
    `\
TABLE   PRIO  PACKETS  BYTES  MATCH                   ACTIONS                 RULE
    0     10        3    210  in_port=65000           drop                    drop/UnknownPeer
   22  58400       12    888  tcp,metadata=0x3e8,     set_field:0xb931f73c    tenant-a/no-metrics/
                              nw_dst=10.1.0.25,       ->reg2,goto_table:29    tcp-81
                              tp_dst=81
   22      0        0      0                          goto_table:23           base
3 flows
`,
  );
  const wide = await dpuctl(['flows', '--socket', agent.socket, '--wide', '--table', '22']);
  t.match(
    wide.out,
    '0xd9a611cae662172f     22  58400       12    888  tcp,metadata=0x3e8,nw_dst=10.1.0.25,tp_dst=81' +
      '  set_field:0xb931f73c->reg2,goto_table:29  tenant-a/no-metrics/tcp-81\n',
    'wide: one line with the cookie',
  );
  await dpuctl(['flows', '--socket', agent.socket, '--rule', 'tenant-a/no-metrics', '--json']);
  t.strictSame(
    agent.asked,
    ['/flows', '/flows?table=22', '/flows?rule=tenant-a%2Fno-metrics'],
    'the agent filters',
  );
});

void t.test('addresses are not cut while a line can end elsewhere', async (t) => {
  const match =
    'icmp6,in_port=2,dl_src=02:00:0a:01:01:05,ipv6_src=2001:db8::1,nw_dst=192.168.101.111';
  const actions = 'set_field:02:00:0a:01:01:05->eth_dst,load:0x2->NXM_NX_REG0[0..3],goto_table:40';
  const row = { ...FLOWS[0], match, actions, rule: 'local/1000/02:00:0a:01:01:05/rep1a' };
  const agent = await fakeAgent(t, { '/flows': [row] });
  const at100 = await dpuctl(['flows', '--socket', agent.socket]);
  t.equal(
    at100.out,
    `\
TABLE  PRIO  PACKETS  BYTES  MATCH                     ACTIONS                    RULE
   22     0        0      0  icmp6,in_port=2,          set_field:                 local/1000/
                             dl_src=                   02:00:0a:01:01:05          02:00:0a:01:01:05/
                             02:00:0a:01:01:05,        ->eth_dst,load:0x2         rep1a
                             ipv6_src=2001:db8::1,     ->NXM_NX_REG0[0..3],
                             nw_dst=192.168.101.111    goto_table:40
1 flow
`,
  );
  const at80 = await dpuctl(['flows', '--socket', agent.socket], { width: 80 });
  t.ok(
    at80.out.split('\n').every((line) => line.length <= 80),
    '80 columns are enough',
  );
});

void t.test('--json with a filter keeps fields that this version does not know', async (t) => {
  const later = RULES.map((rule) => ({ ...rule, offloaded: true, counters: { hw: 1 } }));
  const agent = await fakeAgent(t, { '/rules': later });
  const { out } = await dpuctl(['rules', '--socket', agent.socket, '--json', '--not-programmed']);
  t.strictSame(JSON.parse(out), later.slice(1));
});

void t.test('--json prints a status that is not understood, and ends with 3', async (t) => {
  const agent = await fakeAgent(t, { '/status': '{"version":"9.0.0"}' });
  const { exit, out, err } = await dpuctl(['status', '--socket', agent.socket, '--json']);
  t.strictSame([exit, out], [3, '{"version":"9.0.0"}']);
  t.match(err, /answer to \/status is not understood/);
});

void t.test('--json prints the bytes of the agent unchanged', async (t) => {
  const odd = (value: unknown): string => JSON.stringify(value, null, 3).replace('"', ' "');
  const answers = { '/status': odd(STATUS), '/rules': odd(RULES), '/flows': odd(FLOWS) };
  const agent = await fakeAgent(t, answers);
  for (const verb of ['status', 'rules', 'flows'] as const) {
    const { out } = await dpuctl([verb, '--json'], { env: { DPU_AGENT_SOCKET: agent.socket } });
    t.equal(out, answers[`/${verb}`], verb);
  }
});

void t.test('colours are only where the layout has them, and change no text', async (t) => {
  const agent = await fakeAgent(t, { '/rules': RULES, '/status': { ...STATUS, ready: false } });
  for (const verb of ['rules', 'status']) {
    const args = [verb, '--socket', agent.socket];
    const bare = await dpuctl(args);
    const painted = await dpuctl(args, { colours: true });
    t.notMatch(bare.out, /\u001b/);
    t.match(painted.out, /\u001b\[31m/, 'red');
    const stripped = painted.out.replace(/\u001b\[\d+m/g, '');
    t.equal(stripped, bare.out, verb);
  }
});

void t.test('text of others cannot steer the terminal', async (t) => {
  const hostile = 'x\u001b]0;owned\u0007\n\u202etxt';
  const agent = await fakeAgent(t, {
    '/rules': [{ ...RULES[1], name: hostile, message: hostile }],
  });
  const rules = await dpuctl(['rules', '--socket', agent.socket, '--wide']);
  t.match(rules.out, 'x\\u{1b}]0;owned\\u{7}\\u{a}\\u{202e}txt');
  t.notMatch(rules.out.replaceAll('\n', ''), /[\u0000-\u001f\u202e]/);
  t.equal(rules.out.split('\n').length, 4, 'heading, row, total');
});

const USAGE: readonly { args: string[]; says: RegExp }[] = [
  { args: [], says: /^Usage: dpuctl/ },
  { args: ['frob'], says: /unknown command 'frob'/ },
  { args: ['status', 'now'], says: /too many arguments/ },
  { args: ['rules', '--frob'], says: /unknown option '--frob'/ },
  { args: ['flows', '--table', '254'], says: /0\.\.253/ },
  { args: ['flows', '--table', '-1'], says: /0\.\.253/ },
  { args: ['flows', '--table', '1e1'], says: /0\.\.253/ },
  { args: ['flows', '--rule', 'name'], says: /NAMESPACE\/NAME/ },
  { args: ['flows', '--rule', 'a/b/c/d'], says: /NAMESPACE\/NAME/ },
  { args: ['status', '--timeout', '0'], says: /more than 0/ },
  { args: ['status', '--timeout', 'soon'], says: /more than 0/ },
  { args: ['status', '--socket', `/${'x'.repeat(107)}`], says: /longer than 107 bytes/ },
];
void t.test('wrong usage ends with 2 and says what is accepted', async (t) => {
  for (const { args, says } of USAGE) {
    const { exit, out, err } = await dpuctl(args);
    t.strictSame([exit, out], [2, ''], args.join(' '));
    t.match(err, says, args.join(' '));
  }
});

void t.test('every verb has a help with an example, and there is a version', async (t) => {
  for (const verb of ['status', 'rules', 'flows']) {
    const { exit, out } = await dpuctl([verb, '--help']);
    t.equal(exit, 0);
    t.match(out, `\nExamples:\n  dpuctl ${verb}`);
    t.match(out, '--socket <path>', 'the global options');
  }
  const version = await dpuctl(['--version']);
  t.strictSame(version, { exit: 0, out: `${VERSION}\n`, err: '' });
});

/** Answers that are none, and what dpuctl says. */
const BAD_ANSWERS: readonly {
  name: string;
  answer: FakeAnswer;
  exit: number;
  says: RegExp;
}[] = [
  {
    name: 'no JSON',
    answer: '<html>',
    exit: 3,
    says: /answer to \/rules is not understood: it is no JSON\n {8}do dpuctl/,
  },
  {
    name: 'another shape',
    answer: [{ namespace: 'a' }],
    exit: 3,
    says: /not understood: 0\.name: /,
  },
  {
    name: 'the agent cannot say',
    answer: (response) => response.writeHead(503).end('{"error":"no OpenFlow connection"}'),
    exit: 1,
    says: /cannot answer now: no OpenFlow connection\n {8}dpuctl status/,
  },
  {
    name: 'the agent refuses the question',
    answer: (response) => response.writeHead(400).end('{"error":"table is x"}'),
    exit: 2,
    says: /^dpuctl: table is x\n$/,
  },
  {
    name: 'a status without a reason',
    answer: (response) => response.writeHead(500).end('oops'),
    exit: 3,
    says: /does not answer \/rules: HTTP status 500\n/,
  },
  {
    name: 'no answer at all',
    answer: () => undefined,
    exit: 3,
    says: /did not answer within 0\.2 s\n {8}.*--timeout/,
  },
  {
    name: 'an answer that stops half-way',
    answer: (response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('[');
    },
    exit: 3,
    says: /did not answer within 0\.2 s/,
  },
  {
    name: 'a connection that breaks off',
    answer: (response) => response.destroy(),
    exit: 3,
    says: /cannot reach the agent on .*: it closed the connection\n/,
  },
  {
    name: 'a connection that breaks off half-way',
    answer: (response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('[', () => response.destroy());
    },
    exit: 3,
    says: /cannot reach the agent on .*: it closed the connection\n/,
  },
];
void t.test('an agent that answers badly costs one clear error', async (t) => {
  for (const { name, answer, exit, says } of BAD_ANSWERS) {
    const agent = await fakeAgent(t, { '/rules': answer });
    const result = await dpuctl(['rules', '--socket', agent.socket, '--timeout', '0.2']);
    t.strictSame([result.exit, result.out], [exit, ''], name);
    t.match(result.err, says, name);
  }
});

void t.test('an answer larger than the bound is given up', async (t) => {
  let written = 0;
  const agent = await fakeAgent(t, {
    '/flows': (response: ServerResponse) => {
      const piece = Buffer.alloc(64 * 1024, 'x');
      const more = (): void => {
        while (!response.destroyed) {
          written += piece.length;
          if (!response.write(piece)) {
            response.once('drain', more);
            return;
          }
        }
      };
      more();
    },
  });
  const endpoint = { socket: agent.socket, timeoutMs: 10_000, maxBytes: 1024 * 1024 };
  await t.rejects(askAgent(endpoint, '/flows'), {
    code: 'DPUCTL_UNREACHABLE',
    message: /larger than 1048576 bytes/,
  });
  t.ok(written < 4 * 1024 * 1024, `${written} bytes were sent by an endless agent`);
});

void t.test('an agent that cannot be reached: what was tried, and what to do', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'dpuctl-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const file = join(dir, 'file');
  await writeFile(file, '');
  const dead = join(dir, 'dead.sock');
  await leaveSocketFile(dead);
  const cases = [
    { socket: join(dir, 'absent.sock'), says: /there is no such socket\n {8}is dpu-agent running/ },
    { socket: dead, says: /nobody listens there\n {8}dpu-agent has ended/ },
    { socket: join(file, 'x.sock'), says: /a part of the path is no directory\n/ },
    { socket: file, says: /it is no socket\n {8}is dpu-agent running/ },
    { socket: dir, says: /it is no socket\n {8}is dpu-agent running/ },
  ];
  for (const { socket, says } of cases) {
    const { exit, out, err } = await dpuctl(['status', '--socket', socket]);
    t.strictSame([exit, out], [3, '']);
    t.match(err, `cannot reach the agent on ${socket}: `);
    t.match(err, says);
  }
});

/** A Unix socket's file that nobody listens on, as a killed agent leaves it. */
async function leaveSocketFile(path: string): Promise<void> {
  const script = `require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
  await new Promise((resolve) => execFile(process.execPath, ['-e', script, path], resolve));
}

interface Ended {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

function runMain(args: readonly string[], options: object = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [MAIN, ...args], options, (_, out, err) =>
      resolve({ status: child.exitCode ?? -1, out: String(out), err: String(err) }),
    );
  });
}

void t.test('the program as a process: exit statuses, no colours in a pipe', async (t) => {
  const agent = await fakeAgent(t, { '/status': STATUS, '/rules': RULES });
  const env = { ...process.env, DPU_AGENT_SOCKET: agent.socket };
  const rules = await runMain(['rules'], { env });
  t.equal(rules.status, 0);
  t.match(rules.out, /^NAMESPACE {2}NAME/, 'no colours where standard output is no terminal');
  await agent.close();
  const gone = await runMain(['status'], { env });
  t.strictSame([gone.status, gone.out], [3, '']);
  t.match(gone.err, /^dpuctl: cannot reach the agent/);
});

void t.test('without permission it says to be root', async (t) => {
  const skip = process.getuid?.() === 0 ? false : 'needs root, to become somebody else';
  if (skip !== false) {
    t.pass('not run', { skip });
    return;
  }
  const agent = await fakeAgent(t, { '/status': STATUS });
  await chmod(join(agent.socket, '..'), 0o700);
  const client = JSON.stringify(new URL('../../src/cli/client.ts', import.meta.url).href);
  // Loaded as root first: a checkout may be readable by root alone.
  const script = `
    const { askAgent } = await import(${client});
    process.setgid(65534); process.setuid(65534);
    try { await askAgent({ socket: ${JSON.stringify(agent.socket)}, timeoutMs: 5000 }, '/status'); }
    catch (error) { console.log(error.exitStatus, error.message, '|', error.advice); }`;
  const { out } = await new Promise<{ out: string }>((resolve) =>
    execFile(process.execPath, ['--input-type=module', '-e', script], (_, text) =>
      resolve({ out: text }),
    ),
  );
  t.match(out, /^3 cannot reach the agent on .*: permission denied \| run dpuctl as .*sudo dpuctl/);
});

void t.test('a pipe that closes early is no fault', async (t) => {
  const many = Array.from({ length: 20_000 }, () => FLOWS[1]);
  const agent = await fakeAgent(t, { '/flows': many });
  const command = `"$0" "$1" --socket "$2" flows | head -n 1; echo "\${PIPESTATUS[0]}"`;
  const out = await new Promise<string>((resolve) =>
    execFile('bash', ['-c', command, process.execPath, MAIN, agent.socket], (_, text, err) =>
      resolve(text + err),
    ),
  );
  t.match(out, /^TABLE .*\n0\n$/);
});

void t.test('a full disk is one line of error and no success', async (t) => {
  const agent = await fakeAgent(t, { '/rules': RULES });
  const command = `"$0" "$1" --socket "$2" rules --json >/dev/full; echo "$?"`;
  const out = await new Promise<string>((resolve) =>
    execFile('bash', ['-c', command, process.execPath, MAIN, agent.socket], (_, text, err) =>
      resolve(err + text),
    ),
  );
  t.match(out, /^dpuctl: cannot write to standard output: ENOSPC[^\n]*\n3\n$/);
});

void t.test('numbers, times and names in text', (t) => {
  t.strictSame([0, 999, 1000, 1_234_567].map(formatCount), ['0', '999', '1_000', '1_234_567']);
  t.strictSame([0, 59, 60, 3601, 3660, 86_400, 93_784, -5].map(formatSpan), [
    ...['0s', '59s', '1m', '1h', '1h 1m', '1d', '1d 2h', '0s'],
  ]);
  t.end();
});

void t.test('wrapped text loses nothing but spaces, and no line is too long', (t) => {
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), fc.integer({ min: 1, max: 30 }), (text, width) => {
        const lines = wrap(plain(text), width);
        const squeeze = (value: string): string => value.replaceAll(/\s/g, '');
        return (
          lines.every((line) => line.length <= width) &&
          squeeze(lines.join('')) === squeeze(plain(text))
        );
      }),
    ),
  );
  t.end();
});

void t.test('a table fits its width whenever its narrowest form does', (t) => {
  const columns = [
    { title: 'A', cell: ([a = '']: readonly string[]) => a, wrapTo: 4 },
    { title: 'N', cell: () => '12345', right: true },
    { title: 'B', cell: ([, b = '']: readonly string[]) => b, wrapTo: 6 },
  ];
  const word = fc.string({ unit: fc.constantFrom('a', 'b', ',', '/'), maxLength: 60 });
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(
        fc.array(fc.tuple(word, word), { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 19, max: 90 }),
        (rows, width) =>
          formatTable(columns, rows, { width, colours: false })
            .split('\n')
            .every((line) => line.length <= width && line === line.trimEnd()),
      ),
    ),
  );
  t.end();
});
