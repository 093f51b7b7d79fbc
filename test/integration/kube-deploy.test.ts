/**
 * The manifests in deploy/agent on a real API server: they are taken as they are, and the account may do what the agent does
 * and nothing else, with real tokens that name a node.
 */
import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import t from 'tap';
import { parse, parseAllDocuments } from 'yaml';
import { readConfig } from '../../src/agent/config.ts';
import { until } from '../support/agent.ts';
import { type KubeManifest, type KubeSandbox, kubeSandbox } from '../support/kube-sandbox.ts';

t.setTimeout(180_000);

const API = 'dpu.network/v1alpha1';
const LEASES = '/apis/coordination.k8s.io/v1/namespaces/dpu-system/leases';

async function manifests(file: string): Promise<KubeManifest[]> {
  const text = await readFile(new URL(`../../deploy/agent/${file}`, import.meta.url), 'utf8');
  return parseAllDocuments(text).map((document) => document.toJS() as KubeManifest);
}

function path({ apiVersion, kind, metadata }: KubeManifest): string {
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const inside = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`;
  const plural = `${kind.toLowerCase()}s`.replace(/ys$/, 'ies');
  return `${root}${inside}/${plural}/${metadata.name}`;
}

/** Server-side apply that forgives nothing, by an account with `token` or by the admin. */
function apply(
  kube: KubeSandbox,
  target: string,
  value: object,
  token?: string,
  method = 'PATCH',
): Promise<{ status: number; text: string }> {
  const query = method === 'PATCH' ? '?fieldManager=test&force=true&fieldValidation=Strict' : '';
  const config = parse(kube.kubeconfigText) as {
    clusters: { cluster: Record<string, string> }[];
    users: { user: Record<string, string> }[];
  };
  const decoded = (text = ''): Buffer => Buffer.from(text, 'base64');
  const user = config.users[0]?.user ?? {};
  const ca = decoded(config.clusters[0]?.cluster['certificate-authority-data']);
  const identity =
    token === undefined
      ? { cert: decoded(user['client-certificate-data']), key: decoded(user['client-key-data']) }
      : {};
  const headers = {
    'content-type': method === 'PATCH' ? 'application/apply-patch+yaml' : 'application/json',
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  };
  return new Promise((resolve, reject) => {
    const options = { method, headers, ca, ...identity, agent: false };
    const call = request(`${kube.server}${target}${query}`, options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    call.on('error', reject);
    call.end(JSON.stringify(value));
  });
}

/** A token of the agent's account that is bound to a node, as that of a pod there is; or to nothing. */
async function tokenOf(kube: KubeSandbox, node?: string): Promise<string> {
  const uid = async (name: string): Promise<unknown> =>
    ((await kube.call('GET', `/api/v1/nodes/${name}`)).body['metadata'] as { uid: string }).uid;
  const bound = async (name: string): Promise<object> => ({
    boundObjectRef: { kind: 'Node', apiVersion: 'v1', name, uid: await uid(name) },
  });
  const spec = node === undefined ? {} : await bound(node);
  const { body, message } = await kube.call(
    'POST',
    '/api/v1/namespaces/dpu-system/serviceaccounts/dpu-agent/token',
    { type: 'application/json', text: JSON.stringify({ spec }) },
  );
  const { token } = (body['status'] ?? {}) as { token?: string };
  if (token === undefined) throw new Error(`no token: ${message}`);
  return token;
}

const node = (name: string): object => ({ apiVersion: API, kind: 'DPUNode', metadata: { name } });
const slice = (name: string, of: string): object => ({
  ...{ apiVersion: API, kind: 'DPUEndpointSlice', metadata: { name } },
  spec: { node: of, vtepIP: '192.168.1.11' },
});
const lease = (name: string): object => ({
  ...{ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' },
  ...{ metadata: { name, namespace: 'dpu-system' }, spec: { holderIdentity: name } },
});

await t.test('the manifests', async (t) => {
  t.setTimeout(180_000);
  const kube = await kubeSandbox(t);
  if (kube === undefined) return;
  await kube.installCrds();
  for (const name of ['dpu-1', 'dpu-2']) {
    await kube.tryApply({ apiVersion: 'v1', kind: 'Node', metadata: { name } });
  }
  await kube.tryApply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'tenant-a' } });
  for (const file of ['rbac.yaml', 'policies.yaml', 'daemonset.yaml']) {
    for (const manifest of await manifests(file)) {
      const { status, text } = await apply(kube, path(manifest), manifest);
      t.ok(
        status === 200 || status === 201,
        `${file}: ${manifest.kind} ${manifest.metadata.name}`,
        { text },
      );
      if (manifest.kind === 'ConfigMap' && manifest.metadata.name === 'dpu-agent') {
        const { 'agent.yaml': config = '' } = manifest['data'] as Record<string, string>;
        t.equal(readConfig(config, 'agent.yaml', { NODE_NAME: 'dpu-1' }).node, 'dpu-1');
      }
    }
  }
  const one = await tokenOf(kube, 'dpu-1');
  const nodes = `/apis/${API}/dpunodes`;
  const slices = `/apis/${API}/dpuendpointslices`;
  await until(
    'the policy is in force',
    async () => (await apply(kube, `${nodes}/dpu-2`, node('dpu-2'), one)).status === 422,
    30_000,
  );

  await t.test('the account may do what the agent does, and no more', async (t) => {
    const may = async (
      verb: string,
      group: string,
      resource: string,
      namespace = '',
    ): Promise<boolean> => {
      const [name, subresource = ''] = resource.split('/');
      const attributes = { verb, group, resource: name, subresource, namespace };
      const review = {
        ...{ apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview' },
        spec: { resourceAttributes: attributes },
      };
      const target = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
      const { text } = await apply(kube, target, review, one, 'POST');
      return (JSON.parse(text) as { status: { allowed: boolean } }).status.allowed;
    };
    const ours = 'dpu.network';
    const allowed: Parameters<typeof may>[] = [
      ...['dpurules', 'dpunetworks', 'dpugroups', 'dpugroupslices', 'dpuendpointslices'].flatMap(
        (kind): Parameters<typeof may>[] => [
          ['list', ours, kind],
          ['watch', ours, kind],
        ],
      ),
      ['patch', ours, 'dpunodes'],
      ['patch', ours, 'dpunodes/status'],
      ['delete', ours, 'dpuendpointslices'],
      ['patch', 'coordination.k8s.io', 'leases', 'dpu-system'],
      ['create', 'events.k8s.io', 'events', 'default'],
    ];
    const denied: Parameters<typeof may>[] = [
      ['patch', ours, 'dpurules', 'tenant-a'],
      ['patch', ours, 'dpurules/status', 'tenant-a'],
      ['create', ours, 'dpunetworks'],
      ['list', ours, 'dpunodes'],
      ['delete', ours, 'dpunodes'],
      ['get', '', 'secrets', 'dpu-system'],
      ['list', '', 'pods', 'dpu-system'],
      ['list', '', 'nodes'],
      ['patch', 'coordination.k8s.io', 'leases', 'kube-system'],
      ['create', 'events.k8s.io', 'events', 'tenant-a'],
    ];
    for (const args of allowed) t.equal(await may(...args), true, args.join(' '));
    for (const args of denied) t.equal(await may(...args), false, args.join(' '));
  });

  await t.test('an agent writes what is its own, by the node in its token', async (t) => {
    const two = await tokenOf(kube, 'dpu-2');
    const unbound = await tokenOf(kube);
    const cases: [who: string, token: string, target: string, value: object, ok: boolean][] = [
      ['its node', one, `${nodes}/dpu-1`, node('dpu-1'), true],
      [
        'its status',
        one,
        `${nodes}/dpu-1/status`,
        { ...node('dpu-1'), status: { endpoints: 1 } },
        true,
      ],
      ['its slice', one, `${slices}/dpu-1-0`, slice('dpu-1-0', 'dpu-1'), true],
      ['its Lease', one, `${LEASES}/dpu-1`, lease('dpu-1'), true],
      ["another's node", two, `${nodes}/dpu-1`, node('dpu-1'), false],
      [
        "another's status",
        two,
        `${nodes}/dpu-1/status`,
        { ...node('dpu-1'), status: { endpoints: 9 } },
        false,
      ],
      ["another's slice", two, `${slices}/dpu-1-0`, slice('dpu-1-0', 'dpu-1'), false],
      ['a slice in the name of another', two, `${slices}/x-0`, slice('x-0', 'dpu-1'), false],
      ["another's Lease", two, `${LEASES}/dpu-1`, lease('dpu-1'), false],
      ['a token that names no node', unbound, `${nodes}/dpu-1`, node('dpu-1'), false],
    ];
    for (const [who, token, target, value, ok] of cases) {
      const { status, text } = await apply(kube, target, value, token);
      t.equal(status < 300, ok, who, { text });
      if (!ok) t.match(text, /own node only|names no node/, who);
    }
    t.equal((await apply(kube, `${slices}/dpu-1-0`, {}, two, 'DELETE')).status, 422, 'delete');
    t.equal((await apply(kube, `${slices}/dpu-1-0`, {}, one, 'DELETE')).status, 200);
  });

  await t.test('VNIs and tiers belong to whom the ConfigMap says', async (t) => {
    const rule = (namespace: string, spec: object, vni: number): KubeManifest => ({
      ...{ apiVersion: API, kind: 'DPURule', metadata: { name: 'r', namespace } },
      spec: { ...spec, rules: [{ vni, action: 'deny', match: { dstIP: '10.1.0.1' } }] },
    });
    const network = (vni: number): KubeManifest => ({
      ...{ apiVersion: API, kind: 'DPUNetwork', metadata: { name: 'n' } },
      spec: { vni },
    });
    const cases: [name: string, manifest: KubeManifest, says: RegExp | undefined][] = [
      ['a VNI of the customer', rule('tenant-a', {}, 1000), undefined],
      ['another VNI', rule('tenant-a', {}, 2000), /has the VNIs 1000-1999 only/],
      ['a network of another VNI', network(999), /has the VNIs 1000-1999 only/],
      ['a network', network(1999), undefined],
      ['platform', rule('tenant-a', { tier: 'platform' }, 1000), /tier platform belongs/],
      ['admin', rule('tenant-a', { tier: 'admin' }, 1000), /tier admin belongs/],
      ['admin where it belongs', rule('dpu-system', { tier: 'admin' }, 1000), undefined],
    ];
    await until('in force', async () => (await kube.tryApply(network(999))).status === 422, 30_000);
    for (const [name, manifest, says] of cases) {
      const { status, message } = await kube.tryApply(manifest);
      t.equal(status < 300, says === undefined, `${name}: ${status} ${message}`);
      if (says !== undefined) t.match(message, says, name);
    }
  });
});
