/**
 * One pod of the lab: a network namespace whose veth peer stands in for a VF representor, and one process in it that
 * listens, connects and probes on demand (pod-process.ts).
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { CommandError, run } from './command.ts';

/** What a pod is to be. */
export interface PodSpec {
  /** Unique in the lab, such as `pod1a`. The representor's name has `rep` in place of `pod`. */
  readonly name: string;
  readonly dpu: 1 | 2 | 3;
  readonly vni: number;
  readonly mac: string;
  /** Its only IPv4 address, in 10.1.0.0/16. Pods of different VNIs may share it. */
  readonly ip: string;
  /** An IPv6 address, in a /64; none when absent. */
  readonly ip6?: string;
}

/** One numbered probe. Its index in the list is its number. */
export interface Probe {
  /** When it was sent, in milliseconds since the epoch with a fraction. */
  readonly sentAt: number;
  /** Time until its answer, or null when none came. */
  rttMs: number | null;
}

/** How one TCP connect ended. */
export interface TcpProbe {
  readonly outcome: 'open' | 'refused' | 'timeout';
  readonly ms: number;
}

/**
 * What a prober does: datagrams to an echo server, connects, or one TCP connection that lives on: numbered records that the
 * server echoes (`stream`), or that it sends by itself (`receive`, from a port of `pushTcp`).
 */
export interface ProberSpec {
  readonly kind: 'udp' | 'tcp' | 'stream' | 'receive';
  readonly ip: string;
  readonly port: number;
  readonly intervalMs: number;
  /** A probe without an answer after this long is lost. */
  readonly timeoutMs: number;
}

/** A prober with the name under which it is stopped. */
export type ProberRequest = { readonly verb: 'prober-start'; readonly name: string } & ProberSpec;

/** What pod-process.ts understands. */
export type PodRequest =
  | { readonly verb: 'tcp-listen' | 'udp-echo' | 'udp-count'; readonly port: number }
  | { readonly verb: 'udp-counts' }
  | ({ readonly verb: 'transfer' } & Transfer)
  | {
      readonly verb: 'udp-send';
      readonly ip: string;
      readonly port: number;
      readonly times: number;
    }
  | {
      readonly verb: 'tcp-connect';
      readonly ip: string;
      readonly port: number;
      readonly timeoutMs: number;
    }
  | { readonly verb: 'tcp-push'; readonly port: number; readonly intervalMs: number }
  | ProberRequest
  | { readonly verb: 'prober-stop'; readonly name: string }
  | { readonly verb: 'echo-requests' };

/** Bytes that an echo server is to send back: a TCP stream, or one datagram. */
export interface Transfer {
  readonly kind: 'tcp' | 'udp';
  readonly ip: string;
  readonly port: number;
  readonly size: number;
  readonly timeoutMs: number;
}

/** How a transfer ended: `changed` when other bytes came back than were sent, by their SHA-256. */
export type TransferOutcome = 'same' | 'changed' | 'timeout' | 'refused';

/** A prober that runs. */
export interface Prober {
  /** Ends it, waits for late answers, and answers with all probes. */
  stop(): Promise<Probe[]>;
}

/** Replies to a row of pings. */
export interface PingResult {
  readonly sent: number;
  readonly received: number;
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** A pod that runs. Made by the lab. */
export class Pod {
  readonly spec: PodSpec;
  readonly namespace: string;
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 0;

  constructor(spec: PodSpec, namespace: string) {
    this.spec = spec;
    this.namespace = namespace;
    const script = fileURLToPath(new URL('pod-process.ts', import.meta.url));
    this.#process = spawn('ip', ['netns', 'exec', namespace, process.execPath, script], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    createInterface({ input: this.#process.stdout }).on('line', (line) => this.#receive(line));
    // Writing to a pod that is gone: `close` tells those who wait.
    this.#process.stdin.on('error', () => {});
    this.#process.on('error', (error) => this.#fail(error));
    this.#process.on('close', () => this.#fail(new Error(`the process of ${spec.name} ended`)));
  }

  /** Pings an address, `count` times 100 ms apart; each may take a second. */
  async ping(ip: string, count = 3, sizeArgs: readonly string[] = []): Promise<PingResult> {
    const pace = ['-c', String(count), '-i', '0.1', '-W', '1'];
    const args = ['ping', '-n', '-q', ...pace, ...sizeArgs, ip];
    const report = await run('ip', ['netns', 'exec', this.namespace, ...args]).catch(
      (error: unknown) => {
        // Status 1 means: not all were answered.
        if (error instanceof CommandError && error.status === 1) return error.stdout;
        throw error;
      },
    );
    const counts = /(\d+) packets transmitted, (\d+) received/.exec(report);
    return { sent: Number(counts?.[1] ?? count), received: Number(counts?.[2] ?? 0) };
  }

  /** Accepts TCP connections on a port, for as long as the lab is up. */
  async listenTcp(port: number): Promise<void> {
    await this.#ask({ verb: 'tcp-listen', port });
  }

  /** Answers UDP datagrams on a port with the same bytes, for as long as the lab is up. */
  async echoUdp(port: number): Promise<void> {
    await this.#ask({ verb: 'udp-echo', port });
  }

  /** Sends random bytes to an echo server, and says whether the same came back. */
  async transfer(transfer: Transfer): Promise<TransferOutcome> {
    return (await this.#ask({ verb: 'transfer', ...transfer })) as TransferOutcome;
  }

  /** Counts the datagrams that reach a port, for as long as the lab is up. */
  async countUdp(port: number): Promise<void> {
    await this.#ask({ verb: 'udp-count', port });
  }

  /** Copies of each datagram of `sendUdp` that have reached the ports of `countUdp`, by its number. */
  async udpCounts(): Promise<number[]> {
    return (await this.#ask({ verb: 'udp-counts' })) as number[];
  }

  /** Sends numbered datagrams, also to a broadcast or multicast address. */
  async sendUdp(ip: string, port: number, times: number): Promise<void> {
    await this.#ask({ verb: 'udp-send', ip, port, times });
  }

  /** Runs `ip` in the pod's namespace. */
  configure(...args: string[]): Promise<string> {
    return run('ip', ['-n', this.namespace, ...args]);
  }

  /** Sends numbered records at a steady pace into each TCP connection to a port, for as long as the lab is up. */
  async pushTcp(port: number, intervalMs: number): Promise<void> {
    await this.#ask({ verb: 'tcp-push', port, intervalMs });
  }

  /** Tries one TCP connection. */
  async tcpProbe(ip: string, port: number, timeoutMs = 400): Promise<TcpProbe> {
    return (await this.#ask({ verb: 'tcp-connect', ip, port, timeoutMs })) as TcpProbe;
  }

  /** Probes at a steady pace until it is stopped. */
  async startProber(spec: ProberSpec): Promise<Prober> {
    const name = `prober-${this.#nextId}`;
    await this.#ask({ verb: 'prober-start', name, ...spec });
    return { stop: async () => (await this.#ask({ verb: 'prober-stop', name })) as Probe[] };
  }

  /** ICMP echo requests that have reached the pod since it was made. */
  async echoRequests(): Promise<number> {
    return (await this.#ask({ verb: 'echo-requests' })) as number;
  }

  /** Ends the pod's process. Its namespace stays. */
  close(): void {
    this.#process.stdin.end();
  }

  #ask(request: PodRequest): Promise<unknown> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      if (this.#process.exitCode !== null) {
        reject(new Error(`the process of ${this.spec.name} has ended`));
        return;
      }
      this.#waiting.set(id, { resolve, reject });
      this.#process.stdin.write(`${JSON.stringify({ id, ...request })}\n`);
    });
  }

  #receive(line: string): void {
    const { id, value, error } = JSON.parse(line) as {
      id: number;
      value?: unknown;
      error?: string;
    };
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(new Error(`${this.spec.name}: ${error}`));
  }

  #fail(error: Error): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}
