/**
 * OFPT_ERROR (OpenFlow 1.3.5 section 7.5.4) with the names that Open vSwitch gives to types and codes, those of its own
 * and of the ONF's extensions included.
 *
 * ```
 *  0        8        10       12                              8        10         12             16
 * +--------+--------+--------+----------------------+       +--------+----------+--------------+------+
 * | header |  type  |  code  | start of the message |  or   | 0xffff | exp_type | experimenter | data |
 * +--------+--------+--------+----------------------+       +--------+----------+--------------+------+
 * ```
 */
import { Buffer } from 'node:buffer';
import { DecodeError } from '../base/error.ts';
import { OpenFlowError } from './errors.ts';
import { messageXid } from './header.ts';
import { NX_VENDOR_ID, OFPT, ONF_VENDOR_ID } from './ofp13.ts';

const ERROR_SIZE = 12;
const EXPERIMENTER_ERROR_SIZE = 16;
const EXPERIMENTER_TYPE = 0xffff;
const OFFENDING_BYTES_MAX = 64;

/** Prefix and names of the codes by error type, in the order of their numbers; `-` stands in {@link MOVED_CODES}. */
const STANDARD_CODES: readonly (readonly [prefix: string, names: string])[] = [
  ['OFPHFC', 'INCOMPATIBLE EPERM'],
  [
    'OFPBRC',
    'BAD_VERSION BAD_TYPE BAD_STAT BAD_VENDOR BAD_SUBTYPE EPERM BAD_LEN BUFFER_EMPTY BUFFER_UNKNOWN BAD_TABLE_ID IS_SECONDARY BAD_PORT BAD_PACKET MULTIPART_BUFFER_OVERFLOW',
  ],
  [
    'OFPBAC',
    'BAD_TYPE BAD_LEN BAD_VENDOR BAD_VENDOR_TYPE BAD_OUT_PORT BAD_ARGUMENT EPERM TOO_MANY BAD_QUEUE BAD_OUT_GROUP MATCH_INCONSISTENT UNSUPPORTED_ORDER BAD_TAG BAD_SET_TYPE BAD_SET_LEN BAD_SET_ARGUMENT',
  ],
  [
    'OFPBIC',
    'UNKNOWN_INST UNSUP_INST BAD_TABLE_ID UNSUP_METADATA UNSUP_METADATA_MASK BAD_EXPERIMENTER BAD_EXP_TYPE BAD_LEN EPERM',
  ],
  [
    'OFPBMC',
    'BAD_TYPE BAD_LEN BAD_TAG BAD_DL_ADDR_MASK BAD_NW_ADDR_MASK BAD_WILDCARDS BAD_FIELD BAD_VALUE BAD_MASK BAD_PREREQ DUP_FIELD EPERM',
  ],
  ['OFPFMFC', 'UNKNOWN TABLE_FULL BAD_TABLE_ID OVERLAP EPERM BAD_TIMEOUT BAD_COMMAND BAD_FLAGS'],
  [
    'OFPGMFC',
    'GROUP_EXISTS INVALID_GROUP WEIGHT_UNSUPPORTED OUT_OF_GROUPS OUT_OF_BUCKETS CHAINING_UNSUPPORTED WATCH_UNSUPPORTED LOOP UNKNOWN_GROUP CHAINED_GROUP BAD_TYPE BAD_COMMAND BAD_BUCKET BAD_WATCH EPERM',
  ],
  ['OFPPMFC', 'BAD_PORT BAD_HW_ADDR BAD_CONFIG BAD_ADVERTISE EPERM'],
  ['OFPTMFC', 'BAD_TABLE BAD_CONFIG EPERM'],
  ['OFPQOFC', 'BAD_PORT BAD_QUEUE EPERM'],
  ['OFPSCFC', 'BAD_FLAGS BAD_LEN EPERM'],
  ['OFPRRFC', 'STALE UNSUP BAD_ROLE'],
  [
    'OFPMMFC',
    'UNKNOWN METER_EXISTS INVALID_METER UNKNOWN_METER BAD_COMMAND BAD_FLAGS BAD_RATE BAD_BURST BAD_BAND BAD_BAND_VALUE OUT_OF_METERS OUT_OF_BANDS',
  ],
  ['OFPTFFC', 'BAD_TABLE BAD_METADATA - - - EPERM'],
];

/** Codes of table features that OVS calls by the names that OpenFlow 1.4 gave them, by type and code. */
const MOVED_CODES: ReadonlyMap<string, string> = new Map([
  ['13,2', 'OFPBPC_BAD_TYPE'],
  ['13,3', 'OFPBPC_BAD_LEN'],
  ['13,4', 'OFPBPC_BAD_VALUE'],
]);

/** Codes of bundles, from 2300 (ONF extension 230). */
const ONF_BUNDLE_FIRST = 2300;
const ONF_BUNDLE_CODES =
  'UNKNOWN EPERM BAD_ID BUNDLE_EXIST BUNDLE_CLOSED OUT_OF_BUNDLES BAD_TYPE BAD_FLAGS MSG_BAD_LEN MSG_BAD_XID MSG_UNSUP MSG_CONFLICT MSG_TOO_MANY MSG_FAILED TIMEOUT BUNDLE_IN_PROGRESS'.split(
    ' ',
  );
/** Other codes of the ONF. */
const ONF_CODES: ReadonlyMap<number, string> = new Map([
  [2600, 'OFPBIC_DUP_INST'],
  [4250, 'OFPBAC_BAD_SET_MASK'],
  [4443, 'OFPBPC_TOO_MANY'],
  [4444, 'OFPBPC_DUP_TYPE'],
  [4445, 'OFPBPC_BAD_EXPERIMENTER'],
  [4446, 'OFPBPC_BAD_EXP_TYPE'],
  [4447, 'OFPBPC_BAD_EXP_VALUE'],
  [4448, 'OFPBPC_EPERM'],
]);
/** OVS's own codes as OpenFlow 1.3 carries them (`ofp-errors.h`); the type 0xb0c2 of OpenFlow 1.0 and 1.1 is not among them. */
const NX_CODES: ReadonlyMap<number, string> = new Map([
  [2, 'NXBRC_NXM_INVALID'],
  [3, 'NXBRC_NXM_BAD_TYPE'],
  [4, 'NXBRC_MUST_BE_ZERO'],
  [5, 'NXBRC_BAD_REASON'],
  [6, 'OFPMOFC_MONITOR_EXISTS'],
  [7, 'OFPMOFC_BAD_FLAGS'],
  [8, 'OFPMOFC_UNKNOWN_MONITOR'],
  [9, 'NXBRC_FM_BAD_EVENT'],
  [10, 'NXBRC_UNENCODABLE_ERROR'],
  [11, 'NXBAC_MUST_BE_ZERO'],
  [12, 'NXFMFC_HARDWARE'],
  [13, 'NXFMFC_BAD_TABLE_ID'],
  [15, 'NXBAC_BAD_CONJUNCTION'],
  [16, 'NXTTMFC_BAD_COMMAND'],
  [17, 'NXTTMFC_BAD_OPT_LEN'],
  [18, 'NXTTMFC_BAD_FIELD_IDX'],
  [19, 'NXTTMFC_TABLE_FULL'],
  [20, 'NXTTMFC_ALREADY_MAPPED'],
  [21, 'NXTTMFC_DUP_ENTRY'],
  [34, 'NXR_NOT_SUPPORTED'],
  [35, 'NXR_STALE'],
  [36, 'NXST_NOT_CONFIGURED'],
  [37, 'NXFMFC_INVALID_TLV_FIELD'],
  [38, 'NXTTMFC_INVALID_TLV_DEL'],
  [39, 'NXBAC_BAD_HEADER_TYPE'],
  [40, 'NXBAC_UNKNOWN_ED_PROP'],
  [41, 'NXBAC_BAD_ED_PROP'],
  [42, 'NXBAC_CT_DATAPATH_SUPPORT'],
  [43, 'NXBMC_CT_DATAPATH_SUPPORT'],
  [44, 'NXTFFC_DUP_TABLE'],
]);

/** What may pass by itself: a full table, a bundle that timed out or that the switch lost. A wrong message stays wrong. */
const PASSING: ReadonlySet<string> = new Set([
  'OFPFMFC_TABLE_FULL',
  'OFPBFC_BAD_ID',
  'OFPBFC_BUNDLE_EXIST',
  'OFPBFC_BUNDLE_CLOSED',
  'OFPBFC_OUT_OF_BUNDLES',
  'OFPBFC_MSG_FAILED',
  'OFPBFC_TIMEOUT',
  'OFPBFC_BUNDLE_IN_PROGRESS',
]);

/** Name of an error as OVS writes it, such as `OFPBMC_BAD_PREREQ`; type and code as numbers when it has none here. */
export function errorName(type: number, code: number, experimenter?: number): string {
  if (type === EXPERIMENTER_TYPE) {
    const name = experimenterErrorName(code, experimenter);
    return name ?? `ERROR_0x${(experimenter ?? 0).toString(16)}_${code}`;
  }
  const moved = MOVED_CODES.get(`${type},${code}`);
  if (moved !== undefined) return moved;
  const [prefix = '', names = ''] = STANDARD_CODES[type] ?? [];
  const name = names.split(' ')[code];
  return name === undefined || name === '' ? `ERROR_${type}_${code}` : `${prefix}_${name}`;
}

function experimenterErrorName(code: number, experimenter?: number): string | undefined {
  if (experimenter === NX_VENDOR_ID) return NX_CODES.get(code);
  if (experimenter !== ONF_VENDOR_ID) return undefined;
  const bundle = ONF_BUNDLE_CODES[code - ONF_BUNDLE_FIRST];
  return bundle === undefined ? ONF_CODES.get(code) : `OFPBFC_${bundle}`;
}

/**
 * Reads an OFPT_ERROR message as the error that it reports.
 * @throws DecodeError when it is too short.
 */
export function decodeError(message: Buffer, op: string): OpenFlowError {
  const short = (size: number): DecodeError =>
    new DecodeError('DECODE_SHORT', `error message of ${message.length} bytes, needs ${size}`, {
      protocol: 'openflow',
      op: 'openflow.error',
      offset: message.length,
      bytes: message,
    });
  if (message.length < ERROR_SIZE) throw short(ERROR_SIZE);
  const errorType = message.readUInt16BE(8);
  const errorCode = message.readUInt16BE(10);
  const isExperimenter = errorType === EXPERIMENTER_TYPE;
  if (isExperimenter && message.length < EXPERIMENTER_ERROR_SIZE)
    throw short(EXPERIMENTER_ERROR_SIZE);
  const experimenter = isExperimenter ? message.readUInt32BE(12) : undefined;
  const start = isExperimenter ? EXPERIMENTER_ERROR_SIZE : ERROR_SIZE;
  // A copy: an error outlives the chunk that it came in.
  const offending = Buffer.from(message.subarray(start, start + OFFENDING_BYTES_MAX));
  const name = errorName(errorType, errorCode, experimenter);
  const about = offending.length > 1 ? ` for a ${typeName(offending.readUInt8(1))} message` : '';
  return new OpenFlowError(`switch answered ${name}${about}`, {
    code: `OFP_${name}`,
    op,
    retryable: PASSING.has(name),
    details: { offending: offending.toString('hex') },
    errorType,
    errorCode,
    xid: messageXid(message),
    offending,
  });
}

const TYPE_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(OFPT).map(([name, type]) => [type, name]),
);

/** Name of a message type, such as `FLOW_MOD`. */
export function typeName(type: number): string {
  return TYPE_NAMES.get(type) ?? `type ${type}`;
}
