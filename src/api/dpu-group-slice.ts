/**
 * DPUGroupSlice: some of the addresses that a DPUGroup's selectors found, with their VNIs and named ports. The spoke writes
 * them, at most 1,000 entries in each, and keeps an entry in its slice, so that a pod that comes or goes changes one small
 * object. As with EndpointSlices a label names the group.
 */
import { z } from 'zod';
import { addressText, dnsLabel, groupName, vniNumber, wholeNumber } from './field.ts';
import { API_VERSION, GROUP_LABEL } from './labels.ts';
import { namespacedMeta } from './metadata.ts';
import { PORT_MAX } from './port-range.ts';
import { accepts } from './schema-problem.ts';

/** Most entries of one slice. */
export const SLICE_ENTRIES_MAX = 1000;
/** Most named ports of one entry. */
const NAMED_PORTS_MAX = 32;
/** Protocols that a named port may have. */
const NAMED_PORT_PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const;

const SAYS = accepts('a protocol and a port such as [TCP, 8080]');

const namedPort = z
  .tuple([z.enum(NAMED_PORT_PROTOCOLS, SAYS), wholeNumber(1, PORT_MAX)], SAYS)
  .meta({
    type: 'array',
    minItems: 2,
    maxItems: 2,
    items: {
      'x-kubernetes-int-or-string': true,
      anyOf: [{ type: 'integer' }, { type: 'string' }],
      minimum: 1,
      maximum: PORT_MAX,
      maxLength: 4,
    },
    'x-kubernetes-validations': [
      {
        rule: "type(self[0]) == string && self[0] in ['TCP', 'UDP', 'SCTP'] && type(self[1]) == int",
        message: 'a named port is a protocol (TCP, UDP or SCTP) and a number, such as [TCP, 8080]',
      },
    ],
  });

const entrySchema = z.strictObject({
  ip: addressText.describe('Address of the pod.'),
  vni: vniNumber.describe('VXLAN network identifier, 1..16777215, of the network it stands in.'),
  ports: z
    .record(dnsLabel, namedPort)
    .refine(
      (ports) => Object.keys(ports).length <= NAMED_PORTS_MAX,
      accepts(`at most ${NAMED_PORTS_MAX} named ports`),
    )
    .meta({ maxProperties: NAMED_PORTS_MAX })
    .optional()
    .describe('Named ports of the pod, each a protocol and a number: http: [TCP, 8080].'),
});

/** Schema of `spec`. */
export const dpuGroupSliceSpecSchema = z
  .strictObject({
    entries: z
      .array(entrySchema)
      .max(SLICE_ENTRIES_MAX)
      .default([])
      .describe('Addresses of the group. An agent drops those of other VNIs than its rule has.'),
  })
  .describe('What the selectors of the group found.');

/** Schema of a whole object as the agent reads it. */
export const dpuGroupSliceSchema = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('DPUGroupSlice'),
  metadata: namespacedMeta.extend({
    labels: z
      .object({ [GROUP_LABEL]: groupName }, accepts(`labels, among them ${GROUP_LABEL}`))
      .catchall(z.string().max(63)),
  }),
  spec: dpuGroupSliceSpecSchema,
});

/** A DPUGroupSlice in its parsed form. */
export type DpuGroupSlice = z.output<typeof dpuGroupSliceSchema>;
