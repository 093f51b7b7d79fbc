/**
 * While flow-restore-wait stands, ovs-vswitchd forwards nothing new. Pure.
 */
import { bad, ok, unknown, type Check } from './check.ts';

/** The check. */
export const flowRestoreWait: Check = {
  id: 'flow-restore-wait',
  title: 'ovs-vswitchd does not wait for flows',
  run(facts) {
    if (facts.otherConfig === undefined) return unknown('OVSDB has not been read');
    return facts.otherConfig.get('flow-restore-wait') === 'true'
      ? bad(
          'fail',
          'other_config:flow-restore-wait=true',
          'the agent clears it once its flows are in: dpuctl status says what it waits for; else ovs-vsctl remove Open_vSwitch . other_config flow-restore-wait',
        )
      : ok('flow-restore-wait is not set');
  },
};
