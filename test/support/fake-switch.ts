/**
 * An OpenFlow switch of a few lines on a real Unix socket, for what a real one cannot be made to do: speak an old version,
 * refuse a given message, send broken bytes, fall silent, vanish in the middle. It keeps no flows: a test scripts it.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OpenFlowConnection, type OpenFlowOptions } from '../../src/openflow/client.ts';
import { Framer } from '../../src/openflow/framer.ts';
import { encodeMessage, messageBody, messageType, messageXid } from '../../src/openflow/header.ts';
import {
  OFPBCT,
  OFPMP,
  OFPMPF_REPLY_MORE,
  OFPT,
  ONF_ET,
  ONF_VENDOR_ID,
} from '../../src/openflow/ofp13.ts';

/** One client's connection. */
export interface FakeClient {
  /** Sends bytes as they are. */
  send(bytes: Uint8Array): void;
  /** Answers an error to `request`: type and code, and the experimenter for type 0xffff. */
  refuse(request: Buffer, type: number, code: number, experimenter?: number): void;
  /** Stops reading, or goes on. */
  pause(): void;
  resume(): void;
  /** Says that nothing more follows, and leaves the other direction open. */
  end(): void;
  /** Drops the connection at once. */
  destroy(): void;
}

/** What a test changes. `true` from a handler means that the message has been dealt with. */
export interface FakeScript {
  /** Bytes of the HELLO. Default: version 1.3 with its bitmap. */
  hello?: Buffer | undefined;
  /** Cuts everything that is sent into pieces of this many bytes. */
  splitBytes?: number;
  /** Sees every message, inner ones of a bundle excepted. */
  onMessage?(message: Buffer, client: FakeClient): boolean;
  /** Sees every ADD of a bundle, with its number in the bundle from 0. */
  onAdd?(message: Buffer, index: number, client: FakeClient): void;
  /** Sees OPEN, CLOSE, COMMIT and DISCARD (OFPBCT_*). */
  onControl?(type: number, message: Buffer, client: FakeClient): boolean;
}

/** A message with an experimenter header, for the bodies of bundles. */
const isExperimenter = (message: Buffer, type: number): boolean =>
  messageType(message) === OFPT.EXPERIMENTER &&
  message.length >= 24 &&
  message.readUInt32BE(8) === ONF_VENDOR_ID &&
  message.readUInt32BE(12) === type;

/** HELLO of a switch: version in the header, and a bitmap where `bitmap` is given. */
export function helloOf(version: number, bitmap?: number): Buffer {
  const element = Buffer.alloc(bitmap === undefined ? 0 : 8);
  if (bitmap !== undefined) {
    element.writeUInt32BE(0x0001_0008, 0);
    element.writeUInt32BE(bitmap, 4);
  }
  const hello = encodeMessage(OFPT.HELLO, 1, element);
  hello.writeUInt8(version, 0);
  return hello;
}

/** One part of a multipart reply to `request`. */
export function multipartPart(request: Buffer, body: Uint8Array, more: boolean): Buffer {
  const out = Buffer.alloc(8 + body.length);
  out.writeUInt16BE(request.readUInt16BE(8), 0);
  out.writeUInt16BE(more ? OFPMPF_REPLY_MORE : 0, 2);
  out.set(body, 8);
  return encodeMessage(OFPT.MULTIPART_REPLY, messageXid(request), out);
}

/** One ofp_port. */
export function portBytes(portNo: number, name: string): Buffer {
  const port = Buffer.alloc(64);
  port.writeUInt32BE(portNo, 0);
  port.set([2, 0, 0, 0, 0, portNo & 0xff], 8);
  port.write(name, 16, 'latin1');
  port.writeUInt32BE(4, 36);
  return port;
}

/** A listening fake. */
export class FakeSwitch {
  readonly path: string;
  readonly script: FakeScript;
  /** Types of the messages seen, in order. */
  readonly types: number[] = [];
  /** Inner messages of the bundle that was committed last. */
  committed: Buffer[] = [];
  /** OFPBCT_* seen, in order. */
  readonly controls: number[] = [];
  readonly clients = new Set<FakeClient>();
  /** Connections accepted so far. */
  accepted = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #flags = 0;

  constructor(path: string, script: FakeScript) {
    this.path = path;
    this.script = script;
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.path, resolve);
    });
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(socket: Socket): void {
    const framer = new Framer();
    const adds: Buffer[] = [];
    const client: FakeClient = {
      send: (bytes) => {
        const step = this.script.splitBytes ?? (bytes.length || 1);
        for (let at = 0; at < bytes.length && !socket.destroyed; at += step) {
          socket.write(bytes.subarray(at, at + step));
        }
      },
      refuse: (request, type, code, experimenter) => {
        const head = Buffer.alloc(experimenter === undefined ? 4 : 8);
        head.writeUInt16BE(type, 0);
        head.writeUInt16BE(code, 2);
        if (experimenter !== undefined) head.writeUInt32BE(experimenter, 4);
        const body = Buffer.concat([head, request]);
        client.send(encodeMessage(OFPT.ERROR, messageXid(request), body));
      },
      pause: () => void socket.pause(),
      resume: () => void socket.resume(),
      end: () => void socket.end(),
      destroy: () => void socket.destroy(),
    };
    this.accepted++;
    this.#sockets.add(socket);
    this.clients.add(client);
    socket.on('error', () => undefined);
    socket.on('end', () => void socket.end());
    socket.on('close', () => {
      this.#sockets.delete(socket);
      this.clients.delete(client);
    });
    socket.on('data', (chunk) =>
      framer.push(chunk, (message) => this.#receive(message, client, adds)),
    );
    client.send(this.script.hello ?? helloOf(4, 1 << 4));
  }

  #receive(message: Buffer, client: FakeClient, adds: Buffer[]): void {
    const type = messageType(message);
    this.types.push(type);
    if (this.script.onMessage?.(message, client) === true) return;
    const reply = (replyType: number, body?: Uint8Array): void =>
      client.send(encodeMessage(replyType, messageXid(message), body));
    if (isExperimenter(message, ONF_ET.BUNDLE_ADD_MESSAGE)) {
      adds.push(Buffer.from(message.subarray(24)));
      this.script.onAdd?.(message, adds.length - 1, client);
    } else if (isExperimenter(message, ONF_ET.BUNDLE_CONTROL)) {
      this.#control(message, client, adds);
    } else if (type === OFPT.ECHO_REQUEST) {
      reply(OFPT.ECHO_REPLY, messageBody(message));
    } else if (type === OFPT.FEATURES_REQUEST) {
      const features = Buffer.alloc(24);
      features.writeBigUInt64BE(0x00ff_1234_5678_9abcn, 0);
      features.writeUInt8(254, 12);
      features.writeUInt32BE(0x4f, 16);
      reply(OFPT.FEATURES_REPLY, features);
    } else if (type === OFPT.SET_CONFIG) {
      this.#flags = message.readUInt16BE(8);
    } else if (type === OFPT.GET_CONFIG_REQUEST) {
      reply(OFPT.GET_CONFIG_REPLY, Buffer.from([0, this.#flags, 0, 128]));
    } else if (type === OFPT.BARRIER_REQUEST) {
      reply(OFPT.BARRIER_REPLY);
    } else if (type === OFPT.MULTIPART_REQUEST && message.readUInt16BE(8) === OFPMP.PORT_DESC) {
      client.send(multipartPart(message, portBytes(1, 'p1'), true));
      client.send(multipartPart(message, portBytes(2, 'sixteen-letters!'), false));
    }
  }

  #control(message: Buffer, client: FakeClient, adds: Buffer[]): void {
    const type = message.readUInt16BE(20);
    this.controls.push(type);
    if (type === OFPBCT.OPEN_REQUEST) adds.length = 0;
    if (this.script.onControl?.(type, message, client) === true) return;
    if (type === OFPBCT.COMMIT_REQUEST) this.committed = adds.splice(0);
    const reply = Buffer.from(message);
    reply.writeUInt16BE(type + 1, 20);
    client.send(reply);
  }
}

/** Starts a fake that ends with the test. With `listen: false` its socket does not exist yet. */
export async function fakeSwitch(
  t: { after(teardown: () => Promise<void>): void },
  script: FakeScript = {},
  options: { readonly listen?: boolean } = {},
): Promise<FakeSwitch> {
  const dir = await mkdtemp(join(tmpdir(), 'fake-switch-'));
  const fake = new FakeSwitch(join(dir, 'br.mgmt'), script);
  t.after(async () => {
    await fake.close();
    await rm(dir, { recursive: true, force: true });
  });
  if (options.listen !== false) await fake.listen();
  return fake;
}

/** Starts a fake and connects to it; both end with the test. */
export async function connectedFake(
  t: { after(teardown: () => Promise<void> | void): void },
  script: FakeScript = {},
  options: Partial<OpenFlowOptions> = {},
): Promise<{ fake: FakeSwitch; client: FakeClient; connection: OpenFlowConnection }> {
  const fake = await fakeSwitch(t, script);
  const connection = await OpenFlowConnection.connect({ path: fake.path, ...options });
  t.after(() => connection.close());
  const [client] = fake.clients;
  if (client === undefined) throw new Error('no client');
  return { fake, client, connection };
}
