/**
 * Without handlers every first packet of a flow is lost: ovs-vswitchd started within 10 s of boot may have none. Pure.
 */
import { bad, ok, unknown, type Check } from './check.ts';

/** The check. */
export const upcalls: Check = {
  id: 'upcalls',
  title: 'ovs-vswitchd takes up packets that no datapath flow matches',
  run(facts) {
    const counts = /lookups: hit:(\d+) missed:(\d+) lost:(\d+)/.exec(facts.datapathShow ?? '');
    if (counts === null) return unknown('ovs-vswitchd does not answer dpctl/show');
    const [missed, lost] = [Number(counts[2]), Number(counts[3])];
    const evidence = `${missed} packets missed the datapath, ${lost} of them were lost`;
    if (missed > 0 && lost >= missed)
      return bad(
        'fail',
        evidence,
        'restart ovs-vswitchd: it may have started with no handler threads, within 10 s of boot',
      );
    return lost > missed / 100 && lost > 100
      ? bad(
          'warn',
          evidence,
          'raise other_config:n-handler-threads, and look for floods of new flows (dpuctl top)',
        )
      : ok(evidence);
  },
};
