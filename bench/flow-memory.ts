/**
 * A thread of its own that measures how much memory a flow takes in the parts of an agent which has restarted on a full
 * switch. Answers with the rows of the comparison.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { desiredOf, makeRules, snapshotOf } from './rule-load.ts';
import { collectGarbage, median } from './sample.ts';
import { flowsOf, mirrorOf, statsParts } from './stats-reply.ts';
import type { Row } from './workload.ts';

/** Bytes of the heap and of buffers that are in use. */
function bytesInUse(): number {
  // The memory of buffers that one collection has found free is given back by the next.
  collectGarbage();
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Memory per flow of what an agent holds after a restart on a full switch. */
function memoryAt(flowCount: number): Row[] {
  const rows: Row[] = [];
  const held: unknown[] = [];
  const grow = <T>(subject: string, make: () => T): T => {
    const before = bytesInUse();
    const made = make();
    held.push(made);
    rows.push({ subject, unit: 'bytes', samples: [(bytesInUse() - before) / flowCount] });
    return made;
  };
  const rules = grow('parsed rules', () => makeRules(flowCount));
  const desired = grow('desired flows', () => desiredOf(snapshotOf(rules)));
  const parts = statsParts(flowsOf(desired));
  held.push(parts);
  grow('mirror of the switch', () => mirrorOf(parts, desired));
  // The reply that the mirror is made from must not be freed in the middle.
  if (held.length !== rows.length + 1) throw new Error('something was not kept');
  const total = rows.reduce((sum, { samples }) => sum + median(samples), 0);
  return [...rows, { subject: 'all together', unit: 'bytes', samples: [total] }];
}

const flowCount = Number(workerData);
// The first time, what V8 and the modules set up would be counted too.
memoryAt(1000);
parentPort?.postMessage(memoryAt(flowCount));
