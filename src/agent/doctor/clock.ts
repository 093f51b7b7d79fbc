/**
 * Rules expire, and certificates are checked, by the wall clock. Pure.
 */
import { bad, ok, unknown, type Check } from './check.ts';

/** The check. */
export const clock: Check = {
  id: 'clock',
  title: 'the clock is not before the program was installed',
  run(facts) {
    if (facts.builtMs === undefined) return unknown('the date of the program cannot be read');
    const evidence = `the clock says ${new Date(facts.nowMs).toISOString()}`;
    return facts.nowMs >= facts.builtMs
      ? ok(evidence)
      : bad(
          'fail',
          evidence,
          'set the clock, and run chrony or systemd-timesyncd over the management network',
        );
  },
};
