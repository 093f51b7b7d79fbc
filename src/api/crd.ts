/**
 * The CustomResourceDefinitions, built from the schemas: names, scope, columns of `kubectl get`, structural schema.
 * `scripts/generate.ts` writes them to deploy/crd.
 */
import type { z } from 'zod';
import { dpuClusterSpecSchema } from './dpu-cluster.ts';
import { dpuEndpointSliceSpecSchema } from './dpu-endpoint-slice.ts';
import { dpuGroupSpecSchema } from './dpu-group.ts';
import { dpuGroupSliceSpecSchema } from './dpu-group-slice.ts';
import { dpuNetworkSpecSchema } from './dpu-network.ts';
import { dpuNodeStatusSchema } from './dpu-node.ts';
import { dpuPlacementSpecSchema } from './dpu-placement.ts';
import { dpuRuleSpecSchema } from './dpu-rule.ts';
import { GROUP, VERSION } from './labels.ts';
import {
  dpuClusterStatusSchema,
  dpuGroupStatusSchema,
  dpuNetworkStatusSchema,
  dpuPlacementStatusSchema,
  dpuRuleStatusSchema,
} from './status.ts';
import { type SchemaNode, toStructuralSchema } from './structural-schema.ts';

/** A column of `kubectl get`. */
interface PrinterColumn {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date';
  readonly jsonPath: string;
  /** Above 0: shown with `-o wide` only. */
  readonly priority?: number;
}

/** All that makes a kind. */
export interface Kind {
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly scope: 'Namespaced' | 'Cluster';
  /** First sentence of `kubectl explain`. */
  readonly description: string;
  /** Undefined for a kind of which nothing is wanted. */
  readonly spec?: z.ZodType;
  /** Undefined for a kind that nobody reports on. */
  readonly status?: z.ZodType;
  /** Most characters of the name, where a label must hold it. */
  readonly nameMax?: number;
  readonly columns: readonly PrinterColumn[];
}

function condition(type: string): string {
  return `.status.conditions[?(@.type=="${type}")].status`;
}

function reason(type: string): string {
  return `.status.conditions[?(@.type=="${type}")].reason`;
}

const AGE: PrinterColumn = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };

/** Every kind that has a CRD. */
export const KINDS: readonly Kind[] = [
  {
    kind: 'DPURule',
    plural: 'dpurules',
    singular: 'dpurule',
    shortNames: ['dpur'],
    scope: 'Namespaced',
    description: 'DPURule says what may pass between endpoints of a network; DPUs enforce it.',
    spec: dpuRuleSpecSchema,
    status: dpuRuleStatusSchema,
    columns: [
      { name: 'Tier', type: 'string', jsonPath: '.spec.tier' },
      { name: 'Priority', type: 'integer', jsonPath: '.spec.priority' },
      { name: 'Network', type: 'string', jsonPath: '.spec.networkRef' },
      { name: 'Accepted', type: 'string', jsonPath: condition('Accepted') },
      { name: 'Programmed', type: 'integer', jsonPath: '.status.programmedNodes' },
      { name: 'Desired', type: 'integer', jsonPath: '.status.desiredNodes' },
      { name: 'Failed', type: 'integer', jsonPath: '.status.failedNodes', priority: 1 },
      { name: 'Unknown', type: 'integer', jsonPath: '.status.unknownNodes', priority: 1 },
      { name: 'Software', type: 'integer', jsonPath: '.status.notOffloadedNodes', priority: 1 },
      AGE,
    ],
  },
  {
    kind: 'DPUNetwork',
    plural: 'dpunetworks',
    singular: 'dpunetwork',
    shortNames: ['dpunet'],
    scope: 'Cluster',
    description: 'DPUNetwork is one VXLAN network: its VNI, who may name it, and how it behaves.',
    spec: dpuNetworkSpecSchema,
    status: dpuNetworkStatusSchema,
    columns: [
      { name: 'VNI', type: 'integer', jsonPath: '.spec.vni' },
      { name: 'Conntrack', type: 'string', jsonPath: '.spec.conntrack' },
      { name: 'Nodes', type: 'integer', jsonPath: '.status.nodes' },
      { name: 'MTU', type: 'integer', jsonPath: '.status.effectiveMTU', priority: 1 },
      AGE,
    ],
  },
  {
    kind: 'DPUGroup',
    plural: 'dpugroups',
    singular: 'dpugroup',
    shortNames: ['dpug'],
    scope: 'Namespaced',
    description: 'DPUGroup is a named set of addresses for the rules of its namespace.',
    spec: dpuGroupSpecSchema,
    status: dpuGroupStatusSchema,
    nameMax: 63,
    columns: [
      { name: 'Resolved', type: 'string', jsonPath: condition('Resolved') },
      { name: 'Pods', type: 'integer', jsonPath: '.status.addresses' },
      { name: 'Slices', type: 'integer', jsonPath: '.status.slices', priority: 1 },
      AGE,
    ],
  },
  {
    kind: 'DPUGroupSlice',
    plural: 'dpugroupslices',
    singular: 'dpugroupslice',
    shortNames: ['dpugs'],
    scope: 'Namespaced',
    description: 'DPUGroupSlice holds addresses that the selectors of a DPUGroup found.',
    spec: dpuGroupSliceSpecSchema,
    columns: [
      { name: 'Group', type: 'string', jsonPath: '.metadata.labels.dpu\\.network/group' },
      AGE,
    ],
  },
  {
    kind: 'DPUEndpointSlice',
    plural: 'dpuendpointslices',
    singular: 'dpuendpointslice',
    shortNames: ['dpues'],
    scope: 'Cluster',
    description: 'DPUEndpointSlice holds endpoints that are attached to one DPU, and its VTEP.',
    spec: dpuEndpointSliceSpecSchema,
    columns: [
      { name: 'Node', type: 'string', jsonPath: '.spec.node' },
      { name: 'VTEP', type: 'string', jsonPath: '.spec.vtepIP' },
      AGE,
    ],
  },
  {
    kind: 'DPUNode',
    plural: 'dpunodes',
    singular: 'dpunode',
    shortNames: ['dpun'],
    scope: 'Cluster',
    description: 'DPUNode is one DPU as its agent sees itself; administrators label it.',
    status: dpuNodeStatusSchema,
    columns: [
      { name: 'Ready', type: 'string', jsonPath: condition('Ready') },
      { name: 'Reason', type: 'string', jsonPath: reason('Ready') },
      { name: 'VTEP', type: 'string', jsonPath: '.status.vtepIP' },
      { name: 'Rules', type: 'integer', jsonPath: '.status.ruleEntries' },
      { name: 'Not-Ready', type: 'integer', jsonPath: '.status.notReadyTotal' },
      { name: 'Endpoints', type: 'integer', jsonPath: '.status.endpoints' },
      { name: 'Version', type: 'string', jsonPath: '.status.versions.agent' },
      { name: 'OVS', type: 'string', jsonPath: '.status.versions.openVSwitch', priority: 1 },
      { name: 'Kernel', type: 'string', jsonPath: '.status.versions.kernel', priority: 1 },
      AGE,
    ],
  },
  {
    kind: 'DPUCluster',
    plural: 'dpuclusters',
    singular: 'dpucluster',
    shortNames: ['dpuc'],
    scope: 'Namespaced',
    description: "DPUCluster is a customer's cluster as the hub knows it; it stands on the hub.",
    spec: dpuClusterSpecSchema,
    status: dpuClusterStatusSchema,
    columns: [
      { name: 'Reachable', type: 'string', jsonPath: condition('Reachable') },
      { name: 'Last-Contact', type: 'date', jsonPath: '.status.lastContact' },
      { name: 'Applied', type: 'integer', jsonPath: '.status.applied' },
      { name: 'Drifted', type: 'integer', jsonPath: '.status.drifted', priority: 1 },
      { name: 'Failed', type: 'integer', jsonPath: '.status.failed' },
      AGE,
    ],
  },
  {
    kind: 'DPUPlacement',
    plural: 'dpuplacements',
    singular: 'dpuplacement',
    shortNames: ['dpup'],
    scope: 'Namespaced',
    description: 'DPUPlacement says which rules go to which clusters, and in what order.',
    spec: dpuPlacementSpecSchema,
    status: dpuPlacementStatusSchema,
    columns: [
      { name: 'Rollout', type: 'string', jsonPath: '.spec.rollout.type' },
      { name: 'Clusters', type: 'integer', jsonPath: '.status.clusters' },
      { name: 'Updated', type: 'integer', jsonPath: '.status.updated' },
      { name: 'Ready', type: 'integer', jsonPath: '.status.ready' },
      { name: 'Failed', type: 'integer', jsonPath: '.status.failed' },
      AGE,
    ],
  },
];

/** Structural schema of a whole object of `kind`. */
export function objectSchema(kind: Kind): SchemaNode {
  return {
    type: 'object',
    description: kind.description,
    ...(kind.spec === undefined ? {} : { required: ['spec'] }),
    properties: {
      apiVersion: { type: 'string', description: `Version of the schema: ${GROUP}/${VERSION}.` },
      kind: { type: 'string', description: `Kind of the object: ${kind.kind}.` },
      metadata: { type: 'object' },
      ...(kind.spec === undefined ? {} : { spec: toStructuralSchema(kind.spec) }),
      ...(kind.status === undefined ? {} : { status: toStructuralSchema(kind.status) }),
    },
    ...(kind.nameMax === undefined
      ? {}
      : {
          'x-kubernetes-validations': [
            {
              rule: `self.metadata.name.size() <= ${kind.nameMax}`,
              message: `the name may have at most ${kind.nameMax} characters, since a label holds it`,
            },
          ],
        }),
  };
}

/** The CustomResourceDefinition of `kind` as a plain value. */
export function crdManifest(kind: Kind): SchemaNode {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${kind.plural}.${GROUP}` },
    spec: {
      group: GROUP,
      scope: kind.scope,
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural: kind.plural,
        singular: kind.singular,
        shortNames: kind.shortNames,
        categories: ['dpu'],
      },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          ...(kind.status === undefined ? {} : { subresources: { status: {} } }),
          additionalPrinterColumns: kind.columns,
          schema: { openAPIV3Schema: objectSchema(kind) },
        },
      ],
    },
  };
}
