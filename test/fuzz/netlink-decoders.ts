/**
 * The decoders of src/netlink, with recordings of the kernel as samples (test/fixtures/netlink).
 */
import { Buffer } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeAddress } from '../../src/netlink/address.ts';
import { attributesByType, decodeAttributes, readText } from '../../src/netlink/attribute.ts';
import { decodeLink } from '../../src/netlink/link.ts';
import { Answer, decodeMessages, type NetlinkMessage } from '../../src/netlink/message.ts';
import { decodeRoute } from '../../src/netlink/route.ts';
import { bytesDecoder, type FuzzedDecoder } from './decoder.ts';

const FIXTURES = join(import.meta.dirname, '../fixtures/netlink');
/** The nested attribute of a link (linux/if_link.h). */
const IFLA_LINKINFO = 18;
const NOTHING = Buffer.alloc(0);
const PLACE = { op: 'fuzz', family: 0 };

function datagrams(name: string): Buffer[] {
  const lines = readFileSync(join(FIXTURES, `${name}.hex`), 'utf8').split('\n');
  return lines.filter((line) => /^[0-9a-f]+$/.test(line)).map((line) => Buffer.from(line, 'hex'));
}

const [links, addresses, errors] = [
  datagrams('links'),
  datagrams('addresses'),
  datagrams('errors'),
];
/** Attributes of a link: what follows ifinfomsg. */
const attributes = links
  .flatMap(decodeMessages)
  .map(({ payload }) => payload.subarray(16))
  .filter(({ length }) => length > 0);

/** The entries of an answer that is one datagram. */
function answered(datagram: Buffer): readonly NetlinkMessage[] {
  const answer = new Answer(PLACE);
  for (const message of decodeMessages(datagram)) if (answer.push(message)) break;
  return answer.messages;
}

/** A route as the kernel answers it: rtmsg, RTA_DST, RTA_OIF, RTA_GATEWAY. */
const ROUTE = Buffer.from(
  '0220000000000001000000000800010' + '0c00002070800040005000000' + '08000500c0000201',
  'hex',
);

/** All decoders of netlink. */
export const NETLINK_DECODERS: readonly FuzzedDecoder[] = [
  bytesDecoder(
    'netlink answer',
    [...links, ...addresses, ...errors],
    (bytes) => void answered(bytes),
  ),
  bytesDecoder('netlink attributes', attributes, (bytes) => {
    const info = attributesByType(bytes, 'fuzz').get(IFLA_LINKINFO);
    for (const { value } of decodeAttributes(info ?? NOTHING, 'fuzz')) readText(value);
  }),
  bytesDecoder('netlink link', links, (bytes) => answered(bytes).forEach(decodeLink)),
  bytesDecoder('netlink route', [ROUTE], (payload) => {
    decodeRoute({ type: 24, flags: 0, seq: 1, pid: 1, payload });
  }),
  bytesDecoder('netlink address', addresses, (bytes) => answered(bytes).forEach(decodeAddress)),
];
