/**
 * A selector of objects by their labels, as Kubernetes defines it (metav1.LabelSelector): what a NetworkPolicy carries can
 * be copied here word for word. Says nothing of who resolves it.
 */
import { z } from 'zod';
import { labelMap } from './field.ts';

/** How a requirement compares a label. */
const SELECTOR_OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const;
/** Most requirements of one selector, and most values of one requirement. */
const REQUIREMENTS_MAX = 64;

const requirementSchema = z
  .strictObject({
    key: z.string().min(1).max(317).describe('Name of the label.'),
    operator: z
      .enum(SELECTOR_OPERATORS)
      .describe('In and NotIn compare with values; Exists and DoesNotExist take none.'),
    values: z
      .array(z.string().max(63))
      .max(REQUIREMENTS_MAX)
      .optional()
      .describe('Values to compare with: at least one with In and NotIn, none otherwise.'),
  })
  .refine(
    ({ operator, values = [] }) =>
      values.length > 0 === (operator === 'In' || operator === 'NotIn'),
    {
      path: ['values'],
      error: 'does not fit the operator; accepted: values with In and NotIn, none with the others',
    },
  )
  .meta({
    'x-kubernetes-validations': [
      {
        rule: "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
        message: 'In and NotIn need values; Exists and DoesNotExist take none',
      },
    ],
  });

/** Schema of a selector. An empty one selects everything. */
export const labelSelectorSchema = z
  .strictObject({
    matchLabels: labelMap.optional().describe('Labels that must be there with these values.'),
    matchExpressions: z
      .array(requirementSchema)
      .max(REQUIREMENTS_MAX)
      .optional()
      .describe('Requirements that must hold, all of them.'),
  })
  // As Kubernetes' own selectors: replaced as a whole. Merged field by field, a selector that becomes empty becomes null.
  .meta({ 'x-kubernetes-map-type': 'atomic' });
