/**
 * `rateLimit`: a meter in front of what a rule has allowed or redirected, where the packet leaves its source endpoint; each
 * DPU has a meter of its own. A packet over the limit ends there and is counted by the meter.
 */
import type { RuleEntry } from '../../api/dpu-rule.ts';
import { encodeMeter, type EncodedMeter } from '../../openflow/meter-mod.ts';

type RateLimit = NonNullable<RuleEntry['rateLimit']>;

/** Without `burst` a tenth of a second's worth may come at once, and never less than a few packets. */
const BURST_PART = 10;
const BURST_PACKETS_MIN = 10;
/** Two frames of 8,950 bytes: a meter whose burst is less than a frame lets no such frame through. */
const BURST_KBITS_MIN = 144;

/** What is wrong with the limit of an entry; undefined when it can act. */
export function rateLimitProblem({ action, direction, rateLimit }: RuleEntry): string | undefined {
  if (rateLimit === undefined) return undefined;
  if (action !== 'allow' && action !== 'redirect') {
    return `rateLimit has no meaning with action ${action}; accepted: allow, redirect`;
  }
  return direction === 'Ingress'
    ? 'rateLimit acts where a packet leaves its source; accepted: direction Egress or Both'
    : undefined;
}

/** The meter of a limit. */
export function rateMeter({ pps, kbps, burst }: RateLimit, meterId: number): EncodedMeter {
  const rate = pps ?? kbps ?? 1;
  const least = pps === undefined ? BURST_KBITS_MIN : BURST_PACKETS_MIN;
  return encodeMeter({
    meterId,
    unit: pps === undefined ? 'kbps' : 'pktps',
    rate,
    burst: burst ?? Math.max(least, Math.ceil(rate / BURST_PART)),
  });
}
