/**
 * pino behind the Logger interface, for the daemons of the hub: JSON lines with ISO times and level names. An error is what
 * it says of itself, without its stack and without anything that was sent.
 */
import { pino } from 'pino';
import type { Logger } from '../base/logger.ts';

/** Levels of a log. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
/** One of {@link LOG_LEVELS}. */
export type LogLevel = (typeof LOG_LEVELS)[number];

function errorFields(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  return 'toJSON' in error && typeof error.toJSON === 'function'
    ? (error.toJSON as () => unknown)()
    : { name: error.name, message: error.message };
}

/** Makes the logger of a daemon; it writes to standard output. */
export function makeLogger(level: LogLevel, program: string): Logger {
  return pino({
    level,
    base: { program },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: errorFields },
  });
}
