/**
 * What an operator may do to a running agent: hold back its writing, and let a network's traffic pass its policy. Both end by
 * themselves, are said loudly as long as they last, and do not outlive the process: a restart is back to what the rules say.
 */
import { EventEmitter } from 'node:events';
import type { Logger } from '../base/logger.ts';
import type { Network, RuleInput, Snapshot } from './flow/model.ts';
import type { SourceProblem } from './sources/source.ts';

/** How often an intervention that lasts is logged again. Milliseconds. */
const REMIND_MS = 60_000;
/** Longest time of an intervention. Milliseconds. */
export const INTERVENTION_MAX_MS = 24 * 60 * 60 * 1000;
const FILE = 'dpuctl';

/** The interventions of one agent. Emits `change` when one begins or ends. */
export class Interventions extends EventEmitter<{ change: [] }> {
  readonly #logger: Logger;
  readonly #bypasses = new Map<number, Date>();
  #pausedUntil: Date | undefined;
  #timer: NodeJS.Timeout | undefined;
  #remindedMs = 0;

  constructor(logger: Logger) {
    super();
    this.#logger = logger;
  }

  /** Until when nothing is written to the switch; undefined when it is. */
  get pausedUntil(): Date | undefined {
    return this.#pausedUntil;
  }

  /** Networks whose policy is bypassed, with the end of that. */
  get bypasses(): ReadonlyMap<number, Date> {
    return this.#bypasses;
  }

  /** What everybody who looks at the agent must see. */
  get problems(): SourceProblem[] {
    const problems: SourceProblem[] = [];
    if (this.#pausedUntil !== undefined) {
      const message = `nothing is written to the switch until ${this.#pausedUntil.toISOString()}; dpuctl resume ends that`;
      problems.push({ file: FILE, path: 'pause', message });
    }
    for (const [vni, until] of this.#bypasses) {
      const message = `THE POLICY OF VNI ${vni} IS BYPASSED until ${until.toISOString()}; dpuctl bypass --vni ${vni} --off ends that`;
      problems.push({ file: FILE, path: 'bypass', message });
    }
    return problems;
  }

  /** Holds back all writing to the switch. `ms` is at most {@link INTERVENTION_MAX_MS}. */
  pause(ms: number): Date {
    const until = new Date(Date.now() + ms);
    this.#pausedUntil = until;
    this.#logger.warn({ until: until.toISOString() }, 'paused by an operator, nothing is written');
    this.#changed();
    return until;
  }

  /** Writes again. */
  resume(): void {
    if (this.#pausedUntil === undefined) return;
    this.#pausedUntil = undefined;
    this.#logger.warn({}, 'resumed, the switch is brought up to date');
    this.#changed();
  }

  /** Lets everything pass the policy of a network. Isolation of networks and the guards against forged sources stay. */
  bypass(vni: number, ms: number): Date {
    const until = new Date(Date.now() + ms);
    this.#bypasses.set(vni, until);
    const fields = { vni, until: until.toISOString() };
    this.#logger.warn(fields, 'policy of a network is bypassed by an operator');
    this.#changed();
    return until;
  }

  /** Puts the policy of a network in force again. */
  endBypass(vni: number): void {
    if (!this.#bypasses.delete(vni)) return;
    this.#logger.warn({ vni }, 'policy of a network is in force again');
    this.#changed();
  }

  /** The snapshot as the interventions have it. Itself when there is no bypass. */
  apply(snapshot: Snapshot): Snapshot {
    if (this.#bypasses.size === 0) return snapshot;
    return bypassed(snapshot, this.#bypasses);
  }

  /** Stops the clock. */
  close(): void {
    clearTimeout(this.#timer);
  }

  #changed(): void {
    this.#schedule();
    this.emit('change');
  }

  /** The next end, or the next reminder. */
  #schedule(): void {
    clearTimeout(this.#timer);
    const ends = [...this.#bypasses.values(), ...(this.#pausedUntil ? [this.#pausedUntil] : [])];
    if (ends.length === 0) return;
    const firstMs = Math.min(...ends.map((end) => end.getTime())) - Date.now();
    this.#timer = setTimeout(() => this.#tick(), Math.min(REMIND_MS, Math.max(0, firstMs)));
    // It must not keep a process alive that has nothing else to do.
    this.#timer.unref();
  }

  #tick(): void {
    const nowMs = Date.now();
    if (this.#pausedUntil !== undefined && this.#pausedUntil.getTime() <= nowMs) this.resume();
    for (const [vni, until] of this.#bypasses) if (until.getTime() <= nowMs) this.endBypass(vni);
    if (nowMs - this.#remindedMs >= REMIND_MS) {
      this.#remindedMs = nowMs;
      for (const { message } of this.problems) {
        this.#logger.warn({ problem: message }, 'an intervention is still in force');
      }
    }
    this.#schedule();
  }
}

/** The networks without their rules, allowing by default. */
function bypassed(snapshot: Snapshot, bypasses: ReadonlyMap<number, Date>): Snapshot {
  const allow = { ingress: 'allow', egress: 'allow' } as const;
  const networks = snapshot.networks.map((network): Network =>
    bypasses.has(network.vni) ? { ...network, defaultAction: allow } : network,
  );
  const rules = snapshot.rules.map((rule): RuleInput => {
    if (!rule.verdicts.some(({ vni }) => vni !== undefined && bypasses.has(vni))) return rule;
    const verdicts = rule.verdicts.map((verdict) => {
      const until = verdict.vni === undefined ? undefined : bypasses.get(verdict.vni);
      if (until === undefined) return verdict;
      const message = `the policy of VNI ${verdict.vni} is bypassed by an operator until ${until.toISOString()}`;
      return { reason: 'Bypassed', message };
    });
    return { ...rule, verdicts };
  });
  return { ...snapshot, networks, rules };
}
