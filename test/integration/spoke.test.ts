/**
 * The spoke on a real API server: policies become rules, groups get their slices, pods come and go, somebody edits, a spoke
 * is restarted, killed or stopped, and at last an agent with a switch acts on what the spoke writes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { Spoke } from '../../src/hub/spoke/spoke.ts';
import { until } from '../support/agent.ts';
import { type KubeManifest, type KubeSandbox, kubeSandbox } from '../support/kube-sandbox.ts';

t.setTimeout(240_000);

const API = 'dpu.network/v1alpha1';
const PROGRAM = fileURLToPath(new URL('../../src/hub/spoke/main.ts', import.meta.url));

const namespace = (name: string, labels = {}): KubeManifest => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels } as KubeManifest['metadata'],
});
const network = (spec: object = {}): KubeManifest => ({
  apiVersion: API,
  kind: 'DPUNetwork',
  metadata: { name: 'shop' },
  spec: { vni: 1000, namespaces: ['shop'], conntrack: 'on', ...spec },
});
const policy = (name: string, spec: object): KubeManifest => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, namespace: 'shop' },
  spec,
});
const WEB = policy('web', {
  podSelector: { matchLabels: { app: 'web' } },
  ingress: [
    { from: [{ podSelector: { matchLabels: { app: 'front' } } }], ports: [{ port: 'http' }] },
  ],
});

async function addPod(kube: KubeSandbox, name: string, app: string, ip: string): Promise<void> {
  const ports = [{ name: 'http', containerPort: 8080 }];
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'shop', labels: { app } },
    spec: { containers: [{ name: 'c', image: 'x', ports }] },
  };
  const { status, message } = await kube.tryApply(pod);
  if (status >= 300) throw new Error(message);
  await kube.patch(pod, { status: { phase: 'Running', podIP: ip, podIPs: [{ ip }] } }, '/status');
}

async function send(kube: KubeSandbox, ...manifests: KubeManifest[]): Promise<void> {
  for (const manifest of manifests) {
    const { status, message } = await kube.tryApply(manifest);
    if (status >= 300) throw new Error(message);
  }
}

interface Listed {
  readonly metadata: {
    readonly name: string;
    readonly resourceVersion: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
}

async function list(kube: KubeSandbox, plural: string): Promise<Listed[]> {
  const { body } = await kube.call('GET', `/apis/${API}/namespaces/shop/${plural}`);
  return body['items'] as Listed[];
}

async function versions(kube: KubeSandbox): Promise<string[]> {
  const all = [];
  for (const plural of ['dpugroups', 'dpurules', 'dpugroupslices']) {
    all.push(...(await list(kube, plural)));
  }
  return all.map(({ metadata }) => `${metadata.name} ${metadata.resourceVersion}`).sort();
}

const names = (objects: readonly Listed[]): string[] =>
  objects.map(({ metadata }) => metadata.name);

/** Addresses in the slices of a group. */
async function addresses(kube: KubeSandbox, group: string): Promise<string[]> {
  const slices = (await list(kube, 'dpugroupslices')).filter(
    ({ metadata }) => metadata.labels?.['dpu.network/group'] === group,
  );
  return slices
    .flatMap(({ spec }) => (spec['entries'] as { ip: string }[]).map(({ ip }) => ip))
    .sort();
}

function startSpoke(t: Test, kube: KubeSandbox, identity = 'one'): Spoke {
  const spoke = new Spoke({
    target: { kubeconfig: kube.kubeconfig },
    ...{ namespace: 'dpu-system', identity, durationMs: 3000, statusEveryMs: 100 },
  });
  t.after(() => spoke.close());
  spoke.start();
  return spoke;
}

async function shop(t: Test): Promise<KubeSandbox | undefined> {
  const kube = await kubeSandbox(t);
  if (kube === undefined) return undefined;
  await kube.installCrds();
  await send(kube, namespace('dpu-system'), namespace('shop'), network());
  await addPod(kube, 'web-1', 'web', '10.1.0.5');
  await addPod(kube, 'front-1', 'front', '10.1.0.6');
  return kube;
}

const PEER = 'np-peer-';

t.test('the objects of a cluster become what its policies and groups say', async (t) => {
  const kube = await shop(t);
  if (kube === undefined) return;
  await send(kube, WEB);
  const spoke = startSpoke(t, kube);
  const peer = async (): Promise<string> => {
    const found = names(await list(kube, 'dpugroups')).find((name) => name.startsWith(PEER));
    if (found === undefined) throw new Error('no group of peers');
    return found;
  };

  await t.test('a policy becomes rules, groups, slices and a status', async (t) => {
    await until('slices', async () => (await addresses(kube, await peer())).length > 0, 20_000);
    t.same(names(await list(kube, 'dpurules')), ['np-web', 'np-web-iso']);
    t.same(await addresses(kube, await peer()), ['10.1.0.6']);
    const [slice] = (await list(kube, 'dpugroupslices')).filter(
      ({ metadata }) => metadata.labels?.['dpu.network/group'] === 'np-web',
    );
    t.match(slice, {
      metadata: { labels: { 'dpu.network/spoke': 'dpu-spoke' } },
      spec: { entries: [{ ip: '10.1.0.5', vni: 1000, ports: { http: ['TCP', 8080] } }] },
    });
    await until('status', async () => {
      const group = (await list(kube, 'dpugroups')).find(
        ({ metadata }) => metadata.name === 'np-web',
      );
      const expected = { observedGeneration: 1, addresses: 1, slices: 1 };
      t.match(group?.status, { ...expected, conditions: [{ type: 'Resolved', status: 'True' }] });
      return true;
    });
  });

  await t.test('a pod that comes changes one slice, and one that goes leaves it', async (t) => {
    const before = await versions(kube);
    await addPod(kube, 'web-2', 'web', '10.1.0.7');
    await until('the pod', async () => (await addresses(kube, 'np-web')).includes('10.1.0.7'));
    await kube.call('DELETE', '/api/v1/namespaces/shop/pods/web-2?gracePeriodSeconds=0');
    await until('no pod', async () => !(await addresses(kube, 'np-web')).includes('10.1.0.7'));
    await until('status of one address', async () => {
      const group = (await list(kube, 'dpugroups')).find(
        ({ metadata }) => metadata.name === 'np-web',
      );
      return group?.status?.['addresses'] === 1;
    });
    const changed = (await versions(kube)).filter((version) => !before.includes(version));
    t.ok(
      changed.every((version) => version.startsWith('np-web ') || version.startsWith('np-web-0 ')),
      'nothing else was written',
      { changed },
    );
  });

  await t.test('what others edit or delete is put right', async (t) => {
    const rule = {
      apiVersion: API,
      kind: 'DPURule',
      metadata: { name: 'np-web', namespace: 'shop' },
    };
    await kube.patch(rule, { spec: { tier: 'platform' } });
    await until('the tier', async () => {
      const found = (await list(kube, 'dpurules')).find(
        ({ metadata }) => metadata.name === 'np-web',
      );
      return found?.spec['tier'] === 'policy';
    });
    const slice = {
      ...rule,
      kind: 'DPUGroupSlice',
      metadata: { name: 'np-web-0', namespace: 'shop' },
    };
    await kube.delete(slice);
    await until('the slice', async () => (await addresses(kube, 'np-web')).length === 1);
    t.pass('both are as they were');
  });

  await t.test('a policy that cannot be translated is told, and what it was stays', async (t) => {
    const before = (await versions(kube)).length;
    await send(kube, network({ conntrack: 'off' }));
    const told = await until('an Event', async () => {
      const { body } = await kube.call('GET', '/apis/events.k8s.io/v1/namespaces/shop/events');
      return (body['items'] as { reason: string; note: string }[]).find(
        ({ reason }) => reason === 'ConntrackOff',
      );
    });
    t.match(told.note, /DPUNetwork shop has conntrack off/);
    t.equal((await versions(kube)).length, before, 'nothing was taken away');
    await send(kube, network());
  });

  await t.test('a restart writes nothing', async (t) => {
    await spoke.close();
    const before = await versions(kube);
    const next = startSpoke(t, kube, 'two');
    await until('it leads', () => next.leader.valid && next.counts.passes > 1, 20_000);
    t.same([...next.counts.writes], []);
    t.same(await versions(kube), before);
    await kube.delete(WEB);
    await until('all is gone', async () => (await versions(kube)).length === 0);
    t.pass('a policy that is deleted takes along what it became');
  });
});

/** A spoke as a process of its own. */
function spawnSpoke(t: Test, kube: KubeSandbox, identity: string): ChildProcess {
  const flags = ['--kubeconfig', kube.kubeconfig, '--namespace', 'dpu-system'];
  const child = spawn(
    process.execPath,
    [PROGRAM, ...flags, '--identity', identity, '--lease-seconds', '3', '--listen', 'off'],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  t.after(() => child.kill('SIGKILL'));
  return child;
}

async function holder(kube: KubeSandbox): Promise<string> {
  const path = '/apis/coordination.k8s.io/v1/namespaces/dpu-system/leases/dpu-spoke';
  const { body } = await kube.call('GET', path);
  return (body['spec'] as { holderIdentity?: string } | undefined)?.holderIdentity ?? '';
}

t.test('of two spokes one writes; the other goes on when it is killed or stopped', async (t) => {
  const kube = await shop(t);
  if (kube === undefined) return;
  const processes = new Map(
    ['a', 'b'].map((identity) => [identity, spawnSpoke(t, kube, identity)]),
  );
  const first = await until('a leader', async () => (await holder(kube)) || undefined, 30_000);
  const second = first === 'a' ? 'b' : 'a';
  await send(kube, WEB);
  await until('rules', async () => (await list(kube, 'dpurules')).length === 2, 20_000);

  processes.get(first)?.kill('SIGSTOP');
  await until('the other leads', async () => (await holder(kube)) === second, 30_000);
  await kube.delete(WEB);
  await until('rules are gone', async () => (await list(kube, 'dpurules')).length === 0, 20_000);
  processes.get(first)?.kill('SIGCONT');
  // It must read what happened before it may do anything: its picture still has the policy.
  await send(kube, policy('db', { podSelector: {} }));
  await until('the new rule', async () =>
    names(await list(kube, 'dpurules')).includes('np-db-iso'),
  );
  t.equal(await holder(kube), second, 'the one that was stopped does not lead');
  t.notOk(names(await list(kube, 'dpurules')).includes('np-web'), 'nor did it write');

  processes.get(second)?.kill('SIGKILL');
  await until('the first leads again', async () => (await holder(kube)) === first, 30_000);
  await kube.delete(policy('db', {}));
  await until('it writes', async () => (await list(kube, 'dpurules')).length === 0, 20_000);
});
