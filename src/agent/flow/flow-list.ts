/**
 * A list of flows under construction: short verbs for the table files, one cookie per owner.
 */
import type { Action } from '../../openflow/action.ts';
import { encodeFlow, type EncodedFlow } from '../../openflow/flow.ts';
import type { Match, MatchField } from '../../openflow/match.ts';
import { dropCookie, type DropReason } from './drop-reason.ts';
import type { PipelineTable } from './pipeline.ts';

/** Ethernet types of the pipeline (IEEE 802 numbers). */
export const ETH_TYPE = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;
/** IP protocol numbers of the pipeline (IANA). */
export const IP_PROTO = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
/** ICMPv6 types of neighbour discovery, which skip policy as ARP does (RFC 4861 section 4). */
export const ND_TYPES: readonly number[] = [133, 134, 135, 136, 137];

/** Match on an Ethernet type. */
export const ethType = (value: number): MatchField => ({ field: 'ethType', value });
/** Match on one ICMPv6 type, with its prerequisites. */
export const icmpv6 = (type: number): Match => [
  ethType(ETH_TYPE.ipv6),
  { field: 'ipProto', value: IP_PROTO.icmpv6 },
  { field: 'icmpv6Type', value: type },
];

/** Collects the flows of one owner. */
export class FlowList {
  readonly flows: EncodedFlow[] = [];
  readonly #cookie: bigint;

  constructor(cookie: bigint) {
    this.#cookie = cookie;
  }

  /** Applies `actions`, then goes on in table `to` where one is given. */
  add(
    table: PipelineTable,
    priority: number,
    match: Match,
    actions: readonly Action[],
    to?: PipelineTable,
  ): void {
    this.#push(this.#cookie, table, priority, match, actions, to);
  }

  /** Goes on in table `to` with nothing changed. */
  goto(table: PipelineTable, priority: number, match: Match, to: PipelineTable): void {
    this.#push(this.#cookie, table, priority, match, [], to);
  }

  /** Drops under a name of its own. */
  drop(table: PipelineTable, priority: number, match: Match, reason: DropReason): void {
    this.#push(dropCookie(reason), table, priority, match, [], undefined);
  }

  /** Takes in flows that were made elsewhere. */
  addAll(flows: readonly EncodedFlow[]): void {
    this.flows.push(...flows);
  }

  #push(
    cookie: bigint,
    table: PipelineTable,
    priority: number,
    match: Match,
    applyActions: readonly Action[],
    to: PipelineTable | undefined,
  ): void {
    this.flows.push(
      encodeFlow({
        tableId: table.id,
        priority,
        cookie,
        match,
        instructions: { applyActions, ...(to === undefined ? {} : { gotoTable: to.id }) },
      }),
    );
  }
}
