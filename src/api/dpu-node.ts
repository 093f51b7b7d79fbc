/**
 * DPUNode: one DPU as its agent sees itself. Administrators label it; its agent writes the status, seldom and small, so that
 * a thousand of them cost an API server little. It says what is not ready: whatever it does not list is in force as soon as
 * the marks have passed it. One source of type, CRD and reference, as dpu-rule.ts.
 */
import { z } from 'zod';
import { dnsSubdomain } from './field.ts';
import { conditionsSchema } from './status.ts';
import { vtepText } from './dpu-endpoint-slice.ts';

/** Most entries of rules that a DPU lists. */
export const NODE_ENTRIES_MAX = 50;
/** Longest message of one of them. */
export const NODE_MESSAGE_MAX = 256;

const count = z.int().min(0);
const mark = z.string().max(64).optional();

const entriesSchema = z
  .array(
    z.strictObject({
      namespace: z.string().max(63).describe('Namespace of the DPURule.'),
      name: dnsSubdomain.describe('Name of the DPURule.'),
      rule: z.string().max(63).describe('Name of the entry.'),
      reason: z.string().max(64).describe('One word that says why.'),
      message: z.string().max(NODE_MESSAGE_MAX).describe('The same for people.'),
    }),
  )
  .max(NODE_ENTRIES_MAX);

/** Schema of `status`. */
export const dpuNodeStatusSchema = z
  .strictObject({
    vtepIP: vtepText.optional().describe('Address of the VTEP; absent while there is none.'),
    versions: z
      .strictObject({
        agent: z.string().max(64).optional().describe('Version of dpu-agent.'),
        openVSwitch: z.string().max(64).optional().describe('Version of Open vSwitch.'),
        kernel: z.string().max(128).optional().describe('Release of the kernel.'),
      })
      .optional()
      .describe('What runs there.'),
    capabilities: z
      .strictObject({
        datapathType: z
          .string()
          .max(64)
          .optional()
          .describe('Datapath of the bridge: system is the kernel, netdev is userspace.'),
      })
      .optional()
      .describe('What the DPU can do.'),
    marks: z
      .strictObject({
        rules: mark.describe('Version (resourceVersion) up to which DPURules are processed.'),
        networks: mark.describe('Version (resourceVersion) up to which DPUNetworks are processed.'),
        groups: mark.describe('Version (resourceVersion) up to which DPUGroups are processed.'),
        groupSlices: mark.describe(
          'Version (resourceVersion) up to which DPUGroupSlices are processed.',
        ),
      })
      .optional()
      .describe(
        'How far the agent is: every change of a spec up to these versions is in force, or listed under notReady.',
      ),
    endpoints: count.optional().describe('Endpoints that are attached.'),
    ruleEntries: count.optional().describe('Entries of DPURules that apply here.'),
    notReady: entriesSchema.optional().describe('Entries that are not in force; not all of them.'),
    notReadyTotal: count.optional().describe('How many there are in truth.'),
    notOffloaded: entriesSchema
      .optional()
      .describe('Entries that run in software; absent while the agent does not know.'),
    notOffloadedTotal: count.optional().describe('How many there are in truth.'),
    conditions: conditionsSchema.optional(),
  })
  .describe('What the agent knows of itself.');

/** A status as it is written. */
export type DpuNodeStatus = z.input<typeof dpuNodeStatusSchema>;
