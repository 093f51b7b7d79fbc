/**
 * The source of rules on a real API server, and an agent on it: what the server takes and refuses, and that nothing which the
 * server does takes away what is in force. Faults that a real server does not produce on demand are in
 * test/agent/sources/kube.test.ts.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parse, stringify } from 'yaml';
import { KubeSource } from '../../src/agent/sources/kube.ts';
import type { SourceSnapshot } from '../../src/agent/sources/source.ts';
import { objectKey, parseObject } from '../../src/api/object.ts';
import type { Logger } from '../../src/base/logger.ts';
import { type RuleRow, TestAgent, until } from '../support/agent.ts';
import {
  type KubeManifest,
  type KubeSandbox,
  kubeSandbox,
  type KubeSandboxOwner,
} from '../support/kube-sandbox.ts';
import { ovsSandbox } from '../support/ovs-sandbox.ts';

const FILE = t;
FILE.setTimeout(120_000);

const API = 'dpu.network/v1alpha1';

function rule(name: string, entry: object = {}, spec: object = {}): KubeManifest {
  const match = { protocol: 'TCP', dstPort: 81 };
  return {
    apiVersion: API,
    kind: 'DPURule',
    metadata: { name, namespace: 'tenant-a' },
    spec: { networkRef: 'tenant-a', ...spec, rules: [{ match, action: 'deny', ...entry }] },
  };
}

function network(name: string, spec: object = {}): KubeManifest {
  const metadata = { name };
  return { apiVersion: API, kind: 'DPUNetwork', metadata, spec: { vni: 1000, ...spec } };
}

function group(name: string, spec: object = {}): KubeManifest {
  return { apiVersion: API, kind: 'DPUGroup', metadata: { name, namespace: 'tenant-a' }, spec };
}

function slice(name: string, ...entries: object[]): KubeManifest {
  const labels = { 'dpu.network/group': 'web' };
  const metadata = { name, namespace: 'tenant-a', labels };
  return { apiVersion: API, kind: 'DPUGroupSlice', metadata, spec: { entries } };
}

const POD = { ip: '10.1.0.5', vni: 1000 };

const REFUSED: readonly { name: string; manifest: KubeManifest; says: RegExp }[] = [
  { name: 'VNI 0', manifest: rule('x', { vni: 0 }), says: /vni.*greater than or equal to 1/ },
  { name: 'a VNI of 25 bits', manifest: rule('x', { vni: 2 ** 24 }), says: /vni.*16777215/ },
  {
    name: 'an unknown action',
    manifest: rule('x', { action: 'drop' }),
    says: /action: Unsupported value: "drop".*"allow", "deny"/,
  },
  {
    name: 'redirect without a port',
    manifest: rule('x', { action: 'redirect' }),
    says: /redirectPort is required with action redirect/,
  },
  {
    name: 'reverse with deny',
    manifest: rule('x', { reverse: true }),
    says: /reverse needs action allow/,
  },
  {
    name: 'srcIP and srcIPs',
    manifest: rule('x', { match: { srcIP: '10.1.0.5', srcIPs: ['10.1.0.6'] } }),
    says: /srcIP and srcIPs exclude each other/,
  },
  {
    name: 'no VNI and no network',
    manifest: rule('x', {}, { networkRef: undefined }),
    says: /a rule without vni needs spec\.networkRef/,
  },
  {
    name: 'two rules of one name',
    manifest: {
      ...rule('x'),
      spec: {
        networkRef: 'tenant-a',
        rules: [
          { name: 'a', action: 'deny' },
          { name: 'a', action: 'allow' },
        ],
      },
    },
    says: /names of rules must be unique/,
  },
  { name: 'an unknown field', manifest: rule('x', { dstport: 80 }), says: /dstport/ },
  { name: 'an unknown tier', manifest: rule('x', {}, { tier: 'gold' }), says: /tier.*"gold"/ },
  { name: 'priority 1001', manifest: rule('x', {}, { priority: 1001 }), says: /priority.*1000/ },
  {
    name: 'a network without VNI',
    manifest: network('x', { vni: undefined }),
    says: /vni: Required/,
  },
  {
    name: 'a network with a bad default',
    manifest: network('x', { defaultAction: { ingress: 'drop' } }),
    says: /ingress: Unsupported value/,
  },
  {
    name: 'a group whose name fits into no label',
    manifest: group('g'.repeat(64)),
    says: /name may have at most 63 characters/,
  },
  {
    name: 'a requirement without its values',
    manifest: group('x', { podSelector: { matchExpressions: [{ key: 'app', operator: 'In' }] } }),
    says: /In and NotIn need values/,
  },
  {
    name: 'a named port without protocol',
    manifest: slice('x', { ...POD, ports: { http: [8080, 8080] } }),
    says: /a named port is a protocol/,
  },
  {
    name: 'a named port that is no number',
    manifest: slice('x', { ...POD, ports: { http: ['TCP', 'UDP'] } }),
    says: /a named port is a protocol/,
  },
  { name: 'an entry without VNI', manifest: slice('x', { ip: '10.1.0.5' }), says: /vni: Required/ },
];

/** A logger that keeps the codes of the errors that it is told. */
function codeLog(): { logger: Logger; codes: string[] } {
  const codes: string[] = [];
  const note = (fields: Readonly<Record<string, unknown>>): void => {
    const { err } = fields;
    if (err instanceof Error && 'code' in err) codes.push(String(err.code));
  };
  return { logger: { debug: note, info: note, warn: note, error: note }, codes };
}

interface Watched {
  readonly source: KubeSource;
  readonly codes: readonly string[];
  /** Waits until `check` holds of the snapshot; milliseconds that it took. */
  readonly seen: (
    what: string,
    check: (source: KubeSource) => boolean,
    timeoutMs?: number,
  ) => Promise<number>;
}

function follow(test: Test, kubeconfig: string, lastGood?: SourceSnapshot['objects']): Watched {
  const { logger, codes } = codeLog();
  const source = new KubeSource(
    { kubeconfig },
    { logger, ...(lastGood === undefined ? {} : { lastGood: async () => lastGood }) },
  );
  test.after(() => source.close());
  return {
    source,
    codes,
    seen: async (what, check, timeoutMs = 15_000) => {
      const start = performance.now();
      await until(what, () => check(source), timeoutMs);
      return performance.now() - start;
    },
  };
}

const keys = (source: KubeSource): string => [...source.snapshot.objects.keys()].sort().join(' ');
const has =
  (name: string) =>
  (source: KubeSource): boolean =>
    source.snapshot.objects.has(`DPURule/tenant-a/${name}`);
const lacks =
  (name: string) =>
  (source: KubeSource): boolean =>
    !has(name)(source);

async function send(kube: KubeSandbox, ...manifests: readonly KubeManifest[]): Promise<void> {
  for (const manifest of manifests) await kube.apply(stringify(manifest));
}

/** A kubeconfig whose user is a service account with no rights, its token in a file beside. */
async function serviceAccountConfig(kube: KubeSandbox, name: string): Promise<string> {
  const metadata = { name, namespace: 'default' };
  await send(kube, { apiVersion: 'v1', kind: 'ServiceAccount', metadata });
  const { body } = await kube.call(
    'POST',
    `/api/v1/namespaces/default/serviceaccounts/${name}/token`,
    { type: 'application/json', text: '{"spec": {}}' },
  );
  const { token } = body['status'] as { token: string };
  await writeFile(join(kube.dir, `${name}.token`), token);
  const config = parse(kube.kubeconfigText) as { users: { name: string; user: object }[] };
  config.users = [{ name: 'admin', user: { tokenFile: join(kube.dir, `${name}.token`) } }];
  const file = join(kube.dir, `${name}.kubeconfig`);
  await writeFile(file, stringify(config));
  return file;
}

/** The test, with the file's time lengthened beside its own. */
function owner(t: Test): KubeSandboxOwner {
  return {
    after: (teardown) => t.after(teardown),
    pass: (message, extra) => t.pass(message, extra),
    setTimeout: (timeoutMs) => {
      FILE.setTimeout(timeoutMs);
      t.setTimeout(timeoutMs);
    },
  };
}

await t.test('a Kubernetes API server', async (t) => {
  t.setTimeout(120_000);
  const kube = await kubeSandbox(owner(t));
  if (kube === undefined) return;

  await t.test(
    'without the CRDs the source waits, says why, and starts when they come',
    async (t) => {
      const { source, seen } = follow(t, kube.kubeconfig);
      let started = false;
      const starting = source.start().then(() => (started = true));
      await seen('404', ({ snapshot }) =>
        snapshot.problems.some(({ message }) => /404/.test(message)),
      );
      t.equal(started, false, 'an absent CRD is not an empty list');
      await kube.installCrds();
      await starting;
      t.equal(source.snapshot.objects.size, 0);
      await seen('no problem', ({ snapshot }) => snapshot.problems.length === 0);
    },
  );
  await send(kube, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'tenant-a' } });

  await t.test('what the agent would refuse is refused at admission, with a reason', async (t) => {
    for (const { name, manifest, says } of REFUSED) {
      const answer = await kube.call(
        'POST',
        manifest.kind === 'DPUNetwork'
          ? `/apis/${API}/dpunetworks?fieldValidation=Strict`
          : `/apis/${API}/namespaces/tenant-a/${manifest.kind.toLowerCase()}s?fieldValidation=Strict`,
        { type: 'application/json', text: JSON.stringify(manifest) },
      );
      t.ok(answer.status === 422 || answer.status === 400, `${name}: ${answer.status}`);
      t.match(answer.message, says, `${name}: the message says what is wrong`);
      const own = parseObject(JSON.parse(JSON.stringify(manifest)));
      t.equal(own.object, undefined, `${name}: the agent refuses it as well`);
    }
  });

  await t.test('create, edit, status and delete reach the source within a second', async (t) => {
    const { source, seen } = follow(t, kube.kubeconfig);
    await source.start();
    await send(kube, network('tenant-a', { namespaces: ['tenant-a'] }), rule('web'));
    const createMs = await seen('the rule', has('web'));
    t.ok(createMs < 1000, `created: ${Math.round(createMs)} ms after the reply`);
    const first = source.snapshot.objects.get('DPURule/tenant-a/web');
    t.match(first?.origin, /\/apis\/dpu\.network\/v1alpha1\/namespaces\/tenant-a\/dpurules\/web$/);

    await kube.patch(rule('web'), { status: { programmedNodes: 1 } }, '/status');
    await send(kube, rule('other'));
    await seen('the next rule', has('other'));
    t.equal(source.snapshot.objects.get('DPURule/tenant-a/web'), first, 'a status changes nothing');

    await send(kube, rule('web', { action: 'allow' }));
    const editMs = await seen('the edit', ({ snapshot }) => {
      const object = snapshot.objects.get('DPURule/tenant-a/web')?.object;
      return object?.kind === 'DPURule' && object.spec.rules[0]?.action === 'allow';
    });
    t.ok(editMs < 1000, `edited: ${Math.round(editMs)} ms`);

    await kube.delete(rule('other'));
    const deleteMs = await seen('the delete', lacks('other'));
    t.ok(deleteMs < 1000, `deleted: ${Math.round(deleteMs)} ms`);
    t.equal(keys(source), 'DPUNetwork/tenant-a DPURule/tenant-a/web');
  });

  await t.test('groups and slices reach the source as they were written', async (t) => {
    const { source, seen } = follow(t, kube.kubeconfig);
    await source.start();
    const entries = [POD, { ...POD, ip: 'fd00::5', ports: { http: ['TCP', 8080] } }];
    const expressions = [{ key: 'tier', operator: 'NotIn', values: ['db'] }];
    const podSelector = { matchLabels: { app: 'web' }, matchExpressions: expressions };
    await send(kube, group('web', { podSelector, cidrs: ['10.9.0.0/24'], except: ['10.9.0.1'] }));
    await send(kube, slice('web-1', ...entries));
    const specOf = (key: string): unknown => source.snapshot.objects.get(key)?.object.spec;
    await seen('both', () => specOf('DPUGroupSlice/tenant-a/web-1') !== undefined);
    t.strictSame(specOf('DPUGroup/tenant-a/web'), {
      podSelector,
      cidrs: ['10.9.0.0/24'],
      except: ['10.9.0.1'],
    });
    t.strictSame(specOf('DPUGroupSlice/tenant-a/web-1'), { entries });
    await kube.delete(slice('web-1'));
    await kube.delete(group('web'));
    await seen(
      'both are gone',
      ({ snapshot }) => !/DPUGroup/.test([...snapshot.objects.keys()].join()),
    );
  });

  await t.test('a server killed, restarted and frozen takes nothing away', async (t) => {
    const { source, codes, seen } = follow(t, kube.kubeconfig);
    await send(kube, rule('stays'), rule('goes'));
    await source.start();
    const before = source.snapshot.objects.get('DPURule/tenant-a/stays');
    // Writes elsewhere, so that the restarted server no longer knows our version.
    await send(kube, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'elsewhere' } });
    await kube.killApiServer();
    await seen('the fault', ({ snapshot }) => snapshot.problems.length > 0);
    t.ok(has('goes')(source), 'objects stay while the server is away');
    await kube.startApiServer();
    await kube.delete(rule('goes'));
    await send(kube, rule('came'));
    const ms = await seen(
      'what happened meanwhile',
      (s) => has('came')(s) && lacks('goes')(s),
      30_000,
    );
    t.comment(`caught up ${Math.round(ms)} ms after the first write to the restarted server`);
    t.comment(`faults met: ${[...new Set(codes)].join(' ')}`);
    t.equal(source.snapshot.objects.get('DPURule/tenant-a/stays'), before, 'the very same object');
    await seen('no problem', ({ snapshot }) => snapshot.problems.length === 0, 30_000);

    kube.freezeApiServer(true);
    await new Promise((resolve) => setTimeout(resolve, 500));
    t.ok(has('stays')(source), 'objects stay while the server is frozen');
    kube.freezeApiServer(false);
    await kube.delete(rule('came'));
    await seen('a delete after the frost', lacks('came'));
  });

  await t.test('a first list that lacks most of what was in force is held', async (t) => {
    const lastGood = new Map(
      Array.from({ length: 40 }, (_, index) => {
        const { object } = parseObject(rule(`old-${index}`));
        if (object === undefined) throw new Error('bad fixture');
        return [objectKey(object), { object, origin: 'last-good' }] as const;
      }),
    );
    const { source, seen } = follow(t, kube.kubeconfig, lastGood);
    await source.start();
    t.ok(has('old-0')(source) && has('old-39')(source), 'they stay');
    t.ok(has('web')(source), 'what the list has is in force as well');
    t.match(source.snapshot.problems, [{ message: /40 DPURule objects are missing/ }], 'an alarm');
    await send(kube, rule('old-0'));
    await seen('fewer held', ({ snapshot }) =>
      snapshot.problems.some(({ message }) => message.startsWith('39 DPURule')),
    );
    await kube.delete(rule('old-0'));
    await seen('a watched delete', lacks('old-0'));
    t.ok(has('old-1')(source), 'the others are still held');
  });

  await t.test('403 is waited out; rights, and a new token on disk, are found', async (t) => {
    const file = await serviceAccountConfig(kube, 'agent');
    const { source, seen } = follow(t, file);
    const starting = source.start();
    await seen('403', ({ snapshot }) =>
      snapshot.problems.some(({ message }) => /403/.test(message)),
    );
    const rbac = 'rbac.authorization.k8s.io/v1';
    await send(
      kube,
      {
        apiVersion: rbac,
        kind: 'ClusterRole',
        metadata: { name: 'agent' },
        rules: [
          {
            apiGroups: ['dpu.network'],
            resources: ['dpurules', 'dpunetworks', 'dpugroups', 'dpugroupslices'],
            verbs: ['list', 'watch'],
          },
        ],
      },
      {
        apiVersion: rbac,
        kind: 'ClusterRoleBinding',
        metadata: { name: 'agent' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'agent' },
        subjects: [{ kind: 'ServiceAccount', name: 'agent', namespace: 'default' }],
      },
    );
    await starting;
    t.ok(has('web')(source), 'list and watch of its kinds are all that it needs');

    const token = join(kube.dir, 'agent.token');
    const good = await readFile(token, 'utf8');
    await writeFile(token, 'rotten');
    const other = follow(t, file);
    const otherStart = other.source.start();
    await other.seen('401', ({ snapshot }) =>
      snapshot.problems.some(({ message }) => /401/.test(message)),
    );
    await writeFile(token, good);
    await otherStart;
    t.ok(has('web')(other.source), 'the new token is used');
  });

  await t.test(
    'an agent programs what the API server says, and keeps it without the server',
    async (t) => {
      const ovs = await ovsSandbox(t);
      if (ovs === undefined) return;
      const agent = await TestAgent.create(t, ovs, {
        rules: { source: 'kubernetes', kubeconfig: kube.kubeconfig },
        networks: [],
      });
      await agent.start();
      const start = performance.now();
      await send(kube, rule('end-to-end', { match: { protocol: 'TCP', dstPort: 4711 } }));
      await agent.rule('end-to-end', ({ programmed }) => programmed);
      t.comment(
        `from before the request to programmed: ${Math.round(performance.now() - start)} ms`,
      );
      const flows = (): Promise<string> => ovs.ofctl('-O', 'OpenFlow13', 'dump-flows', 'br-int');
      t.match(await flows(), /tp_dst=4711/, 'the switch has it');

      await kube.killApiServer();
      await agent.replace();
      await agent.start();
      const stale = await agent.rule('end-to-end', ({ programmed }) => programmed);
      t.match(stale.reason, /Stale/, 'restarted without the server: in force from disk');
      t.match(await flows(), /tp_dst=4711/);
      await kube.startApiServer();
      // The wait between two attempts has grown to half a minute by now where starting took long.
      const isFresh = ({ reason }: RuleRow): boolean => !reason.includes('Stale');
      await agent.rule('end-to-end', isFresh, 45_000);

      await kube.delete(rule('end-to-end'));
      await until('the flow is gone', async () => !(await flows()).includes('tp_dst=4711'));
    },
  );

  await t.test('a CRD that is deleted while nobody watches takes no rule away', async (t) => {
    const { source, seen } = follow(t, kube.kubeconfig);
    await source.start();
    await kube.killApiServer();
    await seen('the fault', ({ snapshot }) => snapshot.problems.length > 0);
    await kube.startApiServer();
    await kube.delete({
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'dpurules.dpu.network' },
    });
    await kube.served('dpurules', false);
    await seen('404', ({ snapshot }) =>
      snapshot.problems.some(({ message }) => /404/.test(message)),
    );
    t.ok(has('web')(source), 'the rule stays');
  });
});

await t.test(
  'a cluster that knows no groups has none, and is told when it learns of them',
  async (t) => {
    const kube = await kubeSandbox(owner(t));
    if (kube === undefined) return;
    await kube.installCrds(['dpunetwork', 'dpurule']);
    await send(kube, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'tenant-a' } });
    await send(kube, rule('web'));
    const { source, seen } = follow(t, kube.kubeconfig);
    await source.start();
    t.equal(keys(source), 'DPURule/tenant-a/web');
    t.ok(
      source.snapshot.problems.some(
        ({ file, message }) => /dpugroups$/.test(file) && /404/.test(message),
      ),
    );
    await kube.installCrds();
    await send(kube, group('web'));
    await seen(
      'the group',
      ({ snapshot }) => snapshot.objects.has('DPUGroup/tenant-a/web'),
      60_000,
    );
  },
);

await t.test('a server that streams no lists is listed by pages, then watched', async (t) => {
  t.setTimeout(60_000);
  const kube = await kubeSandbox(owner(t), ['--feature-gates=WatchList=false']);
  if (kube === undefined) return;
  await kube.installCrds();
  await send(kube, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'tenant-a' } });
  const names = Array.from({ length: 501 }, (_, index) => `r${index}`);
  await Promise.all(names.map((name) => kube.tryApply(rule(name))));
  const { source, codes, seen } = follow(t, kube.kubeconfig);
  await source.start();
  t.equal(source.snapshot.objects.size, 501, 'two pages');
  t.ok(codes.includes('SOURCE_KUBE_REFUSED'), 'the streamed list was asked for, and refused');
  await seen('no problem', ({ snapshot }) => snapshot.problems.length === 0);
  await kube.delete(rule('r7'));
  await seen('a watched delete', lacks('r7'));
});
