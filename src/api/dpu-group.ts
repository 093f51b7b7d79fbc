/**
 * DPUGroup: a name for a set of addresses that rules of its namespace refer to. Prefixes stand in it; pods are selected by
 * labels, and the spoke writes their addresses into DPUGroupSlices. One source of type, validation, CRD and reference, as
 * dpu-rule.ts.
 */
import { z } from 'zod';
import { ADDRESSES_MAX, groupName, prefixText } from './field.ts';
import { labelSelectorSchema } from './label-selector.ts';
import { API_VERSION } from './labels.ts';
import { namespacedMeta } from './metadata.ts';

/** Schema of `spec`. A group that names neither pods nor prefixes is empty: it matches nothing. */
export const dpuGroupSpecSchema = z
  .strictObject({
    podSelector: labelSelectorSchema
      .optional()
      .describe(
        "Pods of the group: of its own namespace, or of namespaceSelector's. Empty: all of them.",
      ),
    namespaceSelector: labelSelectorSchema
      .optional()
      .describe('Namespaces whose pods are in the group. Without podSelector: all their pods.'),
    cidrs: z
      .array(prefixText)
      .max(ADDRESSES_MAX)
      .default([])
      .describe('Addresses and prefixes of the group, IPv4 or IPv6.'),
    except: z
      .array(prefixText)
      .max(ADDRESSES_MAX)
      .default([])
      .describe('Addresses and prefixes that are taken out of cidrs; addresses of pods stay.'),
  })
  .describe('What is wanted.');

/** Schema of a whole object as the agent reads it; `status` is dropped. */
export const dpuGroupSchema = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('DPUGroup'),
  metadata: namespacedMeta.extend({ name: groupName.describe('Name of the object.') }),
  spec: dpuGroupSpecSchema,
  status: z.unknown().optional(),
});

/** A DPUGroup in its parsed form: defaults applied, every field checked. */
export type DpuGroup = Omit<z.output<typeof dpuGroupSchema>, 'status'>;
