/**
 * Every decoder of bytes that come from a peer. A new one is added to the list of its protocol.
 */
import type { FuzzedDecoder } from './decoder.ts';
import { NETLINK_DECODERS } from './netlink-decoders.ts';
import { OPENFLOW_DECODERS } from './openflow-decoders.ts';
import { OVSDB_DECODERS } from './ovsdb-decoders.ts';

/** All of them. */
export const DECODERS: readonly FuzzedDecoder[] = [
  ...OPENFLOW_DECODERS,
  ...OVSDB_DECODERS,
  ...NETLINK_DECODERS,
];
