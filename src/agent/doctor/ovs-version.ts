/**
 * What the agent asks of Open vSwitch is in 3.1 and later. Pure.
 */
import { bad, ok, unknown, type Check } from './check.ts';

/** The check. */
export const ovsVersion: Check = {
  id: 'ovs-version',
  title: 'Open vSwitch is 3.1 or later',
  run(facts) {
    const parts = /^(\d+)\.(\d+)/.exec(facts.ovsVersion ?? '');
    if (parts === null) return unknown('ovs-vswitchd has not written its version');
    const [major, minor] = [Number(parts[1]), Number(parts[2])];
    const evidence = `ovs-vswitchd ${facts.ovsVersion ?? ''}`;
    if (major > 3 || (major === 3 && minor >= 1)) return ok(evidence);
    return bad('fail', evidence, 'upgrade Open vSwitch to 3.1 or later');
  },
};
