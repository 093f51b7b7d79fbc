/**
 * When to connect, when to probe an idle connection, and when to give it up: a state machine that does no networking and
 * reads no clock (`now` is always an argument). The idea and the states are those of OVS's `lib/reconnect.h`.
 *
 * ```
 *            attempt due             connected               idle >= probe
 *   BACKOFF ------------> CONNECTING ---------> ACTIVE -------------------> IDLE
 *      ^                      |                   ^  |                       |
 *      +--- failed / timeout -+                   +--+-- any byte received --+
 *      +------------------------- closed, or no answer to the probe ---------+
 * ```
 */

/** State of one connection. */
export type ReconnectState = 'backoff' | 'connecting' | 'active' | 'idle';

/** What the owner of the socket has to do now. */
export type ReconnectAction = 'connect' | 'probe' | 'disconnect';

/** Times in milliseconds. */
export interface ReconnectOptions {
  /** First wait after a failure. Default 200. */
  readonly minBackoffMs?: number;
  /** Longest wait. Default 8000. */
  readonly maxBackoffMs?: number;
  /** Silence after which the peer is probed, and again after which it is given up. 0 switches probing off. Default 5000. */
  readonly probeIntervalMs?: number;
  /** How long a connect with its handshake may take. Default 5000. */
  readonly connectTimeoutMs?: number;
  /** Returns 0..1; waits are multiplied by 0.5 + half of it, so that many agents do not reconnect in step. */
  readonly random?: () => number;
}

/** The state machine. One per connection. */
export class Reconnect {
  #state: ReconnectState = 'backoff';
  #backoffMs = 0;
  #since: number;
  #waitMs = 0;
  #lastActivity: number;
  #failures = 0;
  readonly #options: Required<ReconnectOptions>;

  constructor(now: number, options: ReconnectOptions = {}) {
    this.#since = now;
    this.#lastActivity = now;
    this.#options = {
      minBackoffMs: 200,
      maxBackoffMs: 8000,
      probeIntervalMs: 5000,
      connectTimeoutMs: 5000,
      random: Math.random,
      ...options,
    };
  }

  /** The present state. */
  get state(): ReconnectState {
    return this.#state;
  }

  /** When bytes last came from the peer, or the connection was made. */
  get lastActivity(): number {
    return this.#lastActivity;
  }

  /** Failures in a row since the last connection that was up. */
  get failures(): number {
    return this.#failures;
  }

  /** The owner has started to connect. */
  connecting(now: number): void {
    this.#enter('connecting', now);
  }

  /** The connection is up and its handshake is done. */
  connected(now: number): void {
    this.#enter('active', now);
    this.#lastActivity = now;
    this.#failures = 0;
    this.#backoffMs = 0;
  }

  /** Bytes came from the peer. */
  activity(now: number): void {
    this.#lastActivity = now;
    if (this.#state === 'idle') this.#enter('active', now);
  }

  /** The connection failed or was closed, by either side. */
  disconnected(now: number): void {
    const { minBackoffMs, maxBackoffMs, random } = this.#options;
    this.#failures++;
    this.#backoffMs =
      this.#backoffMs === 0 ? minBackoffMs : Math.min(this.#backoffMs * 2, maxBackoffMs);
    this.#waitMs = Math.round(this.#backoffMs * (0.5 + random() / 2));
    this.#enter('backoff', now);
  }

  /** Milliseconds from `now` until {@link run} has something to do; undefined when only an event can change that. */
  timeout(now: number): number | undefined {
    const deadline = this.#deadline();
    return deadline === undefined ? undefined : Math.max(0, deadline - now);
  }

  /** What is due at `now`; undefined when nothing is. A probe is due once: the next silence ends the connection. */
  run(now: number): ReconnectAction | undefined {
    const deadline = this.#deadline();
    if (deadline === undefined || now < deadline) return undefined;
    switch (this.#state) {
      case 'backoff':
        return 'connect';
      case 'connecting':
      case 'idle':
        return 'disconnect';
      case 'active':
        this.#enter('idle', now);
        return 'probe';
    }
  }

  #deadline(): number | undefined {
    const { probeIntervalMs, connectTimeoutMs } = this.#options;
    switch (this.#state) {
      case 'backoff':
        return this.#since + this.#waitMs;
      case 'connecting':
        return this.#since + connectTimeoutMs;
      case 'active':
        return probeIntervalMs === 0 ? undefined : this.#lastActivity + probeIntervalMs;
      case 'idle':
        return this.#since + probeIntervalMs;
    }
  }

  #enter(state: ReconnectState, now: number): void {
    this.#state = state;
    this.#since = now;
  }
}
