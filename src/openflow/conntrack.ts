/**
 * NXT_CT_FLUSH_ZONE (OVS `include/openflow/nicira-ext.h`): the one thing about the connection tracker that is a message and
 * not an action. Open vSwitch 2.6 and later have it.
 *
 * ```
 *  0           4          8             14     16
 * +-----------+----------+-------------+------+
 * | vendor    | subtype  |    zero     | zone |      body of OFPT_EXPERIMENTER
 * +-----------+----------+-------------+------+
 * ```
 */
import { Buffer } from 'node:buffer';
import { NX_VENDOR_ID, NXT } from './ofp13.ts';

/** Body of the message that forgets all connections of a zone, 0..65535. */
export function encodeConntrackFlushZone(zone: number): Buffer {
  const body = Buffer.alloc(16);
  body.writeUInt32BE(NX_VENDOR_ID, 0);
  body.writeUInt32BE(NXT.CT_FLUSH_ZONE, 4);
  body.writeUInt16BE(zone, 14);
  return body;
}
