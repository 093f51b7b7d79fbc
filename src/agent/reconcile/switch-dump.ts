/**
 * Reads what the switch holds: flows, groups and meters into a mirror, or flows with their counters for people. The dump is the
 * truth; nothing here changes the switch.
 */
import { lendDumpedFlow, type EncodedFlow } from '../../openflow/flow.ts';
import {
  decodeFlowStats,
  encodeFlowStatsRequest,
  type FlowStats,
} from '../../openflow/flow-stats.ts';
import { decodeGroupDesc } from '../../openflow/group-mod.ts';
import {
  decodeMeterConfig,
  decodeMeterStats,
  encodeAllMetersRequest,
  type MeterStats,
} from '../../openflow/meter-mod.ts';
import type { OpenFlowConnection } from '../../openflow/client.ts';
import { OFPMP } from '../../openflow/ofp13.ts';
import { COOKIE_OWNER, COOKIE_OWNER_MASK } from '../flow/cookie.ts';
import { isOwnMeter } from '../flow/meter-id.ts';
import { isLearnedFlow } from '../flow/tables/learned.ts';
import { Mirror } from './mirror.ts';

/** What should be there. */
export interface DesiredFlows {
  /** The flow that should stand at a key. */
  flow(flow: EncodedFlow): EncodedFlow | undefined;
  isLearner(cookie: bigint): boolean;
}

/**
 * Dumps all flows, groups and meters into an empty mirror, and returns that. It shares the bytes of what is as `desired`.
 * What the switch has learned is left out, and only noted where nothing is to learn it.
 */
export async function dumpMirror(
  connection: OpenFlowConnection,
  desired?: DesiredFlows,
  mirror = new Mirror(),
): Promise<Mirror> {
  await connection.multipart(OFPMP.FLOW, encodeFlowStatsRequest({}), (part) =>
    decodeFlowStats(part, (stats) => {
      if (isLearnedFlow(stats)) {
        if (desired?.isLearner(stats.cookie) === false) mirror.addOrphan(stats.cookie);
        return;
      }
      const flow = lendDumpedFlow(stats);
      mirror.putFlow(flow, desired?.flow(flow));
    }),
  );
  await connection.multipart(OFPMP.GROUP_DESC, new Uint8Array(0), (part) =>
    decodeGroupDesc(part, ({ groupId, buckets }) => mirror.addDumpedGroup(groupId, buckets)),
  );
  await connection.multipart(OFPMP.METER_CONFIG, encodeAllMetersRequest(), (part) =>
    decodeMeterConfig(part, (meter) => mirror.addDumpedMeter(meter)),
  );
  return mirror;
}

/** Visits our flows with their counters. */
export async function visitOwnFlows(
  connection: OpenFlowConnection,
  visit: (stats: FlowStats) => void,
  tableId?: number,
): Promise<void> {
  const filter = { cookie: COOKIE_OWNER, cookieMask: COOKIE_OWNER_MASK };
  const body = encodeFlowStatsRequest(tableId === undefined ? filter : { ...filter, tableId });
  await connection.multipart(OFPMP.FLOW, body, (part) => decodeFlowStats(part, visit));
}

/** Visits our meters with what they have counted. */
export async function visitOwnMeters(
  connection: OpenFlowConnection,
  visit: (stats: MeterStats) => void,
): Promise<void> {
  await connection.multipart(OFPMP.METER, encodeAllMetersRequest(), (part) =>
    decodeMeterStats(part, (stats) => {
      if (isOwnMeter(stats.meterId)) visit(stats);
    }),
  );
}
