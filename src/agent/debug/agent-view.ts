/**
 * The agent as the answers of the debug socket see it: what there is to read, and nothing of how it came about.
 */
import type { OpenFlowConnection } from '../../openflow/client.ts';
import type { AgentConfig } from '../config.ts';
import type { DesiredState } from '../flow/desired.ts';
import type { ActualState } from '../flow/diff.ts';
import type { CompiledEntry } from '../flow/rule-flows.ts';
import type { AgentMetrics } from '../metrics.ts';
import type { OffloadReader } from '../offload/offload-reader.ts';
import type { OvsBridge } from '../overlay/ovs-bridge.ts';
import type { LastSync } from '../reconcile/reconciler.ts';
import type { RuleState, RuleStatus } from '../reconcile/rule-status.ts';
import type { BuiltSnapshot } from '../snapshot.ts';
import type { RememberedSource } from '../sources/remembered.ts';
import type { SourceProblem } from '../sources/source.ts';
import type { CounterReader } from './counters.ts';
import type { AgentEvent } from './event-log.ts';

/** What the views read. */
export interface AgentView {
  readonly config: AgentConfig;
  readonly startedAt: Date;
  readonly notReady: readonly string[];
  readonly desired: DesiredState;
  readonly source: RememberedSource;
  readonly bridge: OvsBridge;
  readonly session: { readonly current: OpenFlowConnection | undefined };
  readonly reconciler: {
    readonly lastSync: LastSync | undefined;
    readonly mirror: ActualState | undefined;
    readonly refused: ReadonlyMap<string, string>;
  };
  readonly interventions: {
    readonly pausedUntil: Date | undefined;
    readonly problems: readonly SourceProblem[];
  };
  /** Recent events, oldest first. */
  readonly events: readonly AgentEvent[];
  readonly counters: CounterReader;
  readonly offload: OffloadReader;
  readonly zones: { readonly problems: readonly SourceProblem[] };
  readonly flowRestore: { readonly problems: readonly SourceProblem[] };
  readonly metrics: AgentMetrics;
  readonly built: BuiltSnapshot | undefined;
  flowCounts(): { readonly desired: number; readonly installed: number; readonly foreign: number };
  ruleCounts(): Promise<Readonly<Record<RuleState, number>>>;
  ruleStatuses(isWanted?: (entry: CompiledEntry) => boolean): readonly RuleStatus[];
}
