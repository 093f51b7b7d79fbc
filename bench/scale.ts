/**
 * Workload `scale`: a DPU of a large site from a cold start. How many flows its configuration becomes, how long compiling
 * and the first sync take, and the memory of it all. Every round is a process of its own.
 */
import { BenchSwitch } from './bench-switch.ts';
import { childAnswer } from './child.ts';
import { SCALE } from './scale-load.ts';
import type { Measured, Workload } from './workload.ts';

/** What one process did, and what it took. */
export interface ScaleRun {
  readonly flowCount: number;
  readonly compileMs: number;
  /** From the start of the reconciler to the end of its first pass; compiles on the way. */
  readonly syncMs: number;
  /** Of the heap and of buffers in use, beyond those before there was a configuration. */
  readonly bytes: number;
  /** Resident set. */
  readonly rss: number;
}

const ROUNDS = 3;
const FLOOR = 'floor: bytes made before, replies not decoded';

/** The workload. */
export const scale: Workload = {
  id: 'scale',
  title: `${SCALE.endpoints.toLocaleString('en')} endpoints, ${SCALE.peers} peers, ${SCALE.networks} VNIs, ${SCALE.rules.toLocaleString('en')} rules`,
  async run(context): Promise<Measured> {
    const bench = await BenchSwitch.start(context);
    const program = new URL('scale-process.ts', import.meta.url);
    const runs: ScaleRun[] = [];
    const floor: number[] = [];
    for (let round = 0; round < (context.quick ? 1 : ROUNDS); round++) {
      await bench.empty();
      runs.push(await childAnswer<ScaleRun>(program, ['agent', bench.path]));
      await bench.empty();
      const bare = await childAnswer<ScaleRun>(program, ['floor', bench.path]);
      floor.push(bare.syncMs);
    }
    const row = (subject: string, unit: 'ms' | 'bytes' | 'flows', field: keyof ScaleRun) => ({
      ...{ subject, unit, samples: runs.map((run) => run[field]) },
    });
    return {
      comparisons: [
        {
          title: 'from a cold start to the first sync',
          baseline: FLOOR,
          rows: [
            row('dpu-agent, compiling included', 'ms', 'syncMs'),
            row('dpu-agent, compiling alone', 'ms', 'compileMs'),
            { subject: FLOOR, unit: 'ms', samples: floor },
          ],
        },
        {
          title: 'size',
          absolute: true,
          rows: [
            row('flows', 'flows', 'flowCount'),
            row('memory of the heap and of buffers', 'bytes', 'bytes'),
            row('resident', 'bytes', 'rss'),
          ],
        },
      ],
      targets: [],
    };
  },
};
