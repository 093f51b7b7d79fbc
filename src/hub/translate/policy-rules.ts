/**
 * From a NetworkPolicy to DPURules and DPUGroups, exactly as Kubernetes defines it (docs/hub.md): `np-<name>` in tier
 * policy has its allows, `np-<name>-iso` in tier isolation denies the rest. All allows of all policies stand in an earlier
 * tier than every isolation, so their union holds whatever the number of policies. Pure; selectors are carried in groups
 * and resolved where the pods are.
 */
import { parsePrefix, formatPrefix } from '../../base/address.ts';
import type { Problem } from '../../base/error.ts';
import { ALL_ADDRESSES, subtractPrefixes } from '../../base/prefix-set.ts';
import { PRIORITY_DEFAULT, RULES_MAX } from '../../api/dpu-rule.ts';
import { ADDRESSES_MAX, PORTS_MAX } from '../../api/field.ts';
import { API_VERSION, ORIGIN_ANNOTATION, ORIGIN_KIND_LABEL } from '../../api/labels.ts';
import { canonicalSelector } from './label-selector.ts';
import type {
  DpuGroupManifest,
  DpuRuleManifest,
  RuleEntryManifest,
  RuleMatchManifest,
} from './manifest.ts';
import type { NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule } from './network-policy.ts';
import {
  allowRuleName,
  isolationRuleName,
  peerGroupName,
  subjectGroupName,
} from './object-name.ts';

/** Most entries that one policy may become, in all its DPURules together. */
export const ENTRIES_MAX = 4096;

/** What a policy becomes, or the reasons why it becomes nothing. */
export interface Translation {
  readonly rules: readonly DpuRuleManifest[];
  /** Groups that the rules name. Policies of one namespace may share a group of peers. */
  readonly groups: readonly DpuGroupManifest[];
  readonly problems: readonly Problem[];
}

/** The peers of one entry, before it is known which side they are. */
type PeerMatch =
  | { readonly sort: 'any' }
  | { readonly sort: 'group'; readonly group: string }
  | {
      readonly sort: 'block';
      readonly cidrs: readonly string[];
      readonly except: readonly string[];
    };

interface PeerChoice {
  /** Part of the entry's name. */
  readonly name: string;
  readonly match: PeerMatch;
}

interface PortChoice {
  /** Part of the entry's name. */
  readonly name: string;
  readonly match: Pick<RuleMatchManifest, 'protocol' | 'dstPorts' | 'dstPortName'>;
}

interface Side {
  readonly direction: 'Ingress' | 'Egress';
  readonly field: 'ingress' | 'egress';
  readonly peerField: 'from' | 'to';
}

const INGRESS: Side = { direction: 'Ingress', field: 'ingress', peerField: 'from' };
const EGRESS: Side = { direction: 'Egress', field: 'egress', peerField: 'to' };

/** Selects every pod of every namespace. */
const EVERY_POD: PolicyPeer = { podSelector: {}, namespaceSelector: {} };

function chunksOf<Item>(items: readonly Item[], size: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) =>
    items.slice(index * size, (index + 1) * size),
  );
}

/** Collects what one policy becomes. */
class PolicyTranslation {
  readonly problems: Problem[] = [];
  readonly groups = new Map<string, DpuGroupManifest>();
  readonly entries: RuleEntryManifest[] = [];
  readonly #policy: NetworkPolicy;
  readonly #subject: string;
  #overflow = false;

  constructor(policy: NetworkPolicy) {
    this.#policy = policy;
    this.#subject = subjectGroupName(policy.name);
    this.#addGroup(this.#subject, { podSelector: canonicalSelector(policy.podSelector) });
  }

  /** Adds the allows of one direction. */
  allow(side: Side, rules: readonly PolicyRule[]): void {
    for (const [index, rule] of rules.entries()) {
      const path = `spec.${side.field}[${index}]`;
      const peers = this.#peerChoices(rule.peers, `${path}.${side.peerField}`);
      const ports = portChoices(rule.ports);
      for (const peer of peers) {
        for (const port of ports) {
          if (this.entries.length >= ENTRIES_MAX) {
            this.#tooMany(path);
            return;
          }
          this.#addEntry(side, `${side.field}-${index}`, peer, port, path);
        }
      }
    }
  }

  /** The match of everything that the policy isolates in a direction. */
  subjectMatch(side: Side): RuleMatchManifest {
    return side.direction === 'Ingress' ? { dstGroup: this.#subject } : { srcGroup: this.#subject };
  }

  #tooMany(path: string): void {
    if (this.#overflow) return;
    this.#overflow = true;
    const message = `brings the number of pairs of a peer and a protocol above ${ENTRIES_MAX}, the most that is accepted`;
    this.problems.push({ path, message });
  }

  #addEntry(side: Side, rule: string, peer: PeerChoice, port: PortChoice, path: string): void {
    const peers = this.#peerFields(side, peer.match, port, path);
    if (peers === undefined) return;
    const name = [rule, peer.name, port.name].filter((part) => part !== '').join('-');
    const match = { ...this.subjectMatch(side), ...peers, ...port.match };
    this.entries.push({ name, direction: side.direction, match, action: 'allow' });
  }

  /** The fields of a match that stand for peers. */
  #peerFields(
    side: Side,
    match: PeerMatch,
    port: PortChoice,
    path: string,
  ): RuleMatchManifest | undefined {
    if (side.direction === 'Ingress') {
      if (match.sort === 'any') return {};
      if (match.sort === 'group') return { srcGroup: match.group };
      const holes = match.except.length === 0 ? {} : { notSrcIPs: [...match.except] };
      return { srcIPs: [...match.cidrs], ...holes };
    }
    if (match.sort === 'group') return { dstGroup: match.group };
    if (port.match.dstPortName === undefined) {
      if (match.sort === 'any') return {};
      const holes = match.except.length === 0 ? {} : { notDstIPs: [...match.except] };
      return { dstIPs: [...match.cidrs], ...holes };
    }
    // A named port is one of a pod: of those that may be reached, the pods.
    const dstGroup = this.#peerGroup(EVERY_POD);
    if (match.sort === 'any') return { dstGroup };
    const outside = complement(match.cidrs, match.except);
    if (outside.length > ADDRESSES_MAX) {
      const message = `a named port with blocks of addresses whose complement has ${outside.length} prefixes is not supported; accepted: at most ${ADDRESSES_MAX}, or the port's number`;
      this.problems.push({ path, message });
      return undefined;
    }
    return outside.length === 0 ? { dstGroup } : { dstGroup, notDstIPs: outside };
  }

  #peerChoices(peers: readonly PolicyPeer[], path: string): PeerChoice[] {
    if (peers.length === 0) return [{ name: 'any', match: { sort: 'any' } }];
    const choices: PeerChoice[] = [];
    const whole: string[] = [];
    const groups = new Set<string>();
    for (const [index, peer] of peers.entries()) {
      if (peer.ipBlock === undefined) {
        const group = this.#peerGroup(peer);
        if (groups.has(group)) continue;
        groups.add(group);
        choices.push({ name: `peer-${index}`, match: { sort: 'group', group } });
      } else if (peer.ipBlock.except.length === 0) {
        whole.push(peer.ipBlock.cidr);
      } else if (peer.ipBlock.except.length <= ADDRESSES_MAX) {
        const { cidr, except } = peer.ipBlock;
        choices.push({ name: `peer-${index}`, match: { sort: 'block', cidrs: [cidr], except } });
      } else {
        const message = `${peer.ipBlock.except.length} entries are not accepted; accepted: at most ${ADDRESSES_MAX}`;
        this.problems.push({ path: `${path}[${index}].ipBlock.except`, message });
      }
    }
    const blocks = chunksOf([...new Set(whole)], ADDRESSES_MAX);
    for (const [index, cidrs] of blocks.entries()) {
      choices.push({ name: `blocks-${index}`, match: { sort: 'block', cidrs, except: [] } });
    }
    return choices;
  }

  /** The group of a peer that is pods; podSelector alone means the policy's namespace, namespaceSelector alone every pod. */
  #peerGroup({ podSelector, namespaceSelector }: PolicyPeer): string {
    const spec = {
      podSelector: canonicalSelector(podSelector ?? {}),
      ...(namespaceSelector === undefined
        ? {}
        : { namespaceSelector: canonicalSelector(namespaceSelector) }),
    };
    const name = peerGroupName(JSON.stringify(spec));
    this.#addGroup(name, spec);
    return name;
  }

  #addGroup(name: string, spec: DpuGroupManifest['spec']): void {
    if (this.groups.has(name)) return;
    const { namespace } = this.#policy;
    const metadata = { name, namespace, labels: { [ORIGIN_KIND_LABEL]: 'NetworkPolicy' } };
    this.groups.set(name, { apiVersion: API_VERSION, kind: 'DPUGroup', metadata, spec });
  }
}

/** The prefixes of both families that are in none of `cidrs`, or in `except`. */
function complement(cidrs: readonly string[], except: readonly string[]): string[] {
  const parsed = (texts: readonly string[]) =>
    texts.map(parsePrefix).filter((prefix) => prefix !== undefined);
  const outside = subtractPrefixes(ALL_ADDRESSES, parsed(cidrs));
  return [...outside, ...parsed(except)].map(formatPrefix);
}

/** The protocols and ports of a rule: one choice for each protocol's numbers, one for each named port. */
function portChoices(ports: readonly PolicyPort[]): PortChoice[] {
  if (ports.length === 0) return [{ name: '', match: {} }];
  const choices: PortChoice[] = [];
  const byProtocol = Map.groupBy(ports, ({ protocol }) => protocol);
  for (const [protocol, list] of byProtocol) {
    const name = protocol.toLowerCase();
    if (list.some(({ port }) => port === undefined)) {
      choices.push({ name, match: { protocol } });
      continue;
    }
    const numbers = new Set<number | string>();
    const names = new Set<string>();
    for (const { port, endPort } of list) {
      if (typeof port === 'string') names.add(port);
      else if (port !== undefined) {
        numbers.add(endPort === undefined || endPort === port ? port : `${port}-${endPort}`);
      }
    }
    for (const [index, dstPorts] of chunksOf([...numbers], PORTS_MAX).entries()) {
      choices.push({
        name: index === 0 ? name : `${name}-${index}`,
        match: { protocol, dstPorts },
      });
    }
    for (const port of names) {
      choices.push({ name: `${name}-port-${port}`, match: { protocol, dstPortName: port } });
    }
  }
  return choices;
}

/**
 * Translates one policy. `network` is the DPUNetwork of its pods; it must have conntrack on, since Kubernetes allows the
 * replies of every connection that is allowed.
 */
export function translatePolicy(policy: NetworkPolicy, network: string): Translation {
  const work = new PolicyTranslation(policy);
  if (policy.ingress !== undefined) work.allow(INGRESS, policy.ingress);
  if (policy.egress !== undefined) work.allow(EGRESS, policy.egress);
  if (work.problems.length > 0) return { rules: [], groups: [], problems: work.problems };
  const denies: RuleEntryManifest[] = [INGRESS, EGRESS]
    .filter(({ field }) => policy[field] !== undefined)
    .map((side) => ({
      name: side.field,
      direction: side.direction,
      match: work.subjectMatch(side),
      action: 'deny',
    }));
  const rule = (
    name: string,
    tier: 'policy' | 'isolation',
    rules: RuleEntryManifest[],
  ): DpuRuleManifest => ({
    apiVersion: API_VERSION,
    kind: 'DPURule',
    metadata: {
      name,
      namespace: policy.namespace,
      labels: { [ORIGIN_KIND_LABEL]: 'NetworkPolicy' },
      annotations: { [ORIGIN_ANNOTATION]: `NetworkPolicy/${policy.namespace}/${policy.name}` },
    },
    spec: { tier, priority: PRIORITY_DEFAULT, networkRef: network, rules },
  });
  return {
    rules: [
      ...chunksOf(work.entries, RULES_MAX).map((entries, part) =>
        rule(allowRuleName(policy.name, part), 'policy', entries),
      ),
      rule(isolationRuleName(policy.name), 'isolation', denies),
    ],
    groups: [...work.groups.values()],
    problems: [],
  };
}
