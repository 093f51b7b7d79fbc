/**
 * Who an operator means: an endpoint by the name of its port, by its iface-id, by an address, here or behind a peer. Pure.
 */
import {
  formatIp,
  formatMac,
  formatPrefix,
  parseIp,
  parseMac,
  type IpPrefix,
} from '../../base/address.ts';
import type { Snapshot } from '../flow/model.ts';
import type { PortFacts } from '../overlay/attachments.ts';
import { QueryError, show } from './query.ts';

/** An endpoint that a packet can come from or go to. */
export interface Party {
  readonly vni: number;
  readonly mac: bigint;
  readonly ips: readonly IpPrefix[];
  /** The local port; undefined for an endpoint behind a peer. */
  readonly port?: { readonly name: string; readonly ofport: number };
  /** VTEP of the peer, IPv4, 32 bits; undefined for a local endpoint. */
  readonly vtep?: number;
  /** Port, iface-id: what people call it. */
  readonly names: readonly string[];
}

/** Key of the id that whatever plugs a port gives it: the pod, with its namespace as a rule. */
const IFACE_ID = 'iface-id';
const NAMES_SHOWN_MAX = 8;

/** Every endpoint of a snapshot, local ones first. */
export function partiesOf(snapshot: Snapshot, ports: readonly PortFacts[]): Party[] {
  const ifaceIds = new Map(ports.map(({ name, externalIds }) => [name, externalIds.get(IFACE_ID)]));
  const locals = snapshot.locals.map(({ vni, mac, ips, port, ofport }): Party => {
    const ifaceId = ifaceIds.get(port);
    const names = ifaceId === undefined ? [port] : [ifaceId, port];
    return { vni, mac, ips, port: { name: port, ofport }, names };
  });
  const remotes = snapshot.remotes.map(({ vni, mac, ips, vtep }): Party => ({
    vni,
    mac,
    ips,
    vtep,
    names: [],
  }));
  return [...locals, ...remotes];
}

/** What an endpoint is called in answers: a name where it has one. */
export function partyName({ names, ips, mac }: Party): string {
  const [ip] = ips;
  return names[0] ?? (ip === undefined ? formatMac(mac) : formatPrefix(ip));
}

/** The endpoints that `text` may mean, within `vni` where that is given. */
export function matchingParties(
  parties: readonly Party[],
  text: string,
  vni: number | undefined,
): Party[] {
  const within = parties.filter((party) => vni === undefined || party.vni === vni);
  const mac = parseMac(text);
  if (mac !== undefined) return within.filter((party) => party.mac === mac);
  const ip = parseIp(text);
  if (ip !== undefined) {
    return within.filter(({ ips }) =>
      ips.some(({ family, value }) => family === ip.family && value === ip.value),
    );
  }
  const exact = within.filter(({ names }) => names.includes(text));
  if (exact.length > 0) return exact;
  // An iface-id is namespace_pod or namespace/pod as a rule: the pod alone will do where it is one only.
  return within.filter(({ names }) =>
    names.some((name) => name.endsWith(`_${text}`) || name.endsWith(`/${text}`)),
  );
}

/**
 * The one endpoint that `text` means.
 * @throws QueryError that lists those that there are, or those that it may mean.
 */
export function oneParty(
  parties: readonly Party[],
  parameter: string,
  text: string,
  vni: number | undefined,
): Party {
  const found = matchingParties(parties, text, vni);
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  const where = vni === undefined ? '' : ` in VNI ${vni}`;
  if (only === undefined) {
    const known = parties.filter((party) => vni === undefined || party.vni === vni);
    throw new QueryError(
      `${parameter} is ${show(text)}, which is no endpoint${where}; accepted: a port, an iface-id, an IP or a MAC address` +
        ` of one: ${listed(known.map(partyName))}`,
    );
  }
  const choices = found.map((party) => `${partyName(party)} in VNI ${party.vni}`);
  throw new QueryError(
    `${parameter} is ${show(text)}, which may be ${listed(choices)}; say which with vni or a name`,
  );
}

/** Where an endpoint is. */
export function placeOf({ port, vtep }: Party): string {
  if (port !== undefined) return `port ${port.name}`;
  return `behind ${formatIp(4, BigInt(vtep ?? 0))}`;
}

function listed(names: readonly string[]): string {
  if (names.length === 0) return 'there is none';
  const more = names.length - NAMES_SHOWN_MAX;
  const shown = names.slice(0, NAMES_SHOWN_MAX).join(', ');
  return more > 0 ? `${shown} and ${more} more` : shown;
}
