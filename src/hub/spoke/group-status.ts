/**
 * What a DPUGroup's status should say, and whether a condition is another one. Pure; time is an argument.
 */
import { z } from 'zod';
import type { DpuGroupSlice } from '../../api/dpu-group-slice.ts';
import type { GroupView } from './cluster.ts';

/** A condition as every Kubernetes tool knows it. */
export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
  readonly observedGeneration: number;
}

const storedConditions = z
  .object({
    conditions: z
      .array(z.object({ type: z.string(), status: z.string(), lastTransitionTime: z.string() }))
      .catch([]),
  })
  .catch({ conditions: [] });

/** Dates a condition: the time of the one before it when that has the same status. */
export function datedCondition(
  condition: Omit<Condition, 'lastTransitionTime'>,
  status: unknown,
  now: string,
): Condition {
  const before = storedConditions
    .parse(status)
    .conditions.find(({ type }) => type === condition.type);
  const isSame = before?.status === condition.status;
  return { ...condition, lastTransitionTime: isSame ? before.lastTransitionTime : now };
}

/** Status of a group whose slices are `slices`; `now` is an RFC 3339 time. */
export function groupStatus(
  { group, problems, generation, status }: GroupView,
  slices: readonly DpuGroupSlice[],
  now: string,
): Readonly<Record<string, unknown>> {
  const addresses = new Set(
    slices.flatMap(({ spec }) => spec.entries.map(({ ip, vni }) => `${ip} ${vni}`)),
  );
  const [fault] = problems;
  const condition =
    group === undefined
      ? {
          status: 'False' as const,
          reason: 'Invalid',
          message: `${fault?.path ?? ''}: ${fault?.message ?? ''}`.slice(0, 1024),
        }
      : { status: 'True' as const, reason: 'Resolved', message: '' };
  return {
    observedGeneration: generation,
    addresses: addresses.size,
    slices: slices.length,
    conditions: [
      datedCondition(
        { type: 'Resolved', observedGeneration: generation, ...condition },
        status,
        now,
      ),
    ],
  };
}
