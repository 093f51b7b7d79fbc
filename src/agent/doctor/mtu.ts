/**
 * A VXLAN header of 50 bytes must fit beside the packets of pods (RFC 7348 section 4.3). Pure.
 */
import { bad, ok, unknown, vtepDevice, type Check } from './check.ts';

/** The check. */
export const mtu: Check = {
  id: 'mtu',
  title: 'the underlay has room for a VXLAN header of 50 bytes around 1500',
  run(facts) {
    const device = vtepDevice(facts);
    if (device === undefined) return unknown('the interface of the VTEP is not known');
    const evidence = `${device.name} has MTU ${device.mtuBytes}, pods may use ${device.mtuBytes - 50}`;
    if (device.mtuBytes >= 1550) return ok(evidence);
    return bad(
      'warn',
      evidence,
      `set the MTU of ${device.name} to at least 1550 on the whole path, or that of pods to ${device.mtuBytes - 50}`,
    );
  },
};
