/**
 * The floor of every comparison with the switch: bytes that were made before, written at once, and a reader that looks at
 * message headers only. What it takes is what the switch takes.
 */
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import {
  bundleControlType,
  bundleFlags,
  encodeBundle,
  encodeBundleControl,
} from '../src/openflow/bundle.ts';
import { encodeFlowStatsRequest } from '../src/openflow/flow-stats.ts';
import { Framer } from '../src/openflow/framer.ts';
import { encodeMessage, messageType } from '../src/openflow/header.ts';
import { encodeHello } from '../src/openflow/hello.ts';
import { decodeMultipart, encodeMultipart } from '../src/openflow/multipart.ts';
import { OFPBCT, OFPMP, OFPT } from '../src/openflow/ofp13.ts';

/** One bundle, ready to be written: OPEN, ADDs, CLOSE and COMMIT, without waiting for anything in between. */
export function encodeWholeBundle(messages: readonly Uint8Array[]): Buffer {
  const bundle = { bundleId: 1, flags: bundleFlags({}) };
  return Buffer.concat([
    ...encodeBundle(bundle, messages, 1),
    encodeBundleControl(bundle, messages.length + 3, OFPBCT.COMMIT_REQUEST),
  ]);
}

/** A connection that does as little as possible. */
export class RawSwitch {
  readonly #socket: Socket;
  #onMessage: (message: Buffer) => void = () => {};
  #onClose: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    const framer = new Framer();
    socket.on('data', (chunk: Buffer) => framer.push(chunk, (message) => this.#onMessage(message)));
    // `close` follows, and tells whoever waits.
    socket.on('error', () => {});
    socket.on('close', () => this.#onClose());
  }

  /** Connects and waits for the switch's hello. */
  static async connect(path: string): Promise<RawSwitch> {
    const socket = connect(path);
    await once(socket, 'connect');
    const raw = new RawSwitch(socket);
    const greeted = raw.#until((message) => messageType(message) === OFPT.HELLO);
    socket.write(encodeHello(0));
    await greeted;
    return raw;
  }

  /**
   * Writes a whole bundle and waits for the reply to its COMMIT.
   * @throws Error when the switch answers an error to any of it.
   */
  async commit(bundle: Buffer): Promise<void> {
    const committed = this.#until((message) => bundleControlType(message) === OFPBCT.COMMIT_REPLY);
    this.#socket.write(bundle);
    await committed;
  }

  /** Asks for all flows and reads them without a look. */
  async readFlows(): Promise<void> {
    const request = encodeMultipart(OFPMP.FLOW, encodeFlowStatsRequest({}));
    const read = this.#until(
      (message) => messageType(message) === OFPT.MULTIPART_REPLY && !decodeMultipart(message).more,
    );
    this.#socket.write(encodeMessage(OFPT.MULTIPART_REQUEST, 1, request));
    await read;
  }

  close(): void {
    this.#socket.destroy();
  }

  #until(isLast: (message: Buffer) => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#onClose = () => reject(new Error('the switch closed the connection'));
      this.#onMessage = (message) => {
        if (messageType(message) === OFPT.ERROR) {
          reject(new Error(`the switch answers an error: ${message.toString('hex', 0, 16)}`));
        } else if (isLast(message)) resolve();
      };
    });
  }
}
