/**
 * The load: DPURules of four entries, each of which denies one TCP port of one address, through the product's own parser
 * and defaults. An entry is two flows (its match and its verdict), so a rule is eight.
 */
import type { DpuRule } from '../src/api/dpu-rule.ts';
import { parseObject } from '../src/api/object.ts';
import { formatIp, parseIp, parsePrefix } from '../src/base/address.ts';
import { asOfPort, asVni } from '../src/base/brand.ts';
import { DesiredState } from '../src/agent/flow/desired.ts';
import { diff, fullScope, type Change } from '../src/agent/flow/diff.ts';
import type { RuleInput, Snapshot } from '../src/agent/flow/model.ts';
import { Mirror } from '../src/agent/reconcile/mirror.ts';

const NAMESPACE = 'tenant-a';
const VNI = 1000;
const ENTRIES_PER_RULE = 4;
/** Flows that one rule of the load compiles to. */
export const FLOWS_PER_RULE = 2 * ENTRIES_PER_RULE;
/** First address of the load: 10.1.0.0. */
const FIRST_ADDRESS = 0x0a010000n;

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a constant of the load is not valid');
  return value;
}

/** A rule as a user would write it. `port` is the TCP port that its entries deny. */
export function ruleDocument(index: number, port: number): Record<string, unknown> {
  const rules = Array.from({ length: ENTRIES_PER_RULE }, (_, entry) => ({
    name: `entry-${entry}`,
    direction: 'Egress',
    match: {
      dstIP: formatIp(4, FIRST_ADDRESS + BigInt(index * ENTRIES_PER_RULE + entry)),
      protocol: 'TCP',
      dstPort: port,
    },
    action: 'deny',
  }));
  return {
    apiVersion: 'dpu.network/v1alpha1',
    kind: 'DPURule',
    metadata: { name: `rule-${index}`, namespace: NAMESPACE },
    spec: { networkRef: NAMESPACE, rules },
  };
}

/** A rule as the compiler is given it. */
export function makeRule(index: number, port = 80): RuleInput {
  const { object, problems } = parseObject(ruleDocument(index, port));
  if (object?.kind !== 'DPURule') throw new Error(JSON.stringify(problems));
  return withVerdicts(object);
}

function withVerdicts(object: DpuRule): RuleInput {
  const vni = present(asVni(VNI));
  return { object, verdicts: object.spec.rules.map(() => ({ vni })) };
}

/** Rules that make up `flowCount` flows. */
export function makeRules(flowCount: number): RuleInput[] {
  return Array.from({ length: Math.ceil(flowCount / FLOWS_PER_RULE) }, (_, index) =>
    makeRule(index),
  );
}

/** The same rules, of which one in a hundred denies another port. */
export function changeOnePercent(rules: readonly RuleInput[]): RuleInput[] {
  return rules.map((rule, index) => (index % 100 === 0 ? makeRule(index, 8080) : rule));
}

/** One network with a tunnel, a peer and these rules. */
export function snapshotOf(rules: readonly RuleInput[]): Snapshot {
  const vtep = (text: string): number => Number(present(parseIp(text)).value);
  return {
    tunnel: { ofport: present(asOfPort(65000)), ip: vtep('192.168.1.11') },
    peers: [vtep('192.168.1.12')],
    networks: [
      {
        vni: present(asVni(VNI)),
        name: NAMESPACE,
        subnets: [present(parsePrefix('10.0.0.0/8'))],
        defaultAction: { ingress: 'allow', egress: 'allow' },
        unknownUnicast: 'drop',
      },
    ],
    locals: [],
    remotes: [],
    legs: [],
    rules,
  };
}

/** The compiled table of a snapshot. */
export function desiredOf(snapshot: Snapshot): DesiredState {
  const desired = new DesiredState();
  desired.update(snapshot);
  return desired;
}

/** The changes from one table, or from an empty switch, to another. */
export function changesBetween(from: DesiredState | undefined, to: DesiredState): Change[] {
  const mirror = new Mirror();
  if (from !== undefined) mirror.apply(diff(from, mirror, fullScope(from, mirror)));
  return diff(to, mirror, fullScope(to, mirror));
}
