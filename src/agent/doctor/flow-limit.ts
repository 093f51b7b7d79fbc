/**
 * At the limit of datapath flows the slow path does all the work. Pure.
 */
import { bad, ok, unknown, type Check } from './check.ts';

/** The check. */
export const flowLimit: Check = {
  id: 'flow-limit',
  title: 'there is room for more datapath flows',
  run(facts) {
    const counts = /current (\d+)\).*\(limit (\d+)\)/.exec(facts.upcalls ?? '');
    if (counts === null) return unknown('ovs-vswitchd does not answer upcall/show');
    const [current, limit] = [Number(counts[1]), Number(counts[2])];
    const evidence = `${current} flows of at most ${limit}`;
    return current < 0.9 * limit
      ? ok(evidence)
      : bad('warn', evidence, 'raise other_config:flow-limit, or lower max-idle');
  },
};
