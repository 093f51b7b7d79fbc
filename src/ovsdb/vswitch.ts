/**
 * Typed rows of the Open_vSwitch database, ovs-vswitchd.conf.db(5), with the columns that the agent reads, and their
 * reading out of a {@link TableCache}. Pure. A column that is not monitored reads as if it were empty.
 */
import { asOfPort, type OfPort } from '../base/brand.ts';
import { everyRow } from './condition.ts';
import { badValue } from './json-value.ts';
import type { MonitorColumns } from './monitor.ts';
import type { Atom, Value } from './notation.ts';
import {
  mutate,
  mutation,
  select,
  type Operation,
  type OperationResult,
  type Row,
} from './operation.ts';
import type { TableCache } from './table-cache.ts';

/** String map of a row, such as `external_ids`. */
export type StringMap = ReadonlyMap<string, string>;

/** The one row of Open_vSwitch. */
export interface OpenVSwitchRow {
  readonly uuid: string;
  /** UUIDs of Bridge rows. */
  readonly bridges: readonly string[];
  readonly externalIds: StringMap;
  readonly otherConfig: StringMap;
  readonly ovsVersion: string | undefined;
  /** Configuration that ovs-vswitchd has taken. */
  readonly curCfg: number;
  /** Configuration that was asked for. */
  readonly nextCfg: number;
}

/** A row of Bridge. */
export interface BridgeRow {
  readonly uuid: string;
  readonly name: string;
  /** UUIDs of Port rows. */
  readonly ports: readonly string[];
  readonly datapathType: string;
  /** 16 hexadecimal digits; undefined until ovs-vswitchd has made the bridge. */
  readonly datapathId: string | undefined;
  /** `secure` or `standalone`. */
  readonly failMode: string | undefined;
  readonly protocols: readonly string[];
  readonly externalIds: StringMap;
  readonly otherConfig: StringMap;
  /** UUIDs of Controller rows. */
  readonly controller: readonly string[];
}

/** A row of Port. */
export interface PortRow {
  readonly uuid: string;
  readonly name: string;
  /** UUIDs of Interface rows; more than one for a bond. */
  readonly interfaces: readonly string[];
  readonly externalIds: StringMap;
  /** VLAN of an access port. */
  readonly tag: number | undefined;
}

/** A row of Interface. */
export interface InterfaceRow {
  readonly uuid: string;
  readonly name: string;
  /** Empty for a system device. */
  readonly type: string;
  /** Undefined until it is opened, when that failed (-1), and for the bridge's own port (LOCAL). */
  readonly ofport: OfPort | undefined;
  readonly ofportRequest: number | undefined;
  readonly options: StringMap;
  readonly externalIds: StringMap;
  readonly macInUse: string | undefined;
  /** `up` or `down`. */
  readonly adminState: string | undefined;
  /** `up` or `down`. */
  readonly linkState: string | undefined;
  /** Why ovs-vswitchd could not open it. */
  readonly error: string | undefined;
  /** In bytes, as the device has it. */
  readonly mtu: number | undefined;
  /** In bytes, as asked for. */
  readonly mtuRequest: number | undefined;
}

/** The columns that the parse functions of this file read. */
export const VSWITCH_COLUMNS = {
  Open_vSwitch: ['bridges', 'external_ids', 'other_config', 'ovs_version', 'cur_cfg', 'next_cfg'],
  Bridge: [
    'name',
    'ports',
    'datapath_type',
    'datapath_id',
    'fail_mode',
    'protocols',
    'external_ids',
    'other_config',
    'controller',
  ],
  Port: ['name', 'interfaces', 'external_ids', 'tag'],
  Interface: [
    'name',
    'type',
    'ofport',
    'ofport_request',
    'options',
    'external_ids',
    'mac_in_use',
    'admin_state',
    'link_state',
    'error',
    'mtu',
    'mtu_request',
  ],
} as const satisfies MonitorColumns;

const NO_STRINGS: StringMap = new Map();

function atoms(value: Value | undefined): readonly Atom[] {
  if (value === undefined || value instanceof Map) return [];
  return isAtoms(value) ? value : [value as Atom];
}

function isAtoms(value: Value): value is readonly Atom[] {
  return Array.isArray(value);
}

function isStringMap(value: Value | undefined): value is StringMap {
  // The schema was checked when the row was decoded: these columns are maps from string to string.
  return value instanceof Map;
}

function stringMap(row: Row, column: string): StringMap {
  const value = row.get(column);
  return isStringMap(value) ? value : NO_STRINGS;
}

function strings(row: Row, column: string): string[] {
  return atoms(row.get(column)).filter((atom) => typeof atom === 'string');
}

function optionalString(row: Row, column: string): string | undefined {
  return strings(row, column)[0];
}

function optionalNumber(row: Row, column: string): number | undefined {
  return atoms(row.get(column)).find((atom) => typeof atom === 'number');
}

function uuids(row: Row, column: string): string[] {
  return atoms(row.get(column)).flatMap((atom) => (typeof atom === 'object' ? [atom.uuid] : []));
}

/** Reads a row of Open_vSwitch. */
export function parseOpenVSwitch(uuid: string, row: Row): OpenVSwitchRow {
  return {
    uuid,
    bridges: uuids(row, 'bridges'),
    externalIds: stringMap(row, 'external_ids'),
    otherConfig: stringMap(row, 'other_config'),
    ovsVersion: optionalString(row, 'ovs_version'),
    curCfg: optionalNumber(row, 'cur_cfg') ?? 0,
    nextCfg: optionalNumber(row, 'next_cfg') ?? 0,
  };
}

/** Reads a row of Bridge. */
export function parseBridge(uuid: string, row: Row): BridgeRow {
  return {
    uuid,
    name: optionalString(row, 'name') ?? '',
    ports: uuids(row, 'ports'),
    datapathType: optionalString(row, 'datapath_type') ?? '',
    datapathId: optionalString(row, 'datapath_id'),
    failMode: optionalString(row, 'fail_mode'),
    protocols: strings(row, 'protocols'),
    externalIds: stringMap(row, 'external_ids'),
    otherConfig: stringMap(row, 'other_config'),
    controller: uuids(row, 'controller'),
  };
}

/** Reads a row of Port. */
export function parsePort(uuid: string, row: Row): PortRow {
  return {
    uuid,
    name: optionalString(row, 'name') ?? '',
    interfaces: uuids(row, 'interfaces'),
    externalIds: stringMap(row, 'external_ids'),
    tag: optionalNumber(row, 'tag'),
  };
}

/** Reads a row of Interface. */
export function parseInterface(uuid: string, row: Row): InterfaceRow {
  return {
    uuid,
    name: optionalString(row, 'name') ?? '',
    type: optionalString(row, 'type') ?? '',
    ofport: asOfPort(optionalNumber(row, 'ofport') ?? -1),
    ofportRequest: optionalNumber(row, 'ofport_request'),
    options: stringMap(row, 'options'),
    externalIds: stringMap(row, 'external_ids'),
    macInUse: optionalString(row, 'mac_in_use'),
    adminState: optionalString(row, 'admin_state'),
    linkState: optionalString(row, 'link_state'),
    error: optionalString(row, 'error'),
    mtu: optionalNumber(row, 'mtu'),
    mtuRequest: optionalNumber(row, 'mtu_request'),
  };
}

/** The row of Open_vSwitch; undefined while there is none. */
export function readOpenVSwitch(cache: TableCache): OpenVSwitchRow | undefined {
  for (const [uuid, row] of cache.rows('Open_vSwitch')) return parseOpenVSwitch(uuid, row);
  return undefined;
}

/** The bridge of this name. */
export function readBridge(cache: TableCache, name: string): BridgeRow | undefined {
  for (const [uuid, row] of cache.rows('Bridge')) {
    if (row.get('name') === name) return parseBridge(uuid, row);
  }
  return undefined;
}

/** The bridge's ports that are in the cache. */
export function readPorts(cache: TableCache, bridge: BridgeRow): PortRow[] {
  return bridge.ports.flatMap((uuid) => {
    const row = cache.row('Port', uuid);
    return row === undefined ? [] : [parsePort(uuid, row)];
  });
}

/** The port's interfaces that are in the cache. */
export function readInterfaces(cache: TableCache, port: PortRow): InterfaceRow[] {
  return port.interfaces.flatMap((uuid) => {
    const row = cache.row('Interface', uuid);
    return row === undefined ? [] : [parseInterface(uuid, row)];
  });
}

/** Operations that ask ovs-vswitchd to say, in `cur_cfg`, when it has taken this transaction; put them last. */
export function incrementNextConfig(): Operation[] {
  return [
    mutate('Open_vSwitch', everyRow, [mutation('next_cfg', '+=', 1)]),
    select('Open_vSwitch', everyRow, ['next_cfg']),
  ];
}

/**
 * The number that `cur_cfg` has to reach, from the result of the last operation of {@link incrementNextConfig}.
 * @throws DecodeError when there is none.
 */
export function parseNextConfig(result: OperationResult | undefined): number {
  const value = result?.rows?.[0]?.get('next_cfg');
  if (typeof value !== 'number') throw badValue('ovsdb.transact', 'no next_cfg in the reply');
  return value;
}
