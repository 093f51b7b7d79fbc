/**
 * What `ofproto/trace` answers (OVS `ofproto/ofproto-dpif-trace.c`), as steps: the flows that a packet meets, the actions
 * that each of them takes and what Open vSwitch remarks on them. The text is bounded and read without recursion. It knows
 * no meaning of any table, cookie or port.
 */
import { DecodeError } from '../base/error.ts';

/** One action, as Open vSwitch prints it. */
export interface TracedAction {
  readonly text: string;
  /** Behind `->`: what came of it. */
  readonly details: string[];
  /** Behind `>>`: why it did not do what it says. */
  readonly warnings: string[];
}

/** One flow that the packet met, a bucket of a group, or the place where a recirculated packet goes on. */
export interface TracedStep {
  readonly kind: 'table' | 'bucket' | 'resume';
  /** Bridge that the step is in: the packet may go on in another one. */
  readonly bridge: string;
  /** Buckets that led here, the outermost first: copies of the packet. */
  readonly copy: readonly number[];
  /** Of a `table` step. */
  readonly table?: number;
  /** Match of the flow; empty when it matches everything. Undefined when no flow matched. */
  readonly match?: string;
  readonly priority?: number;
  /** 0 where Open vSwitch prints none. */
  readonly cookie?: bigint;
  readonly actions: TracedAction[];
}

/** One way through the pipeline; `ct()` and others begin another one. */
export interface TracedPass {
  /** Headline of a recirculation; undefined for the first pass. */
  readonly title?: string;
  /** The packet as it came in. */
  readonly flow: string;
  readonly steps: TracedStep[];
  finalFlow: string;
  megaflow: string;
  datapathActions: string;
  /** What stands behind the datapath actions: slow path, or a failed translation. */
  readonly notes: string[];
}

const TEXT_MAX = 4 * 1024 * 1024;
const STEPS_MAX = 10_000;
const INDENT = 4;

/**
 * Reads an answer.
 * @throws DecodeError `DECODE_TOO_LARGE` when it is longer than 4 MiB or has more than 10,000 steps, `DECODE_BAD_VALUE` when
 * it is no answer of `ofproto/trace`.
 */
export function parseOfprotoTrace(text: string): TracedPass[] {
  if (text.length > TEXT_MAX) {
    throw traceError('DECODE_TOO_LARGE', `answer is longer than ${TEXT_MAX} characters`, TEXT_MAX);
  }
  const reader = new TraceReader();
  let offset = 0;
  for (const line of text.split('\n')) {
    reader.read(line, offset);
    offset += line.length + 1;
  }
  return reader.finish(offset);
}

function traceError(
  code: 'DECODE_BAD_VALUE' | 'DECODE_TOO_LARGE',
  message: string,
  offset: number,
): DecodeError {
  return new DecodeError(code, message, {
    protocol: 'ovsdb',
    op: 'unixctl.ofproto/trace',
    offset,
  });
}

/** A step that lines of a deeper indent belong to. */
interface OpenStep {
  readonly indent: number;
  readonly step: TracedStep;
}

class TraceReader {
  readonly #passes: TracedPass[] = [];
  #pass: TracedPass | undefined;
  #title: string | undefined;
  #inTitle = false;
  #bridge = '';
  #open: OpenStep[] = [];
  #lastAction: TracedAction | undefined;
  #steps = 0;
  /** Set behind the datapath actions of a pass. */
  #ended = false;

  read(line: string, offset: number): void {
    const text = line.trim();
    if (text === '' || /^-+$/.test(text)) return;
    if (/^={8,}$/.test(text)) {
      this.#inTitle = !this.#inTitle;
      return;
    }
    if (this.#inTitle) {
      this.#title = text;
      return;
    }
    if (line.startsWith('Flow: ')) {
      this.#begin(line.slice('Flow: '.length));
      return;
    }
    const pass = this.#pass;
    if (pass === undefined) throw traceError('DECODE_BAD_VALUE', 'no Flow: line', offset);
    if (this.#ended) pass.notes.push(text.replace(/^- /, ''));
    else if (!this.#readEnd(pass, line)) this.#readNode(pass, line, text, offset);
  }

  finish(offset: number): TracedPass[] {
    if (this.#passes.length === 0 || !this.#ended) {
      throw traceError('DECODE_BAD_VALUE', 'no Datapath actions: line', offset);
    }
    return this.#passes;
  }

  #begin(flow: string): void {
    const title = this.#title;
    this.#title = undefined;
    this.#ended = false;
    this.#bridge = '';
    this.#open = [];
    this.#lastAction = undefined;
    this.#pass = {
      ...(title === undefined ? {} : { title }),
      flow,
      steps: [],
      finalFlow: '',
      megaflow: '',
      datapathActions: '',
      notes: [],
    };
    this.#passes.push(this.#pass);
  }

  #readEnd(pass: TracedPass, line: string): boolean {
    const value = (key: string): string | undefined =>
      line.startsWith(key) ? line.slice(key.length).trim() : undefined;
    const finalFlow = value('Final flow:');
    const megaflow = value('Megaflow:');
    const actions = value('Datapath actions:');
    if (finalFlow !== undefined) pass.finalFlow = finalFlow === 'unchanged' ? pass.flow : finalFlow;
    else if (megaflow !== undefined) pass.megaflow = megaflow;
    else if (actions !== undefined) {
      pass.datapathActions = actions;
      this.#ended = true;
    } else return false;
    return true;
  }

  #readNode(pass: TracedPass, line: string, text: string, offset: number): void {
    const bridge = /^bridge\("(.*)"\)$/.exec(text);
    if (bridge !== null) {
      this.#bridge = bridge[1] ?? '';
      this.#open = [];
      this.#lastAction = undefined;
      return;
    }
    const remark = /^(->|>>>>|>>) (.*?)(?: <<<<)?$/.exec(text);
    if (remark !== null) {
      const action = this.#lastAction ?? this.#addAction(pass, '', offset);
      (remark[1] === '->' ? action.details : action.warnings).push(remark[2] ?? '');
      return;
    }
    const indent = line.length - line.trimStart().length;
    // A table's number is padded to two places, so its line may stand one character deeper.
    const level = indent - (indent % INDENT);
    while ((this.#open.at(-1)?.indent ?? -1) >= level) this.#open.pop();
    const table = /^(\d{1,3})\. (?:(.*), )?priority (\d+)(?:, cookie 0x([0-9a-f]{1,16}))?$/.exec(
      text,
    );
    const miss = /^(\d{1,3})\. No match\.$/.exec(text);
    const bucket = /^bucket (\d{1,10})$/.exec(text);
    if (table !== null) {
      this.#addStep(pass, level, offset, {
        kind: 'table',
        table: Number(table[1]),
        match: table[2] ?? '',
        priority: Number(table[3]),
        cookie: BigInt(`0x${table[4] ?? '0'}`),
      });
    } else if (miss !== null) {
      this.#addStep(pass, level, offset, { kind: 'table', table: Number(miss[1]) });
    } else if (bucket !== null) {
      const copy = [...this.#copy(), Number(bucket[1])];
      this.#addStep(pass, level, offset, { kind: 'bucket', copy });
    } else if (text === 'thaw') {
      this.#addStep(pass, level, offset, { kind: 'resume' });
    } else {
      this.#lastAction = this.#addAction(pass, text, offset);
    }
  }

  #copy(): readonly number[] {
    return this.#open.at(-1)?.step.copy ?? [];
  }

  #addStep(
    pass: TracedPass,
    indent: number,
    offset: number,
    fields: Omit<TracedStep, 'bridge' | 'copy' | 'actions'> & { readonly copy?: readonly number[] },
  ): TracedStep {
    if (++this.#steps > STEPS_MAX) {
      throw traceError('DECODE_TOO_LARGE', `answer has more than ${STEPS_MAX} steps`, offset);
    }
    const step: TracedStep = { copy: this.#copy(), ...fields, bridge: this.#bridge, actions: [] };
    pass.steps.push(step);
    this.#open.push({ indent, step });
    this.#lastAction = undefined;
    return step;
  }

  #addAction(pass: TracedPass, text: string, offset: number): TracedAction {
    const step = this.#open.at(-1)?.step ?? this.#addStep(pass, 0, offset, { kind: 'resume' });
    const action: TracedAction = { text, details: [], warnings: [] };
    step.actions.push(action);
    return action;
  }
}
