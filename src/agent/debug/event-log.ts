/**
 * The agent's recent events: its own log lines, kept in a ring beside where they are written, so that an operator need not
 * look for the log. Bounded in number and size. Secrets do not get in: only fields of plain kinds are kept.
 */
import { toError } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';

/** One event. */
export interface AgentEvent {
  /** Grows by one; a gap means that older ones were pushed out. */
  readonly id: number;
  /** ISO 8601. */
  readonly at: string;
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
  /** What the log line says beside its message, as text. */
  readonly fields: Readonly<Record<string, string>>;
}

const EVENTS_MAX = 500;
const FIELDS_MAX = 12;
const VALUE_MAX = 200;
const SECRET = /token|secret|password|kubeconfig|authorization|credential/i;

/** A logger that remembers. */
export class EventLog implements Logger {
  readonly #inner: Logger;
  readonly #events: AgentEvent[] = [];
  #nextId = 1;

  constructor(inner: Logger) {
    this.#inner = inner;
  }

  /** The events that are kept, oldest first. */
  get events(): readonly AgentEvent[] {
    return this.#events;
  }

  /** Sets the level of the log that is written; false when it has none. What is kept here stays the same. */
  setLevel(level: string): boolean {
    const inner = this.#inner;
    if (!('level' in inner)) return false;
    inner.level = level;
    this.warn({ level }, 'log level set by an operator');
    return true;
  }

  debug(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#inner.debug(fields, message);
  }

  info(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#inner.info(fields, message);
    this.#keep('info', fields, message);
  }

  warn(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#inner.warn(fields, message);
    this.#keep('warn', fields, message);
  }

  error(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#inner.error(fields, message);
    this.#keep('error', fields, message);
  }

  #keep(
    level: AgentEvent['level'],
    fields: Readonly<Record<string, unknown>>,
    message: string,
  ): void {
    const kept = Object.entries(fields)
      .filter(([name]) => !SECRET.test(name))
      .slice(0, FIELDS_MAX)
      .map(([name, value]) => [name, textOf(value).slice(0, VALUE_MAX)] as const);
    this.#events.push({
      id: this.#nextId++,
      at: new Date().toISOString(),
      level,
      message,
      fields: Object.fromEntries(kept),
    });
    if (this.#events.length > EVENTS_MAX) this.#events.shift();
  }
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return toError(value).message;
  try {
    const replace = (name: string, inner: unknown): unknown =>
      SECRET.test(name) ? '[redacted]' : typeof inner === 'bigint' ? inner.toString() : inner;
    return JSON.stringify(value, replace) ?? '';
  } catch {
    // Something that refers to itself: that it was there is all there is to say.
    return '[object]';
  }
}
