/**
 * What a check is: a pure function over facts that were gathered before, with a verdict, what was seen and what to do. Which checks
 * there are is in `checks.ts`; facts are gathered in `facts.ts`.
 */
import type { InterfaceAddress, Link } from '../../netlink/index.ts';

/** What a check says. `unknown`: a fact could not be had, and the evidence says which. */
export type Verdict = 'ok' | 'warn' | 'fail' | 'unknown';

/** What one check found. */
export interface Finding {
  readonly verdict: Verdict;
  /** What was seen. */
  readonly evidence: string;
  /** What to do; empty when there is nothing. */
  readonly remedy: string;
}

/** A check. */
export interface Check {
  /** Name in answers and reports; never changes. */
  readonly id: string;
  /** What it asks, as a statement that should hold. */
  readonly title: string;
  readonly run: (facts: DoctorFacts) => Finding;
}

/** The way to a peer, or why there is none. */
export interface PeerRoute {
  readonly peer: string;
  readonly ifindex?: number | undefined;
  readonly problem?: string | undefined;
}

/** What is known of this machine. Undefined: it could not be asked. */
export interface DoctorFacts {
  readonly datapath: 'kernel' | 'doca' | 'userspace';
  /** fail_mode of the bridge. */
  readonly failMode: string | undefined;
  readonly ovsVersion: string | undefined;
  /** other_config of Open_vSwitch. */
  readonly otherConfig: ReadonlyMap<string, string> | undefined;
  /** Our VTEP address as text. */
  readonly vtep: string | undefined;
  readonly links: readonly Link[] | undefined;
  readonly addresses: readonly InterfaceAddress[] | undefined;
  readonly routes: readonly PeerRoute[] | undefined;
  /** Local UDP ports of this network namespace. */
  readonly udpPorts: ReadonlySet<number> | undefined;
  /** Answers of ovs-vswitchd to tnl/ports/show, upcall/show and dpctl/show. */
  readonly tunnelPorts: string | undefined;
  readonly upcalls: string | undefined;
  readonly datapathShow: string | undefined;
  /** Of the file system that holds the agent's state. */
  readonly freeBytes: number | undefined;
  /** Wall clock in milliseconds since the epoch. */
  readonly nowMs: number;
  /** When the program was made or installed: no clock can be before that. */
  readonly builtMs: number | undefined;
}

/** All is well. */
export function ok(evidence: string): Finding {
  return { verdict: 'ok', evidence, remedy: '' };
}

/** A fact could not be had. */
export function unknown(evidence: string): Finding {
  return { verdict: 'unknown', evidence, remedy: 'look at the log of the agent for the reason' };
}

/** Something is not as it should be. */
export function bad(verdict: 'warn' | 'fail', evidence: string, remedy: string): Finding {
  return { verdict, evidence, remedy };
}

/** Interfaces of a DPU that are never the data plane: management, and the link to the host. */
export const MANAGEMENT = /^(oob_net|tmfifo_net)\d+$/;

/** The device that has our VTEP address. */
export function vtepDevice({ vtep, links, addresses }: DoctorFacts): Link | undefined {
  const found = addresses?.find(({ address }) => address === vtep);
  return links?.find(({ ifindex }) => ifindex === found?.ifindex);
}
