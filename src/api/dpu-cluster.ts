/**
 * DPUCluster: a customer's cluster as the hub knows it: where it is, what it may be told, and what happens when it goes. It
 * stands on the hub, in the customer's own namespace. One source of type, validation, CRD and reference, as dpu-rule.ts.
 */
import { z } from 'zod';
import { dnsSubdomain, labelMap } from './field.ts';
import { accepts } from './schema-problem.ts';
import { parseVniRange } from './vni-range.ts';

/** Most ranges of VNIs of one customer. */
const VNI_RANGES_MAX = 64;
const URL_MAX = 2048;

const vniRange = z
  .string(accepts('a range of VNIs such as "1000-1999", or one of them'))
  .max(17, accepts('a range of VNIs such as "1000-1999"'))
  .refine(
    (value) => parseVniRange(value) !== undefined,
    accepts('a range of VNIs such as "1000-1999", or one of them'),
  )
  .meta({ pattern: '^[0-9]{1,8}(-[0-9]{1,8})?$' });

function url(accepted: string, pattern: RegExp): z.ZodString {
  const says = accepts(accepted);
  return z.string(says).max(URL_MAX, says).regex(pattern, says);
}

/** Schema of `spec`. */
export const dpuClusterSpecSchema = z
  .strictObject({
    apiServer: url('a URL such as https://10.100.2.10:6443', /^https:\/\/[^\s/]+(\/\S*)?$/)
      .optional()
      .describe("URL of the API server. Default: the kubeconfig's."),
    secretRef: z
      .strictObject({
        name: dnsSubdomain.describe('Name of the Secret, in the same namespace.'),
        key: z
          .string()
          .min(1)
          .max(253)
          .regex(/^[-._a-zA-Z0-9]+$/, accepts('a key of a Secret'))
          .default('kubeconfig')
          .describe('Key of the Secret that holds the kubeconfig.'),
      })
      .describe(
        'Kubeconfig: all of it in the text, without exec, auth-provider, files and insecure-skip-tls-verify.',
      ),
    proxy: url('a URL such as http://10.0.0.9:3128', /^(http|https|socks5):\/\/\S+$/)
      .optional()
      .describe("Proxy on the way to the API server. Default: the kubeconfig's."),
    labels: labelMap
      .optional()
      .describe('Labels that the clusterSelector of a DPUPlacement looks at.'),
    vniRanges: z
      .array(vniRange)
      .max(VNI_RANGES_MAX)
      .default([])
      .describe('VNIs that may be named here: a fence. Empty: none.'),
    paused: z.boolean().default(false).describe('Nothing is written while it is true.'),
    onDelete: z
      .enum(['orphan', 'delete'])
      .default('orphan')
      .describe(
        "What happens to the hub's objects in the cluster when this object is deleted: they stay (orphan), or go while the cluster can be reached.",
      ),
  })
  .describe('What is wanted.');
