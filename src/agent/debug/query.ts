/**
 * Questions to the debug socket: the parameters of a URL, read one by one, with what is accepted where one is wrong.
 */
import { BaseError } from '../../base/error.ts';

/** A question that cannot be answered as it was put: HTTP 400. */
export class QueryError extends BaseError<'DEBUG_BAD_QUERY'> {
  constructor(message: string) {
    super(message, { code: 'DEBUG_BAD_QUERY', op: 'debug.query', retryable: false });
  }
}

/**
 * Refuses what a path does not know: a misspelt parameter must not change the answer in silence.
 * @throws QueryError that names the parameter and those that are accepted, or one that comes twice.
 */
export function checkParameters(query: URLSearchParams, known: readonly string[]): void {
  for (const name of query.keys()) {
    if (!known.includes(name)) {
      const accepted = known.length === 0 ? 'none' : known.join(', ');
      throw new QueryError(`there is no parameter ${show(name)}; accepted: ${accepted}`);
    }
    if (query.getAll(name).length > 1) throw new QueryError(`${name} is given twice`);
  }
}

/**
 * A whole number within bounds; undefined when the parameter is absent.
 * @throws QueryError when it is anything else.
 */
export function numberParameter(
  query: URLSearchParams,
  name: string,
  min: number,
  max: number,
): number | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
  if (value >= min && value <= max) return value;
  throw new QueryError(`${name} is ${show(text)}; accepted: a whole number ${min}..${max}`);
}

/** A value as messages show it: short, in quotes. */
export function show(text: string): string {
  return JSON.stringify(text.slice(0, 60));
}
