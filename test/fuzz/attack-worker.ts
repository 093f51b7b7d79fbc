/**
 * The thread in which decoders are attacked: a heap of its own whose size is bounded, and a counter in shared memory, by
 * which whoever started it sees that it hangs and at which input. Posts an {@link AttackReport} for each decoder.
 */
import { Buffer } from 'node:buffer';
import { setImmediate as turn } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isBaseError } from '../../src/base/error.ts';
import type { AttackOrder, AttackReport } from './attack.ts';
import type { DecoderList, FuzzedDecoder } from './decoder.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;
/** Inputs between two looks at the memory; promises that were rejected meanwhile can be freed. */
const STRIDE = 250;

function bytesInUse(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Bytes in use beyond `before`, garbage left out where there is much. */
function growthSince(before: number, garbageMax: number): number {
  if (bytesInUse() - before > garbageMax) gc();
  return bytesInUse() - before;
}

async function attack(
  decoder: FuzzedDecoder,
  { seed, runs, growthMax }: AttackOrder,
  progress: (run: number) => void,
): Promise<AttackReport> {
  gc();
  const before = bytesInUse();
  const began = performance.now();
  let [refused, growth, slowestMs] = [0, 0, 0];
  let run = 0;
  for (; run < runs && growth <= growthMax; run++) {
    progress(run);
    const input = decoder.input(seed + run);
    const start = performance.now();
    try {
      // A copy: a decoder that writes into its input must not hide what the input was.
      decoder.decode(Buffer.from(input));
    } catch (error) {
      refused++;
      if (!isBaseError(error)) {
        const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
        const fault = { seed: seed + run, input: input.toString('hex'), message };
        return { name: decoder.name, runs: run + 1, refused, growth, slowestMs, ms: 0, fault };
      }
    }
    slowestMs = Math.max(slowestMs, performance.now() - start);
    if (run % STRIDE === STRIDE - 1) {
      await turn();
      growth = Math.max(growth, growthSince(before, growthMax / 2));
    }
  }
  const ms = performance.now() - began;
  return { name: decoder.name, runs: run, refused, growth, slowestMs, ms };
}

const order = workerData as AttackOrder;
const progress = new Int32Array(order.progress);
const { DECODERS } = (await import(order.list)) as DecoderList;
for (const [index, decoder] of DECODERS.entries()) {
  if (!order.names.includes(decoder.name)) continue;
  const report = await attack(decoder, order, (run) => {
    progress[0] = index;
    progress[1] = run;
  });
  parentPort?.postMessage(report);
}
