/**
 * DPUPlacement: which rules of a fleet's namespace go to which customers, and in what order. It stands on the hub. One
 * source of type, validation, CRD and reference, as dpu-rule.ts.
 */
import { z } from 'zod';
import { wholeNumber } from './field.ts';
import { labelSelectorSchema } from './label-selector.ts';
import { accepts } from './schema-problem.ts';

/** A whole number, or a share in percent. */
const NUMBER_OR_PERCENT = /^(100|[1-9]?\d)%$|^\d{1,5}$/;
const DURATION_S_MAX = 86_400;

/** Schema of `spec`. */
export const dpuPlacementSpecSchema = z
  .strictObject({
    ruleSelector: labelSelectorSchema.describe(
      'DPURules of this namespace, by their labels. Empty: all. DPUGroups that they name go with them.',
    ),
    clusterSelector: labelSelectorSchema.describe('DPUClusters, by spec.labels. Empty: all.'),
    rollout: z
      .strictObject({
        type: z
          .enum(['All', 'Progressive', 'ByGroup'])
          .default('All')
          .describe(
            'All at once; Progressive, at most maxUnavailable at a time; ByGroup, one value of groupLabel after the other.',
          ),
        groupLabel: z
          .string()
          .min(1)
          .max(317)
          .optional()
          .describe('Label of the DPUClusters whose values are the groups, in the order of text.'),
        maxUnavailable: z
          .string(accepts('a number such as "3", or a share such as "25%"'))
          .max(5, accepts('a number such as "3", or a share such as "25%"'))
          .regex(NUMBER_OR_PERCENT, accepts('a number such as "3", or a share such as "25%"'))
          .default('25%')
          .describe('Clusters that may be in change at a time: a number or a share.'),
        minSuccessTime: wholeNumber(0, DURATION_S_MAX)
          .default(30)
          .describe('Seconds for which a cluster must be well before the next ones begin.'),
        maxFailures: wholeNumber(0, 10_000)
          .default(0)
          .describe('Clusters that may fail before the rollout stops.'),
        autoRollback: z
          .boolean()
          .default(false)
          .describe('When it stops, the clusters get the revision before.'),
        paused: z.boolean().default(false).describe('Begins with no further cluster while true.'),
      })
      .prefault({})
      .meta({
        'x-kubernetes-validations': [
          {
            // The default of the object itself is judged before its fields have theirs.
            rule: "(has(self.type) && self.type == 'ByGroup') == has(self.groupLabel)",
            message: 'groupLabel is required with type ByGroup, and used with no other',
          },
        ],
      })
      .describe('In what order the clusters get a change.'),
  })
  .describe('What is wanted.');
