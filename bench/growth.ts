/**
 * Workload `growth`: what becomes of time, memory and the event loop as the flow table grows from 1,000 flows to a million,
 * through the real reconciler. Every size is a process of its own, so that no size pays for the one before.
 */
import { BenchSwitch } from './bench-switch.ts';
import { childAnswer } from './child.ts';
import { median } from './sample.ts';
import { sizesOf, sizeText } from './sized-workload.ts';
import type {
  BenchContext,
  Comparison,
  Measured,
  Row,
  Series,
  Target,
  Workload,
} from './workload.ts';

/** One thing that was done. */
export interface Step {
  readonly ms: number;
  /** The longest that the event loop was not free. */
  readonly stallMs: number;
}

/** What one process did, and what it took. */
export interface Life {
  readonly install: Step;
  readonly change: Step;
  readonly audit: Step;
  /** Absent for the floor. */
  readonly memory?: {
    /** Of the heap and of buffers in use at the end, beyond those before there was a rule. */
    readonly bytes: number;
    /** Resident set at the end. */
    readonly rss: number;
  };
}

const SIZES = [1000, 10_000, 100_000, 1_000_000];
/** From here on once is enough: the work is long against what disturbs it. */
const LARGE = 100_000;
const ROUNDS = 3;
/** A heap that a million flows do not fill. */
const HEAP_MIB = 12_288;
const STALL_MS = 20;
const BYTES_PER_FLOW = 1024;
const AGENT = 'dpu-agent';
const STEPS = [
  { id: 'install', text: 'installed into an empty bridge' },
  { id: 'change', text: 'with 1 % changed' },
  { id: 'audit', text: 'read and compared with what is desired' },
] as const;

async function live(mode: 'agent' | 'floor', bench: BenchSwitch, flowCount: number): Promise<Life> {
  await bench.empty();
  const args = [mode, bench.path, String(flowCount)];
  const program = new URL('growth-process.ts', import.meta.url);
  return childAnswer<Life>(program, args, [`--max-old-space-size=${HEAP_MIB}`]);
}

/** All that was measured of one size. */
interface Size {
  readonly flowCount: number;
  readonly agent: readonly Life[];
  readonly floor: readonly Life[];
}

async function measure(
  context: BenchContext,
  bench: BenchSwitch,
  flowCount: number,
): Promise<Size> {
  context.say(sizeText(flowCount));
  const [agent, floor]: [Life[], Life[]] = [[], []];
  const rounds = context.quick || flowCount >= LARGE ? 1 : ROUNDS;
  for (let round = 0; round < rounds; round++) {
    agent.push(await live('agent', bench, flowCount));
    floor.push(await live('floor', bench, flowCount));
  }
  return { flowCount, agent, floor };
}

type StepId = (typeof STEPS)[number]['id'];

const msOf = (lives: readonly Life[], id: StepId): number[] => lives.map((life) => life[id].ms);
const stallOf = ({ agent }: Size, id: StepId): number[] => agent.map((life) => life[id].stallMs);
const bytesOf = ({ agent, flowCount }: Size): number[] =>
  agent.map(({ memory }) => (memory?.bytes ?? Number.NaN) / flowCount);
const rssOf = ({ agent }: Size): number[] => agent.map(({ memory }) => memory?.rss ?? Number.NaN);

function comparisonsOf(size: Size): Comparison[] {
  const { flowCount, agent, floor } = size;
  const title = sizeText(flowCount);
  return STEPS.map(({ id, text }): Comparison => {
    const baseline = 'floor: bytes made before, replies not decoded';
    const rows: Row[] = [
      { subject: AGENT, unit: 'ms', samples: msOf(agent, id) },
      { subject: baseline, unit: 'ms', samples: msOf(floor, id) },
    ];
    return { title: `${title} ${text}`, baseline, rows };
  });
}

function resources(sizes: readonly Size[]): Comparison[] {
  const stalls = sizes.flatMap((size) =>
    STEPS.map(({ id }): Row => {
      return {
        subject: `${sizeText(size.flowCount)}, ${id}`,
        unit: 'ms',
        samples: stallOf(size, id),
      };
    }),
  );
  const memory = sizes.flatMap((size): Row[] => [
    { subject: `${sizeText(size.flowCount)}, per flow`, unit: 'bytes', samples: bytesOf(size) },
    { subject: `${sizeText(size.flowCount)}, resident`, unit: 'bytes', samples: rssOf(size) },
  ]);
  return [
    { title: 'longest stall of the event loop', rows: stalls },
    { title: 'memory', absolute: true, rows: memory },
  ];
}

function targetsOf(size: Size): Target[] {
  const text = sizeText(size.flowCount);
  return [
    ...STEPS.map(({ id }): Target => {
      const what = `longest stall of the event loop, ${text}, ${id}`;
      const measured = median(stallOf(size, id));
      return { what, bound: 'at most', limit: STALL_MS, measured, unit: 'ms' };
    }),
    {
      what: `memory per flow, ${text}, all included`,
      bound: 'at most',
      limit: BYTES_PER_FLOW,
      measured: median(bytesOf(size)),
      unit: 'bytes',
    },
  ];
}

function lines(sizes: readonly Size[], value: (size: Size, id: StepId) => number): Series[] {
  return STEPS.map(({ id }) => ({
    name: id,
    points: sizes.map((size) => [size.flowCount, value(size, id)] as const),
  }));
}

/** The workload. */
export const growth: Workload = {
  id: 'growth',
  title: 'From 1,000 flows to a million',
  async run(context): Promise<Measured> {
    const bench = await BenchSwitch.start(context);
    const sizes: Size[] = [];
    for (const flowCount of sizesOf(context, SIZES)) {
      sizes.push(await measure(context, bench, flowCount));
    }
    const ratio = ({ agent, floor }: Size, id: StepId): number =>
      median(msOf(agent, id)) / median(msOf(floor, id));
    const perFlow = sizes.map((size) => [size.flowCount, median(bytesOf(size))] as const);
    return {
      comparisons: [...sizes.flatMap(comparisonsOf), ...resources(sizes)],
      // Smaller tables say nothing of memory: what any process takes is shared out among too few flows.
      targets: sizes.filter(({ flowCount }) => flowCount >= LARGE).flatMap(targetsOf),
      plots: [
        { title: 'Time by the floor', yLabel: 'times the floor', series: lines(sizes, ratio) },
        {
          title: 'Longest stall of the event loop',
          yLabel: 'ms',
          series: lines(sizes, (size, id) => median(stallOf(size, id))),
        },
        {
          title: 'Memory of the heap and of buffers',
          yLabel: 'bytes per flow',
          series: [{ name: AGENT, points: perFlow }],
        },
      ],
    };
  },
};
