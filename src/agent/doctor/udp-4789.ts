/**
 * Packets of VXLAN come to UDP port 4789 (RFC 7348 section 5). Pure.
 */
import { bad, ok, unknown, type Check } from './check.ts';

/** The check. */
export const udp4789: Check = {
  id: 'udp-4789',
  title: 'something listens for VXLAN on UDP 4789',
  run(facts) {
    if (facts.vtep === undefined) return unknown('there is no tunnel yet');
    const { datapath, tunnelPorts, udpPorts } = facts;
    if (datapath === 'userspace') {
      if (tunnelPorts === undefined) return unknown('ovs-vswitchd does not answer');
      if (/\(4789\)|\b4789\b/.test(tunnelPorts)) return ok('ovs-vswitchd listens (tnl/ports/show)');
    } else {
      if (udpPorts === undefined) return unknown('/proc/net/udp cannot be read');
      if (udpPorts.has(4789)) return ok('the kernel listens (/proc/net/udp)');
    }
    return bad(
      'fail',
      'nothing listens on UDP 4789',
      'look at the port vtep0 (ovs-vsctl list interface vtep0), and whether another vxlan device has the port',
    );
  },
};
