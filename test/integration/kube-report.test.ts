/**
 * What agents tell their cluster, and each other through it, on a real API server: DPUNode, Lease, Events, and endpoints that
 * one DPU publishes and the other reaches. Two agents on two Open vSwitches.
 */
import t, { type Test } from 'tap';
import { stringify } from 'yaml';
import { parseObject } from '../../src/api/object.ts';
import { type ConfigOverride, TestAgent, until } from '../support/agent.ts';
import { type KubeManifest, type KubeSandbox, kubeSandbox } from '../support/kube-sandbox.ts';
import { type OvsSandbox, ovsSandbox } from '../support/ovs-sandbox.ts';

t.setTimeout(240_000);

const API = 'dpu.network/v1alpha1';

interface NodeObject {
  readonly status?: {
    readonly vtepIP?: string;
    readonly versions?: Readonly<Record<string, string>>;
    readonly marks?: Readonly<Record<string, string>>;
    readonly endpoints?: number;
    readonly ruleEntries?: number;
    readonly notReadyTotal?: number;
    readonly notReady?: readonly { name: string; reason: string }[];
    readonly conditions?: readonly { type: string; status: string }[];
  };
  readonly metadata: { readonly resourceVersion: string };
}

interface SliceObject {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly node: string;
    readonly vtepIP: string;
    readonly endpoints: readonly { mac: string; sequence: number }[];
  };
}

async function send(kube: KubeSandbox, ...manifests: readonly KubeManifest[]): Promise<void> {
  for (const manifest of manifests) await kube.apply(stringify(manifest));
}

function rule(name: string, spec: object = {}, entry: object = {}): KubeManifest {
  const rules = [{ match: { protocol: 'TCP', dstPort: 81 }, action: 'deny', ...entry }];
  const metadata = { name, namespace: 'tenant-a' };
  return {
    ...{ apiVersion: API, kind: 'DPURule', metadata },
    spec: { networkRef: 'tenant-a', ...spec, rules },
  };
}

function slice(name: string, spec: object = {}): KubeManifest {
  const whole = { node: 'dpu-9', vtepIP: '192.168.1.19', ...spec };
  return { apiVersion: API, kind: 'DPUEndpointSlice', metadata: { name }, spec: whole };
}

const REFUSED: readonly { name: string; spec: object; says: RegExp }[] = [
  { name: 'a VTEP of IPv6', spec: { vtepIP: 'fd00::1' }, says: /vtepIP.*should match/ },
  {
    name: 'a MAC that is none',
    spec: { endpoints: [{ vni: 1000, mac: 'x' }] },
    says: /mac.*should match/,
  },
  {
    name: 'more endpoints than a slice holds',
    spec: { endpoints: Array(101).fill({ vni: 1000, mac: '02:00:00:00:00:01' }) },
    says: /endpoints: Too many: 101/,
  },
  { name: 'no node', spec: { node: undefined }, says: /node: Required/ },
];

async function getNode(kube: KubeSandbox, name: string): Promise<NodeObject> {
  const { body } = await kube.call('GET', `/apis/${API}/dpunodes/${name}`);
  return body as unknown as NodeObject;
}

function seeNode(
  kube: KubeSandbox,
  what: string,
  check: (status: NonNullable<NodeObject['status']>) => boolean | undefined,
): Promise<NodeObject> {
  const look = async (): Promise<NodeObject> => {
    const node = await getNode(kube, 'dpu-1');
    if (node.status === undefined || check(node.status) !== true) {
      throw new Error(JSON.stringify(node.status));
    }
    return node;
  };
  return until(what, look, 45_000);
}

async function slices(kube: KubeSandbox): Promise<readonly SliceObject[]> {
  const { body } = await kube.call('GET', `/apis/${API}/dpuendpointslices`);
  return (body['items'] ?? []) as readonly SliceObject[];
}

function config(kube: KubeSandbox, number: number, kubernetes: object = {}): ConfigOverride {
  return {
    node: `dpu-${number}`,
    rules: { source: 'kubernetes', kubeconfig: kube.kubeconfig },
    networks: [{ vni: 1000, name: 'tenant-a', namespaces: ['tenant-a'] }],
    peers: [],
    vtep: { ip: `192.168.1.1${number}` },
    vteps: { source: 'kubernetes', exclude: ['10.100.0.0/16'] },
    kubernetes: { statusSeconds: 1, renewSeconds: 1, leaseSeconds: 4, ...kubernetes },
  };
}

/** Plugs an endpoint in as a CNI does. */
async function plug(ovs: OvsSandbox, port: string, mac: string, ip: string): Promise<void> {
  await ovs.vsctl(
    ...['--', 'add-port', 'br-int', port, '--', 'set', 'interface', port, 'type=internal'],
    ...[`external_ids:attached-mac="${mac}"`, 'external_ids:dpu-vni=1000'],
    `external_ids:dpu-ips="${ip}"`,
  );
}

async function flows(ovs: OvsSandbox): Promise<string> {
  return ovs.ofctl('-O', 'OpenFlow13', 'dump-flows', 'br-int');
}

async function seeFlow(ovs: OvsSandbox, pattern: RegExp, wanted: boolean): Promise<number> {
  const start = performance.now();
  await until(
    `${wanted ? '' : 'no '}flow ${pattern}`,
    async () => pattern.test(await flows(ovs)) === wanted,
    45_000,
  );
  return performance.now() - start;
}

async function startAgent(t: Test, ovs: OvsSandbox, override: ConfigOverride): Promise<TestAgent> {
  const agent = await TestAgent.create(t, ovs, override);
  await agent.start();
  return agent;
}

await t.test('two agents and one API server', async (t) => {
  t.setTimeout(240_000);
  const kube = await kubeSandbox(t);
  const ovs1 = kube === undefined ? undefined : await ovsSandbox(t);
  const ovs2 = ovs1 === undefined ? undefined : await ovsSandbox(t);
  if (kube === undefined || ovs1 === undefined || ovs2 === undefined) return;
  await kube.installCrds();
  for (const name of ['tenant-a', 'dpu-system']) {
    await send(kube, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  }
  await send(kube, rule('web'));
  // What ovs-ctl does at a start.
  await ovs1.vsctl('--', 'set', 'Open_vSwitch', '.', 'ovs_version=3.1.0');
  const one = await startAgent(t, ovs1, config(kube, 1));
  await startAgent(t, ovs2, config(kube, 2));

  await t.test('the CRD refuses slices that an agent would', async (t) => {
    for (const { name, spec, says } of REFUSED) {
      const manifest = slice('x', spec);
      const { status, message } = await kube.tryApply(manifest);
      t.equal(status, 422, name);
      t.match(message, says, name);
      t.equal(parseObject(JSON.parse(JSON.stringify(manifest))).object, undefined, name);
    }
  });

  await t.test('an agent says who it is, and how far', async (t) => {
    const node = await seeNode(kube, 'ready, with marks', ({ conditions, marks, ruleEntries }) => {
      const ready = conditions?.some(({ type, status }) => type === 'Ready' && status === 'True');
      return ready === true && marks?.['rules'] !== undefined && ruleEntries === 1;
    });
    t.match(node.status, {
      vtepIP: '192.168.1.11',
      versions: { agent: /^\d+\.\d+\.\d+/, openVSwitch: /^\d+\./, kernel: /^\d+\./ },
      notReadyTotal: 0,
      notReady: [],
    });
    t.same(
      Object.keys(node.status?.marks ?? {}).sort(),
      ['groupSlices', 'groups', 'networks', 'rules'],
      'a mark of each kind',
    );
    const lease = (
      await kube.call('GET', '/apis/coordination.k8s.io/v1/namespaces/dpu-system/leases/dpu-1')
    ).body;
    t.match(lease['spec'], { holderIdentity: 'dpu-1', leaseDurationSeconds: 4 });
    const renewed = (body: typeof lease): string =>
      (body['spec'] as { renewTime: string }).renewTime;
    await until('renewed', async () => {
      const { body } = await kube.call(
        'GET',
        '/apis/coordination.k8s.io/v1/namespaces/dpu-system/leases/dpu-1',
      );
      return renewed(body) !== renewed(lease);
    });
  });

  await t.test('marks pass what was processed; what is not in force is listed', async (t) => {
    const { resourceVersion } = await version(kube, rule('web'));
    await seeNode(
      kube,
      'mark',
      ({ marks }) => BigInt(marks?.['rules'] ?? 0) >= BigInt(resourceVersion),
    );
    const before = await getNode(kube, 'dpu-1');
    await kube.patch(rule('web'), { status: { programmedNodes: 2 } }, '/status');
    await send(kube, rule('bad', { networkRef: 'nowhere' }));
    const bad = await version(kube, rule('bad'));
    const failing = await seeNode(kube, 'listed', ({ notReadyTotal }) => notReadyTotal === 1);
    t.match(failing.status?.notReady, [{ name: 'bad', reason: 'NetworkNotFound' }]);
    t.ok(BigInt(failing.status?.marks?.['rules'] ?? 0) >= BigInt(bad.resourceVersion), 'passed');
    t.not(before.metadata.resourceVersion, failing.metadata.resourceVersion);
    await kube.delete(rule('bad'));
    await seeNode(kube, 'gone', ({ notReadyTotal }) => notReadyTotal === 0);
    const events = await until('events', async () => {
      const { body } = await kube.call('GET', '/apis/events.k8s.io/v1/namespaces/default/events');
      const items = (body['items'] ?? []) as { reason: string; regarding: { name: string } }[];
      const ours = items.filter(({ regarding }) => regarding.name === 'dpu-1');
      return ours.some(({ reason }) => reason === 'RulesReady') ? ours : undefined;
    });
    const reasons = events.map(({ reason }) => reason);
    for (const reason of ['Started', 'RulesNotReady', 'RulesReady']) {
      t.equal(reasons.filter((one) => one === reason).length, 1, `${reason}, once`);
    }
  });

  await t.test('nothing is written while nothing changes', async (t) => {
    const { metadata } = await getNode(kube, 'dpu-1');
    const marks = await sliceVersions(kube);
    // Two shortest pauses of this configuration, and then some.
    await new Promise((resolve) => setTimeout(resolve, 4000));
    t.equal((await getNode(kube, 'dpu-1')).metadata.resourceVersion, metadata.resourceVersion);
    t.same(await sliceVersions(kube), marks);
  });

  await t.test('an endpoint plugged in on one DPU is reached from the other', async (t) => {
    await until('both VTEPs', async () => (await slices(kube)).length === 2, 45_000);
    const start = performance.now();
    await plug(ovs2, 'pod2', '02:00:0a:01:02:05', '10.1.0.25');
    await seeFlow(ovs1, /dl_dst=02:00:0a:01:02:05/, true);
    const ms = Math.round(performance.now() - start);
    t.comment(`from ovs-vsctl's start to the flow on the other DPU: ${ms} ms`);
    t.ok(ms < 10_000, 'well within reach of a second on a machine that is not busy');
    t.match(await flows(ovs1), /192\.168\.1\.12|0xc0a8010c/, 'behind the VTEP of the other');
    await plug(ovs2, 'pod3', '02:00:0a:01:02:06', '10.1.0.26');
    await seeFlow(ovs1, /dl_dst=02:00:0a:01:02:06/, true);
    const own = (await slices(kube)).filter(({ spec }) => spec.node === 'dpu-2');
    t.match(own, [{ metadata: { name: 'dpu-2-0' }, spec: { vtepIP: '192.168.1.12' } }]);
    t.equal(own[0]?.spec.endpoints.length, 2);
    await ovs2.vsctl('--', 'del-port', 'br-int', 'pod3');
    await seeFlow(ovs1, /dl_dst=02:00:0a:01:02:06/, false);
  });

  await t.test('a slice that somebody deletes or edits is put right', async (t) => {
    await kube.patch(slice('dpu-2-0'), { spec: { endpoints: [] } });
    await until(
      'put right',
      async () => {
        const [own] = (await slices(kube)).filter(({ spec }) => spec.node === 'dpu-2');
        return own?.spec.endpoints.length === 1;
      },
      45_000,
    );
    await kube.delete(slice('dpu-2-0'));
    await until(
      'back',
      async () => (await slices(kube)).some(({ metadata }) => metadata.name === 'dpu-2-0'),
      45_000,
    );
    await seeFlow(ovs1, /dl_dst=02:00:0a:01:02:05/, true);
    t.pass('the endpoint is reached again');
  });

  await t.test('what others claim wrongly is left out and counted', async (t) => {
    const pod = { vni: 1000, mac: '02:00:0a:01:09:05', ips: ['10.1.0.95'] };
    await send(
      kube,
      slice('dpu-9-0', { endpoints: [pod, { ...pod, vni: 5000, mac: '02:00:0a:01:09:06' }] }),
      slice('dpu-8-0', {
        node: 'dpu-8',
        vtepIP: '10.100.2.10',
        endpoints: [{ ...pod, mac: '02:00:0a:01:08:05' }],
      }),
    );
    await seeFlow(ovs1, /dl_dst=02:00:0a:01:09:05/, true);
    const text = await flows(ovs1);
    t.notMatch(text, /02:00:0a:01:09:06/, 'another customer');
    t.notMatch(text, /02:00:0a:01:08:05/, 'behind a management address');
    t.equal(await one.metric('dpu_agent_endpoints_ignored', 'reason="vni"'), 1);
    t.equal(await one.metric('dpu_agent_endpoints_ignored', 'reason="vtep"'), 1);
    await plug(ovs1, 'pod1', '02:00:0a:01:09:05', '10.1.0.95');
    await until(
      'a claim of our own',
      async () => (await one.metric('dpu_agent_endpoints_ignored', 'reason="claim"')) === 1,
    );
    await kube.delete(slice('dpu-8-0'));
  });

  await t.test('without the API server nothing is withdrawn, also over a restart', async (t) => {
    await kube.killApiServer();
    await one.replace();
    await one.agent.start();
    await one.ready(45_000);
    t.match(await flows(ovs1), /dl_dst=02:00:0a:01:02:05/, 'the endpoint behind dpu-2');
    await kube.startApiServer();
    await kube.delete(slice('dpu-9-0'));
    await until(
      'the claim is gone',
      async () => (await one.metric('dpu_agent_endpoints_ignored', 'reason="claim"')) === 0,
      60_000,
    );
    t.match(await flows(ovs1), /dl_dst=02:00:0a:01:02:05/);
  });
});

async function version(
  kube: KubeSandbox,
  { metadata }: KubeManifest,
): Promise<{ resourceVersion: string }> {
  const path = `/apis/${API}/namespaces/tenant-a/dpurules/${metadata.name}`;
  return (await kube.call('GET', path)).body['metadata'] as { resourceVersion: string };
}

async function sliceVersions(kube: KubeSandbox): Promise<unknown> {
  const { body } = await kube.call('GET', `/apis/${API}/dpuendpointslices`);
  const items = (body['items'] ?? []) as { metadata: { resourceVersion: string } }[];
  return items.map(({ metadata }) => metadata.resourceVersion);
}
