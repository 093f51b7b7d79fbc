/**
 * `mirror`: a copy of what a rule has decided about, allowed or not, to a port of its network. A rule only names the port;
 * that the packet may go there is said by the flows of the port itself, in table 60 (`tables/devices.ts`), which match the
 * network. A copy leaves at once: no rule judges it, and none mirrors it again.
 */
import type { RuleEntry } from '../../api/dpu-rule.ts';
import type { Action } from '../../openflow/action.ts';
import { TABLE } from './pipeline.ts';
import { setCopyPort, setFlag } from './registers.ts';

/** What is wrong with the mirror of an entry; undefined when it can act. */
export function mirrorProblem(entry: RuleEntry): string | undefined {
  const { action, mirror, redirectPort, returnPort } = entry;
  if (mirror === undefined) return undefined;
  if (action === 'pass') return 'mirror has no meaning with action pass, which decides nothing';
  // The device would return the copy too, and the packet would arrive twice.
  return mirror.port === redirectPort || mirror.port === returnPort
    ? `mirror.port ${mirror.port} is a leg of the device that the rule redirects to; accepted: another port`
    : undefined;
}

/** Sends a copy to a port, unless it has got one of this packet before. */
export function copyTo(ofport: number): readonly Action[] {
  return [
    setCopyPort(ofport),
    setFlag('copy'),
    { type: 'resubmit', table: TABLE.divert.id },
    setFlag('copy', false),
  ];
}
