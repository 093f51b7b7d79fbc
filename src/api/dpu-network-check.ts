/**
 * What one field of a DPUNetwork cannot say alone.
 */
import { parsePrefix, prefixContains } from '../base/address.ts';
import type { Problem } from '../base/error.ts';
import type { DpuNetworkSpec } from './dpu-network.ts';

/** Every cross-field problem of a `spec` whose fields are each valid, with paths that begin at the object. */
export function checkDpuNetworkSpec(spec: DpuNetworkSpec): Problem[] {
  if (spec.gateway === undefined || spec.subnets.length === 0) return [];
  const gateway = parsePrefix(spec.gateway);
  const inside = spec.subnets.some((text) => {
    const subnet = parsePrefix(text);
    return subnet !== undefined && gateway !== undefined && prefixContains(subnet, gateway);
  });
  if (inside) return [];
  return [
    {
      path: 'spec.gateway',
      message: `"${spec.gateway}" is in no subnet of the network; accepted: an address of ${spec.subnets.join(', ')}`,
    },
  ];
}
