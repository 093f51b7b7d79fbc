/**
 * The last good rules must fit on the disk, or a reboot without the API server has none. Pure.
 */
import { bad, ok, unknown, type Check } from './check.ts';

/** The check. */
export const disk: Check = {
  id: 'disk',
  title: 'the state directory has room',
  run(facts) {
    if (facts.freeBytes === undefined) return unknown('the state directory cannot be looked at');
    const mebibytes = Math.floor(facts.freeBytes / 2 ** 20);
    const evidence = `${mebibytes} MiB are free`;
    if (mebibytes >= 256) return ok(evidence);
    return bad(
      mebibytes < 32 ? 'fail' : 'warn',
      evidence,
      'make room on the file system of state, or set state to another one',
    );
  },
};
