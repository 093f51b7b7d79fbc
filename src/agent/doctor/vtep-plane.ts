/**
 * VXLAN must run on the data plane: a VTEP on the management interface carries tenants over it. Pure.
 */
import { bad, MANAGEMENT, ok, unknown, vtepDevice, type Check } from './check.ts';

/** The check. */
export const vtepPlane: Check = {
  id: 'vtep-plane',
  title: 'the VTEP is not on a management interface',
  run(facts) {
    if (facts.vtep === undefined) return unknown('there is no tunnel yet');
    if (facts.addresses === undefined) return unknown('the kernel was not asked for addresses');
    const device = vtepDevice(facts);
    if (device === undefined) {
      return bad(
        'warn',
        `no interface here has ${facts.vtep}`,
        'is the address that of a bridge in another network namespace? else set vtep in the configuration',
      );
    }
    const evidence = `${facts.vtep} is on ${device.name}`;
    return MANAGEMENT.test(device.name)
      ? bad(
          'fail',
          evidence,
          'set vtep.interface to the data interface (p0, p1 or a bond), and unset VTEP_LOCAL_IP',
        )
      : ok(evidence);
  },
};
