/**
 * The custom resources that the hub writes, in the form in which a user would write them: defaults are left to the schema.
 * Types only.
 */
import type { z } from 'zod';
import type { dpuGroupSchema } from '../../api/dpu-group.ts';
import type { dpuRuleSchema } from '../../api/dpu-rule.ts';

/** A DPURule. */
export type DpuRuleManifest = z.input<typeof dpuRuleSchema>;
/** One entry of a DPURule. */
export type RuleEntryManifest = DpuRuleManifest['spec']['rules'][number];
/** What an entry matches. */
export type RuleMatchManifest = NonNullable<RuleEntryManifest['match']>;

/** A DPUGroup. */
export type DpuGroupManifest = z.input<typeof dpuGroupSchema>;
