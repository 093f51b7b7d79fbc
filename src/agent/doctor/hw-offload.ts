/**
 * Nothing is offloaded without other_config:hw-offload, which is read when the daemon starts. Pure.
 */
import { bad, ok, unknown, type Check } from './check.ts';

/** The check. */
export const hwOffload: Check = {
  id: 'hw-offload',
  title: 'hardware offload is switched on',
  run(facts) {
    if (facts.otherConfig === undefined) return unknown('OVSDB has not been read');
    const set = facts.otherConfig.get('hw-offload') === 'true';
    const evidence = `hw-offload=${String(set)}, datapath ${facts.datapath}`;
    if (facts.datapath === 'userspace')
      return bad(
        'warn',
        evidence,
        'the userspace datapath forwards by itself: use datapath_type system or DOCA on a DPU',
      );
    return set
      ? ok(evidence)
      : bad(
          'fail',
          evidence,
          'ovs-vsctl set Open_vSwitch . other_config:hw-offload=true, and restart ovs-vswitchd',
        );
  },
};
