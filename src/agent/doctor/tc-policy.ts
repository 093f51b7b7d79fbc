/**
 * tc-policy skip_hw keeps everything in software, skip_sw what hardware refuses on the slow path. Pure.
 */
import { bad, ok, unknown, type Check } from './check.ts';

/** The check. */
export const tcPolicy: Check = {
  id: 'tc-policy',
  title: 'tc-policy lets flows into hardware, and others into the kernel',
  run(facts) {
    if (facts.otherConfig === undefined) return unknown('OVSDB has not been read');
    const policy = facts.otherConfig.get('tc-policy') ?? 'none';
    const evidence = `tc-policy=${policy}`;
    return policy === 'none'
      ? ok(evidence)
      : bad('warn', evidence, 'ovs-vsctl remove Open_vSwitch . other_config tc-policy');
  },
};
