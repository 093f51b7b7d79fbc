/**
 * A flow-stats reply as the switch would send it, made from flows: decoding can be measured without a switch.
 */
import { Buffer } from 'node:buffer';
import { Mirror } from '../src/agent/reconcile/mirror.ts';
import type { DesiredState } from '../src/agent/flow/desired.ts';
import { lendDumpedFlow, type EncodedFlow } from '../src/openflow/flow.ts';
import { decodeFlowStats } from '../src/openflow/flow-stats.ts';

/** The flows of a table. */
export function flowsOf(desired: DesiredState): EncodedFlow[] {
  return Array.from(desired.flows(), ([, { flow }]) => flow);
}

/** Bytes of a part of a multipart reply; OVS fills its messages about so far. */
const PART_BYTES = 60_000;

/** The entries of a flow-stats reply that the switch would send for flows, in parts. */
export function statsParts(flows: readonly EncodedFlow[]): Buffer[] {
  const parts: Buffer[] = [];
  let part: Buffer[] = [];
  let size = 0;
  for (const { message, tableId, priority, cookie } of flows) {
    // From offset 48 on an entry is laid out as a flow_mod is: match, then instructions.
    const entry = Buffer.from(message);
    entry.fill(0, 0, 48);
    entry.writeUInt16BE(entry.length, 0);
    entry[2] = tableId;
    entry.writeUInt16BE(priority, 12);
    entry.writeBigUInt64BE(cookie, 24);
    part.push(entry);
    size += entry.length;
    if (size < PART_BYTES) continue;
    parts.push(Buffer.concat(part));
    part = [];
    size = 0;
  }
  return [...parts, Buffer.concat(part)];
}

/** A mirror as a dump makes it: of what is as `desired`, it keeps no second copy. */
export function mirrorOf(parts: readonly Buffer[], desired: DesiredState): Mirror {
  const mirror = new Mirror();
  for (const part of parts) {
    decodeFlowStats(part, (stats) => {
      const flow = lendDumpedFlow(stats);
      mirror.putFlow(flow, desired.flow(flow));
    });
  }
  return mirror;
}
