/** Runs gates beside each other, and prints a line per gate as it ends, with what it found. */
import { errorMessage } from '../../src/base/error.ts';
import { docsGate } from './docs-gate.ts';
import type { Gate } from './gate.ts';
import { SOURCE_GATES } from './source-gates.ts';
import { TOOL_GATES } from './tool-gates.ts';

/** All gates, in the order in which they start. */
export const GATES: readonly Gate[] = [...TOOL_GATES, ...SOURCE_GATES, docsGate];

/** Modules under src/ below which a gate is taken to have looked at the wrong place. */
export const MODULE_FLOOR = 30;

/** How one gate ended. */
export interface GateResult {
  readonly name: string;
  readonly ok: boolean;
  readonly ms: number;
  /** One line per violation. */
  readonly problems: readonly string[];
}

/** What to run and where. */
export interface RunOptions {
  readonly root: string;
  /** Names of the gates to run; all when absent. */
  readonly only?: readonly string[];
  readonly moduleFloor?: number;
  /** Takes each line of the report as soon as there is one. */
  readonly onResult?: (line: string) => void;
}

/** Processes at a time: most gates are one busy process. */
const PARALLEL = 2;
const MAX_SHOWN = 40;

async function runGate(gate: Gate, root: string, moduleFloor: number): Promise<GateResult> {
  const start = performance.now();
  let problems: string[];
  try {
    problems = await gate.run({ root, moduleFloor });
  } catch (error) {
    problems = [errorMessage(error)];
  }
  return {
    name: gate.name,
    ok: problems.length === 0,
    ms: Math.round(performance.now() - start),
    problems,
  };
}

/** Runs the gates and answers with their results, in the order of {@link GATES}. */
export async function runGates(options: RunOptions): Promise<GateResult[]> {
  const { root, only, moduleFloor = MODULE_FLOOR, onResult = () => {} } = options;
  const gates = GATES.filter((gate) => only === undefined || only.includes(gate.name));
  const results = new Map<string, GateResult>();
  const waiting = [...gates];
  const work = async (): Promise<void> => {
    for (let gate = waiting.shift(); gate !== undefined; gate = waiting.shift()) {
      const result = await runGate(gate, root, moduleFloor);
      results.set(gate.name, result);
      onResult(
        `${result.ok ? 'ok    ' : 'NOT OK'} ${result.name.padEnd(12)} ${String(result.ms).padStart(6)} ms`,
      );
      for (const problem of result.problems.slice(0, MAX_SHOWN)) onResult(`         ${problem}`);
      const hidden = result.problems.length - MAX_SHOWN;
      if (hidden > 0) onResult(`         ... and ${hidden} more lines`);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
  return gates.flatMap((gate) => results.get(gate.name) ?? []);
}
