/**
 * DPUEndpointSlice: some of the endpoints that are attached to one DPU, and the VTEP behind which they are. Each agent writes
 * its own, at most 100 endpoints in each, and watches those of the others: VTEP discovery by Kubernetes. A slice without
 * endpoints still says that its VTEP is there. One source of type, validation, CRD and reference, as dpu-rule.ts.
 */
import { z } from 'zod';
import { parseIp } from '../base/address.ts';
import { addressText, dnsSubdomain, unicastMacText, vniNumber, wholeNumber } from './field.ts';
import { API_VERSION } from './labels.ts';
import { clusterMeta } from './metadata.ts';
import { accepts } from './schema-problem.ts';

/** Most endpoints of one slice. */
export const SLICE_ENDPOINTS_MAX = 100;
/** Most addresses of one endpoint. */
const ENDPOINT_ADDRESSES_MAX = 64;

const VTEP = accepts('an IPv4 address such as 192.168.1.11, the underlay of this release');

/** The address of a VTEP, as text. */
export const vtepText = z
  .string(VTEP)
  .max(15, VTEP)
  .refine((text) => parseIp(text)?.family === 4, VTEP)
  .meta({ pattern: '^[0-9]{1,3}(\\.[0-9]{1,3}){3}$' });

const endpointSchema = z.strictObject({
  vni: vniNumber.describe('VXLAN network identifier, 1..16777215, of the network it stands in.'),
  mac: unicastMacText.describe('MAC address of the endpoint.'),
  ips: z
    .array(addressText)
    .max(ENDPOINT_ADDRESSES_MAX)
    .default([])
    .describe('Addresses of the endpoint.'),
  sequence: wholeNumber(0, 0xffff_ffff)
    .default(0)
    .describe('Of two claims to one endpoint the higher sequence wins.'),
});

/** Schema of `spec`. */
export const dpuEndpointSliceSpecSchema = z
  .strictObject({
    node: dnsSubdomain.describe('Name of the DPU that wrote it: its DPUNode has it too.'),
    vtepIP: vtepText.describe('Address to which VXLAN packets for these endpoints go.'),
    endpoints: z
      .array(endpointSchema)
      .max(SLICE_ENDPOINTS_MAX)
      .default([])
      .describe('Endpoints that are attached to the DPU. None: the VTEP alone.'),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: 'self.node == oldSelf.node',
        message: 'a slice stays with its DPU: delete it, and let the other DPU write its own',
      },
    ],
  })
  .describe('What is behind one VTEP.');

/** Schema of a whole object as the agent reads it. */
export const dpuEndpointSliceSchema = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('DPUEndpointSlice'),
  metadata: clusterMeta,
  spec: dpuEndpointSliceSpecSchema,
});

/** A DPUEndpointSlice in its parsed form. */
export type DpuEndpointSlice = z.output<typeof dpuEndpointSliceSchema>;
