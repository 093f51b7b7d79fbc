/**
 * Building blocks of the schemas: one zod schema per sort of value, with the text that says what it accepts and, where
 * JSON Schema cannot follow, the fragment that stands for it in the CRD. Addresses are checked by src/base/address.ts, so
 * that the agent accepts exactly what it can compile.
 */
import { z } from 'zod';
import { isMulticastMac, parseIp, parseMac, parsePrefix } from '../base/address.ts';
import { VNI_MAX } from '../base/brand.ts';
import { parsePortRange, PORT_MAX, PORT_RANGE_PATTERN } from './port-range.ts';
import { accepts } from './schema-problem.ts';

/** Most addresses in one list of a rule. */
export const ADDRESSES_MAX = 1024;
/** Most ports in one list of a rule. */
export const PORTS_MAX = 256;
/** Longest text of an IPv6 prefix with an embedded IPv4 address. */
const PREFIX_TEXT_MAX = 49;

const DNS_LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const DNS_SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
/** Characters of a name that ovs-vsctl and the kernel both take for a port. */
const PORT_NAME = /^[A-Za-z0-9_.:@-]+$/;

function text(maxLength: number, pattern: RegExp, accepted: string): z.ZodString {
  const says = accepts(accepted);
  return z.string(says).min(1, says).max(maxLength, says).regex(pattern, says);
}

/** A DNS-1123 label: names of namespaces and of rules. */
export const dnsLabel = text(
  63,
  DNS_LABEL,
  'a DNS-1123 label: at most 63 of a-z, 0-9 and -, beginning and ending with a letter or digit',
);

/** A DNS-1123 subdomain: names of objects. */
export const dnsSubdomain = text(
  253,
  DNS_SUBDOMAIN,
  'a DNS-1123 subdomain: at most 253 of a-z, 0-9, - and ., beginning and ending with a letter or digit',
);

/** Name of a DPUGroup: an object's name that fits into a label. */
export const groupName = text(
  63,
  DNS_SUBDOMAIN,
  'the name of a DPUGroup: at most 63 of a-z, 0-9, - and ., beginning and ending with a letter or digit',
);

/** Name of a port of the switch. */
export const portName = text(
  64,
  PORT_NAME,
  'the name of an OVS port: at most 64 letters, digits and any of _ . : @ -',
);

/** An address or a prefix of either family, as text. */
export const prefixText = z
  .string(accepts('an IPv4 or IPv6 address or prefix such as 10.1.0.5, 10.1.0.0/16 or fd00::/64'))
  .max(PREFIX_TEXT_MAX, accepts('an IPv4 or IPv6 address or prefix'))
  .refine(
    (value) => parsePrefix(value) !== undefined,
    accepts('an IPv4 or IPv6 address or prefix such as 10.1.0.5, 10.1.0.0/16 or fd00::/64'),
  )
  .meta({ pattern: '^[0-9a-fA-F:.]+(/[0-9]{1,3})?$' });

/** One address of either family, as text. */
export const addressText = z
  .string(accepts('an IPv4 or IPv6 address such as 10.1.0.5 or fd00::5'))
  .max(PREFIX_TEXT_MAX, accepts('an IPv4 or IPv6 address'))
  .refine(
    (value) => parseIp(value) !== undefined,
    accepts('an IPv4 or IPv6 address such as 10.1.0.5 or fd00::5'),
  )
  .meta({ pattern: '^[0-9a-fA-F:.]+$' });

const MAC_PATTERN = '^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$';

/** A MAC address, as text. */
export const macText = z
  .string(accepts('a MAC address such as 02:00:00:00:00:01'))
  .max(17, accepts('a MAC address such as 02:00:00:00:00:01'))
  .refine(
    (value) => parseMac(value) !== undefined,
    accepts('a MAC address such as 02:00:00:00:00:01'),
  )
  .meta({ pattern: MAC_PATTERN });

/** A MAC address that can be a source, as text. */
export const unicastMacText = z
  .string(accepts('a unicast MAC address such as 02:00:00:00:00:01'))
  .max(17, accepts('a unicast MAC address such as 02:00:00:00:00:01'))
  .refine((value) => {
    const mac = parseMac(value);
    return mac !== undefined && !isMulticastMac(mac);
  }, accepts('a unicast MAC address such as 02:00:00:00:00:01'))
  .meta({ pattern: MAC_PATTERN });

/** A whole number from `low` to `high`. */
export function wholeNumber(low: number, high: number): z.ZodNumber {
  const says = accepts(`a whole number from ${low} to ${high}`);
  return z.int(says).min(low, says).max(high, says);
}

/** A VNI as written; src/base/brand.ts brands it. */
export const vniNumber = wholeNumber(1, VNI_MAX);

/** A port or a range of ports. */
export const portRange = z
  .custom<number | string>(
    (value) => parsePortRange(value) !== undefined,
    accepts(`a port 0..${PORT_MAX} or a range such as "8000-8100"`),
  )
  .meta({
    'x-kubernetes-int-or-string': true,
    anyOf: [{ type: 'integer' }, { type: 'string' }],
    minimum: 0,
    maximum: PORT_MAX,
    maxLength: 11,
    pattern: PORT_RANGE_PATTERN,
  });

/** Protocols that a rule may name instead of their number. */
export const PROTOCOL_NUMBERS: ReadonlyMap<string, number> = new Map([
  ['TCP', 6],
  ['UDP', 17],
  ['SCTP', 132],
  ['ICMP', 1],
  ['ICMPv6', 58],
]);

/** Number of a protocol that is written as name or number; undefined when it is neither. */
export function protocolNumber(protocol: unknown): number | undefined {
  if (typeof protocol === 'string') return PROTOCOL_NUMBERS.get(protocol);
  if (typeof protocol !== 'number' || !Number.isInteger(protocol)) return undefined;
  return protocol >= 0 && protocol <= 255 ? protocol : undefined;
}

/** An IP protocol by name or number. */
export const protocolField = z
  .custom<number | string>(
    (value) => protocolNumber(value) !== undefined,
    accepts('TCP, UDP, SCTP, ICMP, ICMPv6 or a number 0..255'),
  )
  .meta({
    'x-kubernetes-int-or-string': true,
    anyOf: [{ type: 'integer' }, { type: 'string' }],
    minimum: 0,
    maximum: 255,
    maxLength: 6,
    pattern: `^(${[...PROTOCOL_NUMBERS.keys()].join('|')})$`,
  });

/** A list that, when it is given, has at least one entry: an empty one could be read as "none" or as "any". */
export function listOf<Entry extends z.ZodType>(entry: Entry, most: number): z.ZodArray<Entry> {
  return z.array(entry).min(1).max(most);
}

/** Labels that must all be present with these values. */
export const labelMap = z
  .record(z.string().max(317), z.string().max(63))
  .refine((labels) => Object.keys(labels).length <= 64, accepts('at most 64 labels'))
  .meta({ maxProperties: 64 });
