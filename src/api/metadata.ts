/**
 * The part of `metadata` that this product reads. The API server owns metadata and adds to it, so unknown fields are
 * ignored here, unlike everywhere else. It has no place in a CRD's schema beyond `type: object`.
 */
import { z } from 'zod';
import { dnsLabel, dnsSubdomain } from './field.ts';

const meta = {
  name: dnsSubdomain.describe('Name of the object.'),
  labels: z.record(z.string().max(317), z.string().max(63)).optional(),
  annotations: z.record(z.string().max(317), z.string().max(262_144)).optional(),
  uid: z.string().max(64).optional(),
  generation: z.int().min(0).optional(),
};

/** Metadata of an object that stands in a namespace. */
export const namespacedMeta = z.object({
  ...meta,
  namespace: dnsLabel.describe('Namespace of the object.'),
});

/** Metadata of an object that stands in no namespace. */
export const clusterMeta = z.object(meta);

/** Parsed metadata of a namespaced object. */
export type ObjectMeta = z.output<typeof namespacedMeta>;

/** Parsed metadata of a cluster-scoped object. */
export type ClusterObjectMeta = z.output<typeof clusterMeta>;
