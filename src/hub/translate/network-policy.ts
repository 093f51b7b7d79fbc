/**
 * NetworkPolicy (networking.k8s.io/v1) as this product reads it: its own schema, so that whatever it does not know is
 * refused by name and never dropped, and the checks that Kubernetes itself makes. Says nothing of what a policy means;
 * policy-rules.ts does.
 */
import { z } from 'zod';
import type { Problem } from '../../base/error.ts';
import { parsePrefix, prefixContains } from '../../base/address.ts';
import { wholeNumber } from '../../api/field.ts';
import { namespacedMeta } from '../../api/metadata.ts';
import { accepts, boundProblems, parseWithSchema } from '../../api/schema-problem.ts';
import { checkSelector, labelSelector, type LabelSelector } from './label-selector.ts';

/** `apiVersion` of the policies that are translated. */
export const NETWORK_POLICY_API_VERSION = 'networking.k8s.io/v1';

/** Most rules, peers and ports in one list of a policy. */
const LIST_MAX = 1024;
/** Deepest nesting of a policy that is looked at. */
const DEPTH_MAX = 32;

/** An IANA service name (RFC 6335 section 5.1), as Kubernetes wants names of ports. */
const PORT_NAME = /^(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$/;

function isPort(value: unknown): value is number | string {
  if (typeof value === 'string') return PORT_NAME.test(value);
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65535;
}

const cidrText = z
  .string(accepts('a prefix such as 10.1.0.0/16 or fd00::/64'))
  .refine(
    (value) => value.length <= 49 && value.includes('/') && parsePrefix(value) !== undefined,
    accepts('a prefix such as 10.1.0.0/16 or fd00::/64'),
  );

const policyPort = z.strictObject({
  protocol: z.enum(['TCP', 'UDP', 'SCTP']).default('TCP'),
  port: z
    .custom<number | string>(
      isPort,
      accepts('a port 1..65535 or the name of one, at most 15 of a-z, 0-9 and -'),
    )
    .optional(),
  endPort: wholeNumber(1, 65535).optional(),
});

const policyPeer = z.strictObject({
  podSelector: labelSelector.optional(),
  namespaceSelector: labelSelector.optional(),
  ipBlock: z
    .strictObject({ cidr: cidrText, except: z.array(cidrText).max(LIST_MAX).default([]) })
    .optional(),
});

const ports = z.array(policyPort).max(LIST_MAX).default([]);
const peers = z.array(policyPeer).max(LIST_MAX).default([]);

const POLICY_TYPES = ['Ingress', 'Egress'] as const;

const networkPolicySchema = z.strictObject({
  apiVersion: z.literal(NETWORK_POLICY_API_VERSION),
  kind: z.literal('NetworkPolicy'),
  metadata: namespacedMeta,
  spec: z.strictObject({
    podSelector: labelSelector.default({}),
    policyTypes: z.array(z.enum(POLICY_TYPES)).max(2).default([]),
    ingress: z
      .array(z.strictObject({ from: peers, ports }))
      .max(LIST_MAX)
      .default([]),
    egress: z
      .array(z.strictObject({ to: peers, ports }))
      .max(LIST_MAX)
      .default([]),
  }),
  status: z.unknown().optional(),
});

type ParsedPolicy = z.output<typeof networkPolicySchema>;

/** One port of a rule; without `port` it is every port of the protocol. */
export type PolicyPort = z.output<typeof policyPort>;
/** One peer of a rule: pods, or a block of addresses. */
export type PolicyPeer = z.output<typeof policyPeer>;

/** One allow of a policy. Empty lists mean every peer, and every port and protocol. */
export interface PolicyRule {
  readonly peers: readonly PolicyPeer[];
  readonly ports: readonly PolicyPort[];
}

/** A valid NetworkPolicy. A direction is undefined when the policy does not isolate it. */
export interface NetworkPolicy {
  readonly namespace: string;
  readonly name: string;
  readonly podSelector: LabelSelector;
  readonly ingress: readonly PolicyRule[] | undefined;
  readonly egress: readonly PolicyRule[] | undefined;
}

/** A policy with what a reader should know about it, or the reasons why it is refused. */
export interface ParsedNetworkPolicy {
  readonly policy?: NetworkPolicy;
  readonly problems: readonly Problem[];
  /** Parts that Kubernetes itself defines to have no effect. */
  readonly notes: readonly Problem[];
}

/**
 * A field that is null is a field that is not given, as for the API server. Labels are left as they are: there a null is
 * the empty string to the API server, and to leave it out would select more; the schema refuses it.
 */
function withoutNulls(value: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (depth > DEPTH_MAX) return undefined;
  if (Array.isArray(value)) return value.map((item: unknown) => withoutNulls(item, depth + 1));
  const fields: [string, unknown][] = Object.entries(value);
  return Object.fromEntries(
    fields
      .filter(([, field]) => field !== null)
      .map(([key, field]): [string, unknown] => [
        key,
        key === 'matchLabels' ? field : withoutNulls(field, depth + 1),
      ]),
  );
}

function checkPort({ port, endPort }: PolicyPort, path: string): Problem[] {
  if (endPort === undefined) return [];
  if (typeof port !== 'number') {
    const seen = port === undefined ? 'without port' : 'with a named port';
    return [
      { path: `${path}.endPort`, message: `is not accepted ${seen}; accepted: with a number` },
    ];
  }
  if (endPort >= port) return [];
  const message = `${endPort} is not accepted; accepted: at least port, ${port}`;
  return [{ path: `${path}.endPort`, message }];
}

function checkPeer(
  { podSelector, namespaceSelector, ipBlock }: PolicyPeer,
  path: string,
): Problem[] {
  const hasSelector = podSelector !== undefined || namespaceSelector !== undefined;
  const accepted = 'accepted: podSelector and namespaceSelector, one of them, or ipBlock';
  if (ipBlock === undefined) {
    if (!hasSelector) return [{ path, message: `is empty; ${accepted}` }];
    return [
      ...(podSelector === undefined ? [] : checkSelector(podSelector, `${path}.podSelector`)),
      ...(namespaceSelector === undefined
        ? []
        : checkSelector(namespaceSelector, `${path}.namespaceSelector`)),
    ];
  }
  if (hasSelector)
    return [{ path: `${path}.ipBlock`, message: `stands beside a selector; ${accepted}` }];
  const cidr = parsePrefix(ipBlock.cidr);
  return ipBlock.except.flatMap((text, index) => {
    const hole = parsePrefix(text);
    const isInside =
      cidr !== undefined &&
      hole !== undefined &&
      prefixContains(cidr, hole) &&
      hole.length > cidr.length;
    const message = `"${text}" is not accepted; accepted: a prefix inside ${ipBlock.cidr} and smaller`;
    return isInside ? [] : [{ path: `${path}.ipBlock.except[${index}]`, message }];
  });
}

function checkRules(rules: readonly PolicyRule[], path: string, peerField: string): Problem[] {
  return rules.flatMap(({ peers: list, ports: portList }, index) => [
    ...list.flatMap((peer, at) => checkPeer(peer, `${path}[${index}].${peerField}[${at}]`)),
    ...portList.flatMap((port, at) => checkPort(port, `${path}[${index}].ports[${at}]`)),
  ]);
}

/** The directions that a policy isolates. Without policyTypes: Ingress, and Egress when it has an egress rule. */
function isolatedDirections({ policyTypes, egress }: ParsedPolicy['spec']): ReadonlySet<string> {
  if (policyTypes.length > 0) return new Set(policyTypes);
  return new Set(egress.length > 0 ? POLICY_TYPES : ['Ingress']);
}

/** Reads one decoded NetworkPolicy. Never throws. */
export function parseNetworkPolicy(value: unknown): ParsedNetworkPolicy {
  const { value: parsed, problems } = parseWithSchema(networkPolicySchema, withoutNulls(value));
  if (parsed === undefined) return { problems, notes: [] };
  const { spec } = parsed;
  const ingress = spec.ingress.map((rule) => ({ peers: rule.from, ports: rule.ports }));
  const egress = spec.egress.map((rule) => ({ peers: rule.to, ports: rule.ports }));
  const faults = [
    ...checkSelector(spec.podSelector, 'spec.podSelector'),
    ...checkRules(ingress, 'spec.ingress', 'from'),
    ...checkRules(egress, 'spec.egress', 'to'),
  ];
  if (faults.length > 0) return { problems: boundProblems(faults), notes: [] };
  const directions = isolatedDirections(spec);
  const unused = (['ingress', 'egress'] as const).filter(
    (field, index) => spec[field].length > 0 && !directions.has(POLICY_TYPES[index] ?? ''),
  );
  return {
    policy: {
      namespace: parsed.metadata.namespace,
      name: parsed.metadata.name,
      podSelector: spec.podSelector,
      ingress: directions.has('Ingress') ? ingress : undefined,
      egress: directions.has('Egress') ? egress : undefined,
    },
    problems: [],
    notes: unused.map((field) => ({
      path: `spec.${field}`,
      message: `has no effect, since policyTypes does not name ${field === 'egress' ? 'Egress' : 'Ingress'}`,
    })),
  };
}
