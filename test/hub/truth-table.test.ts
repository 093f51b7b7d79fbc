// The translation of NetworkPolicies against an evaluator that was written from the Kubernetes API alone.
import t from 'tap';
import { parseObject } from '../../src/api/object.ts';
import { resolveGroups } from '../../src/hub/spoke/resolve.ts';
import { CLUSTER, connections, policyCases } from '../support/policy-cases.ts';
import { evaluate } from '../support/policy-evaluator.ts';
import {
  describeConnection,
  NAMESPACES,
  PODS,
  translatePolicies,
} from '../support/policy-world.ts';
import { decide, groupsOf } from '../support/tier-model.ts';

/** With the written cases more than 200 sets. */
const GENERATED = 180;

t.test('the verdict of the translation is that of Kubernetes', async (t) => {
  const cases = policyCases(GENERATED);
  t.ok(cases.length >= 200, `${cases.length} policy sets`);
  const tried = [...connections(4), ...connections(6)];
  let compared = 0;
  const verdicts = new Map<boolean, number>();
  for (const { name, policies } of cases) {
    const { rules, groups } = translatePolicies(policies);
    const slices = resolveGroups(PODS, NAMESPACES, groups);
    for (const object of [...groups, ...slices, ...rules]) {
      const { problems } = parseObject(object);
      if (problems.length > 0) t.same(problems, [], `${name}: ${object.metadata.name} is valid`);
    }
    const resolved = groupsOf(slices);
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
        if (got !== expected)
          wrong.push(`${describeConnection(connection)} ${direction}: want ${expected}`);
      }
    }
    if (wrong.length > 0) t.same(wrong.slice(0, 5), [], name, { policies });
  }
  t.comment(`${compared} verdicts in ${cases.length} sets: ${JSON.stringify([...verdicts])}`);
  t.ok((verdicts.get(true) ?? 0) > compared / 10, 'many are allowed');
  t.ok((verdicts.get(false) ?? 0) > compared / 10, 'many are denied');
});
