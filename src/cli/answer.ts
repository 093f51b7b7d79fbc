/**
 * The agent's answers, checked. Fields that this version does not know are let through, and those that an older agent may
 * not send have a default: a person who looks for a fault must not be stopped by a version.
 */
import * as z from 'zod';
import { DpuctlError } from './errors.ts';

const count = z.number().default(0);
const text = z.string().nullish();

/** The answer to `/status`. */
export const statusSchema = z.object({
  version: z.string(),
  node: z.string(),
  ready: z.boolean(),
  notReady: z.array(z.string()).default([]),
  startedAt: z.string(),
  uptimeSeconds: z.number(),
  bridge: z.object({ name: z.string(), datapathType: text, datapathId: text }),
  vtep: z.object({ ip: text, ofport: z.number().nullish(), problem: text }),
  ovsdb: z.object({ connected: z.boolean(), lock: z.boolean() }),
  openflow: z.object({ connected: z.boolean() }),
  source: z.object({
    kind: z.string(),
    path: text,
    revision: z.union([z.number(), z.string()]),
    objects: z.number(),
    staleSince: text,
  }),
  rules: z.object({ total: count, programmed: count, pending: count, refused: count }),
  flows: z.object({ desired: count, installed: count, foreign: count }),
  lastSync: z
    .object({ at: z.union([z.string(), z.number()]), durationMs: z.number(), flowMods: z.number() })
    .nullish(),
  endpoints: z.object({ local: count, remote: count }),
  problems: z
    .array(
      z.object({
        file: z.string().default(''),
        line: z.number().optional(),
        path: z.string().default(''),
        message: z.string(),
      }),
    )
    .default([]),
});

/** One row of `/rules`. */
export const ruleSchema = z.object({
  namespace: z.string(),
  name: z.string(),
  rule: z.string(),
  accepted: z.boolean(),
  programmed: z.boolean(),
  reason: z.string().default(''),
  message: z.string().default(''),
  flows: count,
  packets: count,
  bytes: count,
  rateLimited: count,
  /** What evidence says of its offload: `full`, `partial`, `none`, `notObserved`. */
  offload: z.string().optional(),
});

/** As much of an entry as filters need; the rest stays as it came. */
const ruleObjectSchema = z.looseObject({ namespace: z.string(), programmed: z.boolean() });

/** One row of `/flows`. */
export const flowSchema = z.object({
  table: z.number(),
  priority: z.number(),
  cookie: z.string(),
  match: z.string(),
  actions: z.string(),
  rule: z.string().default(''),
  packets: count,
  bytes: count,
});

/** The answer to `/status`. */
export type StatusAnswer = z.infer<typeof statusSchema>;
/** One row of `/rules`. */
export type RuleRow = z.infer<typeof ruleSchema>;
/** One row of `/rules` with all that the agent said, also what this version does not know. */
export type RuleObject = z.infer<typeof ruleObjectSchema>;
/** One row of `/flows`. */
export type FlowRow = z.infer<typeof flowSchema>;

/** Reads the answer to `/status`. Throws as {@link parseRules} does. */
export function parseStatus(body: string): StatusAnswer {
  return parseAnswer(statusSchema, body, '/status');
}

/**
 * Reads the answer to `/rules`.
 * @throws DpuctlError `DPUCTL_UNREACHABLE` when it is no JSON, or not what this version of dpuctl understands.
 */
export function parseRules(body: string): RuleRow[] {
  return parseAnswer(z.array(ruleSchema), body, '/rules');
}

/** Reads the answer to `/rules` to filter it and hand it on. Throws as {@link parseRules} does. */
export function parseRuleObjects(body: string): RuleObject[] {
  return parseAnswer(z.array(ruleObjectSchema), body, '/rules');
}

/** Reads the answer to `/flows`. Throws as {@link parseRules} does. */
export function parseFlows(body: string): FlowRow[] {
  return parseAnswer(z.array(flowSchema), body, '/flows');
}

/**
 * Reads the answer to `path` by a schema.
 * @throws DpuctlError `DPUCTL_UNREACHABLE` when it is no JSON, or not what this version of dpuctl understands.
 */
export function parseAnswer<Schema extends z.ZodType>(
  schema: Schema,
  body: string,
  path: string,
): z.infer<Schema> {
  const fail = (why: string, cause?: unknown): DpuctlError =>
    new DpuctlError(
      'DPUCTL_UNREACHABLE',
      `the answer to ${path} is not understood: ${why}`,
      'do dpuctl and dpu-agent have the same version? --json prints the answer as it came',
      cause,
    );
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (thrown) {
    throw fail('it is no JSON', thrown);
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw fail(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`, result.error);
}
