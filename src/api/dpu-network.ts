/**
 * DPUNetwork: one VNI, who may name it, and how it behaves. Cluster-scoped, so that no tenant can write one. One source
 * of type, validation, CRD and reference, as dpu-rule.ts.
 *
 * Who may name it is a list (`namespaces`) and a selector (`namespaceSelector`), two fields: a structural schema has no
 * field that is either a list or an object.
 */
import { z } from 'zod';
import { addressText, dnsLabel, labelMap, prefixText, vniNumber, wholeNumber } from './field.ts';
import { API_VERSION } from './labels.ts';
import { clusterMeta, type ClusterObjectMeta } from './metadata.ts';

/** What the network's last rule does, for each direction. */
export const DEFAULT_ACTIONS = ['allow', 'deny'] as const;
/** What happens to a packet that no rule judged. */
export type DefaultAction = (typeof DEFAULT_ACTIONS)[number];

/** What happens to a unicast packet whose destination nobody knows. */
export const UNKNOWN_UNICAST = ['drop', 'flood'] as const;
/** One of {@link UNKNOWN_UNICAST}. */
export type UnknownUnicast = (typeof UNKNOWN_UNICAST)[number];

/** Most subnets of one network. */
export const SUBNETS_MAX = 64;
/** Most namespaces in one network's list. */
export const NAMESPACES_MAX = 256;

/** Default actions of a network; shared with the agent's configuration. */
export const defaultActionSchema = z
  .strictObject({
    ingress: z
      .enum(DEFAULT_ACTIONS)
      .default('allow')
      .describe('Verdict for packets towards an endpoint that no rule judged.'),
    egress: z
      .enum(DEFAULT_ACTIONS)
      .default('allow')
      .describe('Verdict for packets from an endpoint that no rule judged.'),
  })
  .prefault({})
  .describe(
    'What happens to packets that no rule judged. Without rules, endpoints of one VNI reach each other.',
  );

/** What to do with unknown unicast; shared with the agent's configuration. */
export const unknownUnicastSchema = z
  .enum(UNKNOWN_UNICAST)
  .default('drop')
  .describe('Unicast to a MAC address that nobody announced: drop, or flood to the whole network.');

/** Whether connections are tracked; shared with the agent's configuration. */
export const conntrackSchema = z
  .enum(['on', 'off'])
  .default('off')
  .describe('Whether replies of an allowed connection are allowed. Write the value in quotes.');

/** Whether endpoints of peers are learned; shared with the agent's configuration. */
export const remoteLearningSchema = z
  .enum(['on', 'off'])
  .default('off')
  .describe(
    'Whether a MAC that nobody declared is learned from packets of a known peer. Write the value in quotes.',
  );

/** Schema of `spec`. */
export const dpuNetworkSpecSchema = z
  .strictObject({
    vni: vniNumber.describe("VXLAN network identifier, 1..16777215; must be the customer's."),
    namespaces: z
      .array(dnsLabel)
      .max(NAMESPACES_MAX)
      .default([])
      .describe('Namespaces whose rules may name this network.'),
    namespaceSelector: z
      .strictObject({
        matchLabels: labelMap
          .default({})
          .describe(
            'Labels that the namespace must carry, all of them. Agents see no namespaces and know kubernetes.io/metadata.name alone: rules under any other label are refused there (VNINotAllowed).',
          ),
      })
      // Replaced as a whole: server-side apply would leave a null where the last label was taken away.
      .meta({ 'x-kubernetes-map-type': 'atomic' })
      .optional()
      .describe(
        'Namespaces whose rules may name this network, by label, in addition to namespaces. An empty selector: all of them.',
      ),
    subnets: z
      .array(prefixText)
      .max(SUBNETS_MAX)
      .default([])
      .describe('Prefixes in use in this network.'),
    gateway: addressText.optional().describe('Address of the router that the endpoints use.'),
    mtu: wholeNumber(576, 9216)
      .optional()
      .describe(
        'MTU of the endpoints in bytes. Default: that of the underlay less the VXLAN headers.',
      ),
    attachment: z
      .strictObject({
        secondary: z
          .string()
          .min(1)
          .max(317)
          .optional()
          .describe(
            "Name of the secondary network (network-status) that gives the pods' addresses.",
          ),
      })
      .optional()
      .describe('How pods are attached. Empty: their primary interface.'),
    conntrack: conntrackSchema,
    remoteLearning: remoteLearningSchema,
    defaultAction: defaultActionSchema,
    unknownUnicast: unknownUnicastSchema,
    dhcp: z
      .enum(DEFAULT_ACTIONS)
      .default('deny')
      .describe('Whether endpoints may send DHCP requests.'),
  })
  .describe('What is wanted.');

/** Schema of a whole object as the agent reads it; `status` is dropped. */
export const dpuNetworkSchema = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('DPUNetwork'),
  metadata: clusterMeta,
  spec: dpuNetworkSpecSchema,
  status: z.unknown().optional(),
});

/** `spec` with its defaults. */
export type DpuNetworkSpec = z.output<typeof dpuNetworkSpecSchema>;

/** A DPUNetwork in its parsed form: defaults applied, every field checked. */
export interface DpuNetwork extends Omit<z.output<typeof dpuNetworkSchema>, 'status'> {
  metadata: ClusterObjectMeta;
}
