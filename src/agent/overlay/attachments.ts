/**
 * The attachment contract: which ports of the bridge are endpoints, by the `external_ids` that whatever plugged them has
 * set, or by the configuration. Pure. A port that breaks the contract is no endpoint and is named with the reason.
 */
import {
  formatMac,
  formatPrefix,
  isMulticastMac,
  isSingleAddress,
  parseIp,
  parseMac,
  type IpPrefix,
} from '../../base/address.ts';
import { asVni, type OfPort, type Vni } from '../../base/brand.ts';
import { SEQUENCE_MAX } from '../config-shape.ts';
import type { DeviceLeg, LocalEndpoint } from '../flow/model.ts';

/** What is read of a port. */
export interface PortFacts {
  /** Name of the interface. */
  readonly name: string;
  /** Undefined until vswitchd has opened the interface. */
  readonly ofport: OfPort | undefined;
  readonly externalIds: ReadonlyMap<string, string>;
}

/** A port that the configuration names, because it carries no `external_ids`. */
export interface ConfiguredPort {
  readonly name: string;
  readonly vni: Vni;
  readonly mac: bigint;
  readonly ips: readonly IpPrefix[];
  readonly sequence?: number | undefined;
}

/** A port that should be an endpoint and is none. */
export interface AttachmentProblem {
  readonly port: string;
  readonly message: string;
}

/** Endpoints, in the order of port names, and what is wrong with the others. */
export interface Attachments {
  readonly endpoints: readonly LocalEndpoint[];
  /** Ports that devices stand behind, in the order of port names. */
  readonly legs: readonly DeviceLeg[];
  readonly problems: readonly AttachmentProblem[];
}

/** Keys of the contract (docs/attachment.md). */
export const EXTERNAL_IDS = {
  mac: 'attached-mac',
  vni: 'dpu-vni',
  ips: 'dpu-ips',
  sequence: 'dpu-sequence',
} as const;
const ADDRESSES_MAX = 64;
const NO_OFPORT = 'has no ofport: Open vSwitch has not opened the interface';

/** Reads the endpoints of a bridge. `knownVnis` are the VNIs of the networks that are configured here. */
export function attachments(
  ports: readonly PortFacts[],
  configured: readonly ConfiguredPort[],
  knownVnis: ReadonlySet<number>,
): Attachments {
  const endpoints: LocalEndpoint[] = [];
  const legs: DeviceLeg[] = [];
  const problems: AttachmentProblem[] = [];
  const byName = Map.groupBy(configured, (port) => port.name);
  const owners = new Map<string, string>();
  const sorted = [...ports].sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const port of sorted) {
    const configuredHere = byName.get(port.name);
    if (configuredHere === undefined && isLeg(port)) {
      const leg = readLeg(port, knownVnis);
      if (typeof leg === 'string') problems.push({ port: port.name, message: leg });
      else legs.push(leg);
      continue;
    }
    const wanted = configuredHere ?? readExternalIds(port);
    if (typeof wanted === 'string') {
      problems.push({ port: port.name, message: wanted });
      continue;
    }
    const vnis = new Set(wanted.map(({ vni }) => vni));
    if (vnis.size > 1) {
      problems.push({
        port: port.name,
        message: `is in ${vnis.size} VNIs (${[...vnis].join(', ')}); a port has one`,
      });
      continue;
    }
    for (const { vni, mac, ips, sequence } of wanted) {
      const owner = owners.get(`${vni}/${mac}`);
      const taken = ips.find((ip) => owners.has(`${vni}/${formatPrefix(ip)}`));
      if (!knownVnis.has(vni)) {
        problems.push({ port: port.name, message: unknownVni(vni) });
      } else if (owner !== undefined) {
        problems.push({
          port: port.name,
          message: `MAC ${formatMac(mac)} of VNI ${vni} belongs to ${owner} already`,
        });
      } else if (taken !== undefined) {
        const holder = owners.get(`${vni}/${formatPrefix(taken)}`) ?? '';
        const message = `address ${formatPrefix(taken)} of VNI ${vni} belongs to ${holder} already`;
        problems.push({ port: port.name, message });
      } else if (port.ofport !== undefined) {
        owners.set(`${vni}/${mac}`, port.name);
        for (const ip of ips) owners.set(`${vni}/${formatPrefix(ip)}`, port.name);
        endpoints.push({
          ...{ port: port.name, ofport: port.ofport, vni, mac, ips },
          ...(sequence === undefined ? {} : { sequence }),
        });
      } else {
        problems.push({ port: port.name, message: NO_OFPORT });
      }
    }
  }
  const present = new Set(ports.map(({ name }) => name));
  for (const name of byName.keys()) {
    if (!present.has(name))
      problems.push({ port: name, message: 'is configured, but not on the bridge' });
  }
  return { endpoints, legs, problems };
}

/** True for a port that has a VNI but no addresses: a device stands behind it. */
function isLeg({ externalIds }: PortFacts): boolean {
  return (
    externalIds.has(EXTERNAL_IDS.vni) &&
    !externalIds.has(EXTERNAL_IDS.mac) &&
    !externalIds.has(EXTERNAL_IDS.ips)
  );
}

function readLeg(port: PortFacts, knownVnis: ReadonlySet<number>): DeviceLeg | string {
  const vni = readVni(port);
  if (typeof vni === 'string') return vni;
  if (!knownVnis.has(vni)) return unknownVni(vni);
  if (port.ofport === undefined) return NO_OFPORT;
  return { port: port.name, ofport: port.ofport, vni };
}

function readVni(port: PortFacts): Vni | string {
  const text = port.externalIds.get(EXTERNAL_IDS.vni);
  const vni = text !== undefined && /^\d{1,8}$/.test(text) ? asVni(Number(text)) : undefined;
  return vni ?? `external_ids:${EXTERNAL_IDS.vni} is ${show(text)}, not 1..16777215`;
}

function unknownVni(vni: Vni): string {
  return `VNI ${vni} is no network that is configured here`;
}

/** The endpoint that the ids describe; none when the port carries no id of ours; a text when they are wrong. */
function readExternalIds(port: PortFacts): Omit<ConfiguredPort, 'name'>[] | string {
  const macText = port.externalIds.get(EXTERNAL_IDS.mac);
  if (!port.externalIds.has(EXTERNAL_IDS.vni)) return [];
  const vni = readVni(port);
  if (typeof vni === 'string') return vni;
  const mac = macText === undefined ? undefined : parseMac(macText);
  if (mac === undefined)
    return `external_ids:${EXTERNAL_IDS.mac} is ${show(macText)}, not a MAC address`;
  if (isMulticastMac(mac))
    return `external_ids:${EXTERNAL_IDS.mac} is ${formatMac(mac)}, a multicast address`;
  const ips: IpPrefix[] = [];
  const texts = (port.externalIds.get(EXTERNAL_IDS.ips) ?? '')
    .split(',')
    .filter((text) => text.trim() !== '');
  if (texts.length > ADDRESSES_MAX)
    return `external_ids:${EXTERNAL_IDS.ips} names more than ${ADDRESSES_MAX} addresses`;
  for (const text of texts) {
    const ip = parseIp(text.trim());
    if (ip === undefined || !isSingleAddress(ip)) {
      return `external_ids:${EXTERNAL_IDS.ips} holds ${show(text)}, not an IP address`;
    }
    ips.push(ip);
  }
  const sequenceText = port.externalIds.get(EXTERNAL_IDS.sequence);
  if (sequenceText === undefined) return [{ vni, mac, ips }];
  const sequence = Number(sequenceText);
  if (!/^\d{1,10}$/.test(sequenceText) || sequence > SEQUENCE_MAX)
    return `external_ids:${EXTERNAL_IDS.sequence} is ${show(sequenceText)}, not 0..${SEQUENCE_MAX}`;
  return [{ vni, mac, ips, sequence }];
}

function show(text: string | undefined): string {
  return text === undefined ? 'missing' : JSON.stringify(text.slice(0, 40));
}
