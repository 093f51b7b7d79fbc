/**
 * A bridge without fail_mode secure switches by itself when no controller is there. Pure.
 */
import { bad, ok, unknown, type Check } from './check.ts';

/** The check. */
export const failMode: Check = {
  id: 'fail-mode',
  title: 'fail_mode of the bridge is secure',
  run(facts) {
    if (facts.otherConfig === undefined) return unknown('OVSDB has not been read');
    if (facts.failMode === 'secure') return ok('fail_mode=secure');
    const evidence = `fail_mode is ${facts.failMode ?? 'not set, which is standalone'}`;
    return bad(
      'fail',
      evidence,
      'ovs-vsctl set-fail-mode BRIDGE secure: it flushes the flows, and the agent writes them again',
    );
  },
};
