/**
 * `log`: packets of a rule also go up to the agent, which writes a line about them (`packet/packet-log.ts`). A meter for each
 * network limits what goes up, so that no tenant takes another's lines; without an agent nothing is written, and packets go
 * where they would go anyway.
 */
import type { RuleEntry } from '../../api/dpu-rule.ts';
import type { Vni } from '../../base/brand.ts';
import type { Action } from '../../openflow/action.ts';
import { encodeMeter, type EncodedMeter } from '../../openflow/meter-mod.ts';
import { OFPR } from '../../openflow/ofp13.ts';
import { CONTROLLER_ID } from './reject.ts';

/** Packets of a network that go up in a second. */
const PACKETS_PER_SECOND = 100;
/** Bytes of a packet that go up: headers, with some options. */
const LOG_BYTES = 128;

/** What a line says of the rule, whatever the packet is. */
export interface LogTarget {
  readonly vni: Vni;
  readonly label: string;
  readonly action: RuleEntry['action'];
}

/** Which packets of an entry are logged: those of every connection, the first of each, or none. */
export function logScope({ log }: RuleEntry): 'all' | 'first' | undefined {
  switch (log?.mode) {
    case 'all':
    case 'drop':
      return 'all';
    case 'first':
      return 'first';
    case 'none':
    case undefined:
      return undefined;
  }
}

/** What is wrong with the log of an entry; undefined when it can act. */
export function logProblem(entry: RuleEntry): string | undefined {
  const { action, log } = entry;
  if (logScope(entry) === undefined) return undefined;
  if (action === 'pass') return 'log has no meaning with action pass, which decides nothing';
  return log?.mode === 'drop' && action !== 'deny' && action !== 'reject'
    ? `log.mode drop has no meaning with action ${action}; accepted: none, first, all`
    : undefined;
}

/** Name of the meter of a network's logged packets. */
export function logMeterName(vni: Vni): string {
  return `log/${vni}`;
}

/** That meter. */
export function logMeter(meterId: number): EncodedMeter {
  return encodeMeter({
    meterId,
    unit: 'pktps',
    rate: PACKETS_PER_SECOND,
    burst: PACKETS_PER_SECOND,
  });
}

/** Sends a copy of a logged packet up. The reason tells it from one that is to be answered. */
export function sendToLog(meterId: number): Action {
  const reason = OFPR.ACTION;
  return { type: 'controller', maxLen: LOG_BYTES, controllerId: CONTROLLER_ID, reason, meterId };
}
