/**
 * Every check of `dpuctl doctor`, in the order of the report, and all of them over one set of facts. Pure.
 */
import type { Check, DoctorFacts, Finding } from './check.ts';
import { clock } from './clock.ts';
import { disk } from './disk.ts';
import { failMode } from './fail-mode.ts';
import { flowLimit } from './flow-limit.ts';
import { flowRestoreWait } from './flow-restore-wait.ts';
import { hwOffload } from './hw-offload.ts';
import { mtu } from './mtu.ts';
import { ovsVersion } from './ovs-version.ts';
import { peerRoutes } from './peer-routes.ts';
import { tcPolicy } from './tc-policy.ts';
import { udp4789 } from './udp-4789.ts';
import { upcalls } from './upcalls.ts';
import { vtepPlane } from './vtep-plane.ts';

/** The checks. */
export const CHECKS: readonly Check[] = [
  vtepPlane,
  mtu,
  peerRoutes,
  udp4789,
  ovsVersion,
  failMode,
  flowRestoreWait,
  upcalls,
  flowLimit,
  hwOffload,
  tcPolicy,
  disk,
  clock,
];

/** A finding with its check. */
export interface CheckResult extends Finding {
  readonly id: string;
  readonly title: string;
}

/** Runs every check. */
export function examine(facts: DoctorFacts): CheckResult[] {
  return CHECKS.map(({ id, title, run }) => ({ id, title, ...run(facts) }));
}
