/**
 * Which zone of the connection tracker each network has. VNIs have 24 bits and zones 16, so there is a pool; who has what is
 * written into `external_ids` of the bridge, `dpu-ct-zone-VNI = ZONE TIME`, and that is the only memory: a restarted agent
 * goes on with the zones that the connections are in. TIME is when tracking began there. Pure.
 */
import type { Tracking } from '../flow/model.ts';
import { hashName } from '../flow/cookie.ts';

/** The zones that this agent may use, both included. */
export interface ZonePool {
  readonly first: number;
  readonly last: number;
}

/** A zone that a network has. */
export interface ZoneRecord {
  readonly zone: number;
  /** When tracking began, in milliseconds since the epoch. */
  readonly sinceMs: number;
}

/** What to change. */
export interface ZonePlan {
  /** Keys to take out of `external_ids`. */
  readonly release: readonly string[];
  /** Zones to flush, and then to write down. */
  readonly allocate: readonly { readonly vni: number; readonly zone: number }[];
  /** VNIs for which there is no zone left. */
  readonly without: readonly number[];
}

const PREFIX = 'dpu-ct-zone-';
const RECORD = /^(\d{1,5}) (\d{4}-\d{2}-\d{2}T[\d:.]{8,12}Z)$/;
const ZONE_MAX = 0xffff;

/** The entry of `external_ids` that gives a zone to a network. */
export function zoneEntry(vni: number, record: ZoneRecord): readonly [key: string, value: string] {
  return [`${PREFIX}${vni}`, `${record.zone} ${new Date(record.sinceMs).toISOString()}`];
}

function readRecord(text: string): ZoneRecord | undefined {
  const [, zoneText, time] = RECORD.exec(text) ?? [];
  const zone = Number(zoneText);
  const sinceMs = Date.parse(time ?? '');
  return zone >= 1 && zone <= ZONE_MAX && !Number.isNaN(sinceMs) ? { zone, sinceMs } : undefined;
}

/** The zones that are written down, by VNI. What is malformed, or names a zone twice, is passed over. */
export function readZones(externalIds: ReadonlyMap<string, string>): Map<number, ZoneRecord> {
  const zones = new Map<number, ZoneRecord>();
  const taken = new Set<number>();
  for (const [key, text] of [...externalIds].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!key.startsWith(PREFIX)) continue;
    const vni = Number(key.slice(PREFIX.length));
    const record = readRecord(text);
    if (record === undefined || !Number.isInteger(vni) || taken.has(record.zone)) continue;
    taken.add(record.zone);
    zones.set(vni, record);
  }
  return zones;
}

/**
 * Plans zones for the networks `wanted`, when no flow uses any other any more. A zone that is given back is free from the
 * next plan on. The choice follows from the VNI where that zone is free.
 */
export function planZones(
  wanted: ReadonlySet<number>,
  externalIds: ReadonlyMap<string, string>,
  pool: ZonePool,
): ZonePlan {
  const known = readZones(externalIds);
  const release = [...externalIds.keys()].filter((key) => {
    const vni = Number(key.slice(PREFIX.length));
    return key.startsWith(PREFIX) && !(wanted.has(vni) && known.has(vni));
  });
  const taken = new Set([...known.values()].map(({ zone }) => zone));
  const size = pool.last - pool.first + 1;
  const allocate: { vni: number; zone: number }[] = [];
  const without: number[] = [];
  for (const vni of [...wanted].sort((a, b) => a - b)) {
    if (known.has(vni)) continue;
    const choice = Number(hashName(`zone/${vni}`) % BigInt(size));
    const offset = firstFree(size, (step) => taken.has(pool.first + ((choice + step) % size)));
    if (offset === undefined) {
      without.push(vni);
      continue;
    }
    const zone = pool.first + ((choice + offset) % size);
    taken.add(zone);
    allocate.push({ vni, zone });
  }
  return { release, allocate, without };
}

function firstFree(size: number, isTaken: (step: number) => boolean): number | undefined {
  for (let step = 0; step < size; step++) if (!isTaken(step)) return step;
  return undefined;
}

/** What the pipeline needs to know of a zone. A beginning that lies in the future is a clock that was set: long ago. */
export function trackingOf(record: ZoneRecord, nowMs: number, warmUpMs: number): Tracking {
  const ageMs = nowMs - record.sinceMs;
  return { zone: record.zone, warming: ageMs >= 0 && ageMs < warmUpMs };
}
