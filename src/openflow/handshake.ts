/**
 * What is asked of a switch after every connect: fragments that can be matched, a controller id of our own, and which
 * asynchronous messages to send. None of it survives a reconnect, and OVS sends nothing on its own before SET_ASYNC.
 */
import { Buffer } from 'node:buffer';
import { NX_VENDOR_ID, NXT, OFPC_FRAG } from './ofp13.ts';
import type { SwitchConfig } from './features.ts';

/** Fragments are matched (`nw_frag`) instead of looking like packets with port 0; 128 bytes of a packet are sent up. */
export const WANTED_CONFIG: SwitchConfig = { flags: OFPC_FRAG.NX_MATCH, missSendLen: 128 };

/** Reasons of packet-in that our flows can have: no match and an action, not invalid TTL (OpenFlow 1.3.5 section 7.4.1). */
const PACKET_IN_OURS = 0b011;
/** Reasons of port-status: add, delete, modify. */
const PORT_STATUS_ALL = 0b111;

/**
 * Body of OFPT_SET_ASYNC (OpenFlow 1.3.5 section 7.3.10): masks for packet-in, port-status and flow-removed, each for a
 * master or equal controller and for a slave. Flow-removed is never asked for: the flow monitor tells more.
 */
export function encodeSetAsync(): Buffer {
  const body = Buffer.alloc(24);
  body.writeUInt32BE(PACKET_IN_OURS, 0);
  body.writeUInt32BE(PORT_STATUS_ALL, 8);
  body.writeUInt32BE(PORT_STATUS_ALL, 12);
  return body;
}

/** Body of NXT_SET_CONTROLLER_ID: packet-ins of `controller(id=...)` actions come to this connection only. */
export function encodeSetControllerId(controllerId: number): Buffer {
  const body = Buffer.alloc(16);
  body.writeUInt32BE(NX_VENDOR_ID, 0);
  body.writeUInt32BE(NXT.SET_CONTROLLER_ID, 4);
  body.writeUInt16BE(controllerId, 14);
  return body;
}
