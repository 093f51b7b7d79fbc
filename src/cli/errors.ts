/**
 * How dpuctl ends: its exit statuses, and the error that carries one with the advice that belongs to it.
 */
import { BaseError } from '../base/error.ts';

/** Exit statuses of dpuctl, as docs/dpuctl.md lists them. */
export const EXIT = {
  OK: 0,
  /** The agent answered that it is not ready, or that it cannot say. */
  UNWELL: 1,
  USAGE: 2,
  UNREACHABLE: 3,
} as const;

/** Codes of {@link DpuctlError}. */
export type DpuctlErrorCode = 'DPUCTL_UNWELL' | 'DPUCTL_USAGE' | 'DPUCTL_UNREACHABLE';

const EXIT_OF: Readonly<Record<DpuctlErrorCode, number>> = {
  DPUCTL_UNWELL: EXIT.UNWELL,
  DPUCTL_USAGE: EXIT.USAGE,
  DPUCTL_UNREACHABLE: EXIT.UNREACHABLE,
};

/** A question that got no usable answer. */
export class DpuctlError extends BaseError<DpuctlErrorCode> {
  /** What the operator can do; empty when there is nothing to add. */
  readonly advice: string;

  /**
   * @param message What was tried and what happened, as one line.
   * @param advice What to do, as one line.
   */
  constructor(code: DpuctlErrorCode, message: string, advice = '', cause?: unknown) {
    super(message, { code, op: 'dpuctl.ask', retryable: code !== 'DPUCTL_USAGE', cause });
    this.advice = advice;
  }

  /** The status that the process ends with. */
  get exitStatus(): number {
    return EXIT_OF[this.code];
  }
}
