/**
 * One netlink socket that carries requests, one at a time. This is the only file that knows node-netlink 0.0.4, and it keeps
 * that package's faults from everybody else:
 *
 * - One answer drops whatever else is pending: requests wait in a queue, one is in flight.
 * - Its receive loop ends without a word on any error (ENOBUFS, bytes it cannot read): a request that is not answered in
 *   time costs the socket, and the next request opens another.
 * - It drops NLMSG_DONE, where an error of a dump stands: messages are taken as they arrive, not from its result.
 * - An open socket holds a thread of libuv's pool: it is opened by the first request, and {@link NetlinkSocket.close} waits
 *   until thread and descriptor are free.
 * - It cannot set socket options: the kernel sends no extended acknowledgement without NETLINK_EXT_ACK, only the errno.
 *
 * No events: with a receive loop like that they would be lost unnoticed.
 */
import type { Handle } from 'node-netlink';
import { makeDeferred, type Deferred } from '../base/deferred.ts';
import { ConnectionError, errorMessage, toError } from '../base/error.ts';
import { Answer, NLM_F, type NetlinkRequest } from './message.ts';

/** Netlink protocol of links, addresses, routes and neighbours. */
export const NETLINK_ROUTE = 0;

/** The receive loop looks whether it shall end every 100 ms. */
const CLOSE_TIMEOUT_MS = 1000;

/** How a socket behaves. */
export interface NetlinkSocketOptions {
  /** Netlink protocol. Default {@link NETLINK_ROUTE}. */
  readonly family?: number;
  /** How long one request may take, the wait in the queue left out, in milliseconds. Default 5000. */
  readonly timeoutMs?: number;
}

/** A socket of node-netlink, and who waits on it. */
interface Opened {
  readonly handle: Handle;
  waiting: { readonly answer: Answer; readonly done: Deferred<void> } | undefined;
}

/** A socket to the kernel. Opens itself when it is needed. */
export class NetlinkSocket {
  readonly #family: number;
  readonly #timeoutMs: number;
  /** Settles, never with an error, when everything asked for so far is answered. */
  #queue: Promise<unknown> = Promise.resolve();
  #opened: Opened | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: NetlinkSocketOptions = {}) {
    this.#family = options.family ?? NETLINK_ROUTE;
    this.#timeoutMs = options.timeoutMs ?? 5000;
  }

  /**
   * Sends a request when its turn has come, and waits for the whole answer. `op` names the request in errors.
   * @throws NetlinkError when the kernel refuses it.
   * @throws ConnectionError when the socket cannot be opened, is closed, or brings no answer in time.
   * @throws DecodeError when the answer is not what netlink allows.
   */
  request(request: NetlinkRequest, op: string): Promise<Answer> {
    const turn = this.#queue.then(() => this.#exchange(request, op));
    this.#queue = turn.catch(() => undefined);
    return turn;
  }

  /** Frees the socket once the request in flight is answered; those behind it are rejected. */
  close(): Promise<void> {
    this.#closing ??= this.#queue.then(() => this.#free());
    return this.#closing;
  }

  async #exchange(request: NetlinkRequest, op: string): Promise<Answer> {
    if (this.#closing !== undefined) {
      throw new ConnectionError('CONN_CLOSED', 'netlink socket is closed', this.#place(op));
    }
    const opened = (this.#opened ??= await this.#open(op));
    const answer = new Answer({ op, family: this.#family });
    const done = makeDeferred<void>(
      this.#timeoutMs,
      () =>
        new ConnectionError(
          'CONN_TIMEOUT',
          `kernel did not answer within ${this.#timeoutMs} ms`,
          this.#place(op),
        ),
    );
    opened.waiting = { answer, done };
    const flags = BigInt(request.flags | NLM_F.REQUEST | NLM_F.ACK);
    const header = { nlmsg_type: BigInt(request.type), nlmsg_flags: flags };
    // What it resolves to lacks NLMSG_DONE, and its timer runs out just after ours: only a failure to send is news.
    opened.handle
      .tryTalk({ header, payload: request.payload }, { timeout: this.#timeoutMs })
      .catch((cause: unknown) => {
        const message = `cannot send a netlink request: ${errorMessage(cause)}`;
        done.reject(new ConnectionError('CONN_CLOSED', message, { ...this.#place(op), cause }));
      });
    try {
      await done.promise;
      return answer;
    } catch (error) {
      // After a refusal the socket is as good as before; after anything else a late answer may be on its way.
      if (!answer.ended) await this.#free();
      throw error;
    } finally {
      opened.waiting = undefined;
    }
  }

  async #open(op: string): Promise<Opened> {
    try {
      // Loaded here and not above: the native code behind it is paid for, and needed, by those only who use netlink.
      const { default: netlink } = await import('node-netlink');
      const opened: Opened = {
        handle: await netlink.open({ family: this.#family }),
        waiting: undefined,
      };
      opened.handle.on('message', ({ header, payload }) => {
        if (opened.waiting === undefined) return;
        const { answer, done } = opened.waiting;
        try {
          const message = {
            type: Number(header.nlmsg_type),
            flags: Number(header.nlmsg_flags),
            seq: Number(header.nlmsg_seq),
            pid: Number(header.nlmsg_pid),
            payload,
          };
          if (answer.push(message)) done.resolve();
        } catch (error) {
          done.reject(toError(error));
        }
      });
      return opened;
    } catch (cause) {
      const message = `cannot open a netlink socket: ${errorMessage(cause)}`;
      throw new ConnectionError('CONN_REFUSED', message, { ...this.#place(op), cause });
    }
  }

  /** Gives the descriptor and the thread back. Never throws: a socket that cannot be closed is of no use to anybody. */
  async #free(): Promise<void> {
    const handle = this.#opened?.handle;
    this.#opened = undefined;
    if (handle === undefined) return;
    const asked = makeDeferred<boolean>();
    const timer = setTimeout(() => asked.resolve(false), CLOSE_TIMEOUT_MS);
    const settle = (): void => asked.resolve(true);
    handle.close().then(settle, settle);
    const closed = await asked.promise;
    clearTimeout(timer);
    // A loop that ended by an error after it was asked to end never says so. It is known to be dead by now, and a second
    // close then frees the descriptor at once.
    if (!closed) await handle.close().catch(() => undefined);
  }

  #place(op: string): { readonly op: string; readonly endpoint: string } {
    return { op, endpoint: `netlink:${this.#family}` };
  }
}
