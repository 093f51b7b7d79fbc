/**
 * The form of a configuration that has been read and checked. Interfaces only; config.ts hands on those
 * that others need by name.
 */
import type { DefaultAction, UnknownUnicast } from '../api/dpu-network.ts';
import type { VniRange } from '../api/vni-range.ts';
import type { IpPrefix } from '../base/address.ts';
import type { Vni } from '../base/brand.ts';
import type { ListenAddress } from './listen-address.ts';

/** Largest sequence of an endpoint: 32 bits, as in EVPN (RFC 7432 section 7.7). */
export const SEQUENCE_MAX = 0xffff_ffff;

/** An endpoint: who has which addresses in which network. */
export interface EndpointConfig {
  readonly vni: Vni;
  /** 48 bits, unicast. */
  readonly mac: bigint;
  /** Single addresses. */
  readonly ips: readonly IpPrefix[];
  /** Of two claims to an endpoint the higher one wins. */
  readonly sequence?: number | undefined;
}

/** Another DPU. */
export interface PeerConfig {
  /** A single address. */
  readonly vtep: IpPrefix;
  readonly endpoints: readonly EndpointConfig[];
}

/** A network that the configuration defines. */
export interface NetworkConfig {
  readonly vni: Vni;
  readonly name: string;
  readonly namespaces: readonly string[];
  readonly subnets: readonly IpPrefix[];
  readonly defaultAction: { readonly ingress: DefaultAction; readonly egress: DefaultAction };
  readonly unknownUnicast: UnknownUnicast;
  readonly conntrack: 'on' | 'off';
  readonly remoteLearning: 'on' | 'off';
}

/** A local endpoint whose OVS port carries no external_ids. */
export interface PortConfig extends EndpointConfig {
  /** Name of the OVS port. */
  readonly name: string;
}

/** How the local VTEP address is found; with `interface` or `cidr` the agent looks for it again and again. */
export type VtepConfig =
  { readonly ip: IpPrefix } | { readonly interface: string } | { readonly cidr: IpPrefix };

/** Namespaces that may use the tiers before the tenants'. */
export interface TierConfig {
  readonly platform: readonly string[];
  readonly admin: readonly string[];
}

/** Where rules come from. */
export type RulesConfig =
  | { readonly source: 'directory'; readonly path: string }
  | {
      readonly source: 'kubernetes';
      /** Path; the pod's service account when absent. */
      readonly kubeconfig?: string;
    };

/** The whole configuration. */
export interface AgentConfig {
  readonly node: string;
  readonly ovs: {
    /** `unix:` and a path. */
    readonly database: string;
    readonly rundir: string;
    /** Path of the control socket of ovs-vswitchd; looked for in `rundir` when absent. */
    readonly control?: string | undefined;
    readonly bridge: string;
    readonly datapathType: 'system' | 'netdev';
    /** How long other_config:flow-restore-wait of Open_vSwitch may stand before it is cleared without flows. */
    readonly flowRestoreTimeoutSeconds: number;
  };
  readonly rules: RulesConfig;
  readonly state: string;
  readonly customer: { readonly name: string; readonly vnis: readonly VniRange[] };
  readonly tiers: TierConfig;
  readonly vtep: VtepConfig;
  readonly peers: readonly PeerConfig[];
  readonly vteps: {
    readonly source: 'static' | 'kubernetes';
    /** Prefixes in which no VTEP of others can be. */
    readonly exclude: readonly IpPrefix[];
  };
  readonly networks: readonly NetworkConfig[];
  readonly ports: readonly PortConfig[];
  readonly conntrack: {
    /** Zones of the connection tracker that this agent may use, both included. */
    readonly firstZone: number;
    readonly lastZone: number;
    readonly warmUpSeconds: number;
  };
  /** Bounds of `remoteLearning`. */
  readonly learning: { readonly limit: number; readonly ageSeconds: number };
  readonly debug: { readonly socket: string; readonly allowMutations: boolean };
  readonly metrics: { readonly listen: ListenAddress | 'off' };
  readonly log: { readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' };
  readonly kubernetes: {
    readonly apiServer?: string;
    /** An address of this machine. */
    readonly localAddress?: string;
    readonly publish: boolean;
    readonly namespace: string;
    readonly leaseSeconds: number;
    readonly renewSeconds: number;
    readonly statusSeconds: number;
  };
}
