/**
 * What the agent tells its cluster of itself: DPUNode status, Lease, Events, DPUEndpointSlices. Level-triggered, each thing at
 * its own pace, and quite apart from the data plane: nothing here is waited for by anybody, and an API server that is away
 * only means that the cluster hears later.
 */
import { release } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import type { DpuNodeStatus } from '../../api/dpu-node.ts';
import { API_VERSION } from '../../api/labels.ts';
import type { DpuObject } from '../../api/object.ts';
import { formatIp } from '../../base/address.ts';
import type { Logger } from '../../base/logger.ts';
import { VERSION } from '../../base/version.ts';
import { KubeApi } from '../../kube/api.ts';
import type { KubeTarget } from '../../kube/config.ts';
import { KubeError } from '../../kube/error.ts';
import type { AgentConfig } from '../config.ts';
import type { LocalEndpoint, Tunnel } from '../flow/model.ts';
import type { NotReady } from '../reconcile/rule-status.ts';
import type { SourceSnapshot } from '../sources/source.ts';
import { Chore } from './chore.ts';
import { planSlices, type SliceSpec } from './endpoint-slices.ts';
import { KubeWriter } from './kube-writer.ts';
import {
  EVENT_NAMESPACE,
  EventBudget,
  eventManifest,
  microTime,
  transitions,
} from './node-events.ts';
import { nodeStatus } from './node-status.ts';

/** What the reporter reads of the agent. */
export interface ReportedAgent {
  readonly tunnel: () => Tunnel | undefined;
  readonly ovsVersion: () => string | undefined;
  readonly datapathType: () => string | undefined;
  /** Endpoints of this DPU that nobody has a better claim to, as of the last pass. */
  readonly locals: () => readonly LocalEndpoint[];
  readonly agentNotReady: () => readonly string[];
  readonly notReady: (most: number) => Promise<NotReady>;
  readonly source: () => SourceSnapshot;
}

/** How much is asked of the agent for the list of what is not ready. */
const NOT_READY_MAX = 50;
/** A status that did not change is written again after this: somebody may have deleted it. */
const RESEND_MS = 900_000;
/** Pause between two looks at the slices. */
const SLICES_MS = 50;
const MAX_BACKOFF_MS = 30_000;
const NODES = `/apis/${API_VERSION}/dpunodes`;
const SLICES = `/apis/${API_VERSION}/dpuendpointslices`;

/** See the head of the file. */
export class ClusterReporter {
  readonly #config: AgentConfig;
  readonly #agent: ReportedAgent;
  readonly #writer: KubeWriter;
  readonly #budget = new EventBudget(performance.now());
  readonly #chores: readonly Chore[];
  readonly #onPass: readonly Chore[];
  #status: DpuNodeStatus | undefined;
  #writtenMs = 0;
  /** The status of which the Events have been told. */
  #told: DpuNodeStatus | undefined;
  #eventId = 0;
  #passSource: SourceSnapshot | undefined;
  #processed: SourceSnapshot | undefined;
  /** As of the last complete pass: while the switch cannot be asked its endpoints are not gone. */
  #locals: readonly LocalEndpoint[] = [];
  #slicesTunnel: Tunnel | undefined;

  constructor(config: AgentConfig, target: KubeTarget, agent: ReportedAgent, logger: Logger) {
    this.#config = config;
    this.#agent = agent;
    this.#writer = new KubeWriter(new KubeApi(target, { answerMs: 15_000, idleMs: 15_000 }));
    const { renewSeconds, statusSeconds } = config.kubernetes;
    const renewMs = renewSeconds * 1000;
    const lease = new Chore({
      name: 'Lease',
      work: (signal) => this.#renewLease(signal),
      minMs: 0,
      everyMs: renewMs,
      maxBackoffMs: renewMs,
      logger,
    });
    const status = new Chore({
      name: 'DPUNode',
      work: (signal) => this.#writeStatus(signal),
      minMs: statusSeconds * 1000,
      everyMs: RESEND_MS,
      maxBackoffMs: MAX_BACKOFF_MS,
      logger,
    });
    const slices = new Chore({
      name: 'DPUEndpointSlices',
      work: (signal) => this.#writeSlices(signal),
      minMs: SLICES_MS,
      maxBackoffMs: MAX_BACKOFF_MS,
      logger,
    });
    const publishes = config.vteps.source === 'kubernetes';
    this.#onPass = publishes ? [status, slices] : [status];
    this.#chores = [lease, ...this.#onPass];
    lease.poke();
    status.poke();
  }

  /** Begins. */
  start(): void {
    for (const chore of this.#chores) chore.start();
  }

  /** Ends. What has been written stays. */
  async close(): Promise<void> {
    await Promise.all(this.#chores.map((chore) => chore.close()));
    this.#writer.close();
  }

  /** A pass of the reconciler begins with these objects. */
  passBegins(source: SourceSnapshot): void {
    this.#passSource = source;
  }

  /** The pass is over, and the switch is as it should be. */
  passEnds(): void {
    this.#processed = this.#passSource;
    this.#locals = this.#agent.locals();
    this.#slicesTunnel = this.#agent.tunnel();
    for (const chore of this.#onPass) chore.poke();
  }

  /** The agent is in another state than before, pass or not. */
  changed(): void {
    this.#onPass[0]?.poke();
  }

  /** How far the switch is. Marks may go on while objects stay the same: then there is nothing to be processed in between. */
  get #marks(): ReadonlyMap<DpuObject['kind'], string> {
    const present = this.#agent.source();
    const done = this.#processed;
    return (done?.revision === present.revision ? present.marks : done?.marks) ?? new Map();
  }

  async #renewLease(signal: AbortSignal): Promise<void> {
    const { node, kubernetes } = this.#config;
    const { namespace, leaseSeconds } = kubernetes;
    const apiVersion = 'coordination.k8s.io/v1';
    const path = `/apis/${apiVersion}/namespaces/${namespace}/leases/${node}`;
    const spec = {
      holderIdentity: node,
      leaseDurationSeconds: leaseSeconds,
      renewTime: microTime(new Date()),
    };
    const metadata = { name: node, namespace };
    await this.#writer.apply(path, { apiVersion, kind: 'Lease', metadata, spec }, signal);
  }

  async #writeStatus(signal: AbortSignal): Promise<void> {
    const status = await this.#makeStatus();
    const isOld = performance.now() - this.#writtenMs >= RESEND_MS;
    if (isOld || !isDeepStrictEqual(status, this.#status)) {
      await this.#sendStatus(status, signal);
      this.#status = status;
      this.#writtenMs = performance.now();
    }
    await this.#tell(status, signal);
  }

  async #makeStatus(): Promise<DpuNodeStatus> {
    const agent = this.#agent;
    const { entries, rows, total } = await agent.notReady(NOT_READY_MAX);
    const ovs = agent.ovsVersion();
    const tunnel = agent.tunnel();
    const facts = {
      vtepIP: tunnel === undefined ? undefined : formatIp(4, BigInt(tunnel.ip)),
      versions: {
        agent: VERSION,
        ...(ovs === undefined ? {} : { openVSwitch: ovs.slice(0, 64) }),
        kernel: release().slice(0, 128),
      },
      datapathType: agent.datapathType(),
      marks: this.#marks,
      endpoints: this.#locals.length,
      ruleEntries: entries,
      notReady: rows,
      notReadyTotal: total,
      agentNotReady: agent.agentNotReady(),
    };
    return nodeStatus(facts, this.#status, `${new Date().toISOString().slice(0, 19)}Z`);
  }

  async #sendStatus(status: DpuNodeStatus, signal: AbortSignal): Promise<void> {
    const { node } = this.#config;
    const path = `${NODES}/${node}`;
    const object = { apiVersion: API_VERSION, kind: 'DPUNode', metadata: { name: node } };
    const send = (): Promise<void> =>
      this.#writer.apply(`${path}/status`, { ...object, status }, signal);
    try {
      await send();
    } catch (error) {
      if (!(error instanceof KubeError) || error.status !== 404) throw error;
      await this.#writer.apply(path, object, signal);
      await send();
    }
  }

  /** Events of what happened since the last ones. While the server is away only the difference in the end is kept. */
  async #tell(status: DpuNodeStatus, signal: AbortSignal): Promise<void> {
    const events = transitions(this.#told, status);
    this.#told = status;
    const path = `/apis/events.k8s.io/v1/namespaces/${EVENT_NAMESPACE}/events`;
    for (const event of events) {
      if (!this.#budget.take(performance.now())) return;
      const at = new Date();
      const id = `${at.getTime().toString(16)}${(this.#eventId++).toString(16)}`;
      await this.#writer.create(path, eventManifest(this.#config.node, event, at, id), signal);
    }
  }

  async #writeSlices(signal: AbortSignal): Promise<void> {
    const { node } = this.#config;
    const tunnel = this.#slicesTunnel;
    const { objects, marks } = this.#agent.source();
    // Without a list from the server nobody knows what is there already.
    if (tunnel === undefined || marks?.has('DPUEndpointSlice') !== true) return;
    const present = new Map<string, SliceSpec>();
    for (const { object } of objects.values()) {
      if (object.kind !== 'DPUEndpointSlice' || object.spec.node !== node) continue;
      present.set(object.metadata.name, object.spec);
    }
    const vtepIP = formatIp(4, BigInt(tunnel.ip));
    const plan = planSlices({ node, vtepIP, locals: this.#locals }, present);
    for (const [name, spec] of plan.apply) {
      const object = { apiVersion: API_VERSION, kind: 'DPUEndpointSlice', metadata: { name } };
      await this.#writer.apply(`${SLICES}/${name}`, { ...object, spec }, signal);
    }
    for (const name of plan.remove) await this.#writer.remove(`${SLICES}/${name}`, signal);
  }
}
