/**
 * What the compiler is given: plain immutable values that name everything which the flow table depends on. Nothing here
 * knows where the values come from.
 */
import type { IpPrefix } from '../../base/address.ts';
import type { OfPort, Vni } from '../../base/brand.ts';
import type { DpuRule } from '../../api/dpu-rule.ts';

/** Connection tracking of a network. */
export interface Tracking {
  /** Zone of the connection tracker, 1..65535; no other network has it. */
  readonly zone: number;
  /** True for a while after tracking was switched on: policy is stateless still. */
  readonly warming: boolean;
}

/** How endpoints behind peers are learned. */
export interface Learning {
  /** Most MACs of one peer in one network, 1 or more. */
  readonly limit: number;
  /** Seconds after the last packet until a MAC is forgotten, 1..65535. */
  readonly ageSeconds: number;
}

/** A tenant network as the pipeline needs it. */
export interface Network {
  readonly vni: Vni;
  readonly name: string;
  readonly subnets: readonly IpPrefix[];
  readonly defaultAction: { readonly ingress: 'allow' | 'deny'; readonly egress: 'allow' | 'deny' };
  readonly unknownUnicast: 'drop' | 'flood';
  /** Undefined without connection tracking, and until it has a zone. */
  readonly tracking?: Tracking | undefined;
  /** Undefined where only declared endpoints are reached. */
  readonly learning?: Learning | undefined;
}

/** One (port, MAC) pair on this DPU. A port may carry several, all of one VNI. */
export interface LocalEndpoint {
  /** Name of the OVS interface. */
  readonly port: string;
  readonly ofport: OfPort;
  readonly vni: Vni;
  /** 48 bits. */
  readonly mac: bigint;
  /** Single addresses. */
  readonly ips: readonly IpPrefix[];
  /** Of the claim; no flow depends on it. Default 0. */
  readonly sequence?: number | undefined;
}

/** A port on this DPU behind which a device stands that packets are redirected or mirrored to. */
export interface DeviceLeg {
  /** Name of the OVS interface. */
  readonly port: string;
  readonly ofport: OfPort;
  readonly vni: Vni;
}

/** An endpoint that stands behind another VTEP. */
export interface RemoteEndpoint {
  readonly vni: Vni;
  readonly mac: bigint;
  readonly ips: readonly IpPrefix[];
  /** IPv4 address of the VTEP, 32 bits. */
  readonly vtep: number;
  /** Of the claim; no flow depends on it. Default 0. */
  readonly sequence?: number | undefined;
}

/** The one tunnel port. */
export interface Tunnel {
  readonly ofport: OfPort;
  /** Our own VTEP address: IPv4, 32 bits. */
  readonly ip: number;
}

/** The legs of the device that a redirect names, as they are on this DPU. */
export interface RedirectLegs {
  /** Where packets go in. */
  readonly near: OfPort;
  /** Where they come back, and replies go in; equal to `near` for a device with one leg. */
  readonly far: OfPort;
}

/** A named port of an endpoint. */
export interface NamedPort {
  /** IP protocol number. */
  readonly protocol: number;
  readonly port: number;
}

/** An endpoint of a group. */
export interface GroupEndpoint {
  readonly address: IpPrefix;
  readonly ports: ReadonlyMap<string, NamedPort>;
}

/** A group as the rules of one VNI see it. The same object as long as nothing changed. */
export interface GroupView {
  /** Everything in the group; no prefix contains another. None: nothing matches. */
  readonly addresses: readonly IpPrefix[];
  /** Those of its addresses that are endpoints, with their named ports. */
  readonly endpoints: readonly GroupEndpoint[];
  /** Endpoints that are not in it, since they stand in other VNIs. */
  readonly leftOut: number;
}

/** The groups that an entry names. */
export interface EntryGroups {
  readonly source?: GroupView;
  readonly destination?: GroupView;
}

/** What ownership says about one entry of a rule: the VNI that it acts in, or why it may not. */
export interface EntryVerdict {
  readonly vni?: Vni | undefined;
  readonly reason?: string | undefined;
  readonly message?: string | undefined;
  /** Connection tracking of the network. */
  readonly tracking?: Tracking | undefined;
  /** For action redirect: the legs, or why they are not there. */
  readonly legs?: RedirectLegs | string | undefined;
  /** For an entry with a mirror: the port that gets the copies, or why it is not there. */
  readonly mirror?: OfPort | string | undefined;
  /** Set when the entry names groups. */
  readonly groups?: EntryGroups | undefined;
}

/** A rule with what was decided about its entries, in the order of `object.spec.rules`. */
export interface RuleInput {
  readonly object: DpuRule;
  readonly verdicts: readonly EntryVerdict[];
}

/** Everything that the flow table is a function of. */
export interface Snapshot {
  /** Undefined until the tunnel port has an ofport: local forwarding works without it. */
  readonly tunnel: Tunnel | undefined;
  /** VTEP addresses of the peers: IPv4, 32 bits, ascending. */
  readonly peers: readonly number[];
  readonly networks: readonly Network[];
  readonly locals: readonly LocalEndpoint[];
  readonly remotes: readonly RemoteEndpoint[];
  readonly legs: readonly DeviceLeg[];
  readonly rules: readonly RuleInput[];
}
