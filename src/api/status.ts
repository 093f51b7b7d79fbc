/**
 * `status` of the custom resources, as the CRDs publish it. Written by the spoke and the hub; what an agent writes is in
 * dpu-node.ts.
 */
import { z } from 'zod';

const count = z.int().min(0);

/** Conditions in the form that every Kubernetes tool knows (metav1.Condition). */
export const conditionsSchema = z
  .array(
    z.strictObject({
      type: z
        .string()
        .max(316)
        .describe('What the condition is about, such as Accepted or Programmed.'),
      status: z.enum(['True', 'False', 'Unknown']).describe('Whether the condition holds.'),
      reason: z.string().max(1024).describe('One word that says why.'),
      message: z.string().max(32_768).describe('The same for people.'),
      lastTransitionTime: z
        .string()
        .meta({ format: 'date-time' })
        .describe('When status changed last.'),
      observedGeneration: count.optional().describe('Generation of the spec that this is about.'),
    }),
  )
  .max(16)
  .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] })
  .describe('What is known about the object.');

/** Status of a DPURule: the sum of what the DPUs say. */
export const dpuRuleStatusSchema = z
  .strictObject({
    observedGeneration: count.optional().describe('Generation of the spec that this is about.'),
    desiredNodes: count.optional().describe('DPUs that the object applies to.'),
    programmedNodes: count.optional().describe('DPUs on which every rule is in force.'),
    failedNodes: count.optional().describe('DPUs that could not program a rule.'),
    unknownNodes: count.optional().describe('DPUs that have not reported, or not lately.'),
    notOffloadedNodes: count.optional().describe('DPUs on which a rule runs in software.'),
    conditions: conditionsSchema.optional(),
    failures: z
      .array(
        z.strictObject({
          node: z.string().max(253).describe('Name of the DPU.'),
          rule: z.string().max(63).describe('Name of the rule.'),
          reason: z.string().max(1024).describe('One word that says why.'),
          message: z.string().max(1024).describe('The same for people.'),
        }),
      )
      .max(20)
      .optional()
      .describe('Some of the failures.'),
  })
  .describe('What the DPUs made of it. Counters are in the metrics, not here.');

/** Status of a DPUNetwork. */
export const dpuNetworkStatusSchema = z
  .strictObject({
    observedGeneration: count.optional().describe('Generation of the spec that this is about.'),
    nodes: count.optional().describe('DPUs with an endpoint in the network.'),
    effectiveMTU: count
      .optional()
      .describe('MTU that every path of the network carries, in bytes.'),
    conditions: conditionsSchema.optional(),
  })
  .describe('What is known about the network.');

/** Status of a DPUGroup. */
export const dpuGroupStatusSchema = z
  .strictObject({
    observedGeneration: count.optional().describe('Generation of the spec that this is about.'),
    addresses: count.optional().describe('Addresses that the selectors found.'),
    slices: count.optional().describe('DPUGroupSlices that hold them.'),
    conditions: conditionsSchema.optional(),
  })
  .describe('What is known about the group.');

const time = z.string().meta({ format: 'date-time' });

/** Status of a DPUCluster. */
export const dpuClusterStatusSchema = z
  .strictObject({
    observedGeneration: count.optional().describe('Generation of the spec that this is about.'),
    lastContact: time.optional().describe('When the API server answered last.'),
    latencyMs: count.optional().describe('How long that answer took, in milliseconds.'),
    applied: count.optional().describe('Objects of the hub that are as they should be.'),
    drifted: count.optional().describe('Objects of the hub that others had changed.'),
    failed: count.optional().describe('Objects that the cluster refuses, or that others hold.'),
    conditions: conditionsSchema.optional(),
  })
  .describe('What is known about the cluster, and since when.');

/** Status of a DPUPlacement. */
export const dpuPlacementStatusSchema = z
  .strictObject({
    observedGeneration: count.optional().describe('Generation of the spec that this is about.'),
    revision: z.string().max(64).optional().describe('What is being rolled out: a hash of it.'),
    clusters: count.optional().describe('Clusters that are selected.'),
    updated: count.optional().describe('Clusters that have the revision.'),
    ready: count.optional().describe('Clusters on which it is in force and well.'),
    failed: count.optional().describe('Clusters on which it failed.'),
    unknown: count.optional().describe('Clusters that cannot be asked: not the same as failed.'),
    conditions: conditionsSchema.optional(),
  })
  .describe('How far the rollout is.');
