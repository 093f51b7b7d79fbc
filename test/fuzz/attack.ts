/**
 * Starts the threads that attack decoders, and tells of those that hang or die, which a thread cannot tell itself.
 */
import { Worker } from 'node:worker_threads';
import type { DecoderList } from './decoder.ts';

/** What a thread is to do. */
export interface AttackOrder {
  /** URL of the module that lists the decoders. */
  readonly list: string;
  readonly names: readonly string[];
  /** Seed of the first input; that of the n-th one is n more. */
  readonly seed: number;
  /** Inputs for each decoder. */
  readonly runs: number;
  /** Most bytes that may come to be in use. */
  readonly growthMax: number;
  /** Two 32-bit integers: the decoder under attack, as its index in the list, and how many inputs it has had. */
  readonly progress: SharedArrayBuffer;
}

/** How a decoder came through. */
export interface AttackReport {
  readonly name: string;
  readonly runs: number;
  /** Inputs that ended in an error. */
  readonly refused: number;
  /** Most bytes in use beyond those before the attack. */
  readonly growth: number;
  readonly slowestMs: number;
  readonly ms: number;
  /** The first input that did what none may do. `input` is hexadecimal. */
  readonly fault?: { readonly seed: number; readonly input: string; readonly message: string };
}

/** Heap of a thread, far beyond what is allowed to grow: one input that fills it must not take the machine with it. */
const HEAP_MIB = 512;

/** One thread over the decoders named, until it ends. Reports as they come; rejects when the thread hangs or dies. */
function attackInThread(
  order: AttackOrder,
  hangMs: number,
  onReport: (report: AttackReport) => void,
): Promise<void> {
  const worker = new Worker(new URL('./attack-worker.ts', import.meta.url), {
    workerData: order,
    // Not the loader of the test runner: Node reads TypeScript by itself, and faster.
    execArgv: [],
    env: {},
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
  });
  const progress = new Int32Array(order.progress);
  return new Promise<void>((resolve, reject) => {
    let last = '';
    const watch = setInterval(() => {
      const now = progress.join();
      if (now !== last) last = now;
      else {
        void worker.terminate();
        reject(new Error(`no progress within ${hangMs} ms`));
      }
    }, hangMs);
    worker.on('message', onReport);
    worker.on('error', reject);
    worker.on('exit', () => {
      clearInterval(watch);
      resolve();
    });
  });
}

/**
 * Attacks all decoders of a list, one after the other, and reports on each of them, whatever happens. One that makes no
 * progress within `hangMs` hangs.
 */
export async function attackAll(
  options: Omit<AttackOrder, 'names' | 'progress'> & { readonly hangMs: number },
  onReport: (report: AttackReport) => void,
): Promise<void> {
  const { hangMs, ...order } = options;
  const { DECODERS } = (await import(options.list)) as DecoderList;
  let left = DECODERS.map(({ name }) => name);
  while (left.length > 0) {
    const progress = new SharedArrayBuffer(8);
    const done = (report: AttackReport): void => {
      left = left.filter((name) => name !== report.name);
      onReport(report);
    };
    try {
      await attackInThread({ ...order, names: left, progress }, hangMs, done);
      if (left.length > 0) throw new Error('the thread ended early');
    } catch (error) {
      const [index = 0, run = 0] = new Int32Array(progress);
      const decoder = DECODERS[index];
      if (decoder === undefined || !left.includes(decoder.name)) throw error;
      const seed = options.seed + run;
      const input = decoder.input(seed).toString('hex');
      const fault = { seed, input, message: String(error) };
      const nothing = { refused: 0, growth: 0, slowestMs: 0, ms: 0 };
      done({ name: decoder.name, runs: run + 1, ...nothing, fault });
    }
  }
}
