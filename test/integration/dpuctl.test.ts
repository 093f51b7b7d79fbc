// The verbs of dpuctl against a real agent on a real switch: what was done to the switch by hand is what they say.
import { execFile } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import t from 'tap';
import { runDpuctl } from '../../src/cli/program.ts';
import { DEBUG_PATHS } from '../../scripts/generate/openapi.ts';
import { unixctl } from '../../src/ovsdb/unixctl.ts';
import { ruleFile, until } from '../support/agent.ts';
import { shop } from '../support/shop.ts';

interface Result {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

/** Runs dpuctl as an operator does, on a terminal of 100 columns without colours. */
async function dpuctl(socket: string, line: string): Promise<Result> {
  let out = '';
  let err = '';
  const exit = await runDpuctl(line.split(' '), {
    env: { DPU_AGENT_SOCKET: socket },
    layout: { width: 100, colours: false },
    print: (text) => void (out += text),
    complain: (text) => void (err += text),
  });
  return { exit, out, err };
}

/** A TCP packet of rep1a to 10.1.0.25, as `netdev-dummy/receive` reads it. */
function packet(source: string, port: number): string {
  return (
    'in_port(1),eth(src=02:00:0a:01:01:11,dst=02:00:0a:01:02:05),eth_type(0x0800),' +
    `ipv4(src=${source},dst=10.1.0.25,proto=6,tos=0,ttl=64,frag=no),tcp(src=5000,dst=${port})`
  );
}

void t.test('rules, flows, drops and the world are told as they are', async (t) => {
  const made = await shop(t);
  if (made === undefined) return;
  const { agent, ovs } = made;
  const ask = (line: string): Promise<Result> => dpuctl(agent.socket, line);
  const receive = (source: string, port: number): Promise<string> =>
    unixctl(join(ovs.rundir, 'vswitchd.ctl'), 'netdev-dummy/receive', [
      'rep1a',
      packet(source, port),
    ]);
  for (let count = 0; count < 3; count++) await receive('10.1.0.15', 81);
  await receive('10.9.9.9', 81);
  // The switch hands counters of its datapath on once in a while.
  await until(
    'the packets are counted',
    async () => {
      const rows = JSON.parse((await ask('drops --json')).out) as { packets: number }[];
      return rows.reduce((sum, { packets }) => sum + packets, 0) === 4;
    },
    30_000,
  );

  const drops = await ask('drops');
  t.match(drops.out, /^ +3 +\d+ {2}RuleDeny +tenant-a\/deny\/tcp-81 +denied by a rule$/m);
  t.match(drops.out, /^ +1 +\d+ {2}SpoofedSource /m);
  t.match(drops.out, /^2 reasons, \d+ more with --all$/m);
  t.match((await ask('drops --all')).out, /UnknownPeer/);

  const explained = await ask('explain tenant-a/deny');
  t.match(explained.out, /^rule {3}tenant-a\/deny\/tcp-81$/m);
  t.match(explained.out, /^does {3}deny, tier tenant$/m);
  t.match(explained.out, /^state {2}programmed$/m);
  t.match(
    explained.out,
    /^22 EgressTenant +52000 {2}installed +3 +\d+ {2}tcp,metadata=0x3e8,nw_dst=10\.1\.0\.25,/m,
  );
  t.match(explained.out, /^29 EgressVerdict +100 {2}installed +3 /m);

  await agent.writeRule('twin.yaml', ruleFile('twin', { ...WIDE, name: 't' }));
  await agent.rule('twin', ({ programmed }) => programmed);
  const shared = await ask('explain tenant-a/twin');
  t.match(shared.out, /clause, shared with\n +nw_src=10\.1\.0\.15 +tenant-a\/wide\/w$/m);
  t.match((await ask('rule tenant-a/twin')).out, /^# .*twin\.yaml:1\napiVersion: dpu\.network/);
  for (const verb of ['explain', 'rule']) {
    const unknown = await ask(`${verb} tenant-a/nope`);
    t.strictSame([unknown.exit, unknown.out], [2, '']);
    t.match(unknown.err, /no DPURule "tenant-a\/nope": dpuctl rules lists them/);
    t.match((await ask(`${verb} nope`)).err, /accepted: NAMESPACE\/NAME/);
  }

  t.match(
    (await ask('ports')).out,
    /^rep1a +11 {2}endpoint {2}1000 {2}02:00:0a:01:01:11 {2}10\.1\.0\.15, fd00::15 /m,
  );
  t.match((await ask('ports')).out, /^vtep0 +65000 {2}tunnel +- +192\.168\.1\.11$/m);
  t.match((await ask('peers')).out, /^192\.168\.1\.12 +0 {2}1000 +1 {2}10\.1\.0\.25$/m);
  t.match(
    (await ask('networks')).out,
    /^1000 {2}tenant-a {2}tenant-a +10\.1\.0\.0\/16 {2}allow +allow +3 /m,
  );
  t.match((await ask('groups')).out, /^3019900880 {2}installed {2}group_id=3019900880,type=all,/m);
  const events = await ask('events');
  t.match(events.out, /info {3}first sync complete/);
  const last = (JSON.parse((await ask('events --json')).out) as { id: number }[]).at(-1)?.id ?? 0;
  t.strictSame(await agent.json(`/events?after=${last}`), []);

  const top = await ask('top --once --interval 0.2');
  t.match(top.out, /^ +0\.0 +0\.0 +3 {2}tenant-a\/deny\/tcp-81$/m);
  t.match(top.out, /^ +0\.0 +0\.0 +1 {2}drop\/SpoofedSource$/m);
  for (const verb of [
    'drops --all',
    'explain tenant-a/twin',
    'ports',
    'peers',
    'networks',
    'groups',
    'events',
  ]) {
    const { exit, out } = await ask(verb);
    t.equal(exit, 0, verb);
    t.ok(
      out.split('\n').every((line) => line.length <= 100),
      `${verb} fits into 100 columns`,
    );
  }

  await ovs.stopVswitchd();
  await until('the switch is gone', async () => (await ask('diff')).exit === 1);
  for (const verb of ['diff', 'drops', 'groups']) {
    const gone = await ask(verb);
    t.strictSame([gone.exit, gone.out], [1, ''], verb);
    t.match(gone.err, /no OpenFlow connection to the bridge/, verb);
  }
});

const WIDE = {
  match: {
    srcIPs: ['10.1.0.15', '10.1.0.16', '10.1.0.17'],
    dstIPs: ['10.1.0.26', '10.1.0.25', '10.1.0.27'],
    protocol: 'TCP',
    dstPorts: [92, 93],
  },
  action: 'deny',
};

void t.test('diff names what is missing, differs, is left over and is foreign', async (t) => {
  const made = await shop(t);
  if (made === undefined) return;
  const { agent, ovs } = made;
  t.match(await dpuctl(agent.socket, 'diff'), {
    exit: 0,
    out: /^\d+ as desired, 0 missing, 0 that differ, 0 extra, 0 foreign\n$/,
  });
  const bridge = `unix:${ovs.rundir}/br-int.mgmt`;
  const ofctl = (...args: string[]): Promise<string> => ovs.ofctl('-O', 'OpenFlow13', ...args);
  await ofctl('add-flow', bridge, 'table=60,priority=8,cookie=0x77,actions=drop');
  await ofctl('add-group', bridge, 'group_id=3,type=all,bucket=actions=output:12');
  const { exit, out } = await dpuctl(agent.socket, 'diff');
  t.equal(exit, 0, 'flows of others are no difference');
  t.match(out, /^foreign +60 +8 +drop/m);
  t.match(out, /^group 3 foreign: group_id=3/m);
  t.match(out, /, 0 missing, 0 that differ, 0 extra, 1 foreign$/m);
});

const MUTABLE = { debug: { allowMutations: true } };

void t.test('what would change something is refused unless the agent allows it', async (t) => {
  const made = await shop(t);
  if (made === undefined) return;
  const { socket } = made.agent;
  const verbs = ['resync', 'pause', 'resume', 'log-level debug', 'bypass --vni 1000 --for 10m'];
  for (const verb of verbs) {
    const { exit, out, err } = await dpuctl(socket, verb);
    t.strictSame([exit, out], [1, ''], verb);
    t.match(err, /^dpuctl: refused: .* would change something.*debug\.allowMutations: true/, verb);
  }
  const method = (path: string, how: string, body = ''): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const call = request({ socketPath: socket, path, method: how }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      call.once('error', reject);
      call.end(body);
    });
  t.equal(await method('/resync', 'GET'), 405, 'an action takes POST');
  t.equal(await method('/status', 'POST'), 405);
  t.equal(await method('/nowhere', 'DELETE'), 405);
  t.equal(await method('/nowhere', 'GET'), 404);
  t.equal(await method('/resync', 'POST', 'x'.repeat(5000)), 413, 'a body is not read');
});

void t.test(
  'pause holds back every repair, diff names what it holds back, resume and resync repair it',
  async (t) => {
    const made = await shop(t, MUTABLE);
    if (made === undefined) return;
    const { agent, ovs } = made;
    const ask = (line: string): Promise<Result> => dpuctl(agent.socket, line);
    t.match(await ask('resync'), { exit: 0, out: 'the switch was as desired\n' });
    t.match(
      (await ask('pause --for 1h')).out,
      /^nothing is written to the switch until .*; dpuctl resume ends that\n$/,
    );
    const bridge = `unix:${ovs.rundir}/br-int.mgmt`;
    const ofctl = (...args: string[]): Promise<string> => ovs.ofctl('-O', 'OpenFlow13', ...args);
    await ofctl('--strict', 'del-flows', bridge, 'table=80,priority=105,reg1=0');
    await ofctl('--strict', 'mod-flows', bridge, 'table=70,priority=0,actions=drop');
    await ofctl('add-flow', bridge, 'table=60,priority=9,cookie=0xd9a6160000000001,actions=drop');
    await ofctl('add-flow', bridge, 'table=60,priority=8,cookie=0x77,actions=drop');
    const { exit, out } = await ask('diff');
    t.equal(exit, 1);
    t.match(out, /^missing +80 +105 {2}reg1=0x?0? +drop +base$/m);
    t.match(out, /^(differs|foreign) +70 +0 +drop/m);
    t.match(out, /^extra +60 +9 +drop/m);
    t.match(out, /^foreign +60 +8 +drop/m);
    t.match(
      (await ask('status')).out,
      /problems +dpuctl: pause: nothing is written to the switch until /,
    );
    t.match(await ask('resync'), { exit: 1, err: /no sync was complete in time: it is paused/ });
    t.match((await ask('resume')).out, 'the agent writes again\n');
    await until('repaired', async () => (await ask('diff')).exit === 0, 20_000);
    t.match((await ask('diff')).out, /, 0 missing, 0 that differ, 0 extra, 1 foreign$/m);
    t.match((await ask('events')).out, /paused by an operator.*resumed, the switch is brought/s);
  },
);

void t.test(
  'bypass lets a network pass its policy until its time is over, and nothing else',
  async (t) => {
    const made = await shop(t, MUTABLE);
    if (made === undefined) return;
    const { agent } = made;
    const ask = (line: string): Promise<Result> => dpuctl(agent.socket, line);
    const verdict = async (query: string): Promise<string> =>
      (await agent.json<{ verdict: string }>(`/trace?${query}`)).verdict;
    const denied = 'from=rep1a&to=10.1.0.25&tcp=81';
    t.equal(await verdict(denied), 'denied');
    t.match(
      (await ask('bypass --vni 1000 --for 1h')).out,
      /^THE POLICY OF VNI 1000 IS BYPASSED until /,
    );
    await until('let through', async () => (await verdict(denied)) === 'allowed', 20_000);
    t.equal(await verdict(`${denied}&from-ip=10.9.9.9`), 'dropped', 'a forged source stays one');
    t.match((await ask('rules')).out, /Bypassed: the policy of VNI 1000/);
    t.match((await ask('status')).out, /bypass: THE POLICY OF VNI 1000 IS BYPASSED/);
    t.match((await ask('bypass --vni 1000 --off')).out, 'the policy of VNI 1000 is in force\n');
    await until('in force again', async () => (await verdict(denied)) === 'denied', 20_000);
    await ask('bypass --vni 1000 --for 1s');
    await until(
      'over by itself',
      async () => {
        const events = (await ask('events --json')).out;
        return (events.match(/policy of a network is in force again/g)?.length ?? 0) === 2;
      },
      20_000,
    );
    await until('in force again', async () => (await verdict(denied)) === 'denied', 20_000);
    const wrong = await ask('bypass --vni 7 --for 1m');
    t.match(wrong, { exit: 2, err: /vni is "7"; accepted: 1000 \(tenant-a\), 1001 \(tenant-b\)/ });
    t.match(await ask('bypass --vni 1000 --for 25h'), { exit: 2, err: /at most 24h/ });
    t.match(await ask('log-level debug'), { exit: 1, err: /has one level only/ });
  },
);

void t.test('a support bundle holds what is told, and no secret', async (t) => {
  const canary = 'canary-5f1c';
  const apiServer = `https://admin:${canary}@192.0.2.1:6443`;
  const made = await shop(t, { kubernetes: { apiServer } });
  if (made === undefined) return;
  const { agent } = made;
  const rule = ruleFile('noted', { name: 'n', match: WIDE.match, action: 'deny' });
  await agent.writeRule(
    'noted.yaml',
    rule.replace('name: noted', `name: noted\n  annotations: {note: ${canary}}`),
  );
  await agent.rule('noted', ({ programmed }) => programmed);
  const file = join(agent.dir, 'bundle.json');
  t.match(await dpuctl(agent.socket, `support-bundle --output ${file}`), {
    exit: 0,
    out: /bundle\.json: [\d_]+ bytes/,
  });
  t.equal((await stat(file)).mode & 0o777, 0o600);
  const text = await readFile(file, 'utf8');
  t.notMatch(text, canary);
  const bundle = JSON.parse(text) as Record<string, unknown>;
  t.match(bundle['/status'], { node: 'dpu-1', ready: true });
  t.match(bundle['configuration'], {
    kubernetes: { apiServer: 'https://[redacted]@192.0.2.1:6443' },
  });
  for (const part of [
    '/rules',
    '/flows',
    '/networks',
    '/ports',
    '/peers',
    '/groups',
    '/drops',
    '/events',
  ]) {
    t.ok((bundle[part] as unknown[]).length > 0, part);
  }
  t.match(await dpuctl(agent.socket, `support-bundle --output ${file}`), {
    exit: 2,
    err: /EEXIST.*\n +give --output/,
  });
});

void t.test(
  'the OpenAPI file lists every path, and a real agent answers each as it says',
  async (t) => {
    const made = await shop(t, MUTABLE);
    if (made === undefined) return;
    const { agent } = made;
    const { paths } = await agent.json<{ paths: string[] }>('/nowhere');
    t.strictSame(DEBUG_PATHS.map(({ path }) => path).toSorted(), paths.toSorted());
    const file = join(import.meta.dirname, '../../docs/reference/debug-openapi.json');
    const document = JSON.parse(await readFile(file, 'utf8')) as { paths: object };
    t.strictSame(Object.keys(document.paths).toSorted(), paths.toSorted(), 'as generated');
    for (const { path, method, parameters = [], schema } of DEBUG_PATHS) {
      const query = new URLSearchParams();
      for (const [name, , example] of parameters)
        if (example !== undefined) query.set(name, example);
      const { status, body } = await ask(agent.socket, method, `${path}?${query.toString()}`);
      if (path === '/log-level') {
        t.equal(status, 400, 'a level is needed');
        continue;
      }
      t.equal(status, 200, `${path}: ${body.slice(0, 200)}`);
      const result = schema?.safeParse(JSON.parse(body));
      t.equal(result?.error, undefined, path);
    }
  },
);

function ask(
  socketPath: string,
  method: string,
  path: string,
): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path, method: method.toUpperCase() }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode, body }));
    });
    call.once('error', reject);
    call.end();
  });
}

void t.test('completion in bash knows verbs, their options and choices', async (t) => {
  const { exit, out } = await dpuctl('/nowhere', 'completion bash');
  t.equal(exit, 0);
  const complete = (words: string[]): Promise<string> =>
    new Promise((resolve, reject) => {
      const script = `${out}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _dpuctl; echo "\${COMPREPLY[@]}"`;
      execFile('bash', ['-c', script], (error, text, err) =>
        error === null ? resolve(text.trim()) : reject(new Error(err)),
      );
    });
  t.equal(await complete(['dpuctl', 'ex']), 'explain');
  t.equal(await complete(['dpuctl', 'trace', '--from-p']), '--from-peer');
  t.equal(await complete(['dpuctl', '--json', 'log-level', 'd']), 'debug');
  t.match(await complete(['dpuctl', 'rules', '--']), /--namespace.*--not-programmed.*--socket/);
  t.match(
    (await dpuctl('/nowhere', 'completion zsh')).out,
    /^#compdef dpuctl\n.*'trace:what the switch/s,
  );
  t.equal((await dpuctl('/nowhere', 'completion fish')).exit, 2);
});
