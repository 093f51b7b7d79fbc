/**
 * The bridge as OVSDB shows it: keeps bridge and tunnel port as they should be, under the lock, and tells which ports
 * there are. Level-triggered: every change of the database, of the lock or of the configuration leads to one look.
 */
import { EventEmitter } from 'node:events';
import { formatIp, parseIp } from '../../base/address.ts';
import { errorMessage, toError } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';
import type { ReconnectOptions } from '../../base/reconnect.ts';
import { NetlinkClient } from '../../netlink/client.ts';
import { OvsdbClient } from '../../ovsdb/client.ts';
import { everyRow, when } from '../../ovsdb/condition.ts';
import { assertLock, mutate, mutation, type Operation } from '../../ovsdb/operation.ts';
import {
  parseInterface,
  parsePort,
  readBridge,
  readInterfaces,
  readOpenVSwitch,
  readPorts,
  VSWITCH_COLUMNS,
  type BridgeRow,
  type InterfaceRow,
  type OpenVSwitchRow,
  type PortRow,
} from '../../ovsdb/vswitch.ts';
import type { AgentConfig } from '../config.ts';
import type { Tunnel } from '../flow/model.ts';
import type { SourceProblem } from '../sources/source.ts';
import { bridgeLock, OWNER_KEY, planTunnel, TUNNEL_PORT } from './tunnel-port.ts';
import { findVtepAddress, type SearchedVtep, type VtepAddress } from './vtep-address.ts';

/** Events of the bridge. */
export interface OvsBridgeEvents {
  /** Ports, tunnel or lock may have changed. */
  change: [];
  /** The OVSDB connection was lost, or could not be made. */
  down: [Error];
}

/** Both daemons are on this machine: looking for their sockets costs nothing, and traffic waits for the flows. */
export const LOCAL_RECONNECT: ReconnectOptions = { maxBackoffMs: 1000 };
/** Addresses of this machine are looked at this often where the configuration does not name the VTEP. */
const ADDRESS_POLL_MS = 5000;
const RETRY_MS = 1000;
/** An older sign of life of ovsdb-server says nothing of the lock. It is probed after 5 s of silence. Milliseconds. */
const LOCK_FRESH_MS = 10_000;
const FLOW_RESTORE_WAIT = 'flow-restore-wait';
/** How long the first sync waits for the tunnel port: flows of a former run that use it are better than none. */
const TUNNEL_GRACE_MS = 5000;

/** One bridge of one OVSDB server. */
export class OvsBridge extends EventEmitter<OvsBridgeEvents> {
  readonly #client: OvsdbClient;
  readonly #logger: Logger;
  readonly #lock: string;
  #config: AgentConfig;
  #everSynced = false;
  #graceOver = false;
  #ensuring: Promise<void> | undefined;
  #again = false;
  #closed = false;
  #verifying = false;
  #poll: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #grace: NodeJS.Timeout | undefined;
  #addressProblem: string | undefined;
  #portProblem: string | undefined;

  constructor(config: AgentConfig, logger: Logger) {
    super();
    this.#config = config;
    this.#logger = logger;
    this.#lock = bridgeLock(config.ovs.bridge);
    this.#client = new OvsdbClient({
      path: config.ovs.database,
      monitor: VSWITCH_COLUMNS,
      reconnect: LOCAL_RECONNECT,
      logger,
    });
    this.#client.on('synced', () => this.#onSynced());
    this.#client.on('change', () => this.#look());
    this.#client.on('locked', (name) => {
      logger.info({ lock: name }, 'bridge is ours');
      this.#look();
    });
    this.#client.on('unlocked', (name) => {
      logger.warn(
        { lock: name },
        'lost the lock of the bridge, nothing is written until it is back',
      );
      this.emit('change');
    });
    this.#client.on('disconnected', (error) => this.emit('down', error));
    this.#client.on('failed', (error) => this.emit('down', error));
  }

  /** True while the cache follows the server. */
  get synced(): boolean {
    return this.#client.synced;
  }

  /** True once the bridge's state is known well enough to derive flows from it. */
  get settled(): boolean {
    return this.#everSynced && (this.tunnel !== undefined || this.#graceOver);
  }

  /** True while the socket is open. */
  get connected(): boolean {
    return this.#client.connected;
  }

  /** True while this agent may write to the bridge. */
  get lockHeld(): boolean {
    return this.#client.hasLock(this.#lock);
  }

  /**
   * True while flows may be written: the bridge's state is known, and the lock is ours beyond doubt. A process that was
   * stopped for a while may have lost it and not read so yet: it asks first, and `change` follows.
   */
  get mayWrite(): boolean {
    if (!this.settled || !this.lockHeld) return false;
    if (this.#client.silentMs < LOCK_FRESH_MS) return true;
    this.#verifyLock();
    return false;
  }

  /** Type of the bridge's datapath as it is; undefined while there is no bridge. */
  get datapathType(): string | undefined {
    const type = this.#bridge?.datapathType;
    return type === '' ? 'system' : type;
  }

  /** The row of Open_vSwitch: version and switches of the daemon; undefined until the database has been read. */
  get openVSwitch(): OpenVSwitchRow | undefined {
    return readOpenVSwitch(this.#client.cache);
  }

  /** The row of the bridge; undefined while there is none. */
  get row(): BridgeRow | undefined {
    return this.#bridge;
  }

  /** Whether ovs-vswitchd is told to wait for flows; undefined while that is not known or not ours to change. */
  get flowRestoreWait(): boolean | undefined {
    if (!this.synced || !this.lockHeld) return undefined;
    return readOpenVSwitch(this.#client.cache)?.otherConfig.get(FLOW_RESTORE_WAIT) === 'true';
  }

  /**
   * Tells ovs-vswitchd to wait no longer.
   * @throws OvsdbError, ConnectionError.
   */
  async clearFlowRestoreWait(): Promise<void> {
    await this.#client.transact([
      assertLock(this.#lock),
      mutate('Open_vSwitch', everyRow, [mutation('other_config', 'delete', [FLOW_RESTORE_WAIT])]),
    ]);
  }

  /** `external_ids` of the bridge; undefined while they are not known, or not ours to change. */
  get externalIds(): ReadonlyMap<string, string> | undefined {
    return this.synced && this.lockHeld ? this.#bridge?.externalIds : undefined;
  }

  /** Changes `external_ids` of the bridge in one transaction, under the lock. */
  async changeExternalIds(
    removed: readonly string[],
    added: ReadonlyMap<string, string>,
  ): Promise<void> {
    const change = (
      mutator: 'delete' | 'insert',
      value: Parameters<typeof mutation>[2],
    ): Operation =>
      mutate(
        'Bridge',
        [when('name', '==', this.#config.ovs.bridge)],
        [mutation('external_ids', mutator, value)],
      );
    await this.#client.transact([
      assertLock(this.#lock),
      ...(removed.length > 0 ? [change('delete', removed)] : []),
      ...(added.size > 0 ? [change('insert', added)] : []),
    ]);
  }

  /** Every port of the bridge, our own tunnel port left out. */
  get ports(): InterfaceRow[] {
    const bridge = this.#bridge;
    if (bridge === undefined) return [];
    return readPorts(this.#client.cache, bridge)
      .flatMap((port) => readInterfaces(this.#client.cache, port))
      .filter(({ name }) => name !== TUNNEL_PORT);
  }

  /** The tunnel port as it is in the switch; undefined while it is not ours, not on our bridge or has no ofport. */
  get tunnel(): Tunnel | undefined {
    const { port, iface } = this.#tunnelRows();
    // An ofport means something on its own bridge only: here it may be the number of somebody's port.
    if (port === undefined || this.#bridge?.ports.includes(port.uuid) !== true) return undefined;
    const ip = parseIp(iface?.options.get('local_ip') ?? '');
    if (iface?.ofport === undefined || ip?.family !== 4) return undefined;
    if (iface.externalIds.get(OWNER_KEY) !== this.#lock) return undefined;
    return { ofport: iface.ofport, ip: Number(ip.value) };
  }

  /** Why there is no tunnel as configured; undefined when there is one. */
  get tunnelProblem(): string | undefined {
    return this.#addressProblem ?? this.#portProblem ?? this.#tunnelRows().iface?.error;
  }

  /** What an operator should know. */
  get problems(): SourceProblem[] {
    const file = `ovs:${this.#config.ovs.bridge}`;
    const problems: SourceProblem[] = [];
    if (this.tunnelProblem !== undefined)
      problems.push({ file, path: TUNNEL_PORT, message: this.tunnelProblem });
    const bridge = this.#bridge;
    const { datapathType } = this.#config.ovs;
    if (bridge !== undefined && this.datapathType !== datapathType) {
      const message = `is ${this.datapathType ?? ''}, configured is ${datapathType}; a bridge is adopted as it is`;
      problems.push({ file, path: 'datapath_type', message });
    }
    if (
      bridge !== undefined &&
      bridge.protocols.length > 0 &&
      !bridge.protocols.includes('OpenFlow13')
    ) {
      const message = `are ${bridge.protocols.join(', ')}; add OpenFlow13`;
      problems.push({ file, path: 'protocols', message });
    }
    return problems;
  }

  /** Starts; goes on until {@link close}. */
  start(): void {
    this.#client.start();
    this.#client.lock(this.#lock).catch((error: unknown) => {
      if (!this.#closed)
        this.#logger.error({ err: toError(error) }, 'cannot ask for the lock of the bridge');
    });
    this.#poll = setInterval(() => {
      if (!('ip' in this.#config.vtep)) this.#look();
    }, ADDRESS_POLL_MS);
  }

  /** Lets the lock go. Bridge and ports stay. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#poll);
    clearTimeout(this.#retry);
    clearTimeout(this.#grace);
    await this.#client.close();
    await this.#ensuring;
  }

  /** Takes over a changed configuration. */
  reconfigure(config: AgentConfig): void {
    this.#config = config;
    this.#look();
  }

  get #bridge(): BridgeRow | undefined {
    return readBridge(this.#client.cache, this.#config.ovs.bridge);
  }

  #onSynced(): void {
    this.#everSynced = true;
    this.#grace ??= setTimeout(() => {
      this.#graceOver = true;
      this.emit('change');
    }, TUNNEL_GRACE_MS);
    this.#look();
  }

  #look(): void {
    if (this.#closed) return;
    this.emit('change');
    if (!this.synced || !this.lockHeld) return;
    if (this.#ensuring !== undefined) {
      this.#again = true;
      return;
    }
    this.#ensuring = this.#ensure().finally(() => {
      this.#ensuring = undefined;
      if (!this.#again) return;
      this.#again = false;
      this.#look();
    });
  }

  #verifyLock(): void {
    if (this.#verifying) return;
    this.#verifying = true;
    this.#client
      .echo()
      .then(
        () => this.#look(),
        // The connection went, and the lock with it: the next one begins with a look.
        () => undefined,
      )
      .finally(() => (this.#verifying = false));
  }

  /** Makes bridge and tunnel port what they should be. */
  async #ensure(): Promise<void> {
    const { vtep } = this.#config;
    const address = 'ip' in vtep ? vtep : await readVtepAddress(vtep);
    // The kernel took its time: another configuration has its own look coming, and without the lock nothing is ours.
    if (this.#closed || vtep !== this.#config.vtep || !this.synced || !this.lockHeld) return;
    const { bridge, datapathType } = this.#config.ovs;
    const problem = 'problem' in address ? address.problem : undefined;
    if (problem !== this.#addressProblem) {
      this.#addressProblem = problem;
      this.emit('change');
    }
    const localIp = 'ip' in address ? formatIp(4, address.ip.value) : undefined;
    const facts = { bridge: this.#bridge, ...this.#tunnelRows() };
    const plan = planTunnel({ bridge, datapathType, localIp }, facts);
    this.#portProblem = plan.problem;
    if (plan.operations.length === 0) return;
    this.#logger.info({ actions: plan.actions }, 'changing the bridge');
    try {
      await this.#client.transactAndWait(plan.operations);
    } catch (error) {
      // Somebody else was quicker, or the connection went: the database says what there is to do next.
      if (this.#closed) return;
      this.#logger.warn({ err: toError(error) }, 'bridge could not be changed, will look again');
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.#look(), RETRY_MS);
    }
  }

  #tunnelRows(): { readonly port: PortRow | undefined; readonly iface: InterfaceRow | undefined } {
    const { cache } = this.#client;
    let port: PortRow | undefined;
    let iface: InterfaceRow | undefined;
    for (const [uuid, row] of cache.rows('Port'))
      if (row.get('name') === TUNNEL_PORT) port = parsePort(uuid, row);
    for (const [uuid, row] of cache.rows('Interface')) {
      if (row.get('name') === TUNNEL_PORT) iface = parseInterface(uuid, row);
    }
    return { port, iface };
  }
}

/** Asks the kernel. The socket lives only that long: while it is open it holds a thread of the pool that file access needs. */
async function readVtepAddress(vtep: SearchedVtep): Promise<VtepAddress> {
  const netlink = NetlinkClient.open();
  try {
    const [links, addresses] = await Promise.all([netlink.links(), netlink.addresses()]);
    return findVtepAddress(vtep, { links, addresses });
  } catch (error) {
    return { problem: `vtep: cannot read the addresses of this machine: ${errorMessage(error)}` };
  } finally {
    await netlink.close();
  }
}
