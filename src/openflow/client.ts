/**
 * One connection to a switch that speaks OpenFlow 1.3, with its handshake done: requests matched to replies by xid,
 * multipart dumps, two-phase bundles. When the socket goes, everything that waits is told why; `session.ts` reconnects.
 */
import { Buffer } from 'node:buffer';
import { EventEmitter } from 'node:events';
import { BaseError, ConnectionError, DecodeError } from '../base/error.ts';
import { makeDeferred, type Deferred } from '../base/deferred.ts';
import {
  BUNDLE_MESSAGE_MAX,
  bundleControlType,
  bundleFlags,
  encodeBundleAdds,
  encodeBundleControl,
  type BundleOptions,
} from './bundle.ts';
import { decodeError, typeName } from './error-msg.ts';
import { OpenFlowError } from './errors.ts';
import {
  decodeFeatures,
  decodeSwitchConfig,
  encodeSwitchConfig,
  type SwitchConfig,
  type SwitchFeatures,
} from './features.ts';
import { encodeSetAsync, encodeSetControllerId, WANTED_CONFIG } from './handshake.ts';
import { encodeMessage, messageBody, messageType, messageXid } from './header.ts';
import { checkHello, encodeHello } from './hello.ts';
import { decodeMultipart, encodeMultipart } from './multipart.ts';
import { OFP_VERSION, OFPBCT, OFPMP, OFPT } from './ofp13.ts';
import {
  decodePortDescriptions,
  decodePortStatus,
  type PortDescription,
  type PortStatus,
} from './port.ts';
import { Vconn } from './vconn.ts';

/** How to connect. */
export interface OpenFlowOptions {
  /** The bridge's management socket, `<rundir>/<bridge>.mgmt`. */
  readonly path: string;
  /** 16 bits; `controller(id=...)` actions with it reach this connection. Default 0, which shares with everybody. */
  readonly controllerId?: number;
  /** For the socket and the handshake. Default 5000. */
  readonly timeoutMs?: number;
  /** For each request. Default 10000; a bundle's phases get 60 s. */
  readonly requestTimeoutMs?: number;
}

/** A message of a bundle that the switch refused. */
export interface RefusedMessage {
  /** Position in the list that was given. */
  readonly index: number;
  readonly error: OpenFlowError;
}

/** What became of a bundle. */
export type BundleOutcome =
  | { readonly committed: true }
  | { readonly committed: false; readonly refused: readonly RefusedMessage[] };

/** Events of a connection. */
export interface OpenFlowEvents {
  portStatus: [PortStatus];
  /** A whole OFPT_PACKET_IN, or Nicira's form of it. */
  packetIn: [Buffer];
  /** Any message came: the peer is alive. */
  activity: [];
  /** The connection is gone. Emitted once. */
  close: [BaseError];
}

/** A request that waits. `onMessage` returns true when the request has all its answers. */
interface Pending {
  readonly deferred: Deferred<Buffer>;
  readonly op: string;
  onMessage(message: Buffer): boolean;
}

/** A bundle whose answers are being read: errors come with the xid of the message that they are about. */
interface OpenBundle {
  readonly firstXid: number;
  readonly count: number;
  readonly refused: RefusedMessage[];
}

const BUNDLE_TIMEOUT_MS = 60_000;
const XID_MAX = 0xffff_ffff;

/** A connected switch. */
export class OpenFlowConnection extends EventEmitter<OpenFlowEvents> {
  readonly #vconn: Vconn;
  readonly #requestTimeoutMs: number;
  readonly #pending = new Map<number, Pending>();
  #features: SwitchFeatures | undefined;
  #nextXid = 1;
  #nextBundleId = 1;
  #bundle: OpenBundle | undefined;
  #bundleQueue: Promise<unknown> = Promise.resolve();
  #hello: Deferred<void> | undefined;

  private constructor(vconn: Vconn, requestTimeoutMs: number) {
    super();
    this.#vconn = vconn;
    this.#requestTimeoutMs = requestTimeoutMs;
    vconn.on('message', (message) => this.#receive(message));
    vconn.on('close', (reason) => this.#finish(reason));
  }

  /**
   * Connects, negotiates the version and asks for what the agent needs of every connection.
   * @throws ConnectionError when there is no switch, it speaks another version, or it does not answer in time;
   * OpenFlowError when it refuses a step of the handshake; DecodeError when it answers nonsense.
   */
  static async connect(options: OpenFlowOptions): Promise<OpenFlowConnection> {
    const { path, controllerId = 0, timeoutMs = 5000, requestTimeoutMs = 10_000 } = options;
    const vconn = await Vconn.connect(path, timeoutMs);
    const connection = new OpenFlowConnection(vconn, requestTimeoutMs);
    try {
      await connection.#handshake(controllerId, timeoutMs);
    } catch (error) {
      vconn.close(error instanceof BaseError ? error : undefined);
      throw error;
    }
    return connection;
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
  async request(type: number, body: Uint8Array = new Uint8Array(0)): Promise<Buffer> {
    const xid = this.#takeXids(1);
    const reply = this.#expect(
      xid,
      `openflow.${typeName(type).toLowerCase()}`,
      this.#requestTimeoutMs,
      () => true,
    );
    this.#vconn.send(encodeMessage(type, xid, body));
    return messageBody(await reply);
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
   * Asks for a dump and hands each part's body to `onPart` as it comes. What `onPart` throws ends the connection, since
   * the rest of the dump would go astray.
   * @throws OpenFlowError, ConnectionError.
   */
  async multipart(type: number, body: Uint8Array, onPart: (body: Buffer) => void): Promise<void> {
    const xid = this.#takeXids(1);
    const done = this.#expect(xid, 'openflow.multipart', this.#requestTimeoutMs, (message) => {
      if (messageType(message) !== OFPT.MULTIPART_REPLY) throw unexpected(message);
      const part = decodeMultipart(message);
      if (part.type !== type) throw unexpected(message);
      onPart(part.body);
      return !part.more;
    });
    this.#vconn.send(encodeMessage(OFPT.MULTIPART_REQUEST, xid, encodeMultipart(type, body)));
    await done;
  }

  /** The ports of the bridge. */
  async portDescriptions(): Promise<PortDescription[]> {
    const ports: PortDescription[] = [];
    await this.multipart(OFPMP.PORT_DESC, new Uint8Array(0), (body) =>
      ports.push(...decodePortDescriptions(body)),
    );
    return ports;
  }

  /** How the switch treats fragments at the moment. */
  async switchConfig(): Promise<SwitchConfig> {
    return decodeSwitchConfig(await this.request(OFPT.GET_CONFIG_REQUEST));
  }

  /**
   * Applies messages (flow_mods, group_mods; complete, xid 0) in one bundle of two phases: OPEN, an ADD each, CLOSE; when
   * the switch refused none of them COMMIT, else DISCARD. ATOMIC alone does not do that: errors at ADD time do not keep
   * the rest from being committed. Bundles of a connection run one after another.
   * @throws ConnectionError when the connection goes (`details.outcomeUnknown` tells whether COMMIT was under way);
   * OpenFlowError when the bundle fails as a whole.
   */
  commitBundle(
    messages: readonly Uint8Array[],
    options: BundleOptions = {},
  ): Promise<BundleOutcome> {
    const run = this.#bundleQueue.then(() => this.#commitBundle(messages, options));
    this.#bundleQueue = run.catch(() => undefined);
    return run;
  }

  /** Ends the connection. */
  close(): void {
    this.#vconn.close();
  }

  async #handshake(controllerId: number, timeoutMs: number): Promise<void> {
    this.#hello = makeDeferred<void>(timeoutMs, () =>
      this.#error('CONN_TIMEOUT', `no HELLO within ${timeoutMs} ms`),
    );
    this.#vconn.send(encodeHello(this.#takeXids(1)));
    await this.#hello.promise;
    this.#features = decodeFeatures(await this.request(OFPT.FEATURES_REQUEST));
    this.#send(OFPT.SET_CONFIG, encodeSwitchConfig(WANTED_CONFIG));
    const config = await this.switchConfig();
    if (config.flags !== WANTED_CONFIG.flags) {
      throw new OpenFlowError(
        `switch did not take fragment mode nx-match: flags are ${config.flags}, wanted ${WANTED_CONFIG.flags}`,
        { code: 'OFP_FRAGMENT_MODE', op: 'openflow.handshake', retryable: true },
      );
    }
    if (controllerId !== 0) this.#send(OFPT.EXPERIMENTER, encodeSetControllerId(controllerId));
    this.#send(OFPT.SET_ASYNC, encodeSetAsync());
    await this.barrier();
  }

  /** Sends a message that has no reply; an error to it is an unsolicited message. */
  #send(type: number, body: Uint8Array): void {
    this.#vconn.send(encodeMessage(type, this.#takeXids(1), body));
  }

  async #commitBundle(
    messages: readonly Uint8Array[],
    options: BundleOptions,
  ): Promise<BundleOutcome> {
    if (messages.length === 0) return { committed: true };
    const tooLong = messages.findIndex((message) => message.length > BUNDLE_MESSAGE_MAX);
    if (tooLong >= 0)
      return { committed: false, refused: [{ index: tooLong, error: tooLongError() }] };
    const bundleId = this.#nextBundleId++;
    const flags = bundleFlags(options);
    const firstXid = this.#takeXids(messages.length);
    const bundle: OpenBundle = { firstXid, count: messages.length, refused: [] };
    this.#bundle = bundle;
    let committing = false;
    try {
      // OPEN goes out with the first adds: a bundle that waits for us would idle out.
      const opened = this.#control(bundleId, OFPBCT.OPEN_REQUEST, flags);
      opened.catch(() => undefined);
      for (const chunk of encodeBundleAdds(messages, bundleId, flags, firstXid)) {
        if (!this.#vconn.send(chunk)) await this.#vconn.drained();
      }
      const closed = this.#control(bundleId, OFPBCT.CLOSE_REQUEST, flags);
      closed.catch(() => undefined);
      await opened;
      await closed;
      if (bundle.refused.length > 0) {
        await this.#control(bundleId, OFPBCT.DISCARD_REQUEST, flags);
        return { committed: false, refused: bundle.refused };
      }
      committing = true;
      await this.#control(bundleId, OFPBCT.COMMIT_REQUEST, flags);
      return { committed: true };
    } catch (error) {
      // A commit that fails is rolled back; the message's own error comes before the commit's.
      if (error instanceof OpenFlowError && bundle.refused.length > 0) {
        return { committed: false, refused: bundle.refused };
      }
      if (error instanceof OpenFlowError) throw error;
      throw this.#error(
        'CONN_CLOSED',
        'connection lost while a bundle was under way',
        {
          outcomeUnknown: committing,
        },
        error,
      );
    } finally {
      this.#bundle = undefined;
    }
  }

  async #control(bundleId: number, type: number, flags: number): Promise<void> {
    const xid = this.#takeXids(1);
    const reply = this.#expect(xid, 'openflow.bundle', BUNDLE_TIMEOUT_MS, (message) => {
      if (bundleControlType(message) !== type + 1) throw unexpected(message);
      return true;
    });
    this.#vconn.send(encodeBundleControl(xid, bundleId, type, flags));
    await reply;
  }

  #takeXids(count: number): number {
    // Xid 0 is for messages that nobody waits for; a block never wraps around.
    if (this.#nextXid + count > XID_MAX) this.#nextXid = 1;
    const first = this.#nextXid;
    this.#nextXid += count;
    return first;
  }

  #expect(
    xid: number,
    op: string,
    timeoutMs: number,
    onMessage: (message: Buffer) => boolean,
  ): Promise<Buffer> {
    const { closed } = this.#vconn;
    if (closed !== undefined) return Promise.reject(closed);
    const deferred = makeDeferred<Buffer>(timeoutMs, () => {
      this.#pending.delete(xid);
      return this.#error('CONN_TIMEOUT', `${op}: no answer within ${timeoutMs} ms`);
    });
    this.#pending.set(xid, { deferred, op, onMessage });
    return deferred.promise;
  }

  #receive(message: Buffer): void {
    this.emit('activity');
    const type = messageType(message);
    if (this.#hello !== undefined && type === OFPT.HELLO) {
      this.#receiveHello(message, this.#hello);
      return;
    }
    if (this.#hello === undefined && message.readUInt8(0) !== OFP_VERSION)
      throw wrongVersion(message);
    switch (type) {
      case OFPT.ECHO_REQUEST:
        this.#vconn.send(encodeMessage(OFPT.ECHO_REPLY, messageXid(message), messageBody(message)));
        return;
      case OFPT.PORT_STATUS:
        this.emit('portStatus', decodePortStatus(message));
        return;
      case OFPT.PACKET_IN:
        this.emit('packetIn', Buffer.from(message));
        return;
      case OFPT.ERROR:
        this.#receiveError(message);
        return;
      default:
        this.#receiveReply(message);
    }
  }

  #receiveHello(message: Buffer, hello: Deferred<void>): void {
    this.#hello = undefined;
    try {
      checkHello(message, this.#vconn.endpoint);
      hello.resolve();
    } catch (error) {
      if (!(error instanceof BaseError)) throw error;
      hello.reject(error);
    }
  }

  #receiveError(message: Buffer): void {
    const xid = messageXid(message);
    const pending = this.#pending.get(xid);
    const error = decodeError(message, pending?.op ?? 'openflow.bundle');
    if (pending !== undefined) {
      this.#pending.delete(xid);
      pending.deferred.reject(error);
    } else if (this.#hello !== undefined) {
      this.#hello.reject(error);
    } else if (this.#bundle !== undefined) {
      const index = xid - this.#bundle.firstXid;
      if (index >= 0 && index < this.#bundle.count) this.#bundle.refused.push({ index, error });
    }
  }

  #receiveReply(message: Buffer): void {
    const xid = messageXid(message);
    const pending = this.#pending.get(xid);
    if (pending === undefined) return;
    if (!pending.onMessage(message)) return;
    this.#pending.delete(xid);
    pending.deferred.resolve(Buffer.from(message));
  }

  #finish(reason: BaseError): void {
    this.#hello?.reject(reason);
    for (const { deferred } of this.#pending.values()) deferred.reject(reason);
    this.#pending.clear();
    this.emit('close', reason);
  }

  #error(
    code: 'CONN_CLOSED' | 'CONN_TIMEOUT',
    message: string,
    details: Record<string, unknown> = {},
    cause?: unknown,
  ): ConnectionError {
    return new ConnectionError(code, message, {
      op: 'openflow.client',
      endpoint: this.#vconn.endpoint,
      details,
      cause,
    });
  }
}

/** An answer of another kind than was asked for: the stream is out of step. */
function unexpected(message: Buffer): DecodeError {
  return new DecodeError(
    'DECODE_UNKNOWN_TYPE',
    `unexpected answer of type ${typeName(messageType(message))}`,
    {
      protocol: 'openflow',
      op: 'openflow.client',
      offset: 1,
      bytes: message,
    },
  );
}

function wrongVersion(message: Buffer): DecodeError {
  return new DecodeError(
    'DECODE_BAD_VALUE',
    `message of version ${message.readUInt8(0)} after 1.3 was agreed on`,
    {
      protocol: 'openflow',
      op: 'openflow.client',
      offset: 0,
      bytes: message,
    },
  );
}

function tooLongError(): OpenFlowError {
  return new OpenFlowError(
    `message is longer than the ${BUNDLE_MESSAGE_MAX} bytes that fit into a bundle`,
    {
      code: 'OFP_MESSAGE_TOO_LONG',
      op: 'openflow.bundle',
      retryable: false,
    },
  );
}
