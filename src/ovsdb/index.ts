/**
 * Public interface of the OVSDB client (RFC 7047): what the agent and other programs may import.
 */
export { DecodeError, ConnectionError } from '../base/error.ts';
export { OvsdbClient, type OvsdbClientEvents, type OvsdbClientOptions } from './client.ts';
export { everyRow, rowIs, when, type Condition, type ConditionFunction } from './condition.ts';
export type { ConnectionLimits } from './connection.ts';
export { OvsdbError, type OvsdbErrorCode } from './errors.ts';
export type { MonitorColumns, MonitorMethod } from './monitor.ts';
export type { Atom, AtomInput, NamedUuid, Uuid, Value, ValueInput } from './notation.ts';
export {
  assertLock,
  comment,
  deleteRows,
  insert,
  mutate,
  mutation,
  select,
  update,
  wait,
  type Mutation,
  type Mutator,
  type Operation,
  type OperationResult,
  type Row,
  type RowInput,
} from './operation.ts';
export type { ColumnSchema, Schema, TableSchema } from './schema.ts';
export { TableCache, type RowChange } from './table-cache.ts';
export { Transaction } from './transaction.ts';
export { unixctl } from './unixctl.ts';
export {
  parseBridge,
  parseInterface,
  parseOpenVSwitch,
  parsePort,
  readBridge,
  readInterfaces,
  readOpenVSwitch,
  readPorts,
  VSWITCH_COLUMNS,
  type BridgeRow,
  type InterfaceRow,
  type OpenVSwitchRow,
  type PortRow,
  type StringMap,
} from './vswitch.ts';
