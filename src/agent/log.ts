/**
 * pino behind the Logger interface: JSON lines with ISO times and level names, secrets redacted by path.
 */
import { pino, type Logger as PinoLogger } from 'pino';
import type { Logger } from '../base/logger.ts';

/** Levels that the configuration accepts. */
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

const REDACTED_PATHS = [
  '*.token',
  '*.secret',
  '*.password',
  '*.kubeconfig',
  'headers.authorization',
];

/** Makes the logger of the process; it writes to standard output. */
export function makeLogger(level: LogLevel, node: string): Logger {
  const logger: PinoLogger = pino({
    level,
    base: { node },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: REDACTED_PATHS,
    serializers: { err: errorFields },
  });
  return logger;
}

/** An error as fields: what it says of itself, never its stack, which tells an operator nothing. */
function errorFields(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  return 'toJSON' in error && typeof error.toJSON === 'function'
    ? (error.toJSON as () => unknown)()
    : { name: error.name, message: error.message };
}
