/**
 * `action: reject`: a deny whose packets also go up to the agent, which answers them. A meter for each network limits what goes
 * up, so that no tenant takes another's answers; without an agent the packets are dropped in silence.
 */
import type { Vni } from '../../base/brand.ts';
import type { Action } from '../../openflow/action.ts';
import { encodeMeter, type EncodedMeter } from '../../openflow/meter-mod.ts';
import { OFPR } from '../../openflow/ofp13.ts';
import { TABLE } from './pipeline.ts';
import { setFlag, setSource, setVni } from './registers.ts';

/** Controller id that the agent gives itself on its OpenFlow connections: packet-ins for it reach nobody else. */
export const CONTROLLER_ID = 0xd9a6;
/** Answers that a network gets in a second. */
const ANSWERS_PER_SECOND = 100;
/** Bytes of a packet that go up: headers, and what an ICMP error quotes. */
const REJECT_BYTES = 128;

/** Name of the meter of a network's rejected packets. */
export function rejectMeterName(vni: Vni): string {
  return `reject/${vni}`;
}

/** That meter. */
export function rejectMeter(meterId: number): EncodedMeter {
  return encodeMeter({
    meterId,
    unit: 'pktps',
    rate: ANSWERS_PER_SECOND,
    burst: ANSWERS_PER_SECOND,
  });
}

/** Sends a rejected packet up. The reason tells it from one that is logged. */
export function sendUp(meterId: number): Action {
  const reason = OFPR.NO_MATCH;
  return { type: 'controller', maxLen: REJECT_BYTES, controllerId: CONTROLLER_ID, reason, meterId };
}

/** What is done with an answer: into the network, past the policy of whom it is for, and to wherever its MAC stands. */
export function answerActions(vni: Vni): readonly Action[] {
  return [
    setVni(vni),
    setSource('local'),
    setFlag('skipPolicy'),
    { type: 'resubmit', table: TABLE.forward.id },
  ];
}
