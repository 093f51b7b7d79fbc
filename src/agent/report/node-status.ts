/**
 * The status of this DPU's DPUNode, made from what the agent knows. Pure. Bounded, whatever the rules are; equal as long as
 * nothing worth a write has changed.
 */
import type { DpuObject } from '../../api/object.ts';
import { type DpuNodeStatus, NODE_ENTRIES_MAX, NODE_MESSAGE_MAX } from '../../api/dpu-node.ts';
import type { RuleStatus } from '../reconcile/rule-status.ts';

/** Versions of a server that can be compared (promised from Kubernetes 1.35 on). */
const DECIMAL = /^\d{1,30}$/;
const CONDITION_MESSAGE_MAX = 1024;

/** What the status is made from. */
export interface NodeFacts {
  readonly vtepIP: string | undefined;
  readonly versions: NonNullable<DpuNodeStatus['versions']>;
  readonly datapathType: string | undefined;
  readonly marks: ReadonlyMap<DpuObject['kind'], string>;
  readonly endpoints: number;
  readonly ruleEntries: number;
  /** Some entries that are not in force. */
  readonly notReady: readonly RuleStatus[];
  readonly notReadyTotal: number;
  /** What keeps the agent from being ready; empty when it is. */
  readonly agentNotReady: readonly string[];
}

type Condition = NonNullable<DpuNodeStatus['conditions']>[number];

function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

/** The newest conditions; the time of one that stays as it was stays too. */
function conditions(facts: NodeFacts, earlier: readonly Condition[], now: string): Condition[] {
  const { agentNotReady, marks } = facts;
  const ready = agentNotReady.length === 0;
  const words = ready ? 'the flows of this DPU are as the rules say' : agentNotReady.join('; ');
  const found: Omit<Condition, 'lastTransitionTime'>[] = [
    {
      type: 'Ready',
      status: ready ? 'True' : 'False',
      reason: ready ? 'Synced' : 'NotReady',
      message: cut(words, CONDITION_MESSAGE_MAX),
    },
  ];
  const odd = [...marks.values()].find((version) => !DECIMAL.test(version));
  if (odd !== undefined) {
    const message = `versions of this API server are no decimal numbers (${cut(odd, 40)}): nobody can tell how far a DPU is`;
    found.push({ type: 'VersionsComparable', status: 'False', reason: 'NotDecimal', message });
  }
  return found.map((condition) => {
    const before = earlier.find(({ type }) => type === condition.type);
    const stays = before !== undefined && before.status === condition.status;
    return { ...condition, lastTransitionTime: stays ? before.lastTransitionTime : now };
  });
}

/** The status. `earlier` is the one before, `now` the wall clock, ISO 8601. */
export function nodeStatus(
  facts: NodeFacts,
  earlier: DpuNodeStatus | undefined,
  now: string,
): DpuNodeStatus {
  const { vtepIP, versions, datapathType, marks, endpoints, ruleEntries } = facts;
  const mark = (name: string, kind: DpuObject['kind']): Record<string, string> => {
    const version = marks.get(kind);
    return version === undefined ? {} : { [name]: version };
  };
  const notReady = facts.notReady
    .slice(0, NODE_ENTRIES_MAX)
    .map(({ namespace, name, rule, reason, message }) => ({
      ...{ namespace, name, rule, reason },
      message: cut(message, NODE_MESSAGE_MAX),
    }));
  return {
    ...(vtepIP === undefined ? {} : { vtepIP }),
    versions,
    ...(datapathType === undefined ? {} : { capabilities: { datapathType } }),
    marks: {
      ...mark('rules', 'DPURule'),
      ...mark('networks', 'DPUNetwork'),
      ...mark('groups', 'DPUGroup'),
      ...mark('groupSlices', 'DPUGroupSlice'),
    },
    endpoints,
    ruleEntries,
    notReady,
    notReadyTotal: facts.notReadyTotal,
    conditions: conditions(facts, earlier?.conditions ?? [], now),
  };
}
