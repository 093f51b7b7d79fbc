/**
 * What runs inside a pod of the lab: listeners, connects and probes, told what to do by lines of JSON on stdin (`{id,
 * verb, ...}`) and answering on stdout (`{id, value}` or `{id, error}`). It ends with its stdin, so that it never outlives
 * the lab. Started by pod.ts; the verbs and their answers are typed there.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { connect, createServer, isIPv6, type Server } from 'node:net';
import { createInterface } from 'node:readline';
import type {
  PodRequest,
  Probe,
  ProberRequest,
  TcpProbe,
  Transfer,
  TransferOutcome,
} from './pod.ts';

const probers = new Map<string, () => Promise<Probe[]>>();

function tcpListen(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const server: Server = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.on('data', (data) => socket.write(data));
    });
    server.on('error', reject);
    // Without a host it listens to both families, as far as there are both.
    server.listen({ port, backlog: 1024 }, () => resolve('listening'));
  });
}

/** Size of a numbered record of a stream. */
const RECORD_SIZE = 64;

function record(number: number): Buffer {
  const data = Buffer.alloc(RECORD_SIZE);
  data.writeUInt32BE(number);
  return data;
}

function tcpPush(port: number, intervalMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const server: Server = createServer((socket) => {
      let sent = 0;
      const timer = setInterval(() => socket.write(record(sent++)), intervalMs);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => clearInterval(timer));
    });
    server.on('error', reject);
    server.listen({ port, host: '0.0.0.0' }, () => resolve('listening'));
  });
}

/** One TCP connection that lives as long as the prober: what it sends is echoed, or what comes by itself is noted. */
function startStream(request: ProberRequest): Promise<string> {
  const socket = connect({ host: request.ip, port: request.port, noDelay: true });
  const probes: Probe[] = [];
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (data) => {
    rest = Buffer.concat([rest, data]);
    for (; rest.length >= RECORD_SIZE; rest = rest.subarray(RECORD_SIZE)) {
      const number = rest.readUInt32BE(0);
      if (request.kind === 'receive') probes[number] = { sentAt: now(), rttMs: 0 };
      const probe = probes[number];
      if (probe !== undefined) probe.rttMs ??= now() - probe.sentAt;
    }
  });
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('connect', () => {
      const send = (): void => {
        if (request.kind === 'receive') return;
        socket.write(record(probes.length));
        probes.push({ sentAt: now(), rttMs: null });
      };
      const stop = everyInterval(request.intervalMs, send);
      probers.set(request.name, async () => {
        stop();
        await new Promise((done) => setTimeout(done, request.timeoutMs));
        socket.resetAndDestroy();
        // Of a receiver's records some may never have come: the list has holes.
        return probes.filter((probe) => probe !== undefined);
      });
      resolve('probing');
    });
  });
}

async function udpEcho(port: number): Promise<string> {
  for (const type of ['udp4', 'udp6'] as const) {
    const socket = createSocket({ type, ipv6Only: type === 'udp6' });
    socket.on('message', (data, from) => socket.send(data, from.port, from.address));
    await new Promise<void>((resolve, reject) => {
      socket.on('error', (error: NodeJS.ErrnoException) =>
        // A kernel without IPv6 has no pods with IPv6.
        error.code === 'EAFNOSUPPORT' ? resolve() : reject(error),
      );
      socket.bind(port, resolve);
    });
  }
  return 'listening';
}

const udpCounts: number[] = [];

function udpCount(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    socket.on('error', reject);
    socket.on('message', (data) => {
      const number = data.readUInt32BE(0);
      udpCounts[number] = (udpCounts[number] ?? 0) + 1;
    });
    socket.bind(port, () => resolve('counting'));
  });
}

/** Datagrams are paced: a receiver's buffer must not be what loses them. */
const SEND_PAUSE_MS = 2;

async function udpSend(ip: string, port: number, times: number): Promise<string> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => {
    socket.bind(resolve);
  });
  socket.setBroadcast(true);
  for (let number = 0; number < times; number++) {
    await new Promise<void>((resolve, reject) => {
      socket.send(record(number), port, ip, (error) =>
        error === null ? resolve() : reject(error),
      );
    });
    await new Promise((resolve) => setTimeout(resolve, SEND_PAUSE_MS));
  }
  socket.close();
  return 'sent';
}

const digestOf = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

function transfer({ kind, ip, port, size, timeoutMs }: Transfer): Promise<TransferOutcome> {
  const sent = randomBytes(size);
  return new Promise((resolve) => {
    const end = (outcome: TransferOutcome): void => {
      clearTimeout(timer);
      close();
      resolve(outcome);
    };
    const timer = setTimeout(() => end('timeout'), timeoutMs);
    const judge = (got: Buffer): void => end(digestOf(got) === digestOf(sent) ? 'same' : 'changed');
    let close: () => void;
    if (kind === 'udp') {
      const socket = createSocket(isIPv6(ip) ? 'udp6' : 'udp4');
      close = () => socket.close();
      socket.on('error', () => end('refused'));
      socket.on('message', judge);
      socket.send(sent, port, ip);
      return;
    }
    const socket = connect({ host: ip, port });
    const chunks: Buffer[] = [];
    close = () => socket.destroy();
    socket.on('error', () => end('refused'));
    socket.on('data', (data) => chunks.push(data));
    socket.on('end', () => judge(Buffer.concat(chunks)));
    socket.end(sent);
  });
}

function tcpConnect(ip: string, port: number, timeoutMs: number): Promise<TcpProbe> {
  const start = performance.now();
  return new Promise((resolve) => {
    const socket = connect({ host: ip, port, noDelay: true });
    const end = (outcome: TcpProbe['outcome']): void => {
      // RST instead of FIN: thousands of probes must not fill the port range with TIME_WAIT.
      socket.resetAndDestroy();
      clearTimeout(timer);
      resolve({ outcome, ms: performance.now() - start });
    };
    const timer = setTimeout(() => end('timeout'), timeoutMs);
    socket.on('connect', () => end('open'));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      end(error.code === 'ECONNREFUSED' ? 'refused' : 'timeout'),
    );
  });
}

/** Now, on a clock that all processes of the machine share, in milliseconds with a fraction. */
function now(): number {
  return performance.timeOrigin + performance.now();
}

/** Fires at a steady rate without drift; a late timer catches up, so that the probes keep their numbers and their pace. */
function everyInterval(intervalMs: number, fire: () => void): () => void {
  const start = performance.now();
  let fired = 0;
  const timer = setInterval(
    () => {
      const due = Math.floor((performance.now() - start) / intervalMs);
      // After a long stall only one probe is sent: a burst would measure the socket's buffer.
      if (due > fired) {
        fired = due;
        fire();
      }
    },
    Math.max(1, intervalMs / 4),
  );
  return () => clearInterval(timer);
}

function startUdpProber(request: ProberRequest): Promise<string> {
  const socket = createSocket('udp4');
  const probes: Probe[] = [];
  socket.on('message', (data) => {
    const probe = probes[data.readUInt32BE(0)];
    if (probe !== undefined && probe.rttMs === null) probe.rttMs = now() - probe.sentAt;
  });
  // An ICMP error (nobody listens) is a lost probe, not the end of the prober.
  socket.on('error', () => {});
  return new Promise((resolve) => {
    socket.connect(request.port, request.ip, () => {
      const stop = everyInterval(request.intervalMs, () => {
        const data = Buffer.alloc(64);
        data.writeUInt32BE(probes.length);
        probes.push({ sentAt: now(), rttMs: null });
        socket.send(data, () => {});
      });
      probers.set(request.name, async () => {
        stop();
        await new Promise((done) => setTimeout(done, request.timeoutMs));
        socket.close();
        return probes;
      });
      resolve('probing');
    });
  });
}

function startTcpProber(request: ProberRequest): string {
  const probes: Probe[] = [];
  const running = new Set<Promise<void>>();
  const stop = everyInterval(request.intervalMs, () => {
    const probe: Probe = { sentAt: now(), rttMs: null };
    probes.push(probe);
    const attempt = tcpConnect(request.ip, request.port, request.timeoutMs).then(
      ({ outcome, ms }) => {
        if (outcome === 'open') probe.rttMs = ms;
        running.delete(attempt);
      },
    );
    running.add(attempt);
  });
  probers.set(request.name, async () => {
    stop();
    await Promise.all(running);
    return probes;
  });
  return 'probing';
}

async function stopProber(name: string): Promise<Probe[]> {
  const stop = probers.get(name);
  if (stop === undefined) throw new Error(`no prober is named ${name}`);
  probers.delete(name);
  return stop();
}

/** ICMP echo requests that reached this namespace, from the kernel's own counters. */
function countEchoRequests(): number {
  const [titles, values] = readFileSync('/proc/self/net/snmp', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('Icmp:'))
    .map((line) => line.split(' '));
  return Number(values?.[titles?.indexOf('InEchos') ?? -1] ?? Number.NaN);
}

function answer(request: PodRequest): unknown {
  switch (request.verb) {
    case 'tcp-listen':
      return tcpListen(request.port);
    case 'tcp-push':
      return tcpPush(request.port, request.intervalMs);
    case 'udp-echo':
      return udpEcho(request.port);
    case 'udp-count':
      return udpCount(request.port);
    case 'udp-counts':
      return Array.from(udpCounts, (count) => count ?? 0);
    case 'udp-send':
      return udpSend(request.ip, request.port, request.times);
    case 'transfer':
      return transfer(request);
    case 'tcp-connect':
      return tcpConnect(request.ip, request.port, request.timeoutMs);
    case 'prober-start':
      if (request.kind === 'stream' || request.kind === 'receive') return startStream(request);
      return request.kind === 'udp' ? startUdpProber(request) : startTcpProber(request);
    case 'prober-stop':
      return stopProber(request.name);
    case 'echo-requests':
      return countEchoRequests();
  }
}

const input = createInterface({ input: process.stdin });
input.on('line', (line) => {
  const { id, ...request } = JSON.parse(line) as PodRequest & { id: number };
  void Promise.resolve()
    .then(() => answer(request))
    .then(
      (value) => ({ id, value }),
      (error: unknown) => ({ id, error: String(error) }),
    )
    .then((reply) => process.stdout.write(`${JSON.stringify(reply)}\n`));
});
input.on('close', () => process.exit(0));
// Ctrl-C reaches the whole process group: the lab decides when a pod ends.
process.on('SIGINT', () => {});
