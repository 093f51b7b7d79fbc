/**
 * One connection to a switch that speaks OpenFlow 1.3, with its handshake done: requests matched to replies by xid,
 * multipart dumps, two-phase bundles. When the socket goes, everything that waits is told why; `session.ts` reconnects.
 */
import { Buffer } from 'node:buffer';
import { EventEmitter } from 'node:events';
import { makeDeferred, type Deferred } from '../base/deferred.ts';
import {
  ConnectionError,
  DecodeError,
  isBaseError,
  toError,
  type BaseError,
} from '../base/error.ts';
import { BundleCommit, type BundleOutcome, type RefusedMessage } from './bundle-commit.ts';
import { bundleFlags, type BundleMessage, type BundleOptions } from './bundle.ts';
import { decodeError, typeName } from './error-msg.ts';
import { OpenFlowError } from './errors.ts';
import {
  decodeFeatures,
  decodeSwitchConfig,
  encodeSwitchConfig,
  type SwitchConfig,
  type SwitchFeatures,
} from './features.ts';
import {
  decodeFlowMonitorNotice,
  decodeFlowUpdates,
  encodeFlowMonitorCancel,
  encodeFlowMonitorRequest,
  isFlowMonitorReply,
  type FlowMonitorNotice,
  type FlowMonitorRequest,
  type FlowUpdate,
} from './flow-monitor.ts';
import { encodeConntrackFlushZone } from './conntrack.ts';
import { encodeSetAsync, encodeSetControllerId, WANTED_CONFIG } from './handshake.ts';
import { encodeMessage, messageBody, messageType, messageXid } from './header.ts';
import { checkHello, encodeHello, versionError } from './hello.ts';
import { decodeMultipart, encodeMultipart, MultipartReply } from './multipart.ts';
import { OFPMP, OFPT } from './ofp13.ts';
import {
  decodePortDescriptions,
  decodePortStatus,
  type PortDescription,
  type PortStatus,
} from './port.ts';
import { Vconn } from './vconn.ts';
import { XidMux } from './xid-mux.ts';

export type { BundleOutcome, RefusedMessage } from './bundle-commit.ts';

/** How to connect. */
export interface OpenFlowOptions {
  /** The bridge's management socket, `<rundir>/<bridge>.mgmt`. */
  readonly path: string;
  /** 16 bits; `controller(id=...)` actions with it reach this connection. Default 0, which shares with everybody. */
  readonly controllerId?: number;
  /** For the socket and the handshake together. Default 5000. */
  readonly timeoutMs?: number;
  /** For the answer to a request; of a dump, for each part. Default 10000. */
  readonly requestTimeoutMs?: number;
  /** For each phase of a bundle: a switch takes about 5 s for a million flows. Default 60000. */
  readonly bundleTimeoutMs?: number;
  /** Bytes that may wait for the switch to read them before the connection is given up. Default 16 MiB. */
  readonly maxQueuedBytes?: number;
  /** Ends an attempt to connect. Without effect once connected. */
  readonly signal?: AbortSignal;
}

/** Events of a connection. */
export interface OpenFlowEvents {
  portStatus: [PortStatus];
  /** A whole OFPT_PACKET_IN, in memory of its own. */
  packetIn: [Buffer];
  /** Something happened to a flow that a monitor watches. Valid during the call: whoever keeps bytes of it, copies them. */
  flowUpdate: [FlowUpdate];
  /** The switch holds updates back, or does so no more. */
  flowMonitor: [FlowMonitorNotice];
  /** Any message came: the peer is alive. */
  activity: [];
  /** The connection is gone. Emitted once. */
  close: [BaseError];
}

/** OFPT_* that answers a request. */
const REPLY_TYPES: ReadonlyMap<number, number> = new Map([
  [OFPT.ECHO_REQUEST, OFPT.ECHO_REPLY],
  [OFPT.EXPERIMENTER, OFPT.EXPERIMENTER],
  [OFPT.FEATURES_REQUEST, OFPT.FEATURES_REPLY],
  [OFPT.GET_CONFIG_REQUEST, OFPT.GET_CONFIG_REPLY],
  [OFPT.MULTIPART_REQUEST, OFPT.MULTIPART_REPLY],
  [OFPT.BARRIER_REQUEST, OFPT.BARRIER_REPLY],
  [OFPT.ROLE_REQUEST, OFPT.ROLE_REPLY],
  [OFPT.GET_ASYNC_REQUEST, OFPT.GET_ASYNC_REPLY],
]);
/** Requests that may wait for their answers at once. */
const WAITING_MAX = 1000;
const EMPTY = new Uint8Array(0);
/** The xid of what the switch says by itself; none of our requests has it. */
const UNASKED_XID = 0;

/** A connected switch. */
export class OpenFlowConnection extends EventEmitter<OpenFlowEvents> {
  readonly #vconn: Vconn;
  readonly #mux = new XidMux();
  readonly #requestTimeoutMs: number;
  readonly #bundleTimeoutMs: number;
  #features: SwitchFeatures | undefined;
  #nextBundleId = 1;
  #bundleQueue: Promise<unknown> = Promise.resolve();
  /** Waits for the switch's HELLO; undefined once that is here. */
  #hello: Deferred<void> | undefined = makeDeferred<void>();

  private constructor(vconn: Vconn, options: OpenFlowOptions) {
    super();
    this.#vconn = vconn;
    this.#requestTimeoutMs = options.requestTimeoutMs ?? 10_000;
    this.#bundleTimeoutMs = options.bundleTimeoutMs ?? 60_000;
    vconn.on('message', (message) => this.#receive(message));
    vconn.on('close', (reason) => this.#finish(reason));
  }

  /**
   * Connects, negotiates the version and asks for what the agent needs of every connection.
   * @throws ConnectionError when there is no switch, it speaks another version, or it does not answer in time;
   * OpenFlowError when it refuses a step of the handshake; DecodeError when it answers nonsense.
   */
  static async connect(options: OpenFlowOptions): Promise<OpenFlowConnection> {
    const { path, controllerId = 0, timeoutMs = 5000, signal } = options;
    const giveUp = new AbortController();
    const where = { op: 'openflow.connect', endpoint: path };
    const timer = setTimeout(() => {
      const message = `no connection with its handshake within ${timeoutMs} ms`;
      giveUp.abort(new ConnectionError('CONN_TIMEOUT', message, where));
    }, timeoutMs);
    const onAbort = (): void => {
      const cause: unknown = signal?.reason;
      giveUp.abort(
        new ConnectionError('CONN_CLOSED', 'attempt given up by us', { ...where, cause }),
      );
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted === true) onAbort();
    let vconn: Vconn | undefined;
    try {
      vconn = await Vconn.connect(path, giveUp.signal, options);
      const socket = vconn;
      giveUp.signal.addEventListener('abort', () =>
        socket.close(giveUp.signal.reason as BaseError),
      );
      vconn.send(encodeHello(0));
      const connection = new OpenFlowConnection(vconn, options);
      await connection.#handshake(controllerId);
      return connection;
    } catch (error) {
      vconn?.close(isBaseError(error) ? error : undefined);
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** What the switch said of itself in the handshake. */
  get features(): SwitchFeatures {
    if (this.#features === undefined) throw this.#error('CONN_CLOSED', 'handshake is not done');
    return this.#features;
  }

  /** Why the connection is gone; undefined while it is not. */
  get closed(): BaseError | undefined {
    return this.#vconn.closed;
  }

  /**
   * Sends a request and waits for its reply.
   * @returns the body of the reply, in memory of its own.
   * @throws OpenFlowError when the switch answers an error; ConnectionError on time-out or loss.
   */
  async request(type: number, body: Uint8Array = EMPTY): Promise<Buffer> {
    return messageBody(await this.#ask(type, body));
  }

  /** Waits until the switch has handled everything sent before. */
  async barrier(): Promise<void> {
    await this.request(OFPT.BARRIER_REQUEST);
  }

  /** Asks for a sign of life. */
  async echo(): Promise<void> {
    await this.request(OFPT.ECHO_REQUEST);
  }

  /**
   * Asks for a dump and hands each part's body to `onPart` as it comes; the body is valid during the call. What `onPart`
   * throws ends the dump, and the connection too when it is a DecodeError.
   * @throws OpenFlowError, ConnectionError, DecodeError, what `onPart` throws.
   */
  async multipart(type: number, body: Uint8Array, onPart: (body: Buffer) => void): Promise<void> {
    const reply = new MultipartReply(type, onPart);
    await this.#ask(OFPT.MULTIPART_REQUEST, encodeMultipart(type, body), (message) =>
      reply.receive(message),
    );
  }

  /**
   * Asks to be told of changes of flows by `flowUpdate` events, until the connection ends or the monitor is cancelled.
   * Resolves when the switch watches; an update of any later change comes after that. Updates that are not taken in fast
   * enough make the switch pause, not us remember.
   * @throws OpenFlowError when the switch cannot, `OFP_NO_ANSWER` when it does not say why; ConnectionError, DecodeError.
   */
  async monitorFlows(request: FlowMonitorRequest): Promise<void> {
    const reply = new MultipartReply(OFPMP.EXPERIMENTER, (body) => this.#emitFlowUpdates(body));
    const body = encodeMultipart(OFPMP.EXPERIMENTER, encodeFlowMonitorRequest(request));
    const xid = this.#mux.take();
    const onReply = (message: Buffer): boolean => reply.receive(message);
    const asked = this.#ask(OFPT.MULTIPART_REQUEST, body, onReply, xid);
    // It is waited for below; a barrier that fails must not leave it without anybody.
    asked.catch(() => undefined);
    await this.barrier();
    // Open vSwitch 3.1 answers a monitor that it refuses (an id in use, for one) with bytes of freed memory, whose xid is
    // anything: nothing before the barrier's reply means refused. Such a request must not be sent twice.
    this.#mux.fail(xid, noAnswer());
    await asked;
  }

  /**
   * Ends a flow monitor.
   * @throws OpenFlowError `OFP_OFPMOFC_UNKNOWN_MONITOR` when there is none with this id; ConnectionError.
   */
  async cancelFlowMonitor(id: number): Promise<void> {
    await this.#command(OFPT.EXPERIMENTER, encodeFlowMonitorCancel(id));
  }

  /**
   * Forgets all connections of a zone of the connection tracker.
   * @throws OpenFlowError when the switch cannot; ConnectionError.
   */
  async flushConntrackZone(zone: number): Promise<void> {
    await this.#command(OFPT.EXPERIMENTER, encodeConntrackFlushZone(zone));
  }

  /** The ports of the bridge. */
  async portDescriptions(): Promise<PortDescription[]> {
    const ports: PortDescription[] = [];
    await this.multipart(OFPMP.PORT_DESC, EMPTY, (body) =>
      ports.push(...decodePortDescriptions(body)),
    );
    return ports;
  }

  /** How the switch treats fragments at the moment. */
  async switchConfig(): Promise<SwitchConfig> {
    return decodeSwitchConfig(await this.request(OFPT.GET_CONFIG_REQUEST));
  }

  /**
   * Sees to it that fragments can be matched (`nw_frag`), as the handshake asked for: any other client's SET_CONFIG may have
   * reset it, and then later fragments would pass port rules.
   * @returns true when it had to be set again.
   * @throws OpenFlowError `OFP_FRAGMENT_MODE` when the switch does not take it.
   */
  async ensureFragmentMode(): Promise<boolean> {
    if ((await this.switchConfig()).flags === WANTED_CONFIG.flags) return false;
    await this.#command(OFPT.SET_CONFIG, encodeSwitchConfig(WANTED_CONFIG));
    checkFragmentMode(await this.switchConfig());
    return true;
  }

  /**
   * Applies messages (flow_mods, group_mods; complete, whatever their xid) in one bundle of two phases, all or none (see
   * `bundle-commit.ts`). Bundles of a connection run one after another. No messages are committed without traffic.
   * @throws ConnectionError when the connection goes (`details.outcomeUnknown` tells whether COMMIT was under way);
   * OpenFlowError when the bundle fails as a whole.
   */
  commitBundle(
    messages: readonly BundleMessage[],
    options: BundleOptions = {},
  ): Promise<BundleOutcome> {
    if (messages.length === 0) return Promise.resolve({ committed: true });
    const run = this.#bundleQueue.then(() => {
      const bundle = { bundleId: this.#nextBundleId++, flags: bundleFlags(options) };
      return new BundleCommit(this.#vconn, this.#mux, bundle, this.#bundleTimeoutMs).run(
        messages,
        options.onCommitted,
      );
    });
    this.#bundleQueue = run.catch(() => undefined);
    return run;
  }

  /**
   * Sends messages that do not fit into a bundle (meter_mods, packet_outs; complete, whatever their xid), and waits until the
   * switch has handled them. Each stands alone: one that is refused keeps no other back.
   * @returns what the switch refused.
   * @throws ConnectionError when the connection goes; then nobody knows which were handled.
   */
  async sendMessages(messages: readonly Uint8Array[]): Promise<RefusedMessage[]> {
    if (messages.length === 0) return [];
    if (this.#vconn.closed !== undefined) throw this.#vconn.closed;
    const refused: RefusedMessage[] = [];
    const firstXid = this.#mux.take(messages.length);
    const unwatch = this.#mux.watch({
      firstXid,
      count: messages.length,
      op: 'openflow.sendMessages',
      onError: (index, error) => refused.push({ index, error }),
    });
    try {
      for (const [index, message] of messages.entries()) {
        const copy = Buffer.from(message);
        copy.writeUInt32BE(firstXid + index, 4);
        if (!this.#vconn.send(copy)) await this.#vconn.drained(this.#requestTimeoutMs);
      }
      await this.barrier();
      return refused;
    } finally {
      unwatch();
    }
  }

  /** Ends the connection; `reason` is what waiting requests are told. */
  close(reason?: BaseError): void {
    this.#vconn.close(reason);
  }

  async #handshake(controllerId: number): Promise<void> {
    await this.#hello?.promise;
    // All at once: the switch handles them in order.
    const [features, , config] = await Promise.all([
      this.request(OFPT.FEATURES_REQUEST),
      this.#command(OFPT.SET_CONFIG, encodeSwitchConfig(WANTED_CONFIG)),
      this.switchConfig(),
      controllerId === 0
        ? undefined
        : this.#command(OFPT.EXPERIMENTER, encodeSetControllerId(controllerId)),
      this.#command(OFPT.SET_ASYNC, encodeSetAsync()),
    ]);
    this.#features = decodeFeatures(features);
    checkFragmentMode(config);
  }

  /** Sends a message that has no reply, and a barrier after it: an error to it comes first. */
  async #command(type: number, body: Uint8Array): Promise<void> {
    const xid = this.#mux.take();
    let refused: OpenFlowError | undefined;
    const unwatch = this.#mux.watch({
      firstXid: xid,
      count: 1,
      op: `openflow.${typeName(type).toLowerCase()}`,
      onError: (_, error) => (refused = error),
    });
    try {
      this.#vconn.send(encodeMessage(type, xid, body));
      await this.barrier();
      if (refused !== undefined) throw refused;
    } finally {
      unwatch();
    }
  }

  #ask(
    type: number,
    body: Uint8Array,
    onReply?: (message: Buffer) => boolean,
    xid = this.#mux.take(),
  ): Promise<Buffer> {
    const { closed } = this.#vconn;
    if (closed !== undefined) return Promise.reject(closed);
    const op = `openflow.${typeName(type).toLowerCase()}`;
    const replyType = REPLY_TYPES.get(type);
    if (replyType === undefined) return Promise.reject(new RangeError(`${op} has no reply`));
    if (this.#mux.waiting >= WAITING_MAX)
      return Promise.reject(this.#error('CONN_OVERLOAD', `${op}: too many requests wait`));
    const timeoutMs = this.#requestTimeoutMs;
    const reply = this.#mux.expect(xid, {
      op,
      replyType,
      timeoutMs,
      onTimeout: () => this.#error('CONN_TIMEOUT', `${op}: no answer within ${timeoutMs} ms`),
      ...(onReply === undefined ? {} : { onReply }),
    });
    try {
      this.#vconn.send(encodeMessage(type, xid, body));
    } catch (error) {
      // Thrown here it would leave the promise above without anybody to hear of its rejection.
      this.#mux.fail(xid, toError(error));
    }
    return reply;
  }

  #receive(message: Buffer): void {
    this.emit('activity');
    const type = messageType(message);
    if (this.#hello !== undefined) {
      this.#receiveHello(message, this.#hello);
      return;
    }
    switch (type) {
      case OFPT.ECHO_REQUEST:
        this.#vconn.send(encodeMessage(OFPT.ECHO_REPLY, messageXid(message), messageBody(message)));
        return;
      case OFPT.PORT_STATUS:
        this.emit('portStatus', decodePortStatus(message));
        return;
      case OFPT.PACKET_IN:
        if (this.listenerCount('packetIn') > 0) this.emit('packetIn', Buffer.from(message));
        return;
      case OFPT.MULTIPART_REPLY:
      case OFPT.EXPERIMENTER:
        if (messageXid(message) === UNASKED_XID) this.#receiveFlowMonitor(message);
        else this.#mux.receive(message);
        return;
      default:
        this.#mux.receive(message);
    }
  }

  #receiveFlowMonitor(message: Buffer): void {
    if (messageType(message) === OFPT.EXPERIMENTER) {
      const notice = decodeFlowMonitorNotice(message);
      if (notice !== undefined) this.emit('flowMonitor', notice);
      return;
    }
    const { type, body } = decodeMultipart(message);
    if (type === OFPMP.EXPERIMENTER && isFlowMonitorReply(body)) this.#emitFlowUpdates(body);
  }

  #emitFlowUpdates(body: Buffer): void {
    decodeFlowUpdates(body, (update) => this.emit('flowUpdate', update));
  }

  /** The first message of the switch must be its HELLO, or an error to ours [6.3.1]. */
  #receiveHello(message: Buffer, hello: Deferred<void>): void {
    const { endpoint } = this.#vconn;
    switch (messageType(message)) {
      case OFPT.HELLO:
        checkHello(message, endpoint);
        this.#hello = undefined;
        hello.resolve();
        return;
      case OFPT.ERROR:
        throw versionError([], endpoint, decodeError(message, 'openflow.hello'));
      default:
        throw new DecodeError(
          'DECODE_UNKNOWN_TYPE',
          `first message is ${typeName(messageType(message))}, not HELLO`,
          { protocol: 'openflow', op: 'openflow.hello', offset: 1, bytes: message },
        );
    }
  }

  #finish(reason: BaseError): void {
    this.#hello?.reject(reason);
    this.#mux.failAll(reason);
    this.emit('close', reason);
  }

  #error(code: 'CONN_CLOSED' | 'CONN_TIMEOUT' | 'CONN_OVERLOAD', message: string): ConnectionError {
    return new ConnectionError(code, message, {
      op: 'openflow.client',
      endpoint: this.#vconn.endpoint,
    });
  }
}

function checkFragmentMode({ flags }: SwitchConfig): void {
  if (flags === WANTED_CONFIG.flags) return;
  throw new OpenFlowError(
    `switch did not take fragment mode nx-match: flags are ${flags}, wanted ${WANTED_CONFIG.flags}`,
    { code: 'OFP_FRAGMENT_MODE', op: 'openflow.handshake', retryable: true },
  );
}

function noAnswer(): OpenFlowError {
  return new OpenFlowError('switch has passed over the request for a flow monitor', {
    code: 'OFP_NO_ANSWER',
    op: 'openflow.monitorFlows',
    retryable: false,
  });
}
