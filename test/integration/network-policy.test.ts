// NetworkPolicies, translated and compiled, on a real switch: what it does with the first packet of every connection is what
// an evaluator says that was written from the Kubernetes API alone. TEST_LONG tries every connection, else one of sixteen.
import t from 'tap';
import { DesiredState } from '../../src/agent/flow/desired.ts';
import type { RuleInput } from '../../src/agent/flow/model.ts';
import { collectGroups, withGroups, type GroupIndex } from '../../src/agent/rules/groups.ts';
import { parseObject, type DpuObject } from '../../src/api/object.ts';
import { resolveGroups } from '../../src/hub/spoke/resolve.ts';
import { CompiledSwitch, type TracedOutcome } from '../support/compiled-switch.ts';
import { labSnapshot, network, vni } from '../support/model.ts';
import { CLUSTER, connections, policyCases } from '../support/policy-cases.ts';
import { evaluate, type Connection, type Policy } from '../support/policy-evaluator.ts';
import {
  describeConnection,
  firstPacket,
  gatewayEndpoint,
  NAMESPACES,
  POD_VNI,
  podEndpoints,
  PODS,
  translatePolicies,
} from '../support/policy-world.ts';

const GENERATED = 180;
/** Of so many connections one is tried; which, differs from set to set. */
const STRIDE = process.env['TEST_LONG'] === undefined ? 16 : 1;
const AT_ONCE = 16;

function parsed(value: unknown): DpuObject {
  const { object, problems } = parseObject(value);
  if (object === undefined) throw new Error(JSON.stringify(problems));
  return object;
}

/** The rules of a set, with their groups as the spoke resolves them. */
function compiledInputs(policies: readonly Policy[]): RuleInput[] {
  const { rules, groups } = translatePolicies(policies);
  const slices = resolveGroups(PODS, NAMESPACES, groups);
  const index: GroupIndex = collectGroups(
    groups.map(parsed).filter((object) => object.kind === 'DPUGroup'),
    slices,
  );
  return rules
    .map(parsed)
    .filter((object) => object.kind === 'DPURule')
    .map((object) => ({
      object,
      verdicts: object.spec.rules.map((entry) =>
        withGroups({ vni: vni(POD_VNI) }, entry, object.metadata.namespace, index),
      ),
    }));
}

/** Why the switch does not do what Kubernetes says; undefined when it does. */
function difference(
  want: { egress: boolean; ingress: boolean },
  { from, to }: Connection,
  got: TracedOutcome,
): string | undefined {
  const isDenied = (names: readonly string[], direction: string): boolean =>
    names.length === 1 && names[0]?.endsWith(`-iso/${direction}`) === true;
  if (from.pod !== undefined && !want.egress) {
    const fine = isDenied(got.egress, 'egress') && got.outputs.length === 0;
    return fine ? undefined : 'Kubernetes denies egress';
  }
  if (to.pod !== undefined && !want.ingress) {
    const fine = isDenied(got.ingress, 'ingress') && got.outputs.length === 0;
    return fine ? undefined : 'Kubernetes denies ingress';
  }
  return got.outputs.length === 1 ? undefined : 'Kubernetes lets it pass';
}

t.test(
  'what the switch does with the first packet of a connection is what Kubernetes says',
  { timeout: STRIDE === 1 ? 3_600_000 : 600_000 },
  async (t) => {
    const real = await CompiledSwitch.create(
      t,
      CLUSTER.pods.map((_, index) => index + 1),
    );
    if (real === undefined) return;
    const cases = policyCases(GENERATED);
    t.ok(cases.length >= 200, `${cases.length} policy sets`);
    const all = [...connections(4), ...connections(6)];
    const base = {
      networks: [network(POD_VNI, 'pods')],
      locals: podEndpoints(),
      remotes: [gatewayEndpoint()],
    };
    const seen = { traces: 0, passed: 0, egressDenied: 0, ingressDenied: 0 };
    const desired = new DesiredState();
    for (const [number, { name, policies }] of cases.entries()) {
      desired.update(labSnapshot(compiledInputs(policies), base));
      const refused = [...desired.entries()].filter(({ refusal }) => refusal !== undefined);
      t.same(
        refused.map(({ key, refusal }) => [key, refusal]),
        [],
        `${name}: the compiler takes every entry`,
      );
      await real.install(desired);
      const tried = all.filter((_, index) => (index + number) % STRIDE === 0);
      const wrong: string[] = [];
      for (let start = 0; start < tried.length; start += AT_ONCE) {
        await Promise.all(
          tried.slice(start, start + AT_ONCE).map(async (connection) => {
            const want = evaluate(policies, CLUSTER, connection);
            const got = await real.trace(firstPacket(connection));
            const what = difference(want, connection, got);
            if (what !== undefined) {
              wrong.push(`${describeConnection(connection)}: ${what}\n${got.text}`);
            }
            seen.traces++;
            if (!want.egress) seen.egressDenied++;
            else if (!want.ingress) seen.ingressDenied++;
            else seen.passed++;
          }),
        );
      }
      t.same(
        wrong.slice(0, 2),
        [],
        name,
        wrong.length > 0 ? { policies, wrong: wrong.length } : {},
      );
    }
    t.comment(`${cases.length} policy sets: ${JSON.stringify(seen)}`);
    t.ok(Math.min(seen.passed, seen.egressDenied, seen.ingressDenied) > seen.traces / 50);
  },
);
