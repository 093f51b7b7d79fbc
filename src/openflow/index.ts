/**
 * OpenFlow 1.3 for Node: codecs, a connection with two-phase bundles, and a session that reconnects. Subpath export
 * `dpu-agent/openflow`.
 */
export { decodeActions, encodeActions, type Action } from './action.ts';
export {
  OpenFlowConnection,
  type BundleOutcome,
  type OpenFlowEvents,
  type OpenFlowOptions,
  type RefusedMessage,
} from './client.ts';
export { OpenFlowError } from './errors.ts';
export type { SwitchConfig, SwitchFeatures } from './features.ts';
export type {
  AbbreviatedFlowUpdate,
  FlowEvent,
  FlowMonitorNotice,
  FlowMonitorRequest,
  FlowUpdate,
  FullFlowUpdate,
} from './flow-monitor.ts';
export { encodeFlow, encodedFlowFromDump, type EncodedFlow, type FlowSpec } from './flow.ts';
export { encodeFlowDelete } from './flow-mod.ts';
export { decodeFlowStats, encodeFlowStatsRequest, type FlowStats } from './flow-stats.ts';
export { formatFlow, formatInstructions, formatMatch } from './format.ts';
export {
  decodeGroupDesc,
  encodeGroup,
  encodeGroupDelete,
  encodeGroupModify,
  type Bucket,
  type EncodedGroup,
} from './group-mod.ts';
export {
  decodeMeterConfig,
  decodeMeterStats,
  encodeAllMetersRequest,
  encodeMeter,
  encodeMeterDelete,
  encodeMeterModify,
  type EncodedMeter,
} from './meter-mod.ts';
export { encodeInstructions, decodeInstructions, type Instructions } from './instruction.ts';
export { decodeMatch, encodeMatch, type Match, type MatchField } from './match.ts';
export * from './ofp13.ts';
export type { FieldName, OxmValue } from './oxm-fields.ts';
export type { PortDescription, PortStatus } from './port.ts';
export {
  OpenFlowSession,
  type OpenFlowSessionEvents,
  type OpenFlowSessionOptions,
} from './session.ts';
