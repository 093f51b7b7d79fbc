/**
 * Label selectors as Kubernetes defines them (meta/v1 LabelSelector): their schema, a canonical form, and whether labels
 * match. An empty selector matches everything; a selector that is not given is the caller's to interpret.
 */
import { z } from 'zod';
import type { Problem } from '../../base/error.ts';
import { accepts, describeValue } from '../../api/schema-problem.ts';

/** Most entries of one list in a selector: what a DPUGroup has room for. */
const SELECTOR_ENTRIES_MAX = 64;
const LABEL_NAME = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const LABEL_PREFIX =
  /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

const LABEL_KEY_ACCEPTED = 'a label key such as app or example.com/app';
const LABEL_VALUE_ACCEPTED =
  'a label value: at most 63 letters, digits and any of - _ ., beginning and ending with a letter or digit';

function isLabelKey(value: unknown): value is string {
  if (typeof value !== 'string') return false;
  const slash = value.indexOf('/');
  const name = value.slice(slash + 1);
  return LABEL_NAME.test(name) && (slash < 0 || LABEL_PREFIX.test(value.slice(0, slash)));
}

function isLabelValue(value: unknown): value is string {
  return typeof value === 'string' && (value === '' || LABEL_NAME.test(value));
}

/** What is wrong with a map of labels; undefined when nothing is. Looks at own keys only, `__proto__` among them. */
function labelsFault(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return `${describeValue(value)} is not accepted; accepted: labels, such as app: web`;
  }
  const entries: [string, unknown][] = Object.entries(value);
  if (entries.length > SELECTOR_ENTRIES_MAX) {
    return `${entries.length} labels are not accepted; accepted: at most ${SELECTOR_ENTRIES_MAX}`;
  }
  for (const [key, text] of entries) {
    if (!isLabelKey(key)) return `key ${describeValue(key)}: accepted: ${LABEL_KEY_ACCEPTED}`;
    if (!isLabelValue(text)) {
      return `${describeValue(key)}: ${describeValue(text)} is not accepted; accepted: ${LABEL_VALUE_ACCEPTED}`;
    }
  }
  return undefined;
}

const matchLabels = z.custom<Readonly<Record<string, string>>>(
  (value) => labelsFault(value) === undefined,
  { error: (issue) => labelsFault(issue.input) ?? '' },
);

const matchExpression = z.strictObject({
  key: z.custom<string>(isLabelKey, accepts(LABEL_KEY_ACCEPTED)),
  operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
  values: z
    .array(z.custom<string>(isLabelValue, accepts(LABEL_VALUE_ACCEPTED)))
    .max(SELECTOR_ENTRIES_MAX)
    .optional(),
});

/** Schema of a label selector; {@link checkSelector} says what it cannot. */
export const labelSelector = z.strictObject({
  matchLabels: matchLabels.optional(),
  matchExpressions: z.array(matchExpression).max(SELECTOR_ENTRIES_MAX).optional(),
});

/** A label selector whose fields are each valid. */
export type LabelSelector = z.output<typeof labelSelector>;

/** Labels of an object by key. */
export type Labels = ReadonlyMap<string, string>;

/** Problems of operators and their values, with paths that begin at `path`. */
export function checkSelector(selector: LabelSelector, path: string): Problem[] {
  return (selector.matchExpressions ?? []).flatMap(({ operator, values }, index) => {
    const needsValues = operator === 'In' || operator === 'NotIn';
    if (needsValues === (values ?? []).length > 0) return [];
    const message = needsValues
      ? `is missing; accepted: at least one value with operator ${operator}`
      : `is not accepted with operator ${operator}; accepted: no values`;
    return [{ path: `${path}.matchExpressions[${index}].values`, message }];
  });
}

/** True when `labels` satisfy every requirement. A key that is absent satisfies NotIn and DoesNotExist. */
export function selectorMatches(selector: LabelSelector, labels: Labels): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (labels.get(key) !== value) return false;
  }
  return (selector.matchExpressions ?? []).every(({ key, operator, values }) => {
    const value = labels.get(key);
    switch (operator) {
      case 'In':
        return value !== undefined && (values ?? []).includes(value);
      case 'NotIn':
        return value === undefined || !(values ?? []).includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
    }
  });
}

function byText(one: string, other: string): number {
  return one < other ? -1 : Number(one > other);
}

/** The same selector in one form: keys, expressions and values sorted, what is empty left out. */
export function canonicalSelector(selector: LabelSelector): LabelSelector {
  const labels = Object.entries(selector.matchLabels ?? {}).sort(([a], [b]) => byText(a, b));
  const expressions = (selector.matchExpressions ?? [])
    .map(({ key, operator, values }) => ({
      key,
      operator,
      ...(values === undefined || values.length === 0
        ? {}
        : { values: [...new Set(values)].sort(byText) }),
    }))
    .sort((a, b) => byText(JSON.stringify(a), JSON.stringify(b)));
  return {
    ...(labels.length === 0 ? {} : { matchLabels: Object.fromEntries(labels) }),
    ...(expressions.length === 0 ? {} : { matchExpressions: expressions }),
  };
}
