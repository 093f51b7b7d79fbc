/**
 * Where a TCP server listens: an address and a port. A wildcard is refused: metrics belong on the management address or
 * on loopback, never on the data plane.
 */
import { formatIp, parseIp } from '../base/address.ts';

/** Address as text (no brackets) and port. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

const LISTEN = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/;

/** Parses `127.0.0.1:9464`, `[::1]:9464` or `off`; undefined when it is none of them or a wildcard. */
export function parseListen(text: string): ListenAddress | 'off' | undefined {
  if (text === 'off') return 'off';
  const [, six, four, portText] = LISTEN.exec(text) ?? [];
  const address = parseIp(six ?? four ?? '');
  const port = Number(portText);
  if (address === undefined || address.value === 0n || port > 0xffff) return undefined;
  // ::ffff:0.0.0.0 is the IPv4 wildcard in IPv6 clothes.
  if (address.family === 6 && address.value === 0xffff_0000_0000n) return undefined;
  return { host: formatIp(address.family, address.value), port };
}
