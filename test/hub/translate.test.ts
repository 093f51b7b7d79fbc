/**
 * dpu-hub translate: what it prints, what it refuses and how it says so, how names are made, and how groups are resolved.
 * Whether the translation means what Kubernetes says is truth-table.test.ts's question.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import t from 'tap';
import { parse, parseAllDocuments } from 'yaml';
import { runDpuHub } from '../../src/hub/program.ts';
import { resolveGroups, type PodView } from '../../src/hub/spoke/resolve.ts';
import type { DpuGroupManifest } from '../../src/hub/translate/manifest.ts';
import { parseNetworkPolicy } from '../../src/hub/translate/network-policy.ts';
import {
  allowRuleName,
  isolationRuleName,
  subjectGroupName,
} from '../../src/hub/translate/object-name.ts';
import { translateSet } from '../../src/hub/translate/policy-set.ts';
import { readPolicyText } from '../../src/hub/translate/policy-text.ts';

const MAIN = fileURLToPath(new URL('../../src/hub/main.ts', import.meta.url));
const PAGE = new URL('../../docs/hub.md', import.meta.url);

interface Result {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

async function dpuHub(
  args: readonly string[],
  files: Readonly<Record<string, string>> = {},
): Promise<Result> {
  let out = '';
  let err = '';
  const exit = await runDpuHub(args, {
    read: async (file) => {
      const text = files[file];
      if (text === undefined) throw new Error('no such file');
      return text;
    },
    print: (text) => (out += text),
    complain: (text) => (err += text),
  });
  return { exit, out, err };
}

function documentsOf(text: string): unknown[] {
  return parseAllDocuments(text).map((document) => document.toJS() as unknown);
}

const policy = (spec: string, name = 'web'): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}, namespace: shop}\nspec: ${spec}\n`;

t.test('each example of docs/hub.md becomes what the page says', async (t) => {
  const page = await readFile(PAGE, 'utf8');
  const examples = [...page.matchAll(/```yaml\n([^`]*)```\n+becomes\n+```yaml\n([^`]*)```/g)];
  t.ok(examples.length >= 2, `${examples.length} examples`);
  for (const [, input = '', output = ''] of examples) {
    const { exit, out, err } = await dpuHub(['translate', '-f', 'x'], { x: input });
    t.match({ exit, err }, { exit: 0, err: '' });
    t.same(documentsOf(out), documentsOf(output));
  }
});

t.test('the output is documents or one List, groups first', async (t) => {
  const x = policy('{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}');
  const yaml = await dpuHub(['translate', '-f', '-'], { '-': x });
  const json = await dpuHub(['translate', '-f', '-', '-o', 'json'], { '-': x });
  const list = JSON.parse(json.out) as { items: { kind: string; metadata: { name: string } }[] };
  t.match(list, { apiVersion: 'v1', kind: 'List' });
  t.same(documentsOf(yaml.out), list.items);
  t.same(
    list.items.map(({ kind, metadata }) => `${kind}/${metadata.name}`),
    [
      'DPUGroup/np-web',
      'DPUGroup/np-peer-0c7e8edf5dccbfad',
      'DPURule/np-web',
      'DPURule/np-web-iso',
    ],
  );
  const again = await dpuHub(['translate', '-f', '-', '-o', 'json'], { '-': json.out });
  t.match(again, { exit: 1, err: /items\[0\]\.kind: "DPUGroup" is not accepted/ });
});

t.test(
  'the network is what the caller says, what a DPUNetwork says, or the name of the namespace',
  async (t) => {
    const network = (name: string, conntrack: string): string =>
      `---\napiVersion: dpu.network/v1alpha1\nkind: DPUNetwork\nmetadata: {name: ${name}}\nspec: {vni: 1000, namespaces: [shop], conntrack: "${conntrack}"}\n`;
    const deny = policy('{}');
    const cases: [text: string, args: string[], want: string | RegExp][] = [
      [deny, [], 'shop'],
      [deny, ['--network', 'blue'], 'blue'],
      [deny + network('green', 'on'), [], 'green'],
      [deny + network('green', 'on') + network('red', 'on'), ['--network', 'red'], 'red'],
      [deny + network('green', 'off'), [], /conntrack off/],
      [deny + network('green', 'on') + network('red', 'on'), [], /both list namespace shop/],
    ];
    for (const [text, args, want] of cases) {
      const { out, err } = await dpuHub(['translate', '-f', 'x', '-o', 'json', ...args], {
        x: text,
      });
      if (typeof want !== 'string') {
        t.match(err, want);
        t.equal(out, '');
        continue;
      }
      const { items } = JSON.parse(out) as { items: { spec: { networkRef?: string } }[] };
      t.equal(items.at(-1)?.spec.networkRef, want);
    }
  },
);

t.test(
  'what is not accepted is refused with file, document, line and field, and nothing is printed',
  async (t) => {
    const rule = (text: string): string => policy(`\n  ingress:\n  - ${text}`);
    const cases: [text: string, says: RegExp][] = [
      [
        rule('from: [{}]'),
        /^dpu-hub: x:6: document 1: spec\.ingress\[0\]\.from\[0\]: is empty; accepted: podSelector/,
      ],
      [rule('from: [{podSelector: null}]'), /from\[0\]: is empty/],
      [
        rule('from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]'),
        /ipBlock: stands beside a selector/,
      ],
      [
        rule('from: [{ipBlock: {cidr: 10.0.0.1}}]'),
        /ipBlock\.cidr: "10\.0\.0\.1" is not accepted; accepted: a prefix/,
      ],
      [
        rule('from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]'),
        /except\[0\]: "11\.0\.0\.0\/16" is not accepted; accepted: a prefix inside 10/,
      ],
      [rule('from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]'), /except\[0\]/],
      [rule('from: [{ipBlock: {cidr: 10.0.0.0/8, except: ["fd00::/64"]}}]'), /except\[0\]/],
      [rule('from: [{serviceSelector: {}}]'), /from\[0\]\.serviceSelector: is not a known field/],
      [
        rule('from: [{podSelector: {matchLabels: {app: null}}}]'),
        /matchLabels: "app": null is not accepted/,
      ],
      [
        rule('from: [{podSelector: {matchLabels: {__proto__: x}}}]'),
        /matchLabels: key "__proto__"/,
      ],
      [
        rule('from: [{podSelector: {matchLabels: {app: "a b"}}}]'),
        /matchLabels: "app": "a b" is not accepted/,
      ],
      [
        rule('from: [{podSelector: {matchExpressions: [{key: a, operator: In}]}}]'),
        /matchExpressions\[0\]\.values: is missing; accepted: at least one value/,
      ],
      [
        rule(
          'from: [{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}]',
        ),
        /values: is not accepted with operator Exists/,
      ],
      [
        rule('from: [{podSelector: {matchExpressions: [{key: a, operator: Equals}]}}]'),
        /operator: "Equals" is not accepted; accepted: In, NotIn/,
      ],
      [rule('from: [null]'), /from\[0\]: null is not accepted; accepted: an object/],
      [rule('to: [{podSelector: {}}]'), /ingress\[0\]\.to: is not a known field/],
      [
        rule('ports: [{port: 80, endPort: 79}]'),
        /endPort: 79 is not accepted; accepted: at least port, 80/,
      ],
      [rule('ports: [{port: http, endPort: 90}]'), /endPort: is not accepted with a named port/],
      [rule('ports: [{endPort: 90}]'), /endPort: is not accepted without port/],
      [rule('ports: [{port: 0}]'), /port: 0 is not accepted; accepted: a port 1\.\.65535/],
      [rule('ports: [{port: "80"}]'), /port: "80" is not accepted/],
      [
        rule('ports: [{port: 80, protocol: ICMP}]'),
        /protocol: "ICMP" is not accepted; accepted: TCP, UDP, SCTP/,
      ],
      [
        policy('{policyTypes: [ingress]}'),
        /policyTypes\[0\]: "ingress" is not accepted.*did you mean Ingress/,
      ],
      [policy('{podSelector: {}, tier: x}'), /spec\.tier: is not a known field/],
      [policy('{}', '"../x"'), /metadata\.name: "\.\.\/x" is not accepted/],
      [
        policy('{}').replace('networking.k8s.io/v1', 'extensions/v1beta1'),
        /apiVersion: "extensions\/v1beta1" is not accepted; accepted: networking/,
      ],
      [
        'kind: AdminNetworkPolicy\napiVersion: policy.networking.k8s.io/v1alpha1\n',
        /kind: "AdminNetworkPolicy" is not accepted; accepted: NetworkPolicy/,
      ],
      ['- a\n', /document 1: a list is not accepted/],
      ['a: [\n', /is not YAML/],
      [
        `${policy('{}')}---\n${policy('{}')}`,
        /^dpu-hub: x:\d+: document 2: metadata\.name: NetworkPolicy shop\/web is given twice/,
      ],
      [
        'kind: List\nitems:\n- kind: Pod\n',
        /^dpu-hub: x:3: document 1: items\[0\]\.kind: "Pod" is not accepted/,
      ],
      ['kind: List\n', /items: is missing/],
    ];
    for (const [text, says] of cases) {
      const { exit, out, err } = await dpuHub(['translate', '-f', 'x'], { x: text });
      t.match(err, says);
      t.match({ exit, out }, { exit: 1, out: '' });
    }
  },
);

t.test('what has no effect by definition is noted, and a List without kinds is read', async (t) => {
  const item = {
    metadata: { name: 'a', namespace: null },
    spec: { podSelector: null, policyTypes: ['Egress'], ingress: [{}] },
  };
  const x = JSON.stringify({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicyList',
    items: [item],
  });
  const { exit, out, err } = await dpuHub(['translate', '-f', 'x', '-n', 'mine'], { x });
  t.equal(exit, 0);
  t.match(err, /^dpu-hub: note: x:1: document 1: items\[0\]\.spec\.ingress: has no effect/);
  t.match(documentsOf(out).at(-1), {
    metadata: { name: 'np-a-iso', namespace: 'mine' },
  });
});

t.test('usage, files that cannot be read, and help', async (t) => {
  for (const args of [
    ['translate'],
    ['translate', '-f', 'x', '-o', 'xml'],
    ['transform'],
    ['translate', '-f', 'x', '-n', 'A'],
    ['translate', '-f', 'x', 'y'],
  ]) {
    t.match(await dpuHub(args, { x: '' }), { exit: 2, out: '' }, args.join(' '));
  }
  t.match(await dpuHub(['translate', '-f', 'nowhere']), {
    exit: 3,
    out: '',
    err: /nowhere: cannot be read: no such file/,
  });
  t.match(await dpuHub(['translate', '-f', 'x'], { x: '' }), { exit: 0, out: '', err: '' });
  t.match(await dpuHub(['translate', '--help']), {
    exit: 0,
    out: /Examples:\n {2}dpu-hub translate -f policies\.yaml/,
  });
});

t.test('the program reads standard input and files', async (t) => {
  const run = (args: string[], input: string): Promise<Result> =>
    new Promise((resolve) => {
      const child = execFile(process.execPath, [MAIN, ...args], (error, out, err) =>
        resolve({ exit: Number(error?.code ?? 0), out, err }),
      );
      child.stdin?.end(input);
    });
  const piped = await run(['translate', '-f', '-', '-o', 'json'], policy('{}'));
  t.match(piped, { exit: 0, err: '' });
  t.match(parse(piped.out), { kind: 'List' });
  t.match(await run(['translate', '-f', '/'], ''), {
    exit: 3,
    err: /^dpu-hub: \/: cannot be read: EISDIR/,
  });
  t.match(await run(['translate', '-f', '-'], '\u0000{'), { exit: 1, out: '' });
});

t.test('names are valid, short enough, and those of one policy only', (t) => {
  const label = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?$/);
  const tail = fc.constantFrom('', '-iso', '-part2', '-iso-iso', '-x0123456789abcdef', '.x');
  const name = fc
    .tuple(
      fc.constantFrom('', 'peer-', 'np-'),
      fc.array(label, { minLength: 1, maxLength: 12 }),
      tail,
    )
    .map(([head, labels, end]) =>
      `${head}${labels.join('.')}${end}`.slice(0, 253).replace(/[-.]+$/, ''),
    );
  const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
  const rulesOf = (policyName: string): string[] => [
    allowRuleName(policyName, 0),
    allowRuleName(policyName, 15),
    isolationRuleName(policyName),
  ];
  fc.assert(
    fc.property(fc.uniqueArray(name, { minLength: 2, maxLength: 6 }), (names) => {
      const rules = names.flatMap(rulesOf);
      const groups = names.map(subjectGroupName);
      return (
        new Set(rules).size === rules.length &&
        new Set(groups).size === groups.length &&
        rules.every((one) => one.length <= 253 && SUBDOMAIN.test(one)) &&
        groups.every(
          (one) => one.length <= 63 && SUBDOMAIN.test(one) && !/^np-peer-[0-9a-f]{16}$/.test(one),
        )
      );
    }),
    { numRuns: 2000 },
  );
  t.same(rulesOf('web'), ['np-web', 'np-web-part16', 'np-web-iso']);
  t.match(allowRuleName('web-iso', 0), /^np-web-iso-x[0-9a-f]{16}$/, 'and not np-web-iso');
  t.end();
});

t.test(
  'a policy too large for one DPURule becomes several, and one without bound is refused',
  (t) => {
    const peers = (count: number): unknown[] =>
      Array.from({ length: count }, (_, index) => ({
        podSelector: { matchLabels: { app: `a${index}` } },
      }));
    const ports = [{ port: 80 }, { port: 80, protocol: 'UDP' }];
    const made = (rules: unknown[]): ReturnType<typeof translateSet> => {
      const item = {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: { name: 'big', namespace: 'x' },
        spec: { ingress: rules },
      };
      return translateSet(readPolicyText(JSON.stringify(item), 'x', 'x').policies, []);
    };
    const { objects } = made([{ from: peers(300), ports }]);
    const rules = objects.filter((object) => object.kind === 'DPURule');
    t.same(
      rules.map(({ metadata, spec }) => [metadata.name, spec.rules.length]),
      [
        ['np-big', 256],
        ['np-big-part2', 256],
        ['np-big-part3', 88],
        ['np-big-iso', 1],
      ],
    );
    const names = rules.flatMap(({ spec }) => spec.rules.map(({ name }) => name));
    t.equal(new Set(names.slice(0, -1)).size, 600, 'every entry has a name of its own');
    t.match(made([...Array(8).keys()].map(() => ({ from: peers(300), ports }))), {
      objects: [],
      problems: [
        /spec\.ingress\[6\]: brings the number of pairs of a peer and a protocol above 4096/,
      ],
    });
    t.match(made([{ from: peers(1025) }]).objects, [], 'a list of 1025 is refused before');
    t.end();
  },
);

t.test('whatever a document holds is answered with a policy or with problems', (t) => {
  const field = fc.constantFrom(
    'apiVersion',
    'kind',
    'metadata',
    'spec',
    'ingress',
    'from',
    'ports',
    'podSelector',
    'matchLabels',
    '__proto__',
    'constructor',
  );
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 6 },
      fc.constantFrom(null, 1, '', 'NetworkPolicy', 'networking.k8s.io/v1', true),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(field, tie('any'), { maxKeys: 4 }),
    ),
  })).any;
  fc.assert(
    fc.property(value, (some) => {
      const { policy: parsed, problems } = parseNetworkPolicy(some);
      return (parsed === undefined) === problems.length > 0;
    }),
  );
  let deep: unknown = {};
  for (let level = 0; level < 100_000; level++) deep = { spec: deep };
  t.ok(parseNetworkPolicy(deep).problems.length > 0);
  t.end();
});

const podView = (name: string, override: Partial<PodView> = {}): PodView => ({
  namespace: 'x',
  name,
  labels: new Map([['app', 'web']]),
  ips: [`10.0.0.${name}`],
  vni: 1000,
  hostNetwork: false,
  ended: false,
  ports: [],
  ...override,
});
const group = (name: string, spec: DpuGroupManifest['spec']): DpuGroupManifest => ({
  apiVersion: 'dpu.network/v1alpha1',
  kind: 'DPUGroup',
  metadata: { name, namespace: 'x' },
  spec,
});
const SPACES = ['x', 'y'].map((name) => ({ name, labels: new Map([['name', name]]) }));

t.test('a group is the pods of the selected namespaces that have an address of ours', (t) => {
  const pods = [
    podView('1', { ips: ['10.0.0.1', 'fd00::1'] }),
    podView('2', { labels: new Map() }),
    podView('3', { namespace: 'y' }),
    podView('4', { hostNetwork: true }),
    podView('5', { ended: true }),
    podView('6', { vni: undefined }),
    podView('7', { ips: [] }),
    podView('8', { namespace: 'unknown' }),
  ];
  const web = { matchLabels: { app: 'web' } };
  const cases: [DpuGroupManifest['spec'], string[]][] = [
    [{ podSelector: web }, ['10.0.0.1', 'fd00::1']],
    [{ podSelector: {} }, ['10.0.0.1', '10.0.0.2', 'fd00::1']],
    [{ namespaceSelector: {} }, ['10.0.0.1', '10.0.0.2', '10.0.0.3', 'fd00::1']],
    [{ podSelector: web, namespaceSelector: { matchLabels: { name: 'y' } } }, ['10.0.0.3']],
    [{ podSelector: { matchLabels: { app: 'db' } } }, []],
    [{}, []],
  ];
  for (const [spec, want] of cases) {
    const slices = resolveGroups(pods, SPACES, [group('g', spec)]);
    t.equal(slices.length, 1);
    t.match(slices[0]?.metadata, {
      name: 'g-0',
      namespace: 'x',
      labels: { 'dpu.network/group': 'g' },
    });
    t.same(slices[0]?.spec.entries.map(({ ip }) => ip).sort(), want);
  }
  t.end();
});

t.test('named ports go with the address; a second protocol of one name is a second entry', (t) => {
  const ports = [
    { name: 'dns', protocol: 'UDP', port: 53 },
    { name: 'dns', protocol: 'TCP', port: 53 },
    { name: 'web', protocol: 'TCP', port: 80 },
    { name: 'web', protocol: 'TCP', port: 81 },
  ] as const;
  const [slice] = resolveGroups([podView('1', { ports })], SPACES, [
    group('g', { podSelector: {} }),
  ]);
  t.same(slice?.spec.entries, [
    { ip: '10.0.0.1', vni: 1000, ports: { dns: ['TCP', 53], web: ['TCP', 80] } },
    { ip: '10.0.0.1', vni: 1000, ports: { dns: ['UDP', 53] } },
  ]);
  t.end();
});

t.test('an entry stays in its slice; a change touches one slice', (t) => {
  const pods = Array.from({ length: 2500 }, (_, index) =>
    podView(String(index), { ips: [`10.1.${index >> 8}.${index & 255}`] }),
  );
  const groups = [group('g', { podSelector: {} })];
  const first = resolveGroups(pods, SPACES, groups);
  t.same(
    first.map(({ spec }) => spec.entries.length),
    [1000, 1000, 500],
  );
  t.same(
    resolveGroups([...pods].reverse(), SPACES, groups, first),
    first,
    'the order of pods does not matter',
  );
  const gone = first[1]?.spec.entries[7]?.ip;
  const fewer = pods.filter(({ ips }) => ips[0] !== gone);
  const second = resolveGroups(fewer, SPACES, groups, first);
  t.same([second[0], second[2]], [first[0], first[2]], 'the others are as they were');
  t.equal(second[1]?.spec.entries.length, 999);
  const third = resolveGroups(
    [...fewer, podView('new', { ips: ['10.2.0.1'] })],
    SPACES,
    groups,
    second,
  );
  t.match(third[1]?.spec.entries.at(-1), { ip: '10.2.0.1' }, 'the room is used again');
  const none = resolveGroups([], SPACES, groups, third);
  t.same(
    none.map(({ metadata, spec }) => [metadata.name, spec.entries.length]),
    [['g-0', 0]],
  );
  t.end();
});
