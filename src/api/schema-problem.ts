/**
 * From zod's issues to problems that a user can act on: the path of the field, what was seen, what is accepted, and the
 * nearest accepted word. One place, so that rules and configuration complain alike. Does not know any schema.
 */
import { z } from 'zod';
import type { Problem } from '../base/error.ts';
import { formatPath, type PathSegment } from './field-path.ts';
import { nearestWord } from './nearest.ts';

/** Problems listed for one document; the rest are counted. */
const PROBLEMS_LISTED = 50;
const TEXT_SHOWN = 60;

/** The error parameter of a zod schema: what it gets when a value is refused. */
type RawIssue = z.core.$ZodRawIssue;

const EXPECTED: ReadonlyMap<string, string> = new Map([
  ['int', 'a whole number'],
  ['number', 'a number'],
  ['string', 'a string'],
  ['boolean', 'true or false'],
  ['array', 'a list'],
  ['object', 'an object'],
  ['record', 'an object'],
]);

/** A value as a message shows it: short, whatever it is. */
export function describeValue(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > TEXT_SHOWN ? `${value.slice(0, TEXT_SHOWN)}...` : value);
    case 'number':
    case 'boolean':
    case 'bigint':
      return String(value);
    case 'undefined':
      return 'nothing';
    default:
      if (value === null) return 'null';
      return Array.isArray(value) ? 'a list' : 'an object';
  }
}

/** `"x" is not accepted; accepted: ...`, or `is missing; accepted: ...`. */
export function refusal(value: unknown, accepted: string): string {
  return value === undefined
    ? `is missing; accepted: ${accepted}`
    : `${describeValue(value)} is not accepted; accepted: ${accepted}`;
}

/** The error parameter of a schema that accepts what `accepted` says in words. */
export function accepts(accepted: string): { error: (issue: RawIssue) => string } {
  return { error: (issue) => refusal(issue.input, accepted) };
}

function enumRefusal(value: unknown, values: readonly unknown[]): string {
  const words = values.map(String);
  const near = typeof value === 'string' ? nearestWord(value, words) : undefined;
  const hint = near === undefined ? '' : `; did you mean ${near}?`;
  // YAML 1.1 readers, kubectl among them, take a bare on or off for a boolean.
  const quote =
    typeof value === 'boolean' && words.includes('on') ? ' (write "on" or "off" in quotes)' : '';
  return `${refusal(value, words.join(', '))}${quote}${hint}`;
}

function message(issue: RawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return refusal(issue.input, EXPECTED.get(issue.expected) ?? issue.expected);
    case 'invalid_value':
      return enumRefusal(issue.input, issue.values);
    case 'too_small':
    case 'too_big': {
      const small = issue.code === 'too_small';
      const limit = String(small ? issue.minimum : issue.maximum);
      const bound = `${small ? 'at least' : 'at most'} ${limit}`;
      if (issue.origin === 'string')
        return `${describeValue(issue.input)} is not accepted; accepted: ${bound} characters`;
      if (issue.origin === 'array') {
        const length = Array.isArray(issue.input) ? issue.input.length : 0;
        return `a list of ${length} is not accepted; accepted: ${bound} entries`;
      }
      return refusal(issue.input, bound);
    }
    case 'custom':
      return issue.message ?? refusal(issue.input, 'another value');
    default:
      return refusal(issue.input, `what the reference says (${issue.code})`);
  }
}

/** The object schema below wrappers such as optional and default. */
function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  let inner = schema;
  while (
    inner instanceof z.ZodOptional ||
    inner instanceof z.ZodDefault ||
    inner instanceof z.ZodPrefault
  ) {
    inner = inner.unwrap();
  }
  return inner;
}

function acceptedKeys(schema: z.core.$ZodType, path: readonly PropertyKey[]): string[] {
  let inner = unwrap(schema);
  for (const step of path) {
    if (inner instanceof z.ZodArray) inner = unwrap(inner.element);
    else if (inner instanceof z.ZodObject) {
      const next: z.core.$ZodType | undefined = new Map<PropertyKey, z.core.$ZodType>(
        Object.entries(inner.shape),
      ).get(step);
      if (next === undefined) return [];
      inner = unwrap(next);
    } else return [];
  }
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : [];
}

function segmentsOf(path: readonly PropertyKey[]): PathSegment[] {
  return path.map((step) => (typeof step === 'number' ? step : String(step)));
}

function issueProblems(schema: z.ZodType, issue: z.core.$ZodIssue): Problem[] {
  if (issue.code !== 'unrecognized_keys') {
    return [{ path: formatPath(segmentsOf(issue.path)), message: issue.message }];
  }
  const accepted = acceptedKeys(schema, issue.path);
  return issue.keys.slice(0, PROBLEMS_LISTED).map((key) => {
    const near = nearestWord(key, accepted);
    const hint = near === undefined ? `accepted: ${accepted.join(', ')}` : `did you mean ${near}?`;
    return {
      path: formatPath([...segmentsOf(issue.path), key]),
      message: `is not a known field; ${hint}`,
    };
  });
}

/** At most {@link PROBLEMS_LISTED} problems, and a last one that counts the others. */
export function boundProblems(problems: readonly Problem[]): Problem[] {
  const more = problems.length - PROBLEMS_LISTED;
  if (more <= 0) return [...problems];
  return [
    ...problems.slice(0, PROBLEMS_LISTED),
    { path: '', message: `and ${more} more problems` },
  ];
}

/** Checks `value` against `schema`: the value with its defaults, or problems. Never throws. */
export function parseWithSchema<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
): { value?: z.output<Schema>; problems: Problem[] } {
  const result = schema.safeParse(value, { error: message });
  if (result.success) return { value: result.data, problems: [] };
  const problems = result.error.issues.flatMap((issue) => issueProblems(schema, issue));
  return { problems: boundProblems(problems) };
}
