/**
 * Numbers that must not be mixed up, each with its range. A brand costs nothing at run time: the value is a plain number.
 */

declare const brand: unique symbol;

/** `Base` that only a checking function of this file hands out under the name `Name`. */
export type Brand<Base, Name extends string> = Base & { readonly [brand]: Name };

/** VXLAN network identifier, 1..16777215 (RFC 7348 section 5: 24 bits; 0 is never given to a tenant). */
export type Vni = Brand<number, 'Vni'>;
/** OpenFlow port number of an OVS interface, 1..0xfeff (OpenFlow 1.3.5 section 7.2.1 keeps the rest). */
export type OfPort = Brand<number, 'OfPort'>;
/** OpenFlow table number, 0..253 (OVS hides table 254; 255 means all). */
export type TableId = Brand<number, 'TableId'>;

/** Largest VNI: 24 bits. */
export const VNI_MAX = 0xffffff;
/** Largest port number that OVS gives to an interface: OFPP_MAX of OVS. */
export const OFPORT_MAX = 0xfeff;
/** Largest table number that can be used. */
export const TABLE_MAX = 253;

function inRange(value: number, low: number, high: number): boolean {
  return Number.isInteger(value) && value >= low && value <= high;
}

/** `value` as a VNI, or undefined when it is none. */
export function asVni(value: number): Vni | undefined {
  return inRange(value, 1, VNI_MAX) ? (value as Vni) : undefined;
}

/** `value` as an ofport, or undefined: OVS writes -1 for a port that it could not open. */
export function asOfPort(value: number): OfPort | undefined {
  return inRange(value, 1, OFPORT_MAX) ? (value as OfPort) : undefined;
}

/**
 * `value` as a table number.
 * @throws RangeError when it is none: table numbers come from our own code only.
 */
export function tableId(value: number): TableId {
  if (!inRange(value, 0, TABLE_MAX)) throw new RangeError(`table ${value} is not 0..${TABLE_MAX}`);
  return value as TableId;
}
