/**
 * What the audit asks of the compiler: is the table that was kept up to date change by change the one that the whole
 * snapshot compiles to? Compares two desired states; pure.
 */
import { formatFlow } from '../../openflow/format.ts';
import type { EncodedFlow } from '../../openflow/flow.ts';
import type { DesiredState } from './desired.ts';
import { KEYS_PER_STEP } from './diff.ts';
import type { Steps } from './steps.ts';

/** Differing flows that are named. */
const EXAMPLES_MAX = 5;

/** How two tables differ. */
export interface Divergence {
  /** Flows, groups and meters that are missing, too many or different. */
  readonly count: number;
  /** Some of the flows as text, each with `-` (kept only) or `+` (compiled only) before it. */
  readonly examples: readonly string[];
}

/** Compares what was kept up to date with what was compiled at once. Neither may change meanwhile. */
export function* divergenceSteps(kept: DesiredState, compiled: DesiredState): Steps<Divergence> {
  let count = 0;
  const examples: string[] = [];
  const note = (sign: '-' | '+', flow: EncodedFlow): void => {
    if (examples.length < EXAMPLES_MAX) examples.push(`${sign}${formatFlow(flow)}`);
  };
  for (let slot = 0; slot < kept.index.slotCount; slot++) {
    const flow = kept.index.at(slot);
    const other = flow === undefined ? undefined : compiled.flow(flow);
    if (flow !== undefined && other?.sameActions(flow) !== true) {
      count++;
      note('-', flow);
    }
    if (slot % KEYS_PER_STEP === 0) yield;
  }
  for (let slot = 0; slot < compiled.index.slotCount; slot++) {
    const flow = compiled.index.at(slot);
    const other = flow === undefined ? undefined : kept.flow(flow);
    if (flow !== undefined && other?.sameActions(flow) !== true) {
      // A flow that both have was counted above.
      if (other === undefined) count++;
      note('+', flow);
    }
    if (slot % KEYS_PER_STEP === 0) yield;
  }
  const ids = new Set(Array.from(kept.groups(), ({ groupId }) => groupId));
  for (const { groupId } of compiled.groups()) ids.add(groupId);
  for (const id of ids) {
    const [one, other] = [kept.group(id)?.message, compiled.group(id)?.message];
    if (one === undefined || other === undefined || Buffer.compare(one, other) !== 0) count++;
  }
  for (const id of new Set([...kept.meterIds(), ...compiled.meterIds()])) {
    const [one, other] = [kept.meter(id)?.message, compiled.meter(id)?.message];
    if (one === undefined || other === undefined || Buffer.compare(one, other) !== 0) count++;
  }
  return { count, examples };
}
