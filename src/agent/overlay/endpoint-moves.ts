/**
 * Who has an endpoint when several say so: it moves between DPUs, and for a while its old place and its new one both claim
 * it. As with EVPN type 2 routes (RFC 7432 section 15) each claim carries a sequence, the highest wins, also over a port of
 * our own; and an endpoint that keeps moving is a duplicate, which is frozen where it stands until it is quiet.
 *
 * The only memory is which endpoints moved lately. Time is an argument.
 */
import { formatIp, formatMac } from '../../base/address.ts';
import type { LocalEndpoint, RemoteEndpoint } from '../flow/model.ts';

/** More moves than this within {@link MOVES_WINDOW_MS} freeze an endpoint (RFC 7432 section 15.1 has the same numbers). */
export const MOVES_MAX = 5;
/** See {@link MOVES_MAX}. */
export const MOVES_WINDOW_MS = 180_000;

/** An endpoint with the sequence of its claim; 0 where none was given. */
interface Claim {
  readonly vni: number;
  readonly mac: bigint;
  readonly sequence?: number | undefined;
}

/** A claim that lost, or an endpoint that is frozen. */
export interface MoveProblem {
  readonly vni: number;
  readonly mac: bigint;
  /** VTEP of the claim, 32 bits; undefined for one of a local port. */
  readonly vtep?: number;
  /** Port of the claim; undefined for one of a peer. */
  readonly port?: string;
  readonly message: string;
}

/** Endpoints of which nobody else has a better claim. */
export interface SettledEndpoints {
  readonly locals: readonly LocalEndpoint[];
  readonly remotes: readonly RemoteEndpoint[];
  readonly problems: readonly MoveProblem[];
}

interface History {
  place: string;
  /** Times at which another place won, the oldest first; never more than it takes to freeze. */
  readonly movedAtMs: number[];
  /** What won last, whether or not the endpoint is frozen elsewhere. */
  wanted: string;
  seenAtMs: number;
}

type Candidate =
  | { readonly place: string; readonly local: LocalEndpoint; readonly remote?: undefined }
  | { readonly place: string; readonly local?: undefined; readonly remote: RemoteEndpoint };

/** The memory of moves. */
export class EndpointMoves {
  readonly #histories = new Map<string, History>();

  /** Decides between claims. Times are on the clock of `nowMs`, in milliseconds. */
  settle(
    locals: readonly LocalEndpoint[],
    remotes: readonly RemoteEndpoint[],
    nowMs: number,
  ): SettledEndpoints {
    const problems: MoveProblem[] = [];
    const claims = new Map<string, Candidate[]>();
    const add = (claim: Claim, candidate: Candidate): void => {
      const key = `${claim.vni}/${claim.mac}`;
      const others = claims.get(key);
      if (others === undefined) claims.set(key, [candidate]);
      else others.push(candidate);
    };
    for (const local of locals) add(local, { place: `port ${local.port}`, local });
    for (const remote of remotes) {
      add(remote, { place: `VTEP ${formatIp(4, BigInt(remote.vtep))}`, remote });
    }
    const winners = new Set<LocalEndpoint | RemoteEndpoint>();
    for (const [key, candidates] of claims) {
      const winner = this.#settleOne(key, candidates, nowMs, problems);
      if (winner !== undefined) winners.add(winner.local ?? winner.remote);
    }
    this.#forget(nowMs);
    return {
      locals: locals.filter((local) => winners.has(local)),
      remotes: remotes.filter((remote) => winners.has(remote)),
      problems,
    };
  }

  #settleOne(
    key: string,
    candidates: readonly Candidate[],
    nowMs: number,
    problems: MoveProblem[],
  ): Candidate | undefined {
    // Local claims come first in the list: at equal sequence what is plugged in here wins.
    const best = candidates.reduce((one, other) =>
      sequenceOf(other) > sequenceOf(one) ? other : one,
    );
    const history = this.#note(key, best.place, nowMs);
    const isFrozen = history.movedAtMs.length > MOVES_MAX;
    const frozen = isFrozen ? candidates.find(({ place }) => place === history.place) : undefined;
    const winner = frozen ?? best;
    history.place = winner.place;
    if (isFrozen) {
      const message = `is frozen at ${winner.place}: it moved more than ${MOVES_MAX} times in ${MOVES_WINDOW_MS / 1000} s, as a duplicate MAC address does; it is free again when no more than that are left in this time`;
      problems.push(problemOf(winner, message));
    }
    for (const candidate of candidates) {
      if (candidate !== winner) problems.push(problemOf(candidate, lostTo(winner, candidate)));
    }
    return winner;
  }

  /** Takes note of who has the best claim. */
  #note(key: string, place: string, nowMs: number): History {
    const known = this.#histories.get(key);
    if (known === undefined) {
      const history = { place, movedAtMs: [], wanted: place, seenAtMs: nowMs };
      this.#histories.set(key, history);
      return history;
    }
    known.seenAtMs = nowMs;
    const { movedAtMs } = known;
    if (known.wanted !== place) {
      known.wanted = place;
      movedAtMs.push(nowMs);
      if (movedAtMs.length > MOVES_MAX + 1) movedAtMs.shift();
    }
    while ((movedAtMs[0] ?? nowMs) <= nowMs - MOVES_WINDOW_MS) movedAtMs.shift();
    return known;
  }

  /** Endpoints that nobody has claimed for a whole window have no history. */
  #forget(nowMs: number): void {
    for (const [key, { seenAtMs }] of this.#histories) {
      if (seenAtMs <= nowMs - MOVES_WINDOW_MS) this.#histories.delete(key);
    }
  }
}

function sequenceOf({ local, remote }: Candidate): number {
  return (local ?? remote).sequence ?? 0;
}

function problemOf({ local, remote }: Candidate, message: string): MoveProblem {
  return local === undefined
    ? { vni: remote.vni, mac: remote.mac, vtep: remote.vtep, message }
    : { vni: local.vni, mac: local.mac, port: local.port, message };
}

function lostTo(winner: Candidate, loser: Candidate): string {
  const [more, less] = [sequenceOf(winner), sequenceOf(loser)];
  if (winner.local !== undefined && more === less) {
    return `is attached here, to ${winner.place}`;
  }
  const { mac } = loser.local ?? loser.remote;
  return `${formatMac(mac)} is at ${winner.place} (sequence ${more}; ${less} at ${loser.place})`;
}
