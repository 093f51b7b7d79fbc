/**
 * Names that the agent, the hub and the cluster must spell alike: API group and version, labels, annotations, finalizers
 * and field managers. Strings only.
 */

/** API group of every custom resource of this product. */
export const GROUP = 'dpu.network';
/** The one served version. */
export const VERSION = 'v1alpha1';
/** `apiVersion` of every object. */
export const API_VERSION = `${GROUP}/${VERSION}`;
/** Label of a DPUGroupSlice: name of the DPUGroup of the same namespace that it belongs to. */
export const GROUP_LABEL = `${GROUP}/group`;
/** Label that Kubernetes puts on every namespace with the namespace's own name. */
export const NAMESPACE_NAME_LABEL = 'kubernetes.io/metadata.name';
/** Label of what was made from another object: that object's kind. */
export const ORIGIN_KIND_LABEL = `${GROUP}/origin-kind`;
/** Annotation of what was made from another object: `Kind/namespace/name`. */
export const ORIGIN_ANNOTATION = `${GROUP}/origin`;
/** Label of what a hub wrote: the hub's id. */
export const HUB_LABEL = `${GROUP}/hub`;
/** Annotation of what a hub wrote: a hash of what it wrote, which tells a new wish from an old one. */
export const APPLIED_ANNOTATION = `${GROUP}/applied`;
/** Label of what a spoke wrote: the name of its Lease. */
export const SPOKE_LABEL = `${GROUP}/spoke`;
/** Annotation of a spoke's Lease, "true": the next pass may delete more than half of what the spoke wrote. */
export const LARGE_PRUNE_ANNOTATION = `${GROUP}/allow-large-prune`;
