/**
 * Every metric of the agent. Labels are bounded: there is never a series per rule or flow. Names are an interface for
 * dashboards and alerts: change none.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { RULE_ACTIONS } from '../api/dpu-rule.ts';
import type { Counters } from './debug/counters.ts';
import { DROP_REASONS, type DropReason } from './flow/drop-reason.ts';
import type { Change } from './flow/diff.ts';
import type { IgnoredReason } from './overlay/endpoint-peers.ts';
import type { ReconcileObserver, Stage } from './reconcile/reconciler.ts';
import type { LogOutcome } from './packet/log-windows.ts';
import type { RejectResult } from './packet/reject-answers.ts';
import type { OffloadVerdict } from './offload/evidence.ts';
import type { RuleState } from './reconcile/rule-status.ts';

const FAST_BUCKETS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5];

/** Values that are read when a scrape comes, not kept up to date. */
export interface ScrapeSource {
  flows(): { readonly desired: number; readonly installed: number; readonly foreign: number };
  rules(): Promise<Readonly<Record<RuleState, number>>>;
  /** Entries of rules by what evidence says of their offload. */
  offload(): Readonly<Record<OffloadVerdict, number>>;
  /** Members of groups that rules do not act on, since they stand in other VNIs. */
  groupMembersLeftOut(): number;
  /** Endpoints that other DPUs claim and that are left out here. */
  ignoredEndpoints(): Readonly<Record<IgnoredReason, number>>;
  /** The switch's own counters; undefined while it cannot be reached. */
  counters(): Promise<Pick<Counters, 'drops' | 'dryRun'> | undefined>;
}

/** The peers whose reconnects are counted. */
export type PeerName = 'ovsdb' | 'openflow';

/** The registry and what writes to it. */
export class AgentMetrics implements ReconcileObserver {
  readonly registry = new Registry();
  readonly #flowMods: Counter<'op'>;
  readonly #groupMods: Counter<'op'>;
  readonly #meterMods: Counter<'op'>;
  readonly #rejects: Counter<'result'>;
  readonly #packetLog: Counter<'result'>;
  readonly #bundles: Counter<'result'>;
  readonly #eventToCommit: Histogram;
  readonly #stages: Histogram<'stage'>;
  readonly #drift: Counter;
  readonly #diverged: Counter;
  readonly #reconnects: Counter<'peer'>;

  constructor(source: ScrapeSource) {
    const registers = [this.registry];
    this.#flowMods = new Counter({
      name: 'dpu_agent_flow_mods_total',
      help: 'flow_mods that the switch has committed, by operation',
      labelNames: ['op'],
      registers,
    });
    this.#groupMods = new Counter({
      name: 'dpu_agent_group_mods_total',
      help: 'group_mods that the switch has committed, by operation',
      labelNames: ['op'],
      registers,
    });
    this.#meterMods = new Counter({
      name: 'dpu_agent_meter_mods_total',
      help: 'meter_mods that the switch has taken, by operation',
      labelNames: ['op'],
      registers,
    });
    this.#rejects = new Counter({
      name: 'dpu_agent_rejects_total',
      help: 'rejected packets that came up to the agent: answered, silent (no answer may be given), or lost',
      labelNames: ['result'],
      registers,
    });
    this.#packetLog = new Counter({
      name: 'dpu_agent_log_events_total',
      help: 'packets of rules with log: logged, suppressed (equal to one within a second), or lost (over the limit of their network)',
      labelNames: ['result'],
      registers,
    });
    this.#bundles = new Counter({
      name: 'dpu_agent_bundles_total',
      help: 'bundles by result: committed, refused by the switch, or failed with the connection',
      labelNames: ['result'],
      registers,
    });
    this.#eventToCommit = new Histogram({
      name: 'dpu_agent_event_to_commit_seconds',
      help: "time from a source's event to the commit reply of the switch",
      buckets: FAST_BUCKETS,
      registers,
    });
    this.#stages = new Histogram({
      name: 'dpu_agent_stage_seconds',
      help: 'time of each stage of a pass',
      labelNames: ['stage'],
      buckets: FAST_BUCKETS,
      registers,
    });
    this.#drift = new Counter({
      name: 'dpu_agent_drift_repairs_total',
      help: 'flows of ours that somebody else had changed or deleted, and that were put right',
      registers,
    });
    this.#diverged = new Counter({
      name: 'dpu_agent_compile_divergences_total',
      help: 'flows and groups kept up to date that an audit found different from what the configuration compiles to; a fault of the agent',
      registers,
    });
    this.#reconnects = new Counter({
      name: 'dpu_agent_reconnects_total',
      help: 'connections that were lost or could not be made, by peer',
      labelNames: ['peer'],
      registers,
    });
    new Gauge({
      name: 'dpu_agent_flows',
      help: 'flows: desired by the configuration, installed in the switch, and foreign (of others, untouched)',
      labelNames: ['state'],
      registers,
      collect() {
        for (const [state, count] of Object.entries(source.flows())) this.set({ state }, count);
      },
    });
    new Gauge({
      name: 'dpu_agent_rules',
      help: 'entries of DPURules by state',
      labelNames: ['state'],
      registers,
      async collect() {
        const counts = await source.rules();
        for (const [state, count] of Object.entries(counts)) this.set({ state }, count);
      },
    });
    new Gauge({
      name: 'dpu_agent_rules_offload',
      help: 'entries of DPURules by where their packets were handled: full (hardware alone), partial, none, notObserved',
      labelNames: ['state'],
      registers,
      collect() {
        for (const [state, count] of Object.entries(source.offload())) this.set({ state }, count);
      },
    });
    new Gauge({
      name: 'dpu_agent_group_members_left_out',
      help: 'members of DPUGroups that a rule does not act on, since they stand in other VNIs, summed over the rules',
      registers,
      collect() {
        this.set(source.groupMembersLeftOut());
      },
    });
    new Gauge({
      name: 'dpu_agent_endpoints_ignored',
      help: "endpoints that other DPUs claim and that are left out here: in a VNI that is not the customer's, behind a VTEP that can be none, or claimed better by others",
      labelNames: ['reason'],
      registers,
      collect() {
        const ignored = source.ignoredEndpoints();
        for (const [reason, count] of Object.entries(ignored)) this.set({ reason }, count);
      },
    });
    new Counter({
      name: 'dpu_agent_drops_total',
      help: 'packets that the pipeline dropped, by reason, as counted by the switch',
      labelNames: ['reason'],
      registers,
      async collect() {
        const counters = await source.counters();
        if (counters === undefined) return;
        // The switch counts; a scrape shows its numbers as they are.
        this.reset();
        for (const reason of Object.keys(DROP_REASONS) as DropReason[]) {
          this.inc({ reason }, counters.drops.get(reason) ?? 0);
        }
      },
    });
    new Counter({
      name: 'dpu_agent_dry_run_packets_total',
      help: 'packets that rules with enforcement DryRun would have decided about, by action',
      labelNames: ['action'],
      registers,
      async collect() {
        const counters = await source.counters();
        if (counters === undefined) return;
        this.reset();
        for (const action of RULE_ACTIONS) {
          this.inc({ action }, counters.dryRun.get(action) ?? 0);
        }
      },
    });
    for (const op of ['add', 'modify', 'delete']) {
      this.#flowMods.inc({ op }, 0);
      this.#groupMods.inc({ op }, 0);
      this.#meterMods.inc({ op }, 0);
    }
    for (const result of ['logged', 'suppressed', 'lost']) this.#packetLog.inc({ result }, 0);
    for (const peer of ['ovsdb', 'openflow']) this.#reconnects.inc({ peer }, 0);
    this.#drift.inc(0);
    this.#diverged.inc(0);
  }

  stage(stage: Stage, seconds: number): void {
    this.#stages.observe({ stage }, seconds);
  }

  committed(changes: readonly Change[]): void {
    for (const { kind } of changes) {
      if (kind.startsWith('meter_')) this.#meterMods.inc({ op: kind.slice('meter_'.length) });
      else if (kind.startsWith('group_')) this.#groupMods.inc({ op: kind.slice('group_'.length) });
      else this.#flowMods.inc({ op: kind === 'forget' ? 'delete' : kind });
    }
  }

  /** A packet of a rule with action reject came up. */
  rejected(result: RejectResult): void {
    this.#rejects.inc({ result });
  }

  /** Packets of rules with log came up, or were held back. */
  packetLog(result: LogOutcome, packets: number): void {
    this.#packetLog.inc({ result }, packets);
  }

  bundle(result: 'committed' | 'refused' | 'failed'): void {
    this.#bundles.inc({ result });
  }

  eventToCommit(seconds: number): void {
    this.#eventToCommit.observe(seconds);
  }

  driftRepaired(count: number): void {
    this.#drift.inc(count);
  }

  compileDiverged(count: number): void {
    this.#diverged.inc(count);
  }

  /** A connection was lost or could not be made. */
  reconnecting(peer: PeerName): void {
    this.#reconnects.inc({ peer });
  }
}
