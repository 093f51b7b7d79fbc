/**
 * Who may say what (docs/architecture.md): a customer owns VNIs, a network belongs to namespaces, and tiers that come before
 * the tenants' belong to namespaces that the configuration names. Pure. Says nothing of what a rule means.
 */
import type { DefaultAction, DpuNetwork, UnknownUnicast } from '../../api/dpu-network.ts';
import type { DpuRule, RuleEntry, Tier } from '../../api/dpu-rule.ts';
import { NAMESPACE_NAME_LABEL } from '../../api/labels.ts';
import { objectKey } from '../../api/object.ts';
import { formatVniRanges, ownsVni, type VniRange } from '../../api/vni-range.ts';
import { parsePrefix, type IpPrefix } from '../../base/address.ts';
import { asVni, type Vni } from '../../base/brand.ts';
import type { NetworkConfig, TierConfig } from '../config.ts';

/** Reasons of `Accepted=False` that ownership gives. */
export type OwnershipReason = 'VNINotAllowed' | 'TierNotAllowed' | 'NetworkNotFound' | 'Invalid';

/** What the agent knows of a network, wherever it is defined. */
export interface NetworkView {
  readonly vni: Vni;
  readonly name: string;
  readonly namespaces: readonly string[];
  /** Labels that a namespace must carry to be one of the network's too; undefined when there is no selector. */
  readonly namespaceLabels: ReadonlyMap<string, string> | undefined;
  readonly subnets: readonly IpPrefix[];
  readonly defaultAction: { readonly ingress: DefaultAction; readonly egress: DefaultAction };
  readonly unknownUnicast: UnknownUnicast;
  readonly conntrack: 'on' | 'off';
  readonly remoteLearning: 'on' | 'off';
  readonly dhcp: DefaultAction;
  /** `configuration`, or the key of the DPUNetwork. */
  readonly origin: string;
}

/** Networks by what a rule may call them. */
export interface NetworkIndex {
  readonly byVni: ReadonlyMap<number, NetworkView>;
  readonly byName: ReadonlyMap<string, NetworkView>;
}

/** A DPUNetwork that is not in force. */
export interface NetworkProblem {
  readonly object: string;
  readonly reason: OwnershipReason;
  readonly message: string;
}

/** What the configuration says about ownership. */
export interface OwnershipConfig {
  readonly customerVnis: readonly VniRange[];
  readonly tiers: TierConfig;
}

/** Verdict on one entry of `spec.rules`: its VNI, or why it has none. */
export type OwnershipVerdict =
  | { readonly vni: Vni; readonly reason?: undefined; readonly message: '' }
  | { readonly vni?: undefined; readonly reason: OwnershipReason; readonly message: string };

function fromConfig(network: NetworkConfig): NetworkView {
  const { vni, name, namespaces, subnets, defaultAction } = network;
  const { unknownUnicast, conntrack, remoteLearning } = network;
  return {
    vni,
    name,
    namespaces,
    namespaceLabels: undefined,
    subnets,
    defaultAction,
    unknownUnicast,
    conntrack,
    remoteLearning,
    dhcp: 'deny',
    origin: 'configuration',
  };
}

function fromObject(network: DpuNetwork, vni: Vni): NetworkView {
  const { namespaces, namespaceSelector, defaultAction, unknownUnicast } = network.spec;
  const { conntrack, remoteLearning, dhcp } = network.spec;
  return {
    vni,
    name: network.metadata.name,
    namespaces,
    namespaceLabels:
      namespaceSelector === undefined
        ? undefined
        : new Map(Object.entries(namespaceSelector.matchLabels)),
    subnets: network.spec.subnets.map(parsePrefix).filter((subnet) => subnet !== undefined),
    defaultAction,
    unknownUnicast,
    conntrack,
    remoteLearning,
    dhcp,
    origin: objectKey(network),
  };
}

/**
 * All networks in force. The configuration wins over an object with its VNI or name; among objects the first by name does.
 * Losers, and objects with a VNI that is not the customer's, are problems.
 */
export function collectNetworks(
  configured: readonly NetworkConfig[],
  objects: readonly DpuNetwork[],
  customerVnis: readonly VniRange[],
): { networks: NetworkIndex; problems: NetworkProblem[] } {
  const byVni = new Map<number, NetworkView>();
  const byName = new Map<string, NetworkView>();
  const problems: NetworkProblem[] = [];
  const add = (view: NetworkView): void => {
    byVni.set(view.vni, view);
    byName.set(view.name, view);
  };
  for (const network of configured) add(fromConfig(network));
  const sorted = [...objects].sort((one, other) =>
    one.metadata.name < other.metadata.name ? -1 : 1,
  );
  for (const network of sorted) {
    const object = objectKey(network);
    const { vni } = network.spec;
    const branded = asVni(vni);
    const rival = byVni.get(vni) ?? byName.get(network.metadata.name);
    if (branded === undefined || !ownsVni(customerVnis, vni)) {
      const message = `VNI ${vni} is not the customer's; accepted: ${formatVniRanges(customerVnis)}`;
      problems.push({ object, reason: 'VNINotAllowed', message });
    } else if (rival !== undefined) {
      const shared = rival.vni === vni ? `VNI ${vni}` : `name ${rival.name}`;
      const message = `${shared} belongs to network ${rival.name} (${rival.origin}), which is in force`;
      problems.push({ object, reason: 'Invalid', message });
    } else {
      add(fromObject(network, branded));
    }
  }
  return { networks: { byVni, byName }, problems };
}

/**
 * Whether rules of `namespace` may name `network`. Of a namespace's labels only `kubernetes.io/metadata.name` is known
 * here, so a selector with any other label matches nothing.
 */
export function namespaceMayUse(network: NetworkView, namespace: string): boolean {
  if (network.namespaces.includes(namespace)) return true;
  const labels = network.namespaceLabels;
  return (
    labels !== undefined &&
    [...labels].every(([label, value]) => label === NAMESPACE_NAME_LABEL && value === namespace)
  );
}

function refuse(reason: OwnershipReason, message: string): OwnershipVerdict {
  return { reason, message };
}

function tierRefusal(tier: Tier, namespace: string, tiers: TierConfig): string | undefined {
  if (tier !== 'platform' && tier !== 'admin') return undefined;
  const allowed = tiers[tier];
  if (allowed.includes(namespace)) return undefined;
  const accepted = allowed.length === 0 ? 'no namespace' : `namespaces ${allowed.join(', ')}`;
  return `namespace ${namespace} may not use tier ${tier}; accepted: ${accepted} (tiers.${tier} of the configuration)`;
}

function checkEntry(
  entry: RuleEntry,
  rule: DpuRule,
  networks: NetworkIndex,
  config: OwnershipConfig,
): OwnershipVerdict {
  const { namespace } = rule.metadata;
  const { networkRef } = rule.spec;
  const referred = networkRef === undefined ? undefined : networks.byName.get(networkRef);
  if (networkRef !== undefined && referred === undefined) {
    return refuse('NetworkNotFound', `there is no network ${networkRef} (spec.networkRef)`);
  }
  const vni = entry.vni ?? referred?.vni;
  if (vni === undefined) return refuse('Invalid', 'neither vni nor spec.networkRef is given');
  if (referred !== undefined && vni !== referred.vni) {
    // The VNI of a network that is not this writer's is not named.
    const shown = namespaceMayUse(referred, namespace) ? `, ${referred.vni}` : '';
    return refuse('Invalid', `vni ${vni} is not that of network ${referred.name}${shown}`);
  }
  // Ownership first: whether somebody else's VNI exists here is not this writer's to learn.
  if (!ownsVni(config.customerVnis, vni)) {
    return refuse(
      'VNINotAllowed',
      `VNI ${vni} is not the customer's; accepted: ${formatVniRanges(config.customerVnis)}`,
    );
  }
  const network = referred ?? networks.byVni.get(vni);
  if (network === undefined)
    return refuse('NetworkNotFound', `there is no network with VNI ${vni}`);
  if (!namespaceMayUse(network, namespace)) {
    return refuse(
      'VNINotAllowed',
      `namespace ${namespace} may not name VNI ${vni}: it is none of network ${network.name}'s namespaces`,
    );
  }
  return { vni: network.vni, message: '' };
}

/** One verdict for each entry of `spec.rules`, in their order. */
export function checkOwnership(
  rule: DpuRule,
  networks: NetworkIndex,
  config: OwnershipConfig,
): OwnershipVerdict[] {
  const refusal = tierRefusal(rule.spec.tier, rule.metadata.namespace, config.tiers);
  return rule.spec.rules.map((entry) =>
    refusal === undefined
      ? checkEntry(entry, rule, networks, config)
      : refuse('TierNotAllowed', refusal),
  );
}
