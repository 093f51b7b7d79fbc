/**
 * Sees to it that each network with connection tracking has a zone, and that nothing of a former network is in it: a zone is
 * flushed in the switch before it is written down, and used only when it is. Level-triggered: each look compares what is
 * wanted with what is written, and does what is missing.
 */
import { toError } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';
import type { Tracking } from '../flow/model.ts';
import type { SourceProblem } from '../sources/source.ts';
import { planZones, readZones, trackingOf, zoneEntry, type ZonePool } from './conntrack-zones.ts';

const RETRY_MS = 1000;

/** The switch, as far as zones need it. */
export interface ZoneSwitch {
  flushConntrackZone(zone: number): Promise<void>;
}

/** What the keeper works with. */
export interface ZoneKeeperOptions {
  /** `external_ids` of the bridge; undefined while they are not known or not ours to change. */
  readonly externalIds: () => ReadonlyMap<string, string> | undefined;
  /** Changes them, in one transaction. */
  readonly change: (
    removed: readonly string[],
    added: ReadonlyMap<string, string>,
  ) => Promise<void>;
  readonly connection: () => ZoneSwitch | undefined;
  readonly settings: () => { readonly pool: ZonePool; readonly warmUpMs: number };
  /** A warm-up is over. */
  readonly poke: () => void;
  readonly logger: Logger;
  /** Wall clock in milliseconds: it outlives a restart. */
  readonly now?: () => number;
}

/** The zones of one bridge. */
export class ZoneKeeper {
  readonly #options: Required<ZoneKeeperOptions>;
  #working = false;
  #again = false;
  #closed = false;
  #wanted: ReadonlySet<number> = new Set();
  #without: readonly number[] = [];
  #timer: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;

  constructor(options: ZoneKeeperOptions) {
    this.#options = { now: Date.now, ...options };
  }

  /** What an operator should know. */
  get problems(): SourceProblem[] {
    return this.#without.map((vni) => ({
      file: 'configuration',
      path: 'conntrack',
      message: `no zone is left for VNI ${vni}; it works without connection tracking`,
    }));
  }

  /** Tracking by VNI, as of now. */
  tracking(): ReadonlyMap<number, Tracking> {
    const ids = this.#options.externalIds();
    if (ids === undefined) return new Map();
    const nowMs = this.#options.now();
    const { warmUpMs } = this.#options.settings();
    return new Map(
      [...readZones(ids)].map(([vni, record]) => [vni, trackingOf(record, nowMs, warmUpMs)]),
    );
  }

  /** The switch holds no flow for a zone of a network that is not `wanted`. */
  look(wanted: ReadonlySet<number>): void {
    this.#wanted = wanted;
    this.#armWarmUp();
    if (this.#closed) return;
    if (this.#working) {
      this.#again = true;
      return;
    }
    this.#working = true;
    this.#settle()
      .catch((error: unknown) => {
        if (this.#closed) return;
        this.#options.logger.warn(
          { err: toError(error) },
          'zones of the connection tracker could not be changed, will look again',
        );
        clearTimeout(this.#retry);
        this.#retry = setTimeout(() => this.look(this.#wanted), RETRY_MS);
      })
      .finally(() => {
        this.#working = false;
        if (!this.#again) return;
        this.#again = false;
        this.look(this.#wanted);
      });
  }

  /** Stops the clocks. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#retry);
  }

  async #settle(): Promise<void> {
    const { externalIds, connection, change, settings, logger, now } = this.#options;
    const ids = externalIds();
    const target = connection();
    if (ids === undefined || target === undefined) return;
    const { release, allocate, without } = planZones(this.#wanted, ids, settings().pool);
    this.#noteWithout(without);
    if (release.length === 0 && allocate.length === 0) return;
    for (const { zone } of allocate) await target.flushConntrackZone(zone);
    const sinceMs = now();
    const added = new Map(allocate.map(({ vni, zone }) => zoneEntry(vni, { zone, sinceMs })));
    logger.info({ allocate, release }, 'changing zones of the connection tracker');
    await change(release, added);
  }

  #noteWithout(without: readonly number[]): void {
    if (without.length > this.#without.length) {
      this.#options.logger.warn({ vnis: without }, 'no zone of the connection tracker is left');
    }
    this.#without = without;
  }

  #armWarmUp(): void {
    clearTimeout(this.#timer);
    const ids = this.#options.externalIds();
    if (ids === undefined || this.#closed) return;
    const nowMs = this.#options.now();
    const { warmUpMs } = this.#options.settings();
    const endsMs = [...readZones(ids).values()]
      .filter((record) => trackingOf(record, nowMs, warmUpMs).warming)
      .map(({ sinceMs }) => sinceMs + warmUpMs - nowMs);
    if (endsMs.length > 0)
      this.#timer = setTimeout(() => this.#options.poke(), Math.min(...endsMs) + 1);
  }
}
