// dpu-hub diff and apply on a real API server: what is created, changed, left alone, reported and deleted.
import t, { type Test } from 'tap';
import { parse, stringify } from 'yaml';
import { applySet, type ObjectOutcome } from '../../src/hub/apply/apply-set.ts';
import { Customer } from '../../src/hub/apply/customer.ts';
import { KubeClient } from '../../src/hub/apply/kube-client.ts';
import { readKubeconfig } from '../../src/hub/apply/kubeconfig.ts';
import { runDpuHub } from '../../src/hub/program.ts';
import { translateSet } from '../../src/hub/translate/policy-set.ts';
import { readPolicyText } from '../../src/hub/translate/policy-text.ts';
import { type KubeManifest, type KubeSandbox, kubeSandbox } from '../support/kube-sandbox.ts';

t.setTimeout(180_000);

const policy = (name: string, spec: object = {}): object => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, namespace: 'shop' },
  spec,
});
const WEB = policy('web', {
  podSelector: { matchLabels: { app: 'web' } },
  ingress: [{ from: [{ podSelector: {} }], ports: [{ port: 80 }, { port: 443 }] }],
});
const made = (...policies: object[]): ReturnType<typeof translateSet>['objects'] =>
  translateSet(
    readPolicyText(JSON.stringify({ kind: 'List', items: policies }), 'x', 'x').policies,
    [],
  ).objects;
const summary = (outcomes: readonly ObjectOutcome[]): string[] =>
  outcomes.map(({ kind, name, outcome }) => `${outcome} ${kind}/${name}`);
const APPLY = { hubId: 'north', dryRun: false, prune: true };
const ref = (kind: string, name: string) => ({
  apiVersion: 'dpu.network/v1alpha1',
  kind,
  metadata: { name, namespace: 'shop' },
});
const rulePath = (name: string): string =>
  `/apis/dpu.network/v1alpha1/namespaces/shop/dpurules/${name}`;

async function customer(t: Test, kube: KubeSandbox): Promise<Customer> {
  const client = await KubeClient.create(readKubeconfig(kube.kubeconfigText));
  t.after(() => client.close());
  return new Customer(client);
}

t.test('a set is applied, kept, changed and pruned on a real API server', async (t) => {
  const kube = await kubeSandbox(t);
  if (kube === undefined) return;
  await kube.installCrds();
  await kube.apply(stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } }));
  const it = await customer(t, kube);
  const all = [
    'DPUGroup/np-web',
    'DPUGroup/np-peer-0c7e8edf5dccbfad',
    'DPURule/np-web',
    'DPURule/np-web-iso',
  ];
  const each = (outcome: string): string[] => all.map((name) => `${outcome} ${name}`);
  const stored = async (name: string): Promise<Record<string, unknown>> =>
    (await kube.call('GET', rulePath(name))).body;

  await t.test(
    'diff asks and changes nothing; apply does what diff said; then nothing is left to do',
    async (t) => {
      const run = async (
        verb: string,
        ...args: string[]
      ): Promise<{ exit: number; out: string; err: string }> => {
        let [out, err] = ['', ''];
        const exit = await runDpuHub(
          [verb, '-f', 'p', '--kubeconfig', 'k', '--hub-id', 'north', ...args],
          {
            read: async (file) => (file === 'k' ? kube.kubeconfigText : stringify(WEB)),
            print: (text) => (out += text),
            complain: (text) => (err += text),
          },
        );
        return { exit, out, err };
      };
      const lines = all.map((name) => `+ ${name.replace('/', ' shop/')}\n`).join('');
      t.same(await run('diff'), { exit: 4, out: `${lines}would be: 4 created\n`, err: '' });
      t.equal((await kube.call('GET', rulePath('np-web'))).status, 404);
      t.same(await run('apply'), { exit: 0, out: `${lines}4 created\n`, err: '' });
      t.same(await run('diff', '--prune'), { exit: 0, out: 'would be: 4 unchanged\n', err: '' });
      const before = await stored('np-web');
      t.same(summary(await applySet(it, made(WEB), APPLY)), each('unchanged'));
      t.same(await stored('np-web'), before, 'not even its resourceVersion moved');
    },
  );

  await t.test(
    'an edit by others is put right, and a new wish replaces an old one, removed fields too',
    async (t) => {
      await kube.patch(ref('DPURule', 'np-web'), { spec: { tier: 'platform' } });
      const drift = await applySet(it, made(WEB), { ...APPLY, dryRun: true });
      t.match(
        drift.find(({ kind, name }) => kind === 'DPURule' && name === 'np-web'),
        { outcome: 'changed', fields: ['spec.tier'] },
      );
      t.match(await stored('np-web'), { spec: { tier: 'platform' } }, 'a dry run changes nothing');
      await applySet(it, made(WEB), APPLY);
      t.match(await stored('np-web'), { spec: { tier: 'policy' } });
      const open = policy('web', {
        podSelector: { matchLabels: { app: 'web' } },
        ingress: [{ ports: [{ port: 80 }] }],
      });
      const changed = await applySet(it, made(open), APPLY);
      t.same(summary(changed), [
        ...['unchanged DPUGroup/np-web', 'changed DPURule/np-web', 'unchanged DPURule/np-web-iso'],
        'pruned DPUGroup/np-peer-0c7e8edf5dccbfad',
      ]);
      const { spec } = (await stored('np-web')) as { spec: { rules: { match: object }[] } };
      t.same(
        spec.rules.map(({ match }) => match),
        [{ dstGroup: 'np-web', protocol: 'TCP', dstPorts: [80] }],
      );
      const every = policy('web', { podSelector: {}, ingress: [{ ports: [{ port: 80 }] }] });
      const [widened] = await applySet(it, made(every), APPLY);
      t.match(widened, { kind: 'DPUGroup', name: 'np-web', message: '' });
      t.same(
        [widened?.outcome, widened?.fields],
        [
          'changed',
          ['metadata.annotations["dpu.network/applied"]', 'spec.podSelector.matchLabels'],
        ],
      );
      const group = await kube.call('GET', rulePath('np-web').replace('dpurules', 'dpugroups'));
      t.match(group.body, { spec: { podSelector: {} } });
      t.notMatch(JSON.stringify(group.body['spec']), /app/, 'what is no longer wanted is gone');
    },
  );

  await t.test(
    'what is not ours is not taken: another manager and another hub are named',
    async (t) => {
      await kube.apply(
        stringify({
          ...ref('DPURule', 'np-db'),
          spec: { networkRef: 'theirs', rules: [{ action: 'deny' }] },
        }),
      );
      const db = made(policy('db', { ingress: [{}] }));
      const outcomes = await applySet(it, db, { ...APPLY, prune: false });
      t.match(
        outcomes.find(({ kind, name }) => kind === 'DPURule' && name === 'np-db'),
        { outcome: 'conflict', message: /conflict with "test".* on .*networkRef/ },
      );
      t.match(await stored('np-db'), { spec: { networkRef: 'theirs' } });
      const south = await applySet(it, db, { hubId: 'south', dryRun: false, prune: true });
      t.match(
        south.find(({ name }) => name === 'np-db-iso'),
        { outcome: 'conflict', message: 'it belongs to hub north' },
      );
      t.match(
        await stored('np-web'),
        { metadata: { labels: { 'dpu.network/hub': 'north' } } },
        'nor pruned',
      );
    },
  );

  await t.test(
    'what the server refuses is an outcome of its object, and the others go on',
    async (t) => {
      const elsewhere = {
        ...policy('x', { ingress: [{}] }),
        metadata: { name: 'x', namespace: 'nowhere' },
      };
      const outcomes = await applySet(it, made(elsewhere, policy('y')), { ...APPLY, prune: false });
      t.match(
        outcomes.filter(({ namespace }) => namespace === 'nowhere'),
        [
          { outcome: 'failed', message: /404: namespaces "nowhere" not found/ },
          { outcome: 'failed' },
          { outcome: 'failed' },
        ],
      );
      t.same(summary(outcomes.filter(({ namespace }) => namespace === 'shop')), [
        'created DPUGroup/np-y',
        'created DPURule/np-y-iso',
      ]);
    },
  );

  await t.test('most of many objects are not deleted at once unless it is allowed', async (t) => {
    const many = Array.from({ length: 15 }, (_, index) => policy(`m${index}`));
    await applySet(it, made(...many), APPLY);
    const held = await applySet(it, made(policy('m0')), APPLY);
    t.equal(held.filter(({ outcome }) => outcome === 'kept').length, 28);
    t.match(held.at(-1)?.message, '28 of 30 objects would go at once');
    t.equal((await it.list('north')).length, 30, 'nothing is gone');
    const gone = await applySet(it, made(policy('m0')), { ...APPLY, allowLargePrune: true });
    t.equal(gone.filter(({ outcome }) => outcome === 'pruned').length, 28);
    t.equal((await it.list('north')).length, 2);
  });

  await t.test(
    'clusters and placements: what the server takes, fills in and refuses',
    async (t) => {
      const cluster = (spec: object): KubeManifest => ({
        ...ref('DPUCluster', 'c'),
        spec: { secretRef: { name: 's' }, ...spec },
      });
      const placement = (rollout: object): KubeManifest => ({
        ...ref('DPUPlacement', 'p'),
        spec: { ruleSelector: {}, clusterSelector: { matchLabels: { ring: 'a' } }, rollout },
      });
      const taken: [KubeManifest, object][] = [
        [
          cluster({ vniRanges: ['1000-1999'], proxy: 'http://10.0.0.9:3128' }),
          { secretRef: { name: 's', key: 'kubeconfig' }, paused: false, onDelete: 'orphan' },
        ],
        [placement({}), { rollout: { type: 'All', maxUnavailable: '25%', maxFailures: 0 } }],
        [placement({ type: 'ByGroup', groupLabel: 'ring' }), { rollout: { minSuccessTime: 30 } }],
      ];
      for (const [manifest, spec] of taken) {
        t.match(await kube.tryApply(manifest), { status: /20[01]/, body: { spec } });
      }
      const refused: [KubeManifest, RegExp][] = [
        [cluster({ secretRef: undefined }), /secretRef: Required/],
        [cluster({ apiServer: 'http://10.0.0.1' }), /apiServer.*https/],
        [cluster({ vniRanges: ['1000-'] }), /vniRanges/],
        [cluster({ onDelete: 'forget' }), /onDelete: Unsupported value/],
        [cluster({ kubeconfig: 'x' }), /kubeconfig/],
        [placement({ type: 'ByGroup' }), /groupLabel is required with type ByGroup/],
        [placement({ groupLabel: 'ring' }), /used with no other/],
        [placement({ maxUnavailable: '101%' }), /maxUnavailable/],
      ];
      for (const [manifest, says] of refused) {
        const { status, message } = await kube.tryApply(manifest);
        t.ok(status >= 400, String(says));
        t.match(message, says);
      }
    },
  );

  await t.test(
    'credentials that are refused, and a server that is not there, end the pass with an error',
    async (t) => {
      const config = parse(kube.kubeconfigText) as {
        users: { user: object }[];
        clusters: { cluster: { server: string } }[];
      };
      const stranger = { ...config, users: [{ name: 'admin', user: { token: 'canary-3f1c' } }] };
      const client = await KubeClient.create(readKubeconfig(stringify(stranger)));
      const refused = await applySet(new Customer(client), made(WEB), APPLY).catch(
        (error: unknown) => error,
      );
      t.match(refused, { code: 'HUB_REFUSED', status: 401 });
      t.notMatch(JSON.stringify(refused), /canary/);
      client.close();
      const [cluster] = config.clusters;
      if (cluster !== undefined) cluster.cluster.server = 'https://127.0.0.1:1';
      const nowhere = await KubeClient.create(readKubeconfig(stringify(config)));
      await t.rejects(applySet(new Customer(nowhere), made(WEB), APPLY), {
        code: 'HUB_UNREACHABLE',
      });
      nowhere.close();
    },
  );
});
