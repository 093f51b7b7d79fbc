/**
 * Which Events the DPUNode gets: transitions only, from one status that was reported to the next. Pure; time is an argument.
 * A DPU that comes and goes is told of now and then, not each time.
 */
import type { DpuNodeStatus } from '../../api/dpu-node.ts';
import { API_VERSION, GROUP } from '../../api/labels.ts';
import type { Manifest } from './kube-writer.ts';

/** Events in a burst, and the time after which there may be one more. */
const BURST = 10;
const REFILL_MS = 180_000;
const NOTE_MAX = 1024;
/** Events of what stands in no namespace stand in this one. */
export const EVENT_NAMESPACE = 'default';

/** One transition. */
export interface NodeEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly note: string;
}

/** What a status says in a few words. */
function readiness(status: DpuNodeStatus): { ready: boolean; why: string; failing: number } {
  const condition = status.conditions?.find(({ type }) => type === 'Ready');
  return {
    ready: condition?.status === 'True',
    why: condition?.message ?? '',
    failing: status.notReadyTotal ?? 0,
  };
}

/** What happened between two statuses; `before` is undefined for an agent that has just started. */
export function transitions(before: DpuNodeStatus | undefined, after: DpuNodeStatus): NodeEvent[] {
  const events: NodeEvent[] = [];
  const now = readiness(after);
  const was = before === undefined ? undefined : readiness(before);
  if (was === undefined) {
    const note = `dpu-agent ${after.versions?.agent ?? ''} started`;
    events.push({ type: 'Normal', reason: 'Started', note });
  }
  if (now.ready && was?.ready === false) {
    events.push({ type: 'Normal', reason: 'Ready', note: now.why });
  } else if (!now.ready && was?.ready === true) {
    events.push({ type: 'Warning', reason: 'NotReady', note: now.why });
  }
  if (now.failing > 0 && (was?.failing ?? 0) === 0) {
    const [first] = after.notReady ?? [];
    const example =
      first === undefined
        ? ''
        : `, such as ${first.namespace}/${first.name}/${first.rule}: ${first.reason}: ${first.message}`;
    const note = `${now.failing} rule entries are not in force${example}`;
    events.push({ type: 'Warning', reason: 'RulesNotReady', note });
  } else if (now.failing === 0 && was !== undefined && was.failing > 0) {
    events.push({ type: 'Normal', reason: 'RulesReady', note: 'every rule entry is in force' });
  }
  return events;
}

/** Lets through so many events, and no more than that. */
export class EventBudget {
  #tokens = BURST;
  #sinceMs: number;

  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  /** True when there may be one more. */
  take(nowMs: number): boolean {
    const earned = Math.floor((nowMs - this.#sinceMs) / REFILL_MS);
    this.#tokens = Math.min(BURST, this.#tokens + earned);
    this.#sinceMs += earned * REFILL_MS;
    if (this.#tokens === 0) return false;
    this.#tokens--;
    return true;
  }
}

/** The Event as the API server takes it (events.k8s.io/v1). `id` makes its name unique. */
export function eventManifest(node: string, event: NodeEvent, at: Date, id: string): Manifest {
  const { type, reason, note } = event;
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name: `${node}.${id}`, namespace: EVENT_NAMESPACE },
    eventTime: microTime(at),
    reportingController: `${GROUP}/dpu-agent`,
    reportingInstance: node.slice(0, 128),
    action: 'Report',
    type,
    reason,
    note: note.slice(0, NOTE_MAX),
    regarding: { apiVersion: API_VERSION, kind: 'DPUNode', name: node },
  };
}

/** A time as the API writes it where it counts microseconds. */
export function microTime(at: Date): string {
  return at.toISOString().replace('Z', '000Z');
}
