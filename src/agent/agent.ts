/**
 * The agent: which parts there are, in which order they start and stop, and who pokes whom. Decisions are made in the
 * rooms; here they are only connected.
 */
import { once } from 'node:events';
import type { Logger } from '../base/logger.ts';
import { OpenFlowSession } from '../openflow/session.ts';
import type { AgentConfig } from './config.ts';
import { reloadConfig } from './config-reload.ts';
import { debugActions, type ActingAgent } from './debug/actions.ts';
import { CounterReader } from './debug/counters.ts';
import { DebugServer } from './debug/debug-server.ts';
import { EventLog, type AgentEvent } from './debug/event-log.ts';
import { debugRoutes } from './debug/views.ts';
import { offloadCounts } from './debug/offload.ts';
import { DesiredState } from './flow/desired.ts';
import { CONTROLLER_ID } from './flow/reject.ts';
import { PacketLog } from './packet/packet-log.ts';
import { RejectAnswers } from './packet/reject-answers.ts';
import type { Snapshot } from './flow/model.ts';
import type { CompiledEntry } from './flow/rule-flows.ts';
import { Interventions } from './interventions.ts';
import type { LogLevel } from './log.ts';
import { AgentMetrics } from './metrics.ts';
import { OffloadReader } from './offload/offload-reader.ts';
import { controlSocket } from './overlay/control-socket.ts';
import { FlowRestoreWait } from './overlay/flow-restore-wait.ts';
import { EndpointMoves } from './overlay/endpoint-moves.ts';
import { LOCAL_RECONNECT, OvsBridge } from './overlay/ovs-bridge.ts';
import { ZoneKeeper } from './overlay/zone-keeper.ts';
import { Reconciler, type LastSync } from './reconcile/reconciler.ts';
import {
  countStatesSteps,
  notReadySteps,
  ruleStatus,
  type RuleState,
  type RuleStatus,
  type RuleStatusContext,
} from './reconcile/rule-status.ts';
import { inSlices } from './reconcile/slices.ts';
import { ClusterReporter } from './report/cluster-reporter.ts';
import { makeSnapshot, type BuiltSnapshot } from './snapshot.ts';
import { ExpiryTimer } from './rules/expiry-timer.ts';
import { kubeTarget, makeSource, sourcePlace } from './sources/choice.ts';
import type { RememberedSource } from './sources/remembered.ts';

/** How long a resync may take before whoever asked for it is told so. */
const RESYNC_MS = 8000;

/** A running agent. */
export class Agent implements ActingAgent {
  readonly startedAt = new Date();
  readonly desired = new DesiredState();
  readonly source: RememberedSource;
  readonly bridge: OvsBridge;
  readonly session: OpenFlowSession;
  readonly reconciler: Reconciler;
  readonly metrics: AgentMetrics;
  readonly counters: CounterReader;
  readonly flowRestore: FlowRestoreWait;
  readonly interventions: Interventions;
  readonly offload: OffloadReader;
  readonly #logger: EventLog;
  readonly zones: ZoneKeeper;
  readonly #debug: DebugServer;
  readonly #scrape: DebugServer;
  readonly #now: () => number;
  readonly #expiry: ExpiryTimer;
  readonly #moves = new EndpointMoves();
  readonly #answers: RejectAnswers;
  readonly #reporter: ClusterReporter | undefined;
  readonly #packetLog: PacketLog;
  #config: AgentConfig;
  #sourceRead = false;
  #closed = false;
  #built: BuiltSnapshot | undefined;

  /** `now` is the wall clock in milliseconds since the epoch. */
  constructor(config: AgentConfig, log: Logger, now: () => number = Date.now) {
    this.#now = now;
    this.#expiry = new ExpiryTimer({ now, onExpiry: () => this.reconciler.poke() });
    const logger = new EventLog(log);
    this.#config = config;
    this.#logger = logger;
    this.interventions = new Interventions(logger);
    this.source = makeSource(config, logger);
    this.bridge = new OvsBridge(config, logger);
    this.session = new OpenFlowSession({
      path: `${config.ovs.rundir}/${config.ovs.bridge}.mgmt`,
      controllerId: CONTROLLER_ID,
      reconnect: LOCAL_RECONNECT,
    });
    this.flowRestore = new FlowRestoreWait({
      isSet: () => this.bridge.flowRestoreWait,
      connection: () => this.session.current,
      clear: () => this.bridge.clearFlowRestoreWait(),
      timeoutMs: config.ovs.flowRestoreTimeoutSeconds * 1000,
      logger,
    });
    this.zones = new ZoneKeeper({
      externalIds: () => this.bridge.externalIds,
      change: (removed, added) => this.bridge.changeExternalIds(removed, added),
      connection: () => this.session.current,
      settings: () => {
        const { firstZone: first, lastZone: last, warmUpSeconds } = this.#config.conntrack;
        return { pool: { first, last }, warmUpMs: warmUpSeconds * 1000 };
      },
      poke: () => this.reconciler.poke(performance.now()),
      logger,
    });
    this.offload = new OffloadReader({
      control: () => controlSocket(this.#config.ovs),
      bridge: config.ovs.bridge,
      datapathType: () => this.bridge.datapathType,
      logger,
    });
    this.metrics = new AgentMetrics({
      offload: () => offloadCounts(this),
      flows: () => this.flowCounts(),
      rules: () => this.ruleCounts(),
      groupMembersLeftOut: () => {
        let sum = 0;
        for (const { leftOut = 0 } of this.desired.entries()) sum += leftOut;
        return sum;
      },
      ignoredEndpoints: () => this.#built?.ignoredEndpoints ?? { vni: 0, vtep: 0, claim: 0 },
      counters: () => this.counters.read(),
    });
    this.#answers = new RejectAnswers({
      desired: this.desired,
      logger,
      count: (result) => this.metrics.rejected(result),
    });
    this.#packetLog = new PacketLog({
      desired: this.desired,
      logger: log,
      count: (result, packets) => this.metrics.packetLog(result, packets),
    });
    this.counters = new CounterReader(() => this.session.current, this.desired);
    this.reconciler = new Reconciler({
      desired: this.desired,
      snapshot: () => this.#snapshot(),
      connection: () => this.session.current,
      // Half a picture would take away what is in force.
      mayWrite: () => this.bridge.mayWrite && this.interventions.pausedUntil === undefined,
      observer: this.metrics,
      logger,
    });
    this.#reporter = this.#makeReporter();
    this.#debug = new DebugServer(debugRoutes(this), logger, debugActions(this));
    const scrapePaths = ['/metrics', '/healthz', '/readyz'];
    const scrapeRoutes = new Map(
      [...debugRoutes(this)].filter(([path]) => scrapePaths.includes(path)),
    );
    this.#scrape = new DebugServer(scrapeRoutes, logger);
  }

  /** The configuration in force. */
  get config(): AgentConfig {
    return this.#config;
  }

  /** Recent events, oldest first. */
  get events(): readonly AgentEvent[] {
    return this.#logger.events;
  }

  /** What the last snapshot left out, and why. */
  get built(): BuiltSnapshot | undefined {
    return this.#built;
  }

  /** What keeps the agent from being ready; empty when it is. */
  get notReady(): readonly string[] {
    const reasons: string[] = [];
    if (!this.#sourceRead) reasons.push('the rules have not been read yet');
    if (!this.bridge.synced) reasons.push('the OVSDB database has not been read yet');
    else if (!this.bridge.lockHeld) reasons.push('another agent holds the lock of the bridge');
    if (this.bridge.tunnel === undefined)
      reasons.push(`no tunnel: ${this.bridge.tunnelProblem ?? 'not there yet'}`);
    if (this.session.current === undefined) reasons.push('no OpenFlow connection to the bridge');
    else if (this.reconciler.lastSync === undefined || this.reconciler.mirror === undefined)
      reasons.push('the first sync of this connection is not complete');
    return reasons;
  }

  /** Flows by state. */
  flowCounts(): { desired: number; installed: number; foreign: number } {
    const mirror = this.reconciler.mirror;
    return {
      desired: this.desired.flowCount,
      installed: mirror?.flowCount ?? 0,
      foreign: mirror?.foreignCount ?? 0,
    };
  }

  /** Status of each rule entry, or of those that are wanted, in the order of names. */
  ruleStatuses(isWanted: (entry: CompiledEntry) => boolean = () => true): RuleStatus[] {
    const context = this.#statusContext();
    return [...this.desired.entries()]
      .filter(isWanted)
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .map((entry) => ruleStatus(entry, context));
  }

  /** Rule entries by state. Counted in slices: others have the thread meanwhile. */
  async ruleCounts(): Promise<Record<RuleState, number>> {
    return inSlices(countStatesSteps(this.#statusContext()));
  }

  /**
   * Starts everything. Resolves when the local sockets listen and the rules have been read once; the switch may come later.
   * @throws ConfigError when the debug socket or the metrics address cannot be used.
   */
  async start(): Promise<void> {
    const { debug, metrics } = this.#config;
    await this.#debug.listenUnix(debug.socket);
    if (metrics.listen !== 'off')
      await this.#scrape.listenTcp(metrics.listen.host, metrics.listen.port);
    this.#wire();
    this.bridge.start();
    this.session.start();
    this.#reporter?.start();
    await this.source.start();
    // It also returns when it is closed before it was read: then nothing must begin.
    if (this.#closed) return;
    this.#sourceRead = true;
    this.reconciler.start();
    this.#logger.info(
      { bridge: this.#config.ovs.bridge, rules: sourcePlace(this.#config) },
      'agent started',
    );
  }

  /** Stops everything. Flows, ports and bridge stay as they are. */
  async close(): Promise<void> {
    this.#closed = true;
    this.interventions.close();
    await this.#reporter?.close();
    await this.reconciler.close();
    // After it: its last pass may have set the timer again.
    this.#expiry.close();
    this.flowRestore.close();
    this.#packetLog.close();
    this.zones.close();
    await Promise.all([this.source.close(), this.bridge.close(), this.session.close()]);
    await Promise.all([this.#debug.close(), this.#scrape.close()]);
    this.#logger.info({}, 'agent stopped, flows stay in place');
  }

  /** Takes over a changed configuration as far as that is possible while running. */
  reconfigure(next: AgentConfig): void {
    const { config, needRestart } = reloadConfig(this.#config, next);
    this.#config = config;
    this.bridge.reconfigure(config);
    if (needRestart.length > 0) {
      this.#logger.warn(
        { parts: needRestart },
        'configuration changed in parts that need a restart',
      );
    }
    this.#logger.info({}, 'configuration read again');
    this.reconciler.poke(performance.now());
  }

  /** Compares everything with a fresh dump; undefined when no pass was complete within some seconds. */
  async resync(): Promise<LastSync | undefined> {
    this.#logger.info({}, 'resync asked for by an operator');
    const synced = once(this.reconciler, 'synced', { signal: AbortSignal.timeout(RESYNC_MS) });
    this.reconciler.audit();
    return synced.then(
      () => this.reconciler.lastSync,
      () => undefined,
    );
  }

  /** Sets the level of the log; false when it has none. */
  setLogLevel(level: LogLevel): boolean {
    return this.#logger.setLevel(level);
  }

  #statusContext(): RuleStatusContext {
    return {
      desired: this.desired,
      actual: this.reconciler.mirror,
      refused: this.reconciler.refused,
      staleSince: this.source.staleSince,
    };
  }

  #wire(): void {
    const { metrics, reconciler } = this;
    this.interventions.on('change', () => reconciler.poke(performance.now()));
    this.source.on('change', () => {
      const { revision, problems, changedAtMs } = this.source.snapshot;
      this.#logger.info({ revision, problems: problems.length }, 'rules changed');
      for (const problem of problems) this.#logger.warn({ problem }, 'rule file problem');
      reconciler.poke(changedAtMs);
    });
    this.bridge.on('change', () => {
      this.flowRestore.look();
      reconciler.poke(performance.now());
    });
    // The OVSDB client logs its outages itself.
    this.bridge.on('down', () => metrics.reconnecting('ovsdb'));
    let outage = false;
    this.session.on('up', (connection) => {
      this.#answers.follow(connection);
      this.#packetLog.follow(connection);
      outage = false;
      this.#logger.info(
        { datapath: `0x${connection.features.datapathId.toString(16)}` },
        'switch connected',
      );
      this.flowRestore.look();
      reconciler.poke();
    });
    this.session.on('down', (error) => {
      this.flowRestore.look();
      metrics.reconnecting('openflow');
      this.#logger[outage ? 'debug' : 'warn']({ err: error }, 'no OpenFlow connection');
      outage = true;
      this.#reporter?.changed();
    });
    let first = true;
    reconciler.on('synced', (sync) => {
      this.#answers.forgetRules();
      this.#reporter?.passEnds();
      this.#packetLog.forgetRules();
      this.flowRestore.flowsAreIn();
      if (sync.flowMods > 0) this.offload.forget();
      this.zones.look(this.#trackedVnis());
      if (first) this.#logger.info({ ...sync, flows: this.flowCounts() }, 'first sync complete');
      else if (sync.flowMods > 0) this.#logger.info({ ...sync }, 'synced');
      first = false;
    });
  }

  #makeReporter(): ClusterReporter | undefined {
    const config = this.#config;
    const { rules, kubernetes } = config;
    if (rules.source !== 'kubernetes' || !kubernetes.publish) return undefined;
    const agent = {
      tunnel: () => this.bridge.tunnel,
      ovsVersion: () => this.bridge.openVSwitch?.ovsVersion,
      datapathType: () => this.bridge.datapathType,
      locals: () => this.#built?.snapshot.locals ?? [],
      agentNotReady: () => this.notReady,
      notReady: (most: number) => inSlices(notReadySteps(this.#statusContext(), most)),
      source: () => this.source.snapshot,
    };
    return new ClusterReporter(config, kubeTarget(rules, kubernetes), agent, this.#logger);
  }

  /** VNIs of the networks whose connections are to be tracked. */
  #trackedVnis(): ReadonlySet<number> {
    const networks = this.#built?.ruleSet.networks.byVni.values() ?? [];
    return new Set(
      [...networks].filter(({ conntrack }) => conntrack === 'on').map(({ vni }) => vni),
    );
  }

  /** Undefined until the rules have been read. What the bridge does not tell yet is left out of it: nothing is written. */
  #snapshot(): Snapshot | undefined {
    if (!this.#sourceRead) return undefined;
    this.#reporter?.passBegins(this.source.snapshot);
    const inputs = {
      config: this.#config,
      source: this.source.snapshot,
      ports: this.bridge.ports,
      tunnel: this.bridge.tunnel,
      tracking: this.zones.tracking(),
      nowMs: this.#now(),
      moves: this.#moves,
      monotonicMs: performance.now(),
    };
    this.#built = makeSnapshot(inputs, this.#built?.ruleSet);
    this.#expiry.set(this.#built.nextExpiryMs);
    return this.interventions.apply(this.#built.snapshot);
  }
}
