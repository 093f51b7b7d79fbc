// The translation of NetworkPolicies against an evaluator that was written from the Kubernetes API alone.
import t from 'tap';
import { parseObject } from '../../src/api/object.ts';
import { resolveGroups, type PodView } from '../../src/hub/spoke/resolve.ts';
import type { DpuGroupManifest, DpuRuleManifest } from '../../src/hub/translate/manifest.ts';
import { translateSet } from '../../src/hub/translate/policy-set.ts';
import { readPolicyText } from '../../src/hub/translate/policy-text.ts';
import { CLUSTER, connections, policyCases } from '../support/policy-cases.ts';
import { evaluate, type Connection, type Policy } from '../support/policy-evaluator.ts';
import { decide, groupsOf } from '../support/tier-model.ts';

/** With the written cases more than 200 sets. */
const GENERATED = 180;

const PODS: readonly PodView[] = CLUSTER.pods.map((pod) => ({
  namespace: pod.namespace,
  name: pod.name,
  labels: new Map(Object.entries(pod.labels)),
  ips: [pod.ipv4, pod.ipv6],
  vni: 1000,
  hostNetwork: false,
  ended: false,
  ports: pod.ports,
}));
const NAMESPACES = Object.entries(CLUSTER.namespaces).map(([name, labels]) => ({
  name,
  labels: new Map(Object.entries(labels)),
}));

function describe({ from, to, protocol, port }: Connection): string {
  const end = ({ ip, pod }: Connection['from']): string =>
    pod === undefined ? ip : `${pod.namespace}/${pod.name} (${ip})`;
  return `${end(from)} -> ${end(to)} ${protocol} ${port}`;
}

function translate(policies: readonly Policy[]): {
  rules: DpuRuleManifest[];
  groups: DpuGroupManifest[];
} {
  const read = readPolicyText(JSON.stringify({ kind: 'List', items: policies }), 'case', 'default');
  const { objects, problems } = translateSet(read.policies, [], 'net');
  if (read.problems.length + problems.length > 0)
    throw new Error([...read.problems, ...problems].join('\n'));
  return {
    rules: objects.filter((object) => object.kind === 'DPURule'),
    groups: objects.filter((object) => object.kind === 'DPUGroup'),
  };
}

t.test('the verdict of the translation is that of Kubernetes', async (t) => {
  const cases = policyCases(GENERATED);
  t.ok(cases.length >= 200, `${cases.length} policy sets`);
  const tried = [...connections(4), ...connections(6)];
  let compared = 0;
  const verdicts = new Map<boolean, number>();
  for (const { name, policies } of cases) {
    const { rules, groups } = translate(policies);
    for (const rule of rules) {
      const { problems } = parseObject(rule);
      if (problems.length > 0) t.same(problems, [], `${name}: ${rule.metadata.name} is valid`);
    }
    const resolved = groupsOf(resolveGroups(PODS, NAMESPACES, groups));
    const wrong: string[] = [];
    for (const connection of tried) {
      const want = evaluate(policies, CLUSTER, connection);
      for (const direction of ['Ingress', 'Egress'] as const) {
        const end = direction === 'Ingress' ? connection.to : connection.from;
        // Where the other side is no pod there is no port of ours, and nothing decides.
        if (end.pod === undefined) continue;
        const got = decide(rules, resolved, connection, direction);
        const expected = direction === 'Ingress' ? want.ingress : want.egress;
        verdicts.set(expected, (verdicts.get(expected) ?? 0) + 1);
        compared++;
        if (got !== expected) wrong.push(`${describe(connection)} ${direction}: want ${expected}`);
      }
    }
    if (wrong.length > 0) t.same(wrong.slice(0, 5), [], name, { policies });
  }
  t.comment(`${compared} verdicts in ${cases.length} sets: ${JSON.stringify([...verdicts])}`);
  t.ok((verdicts.get(true) ?? 0) > compared / 10, 'many are allowed');
  t.ok((verdicts.get(false) ?? 0) > compared / 10, 'many are denied');
});
