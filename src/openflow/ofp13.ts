/**
 * Wire constants of OpenFlow 1.3 and of the extensions that Open vSwitch speaks, named as the specifications name them.
 * Sources: OpenFlow Switch Specification 1.3.5 (section in brackets), ONF extension 230 (bundles, as carried on 1.3),
 * OVS `include/openflow/nicira-ext.h` and `lib/ofp-actions.c`. Numbers only: no code.
 */

/** Version byte of OpenFlow 1.3 [7.1.1]. */
export const OFP_VERSION = 0x04;
/** Bytes of ofp_header [7.1.1]. */
export const OFP_HEADER_SIZE = 8;
/** Largest message: its length field has 16 bits [7.1.1]. */
export const OFP_MESSAGE_MAX = 0xffff;

/** Message types, OFPT_* [7.1.1]. */
export const OFPT = {
  HELLO: 0,
  ERROR: 1,
  ECHO_REQUEST: 2,
  ECHO_REPLY: 3,
  EXPERIMENTER: 4,
  FEATURES_REQUEST: 5,
  FEATURES_REPLY: 6,
  GET_CONFIG_REQUEST: 7,
  GET_CONFIG_REPLY: 8,
  SET_CONFIG: 9,
  PACKET_IN: 10,
  FLOW_REMOVED: 11,
  PORT_STATUS: 12,
  PACKET_OUT: 13,
  FLOW_MOD: 14,
  GROUP_MOD: 15,
  PORT_MOD: 16,
  TABLE_MOD: 17,
  MULTIPART_REQUEST: 18,
  MULTIPART_REPLY: 19,
  BARRIER_REQUEST: 20,
  BARRIER_REPLY: 21,
  ROLE_REQUEST: 24,
  ROLE_REPLY: 25,
  GET_ASYNC_REQUEST: 26,
  GET_ASYNC_REPLY: 27,
  SET_ASYNC: 28,
  METER_MOD: 29,
} as const;

/** Multipart types, OFPMP_* [7.3.5]. */
export const OFPMP = {
  DESC: 0,
  FLOW: 1,
  AGGREGATE: 2,
  TABLE: 3,
  PORT_STATS: 4,
  GROUP: 6,
  GROUP_DESC: 7,
  METER: 9,
  METER_CONFIG: 10,
  PORT_DESC: 13,
  EXPERIMENTER: 0xffff,
} as const;
/** Set on every reply of a multipart sequence but the last [7.3.5]. */
export const OFPMPF_REPLY_MORE = 1;

/** Port numbers with a meaning, OFPP_* [7.2.1]. */
export const OFPP = {
  MAX: 0xffffff00,
  IN_PORT: 0xfffffff8,
  TABLE: 0xfffffff9,
  NORMAL: 0xfffffffa,
  FLOOD: 0xfffffffb,
  ALL: 0xfffffffc,
  CONTROLLER: 0xfffffffd,
  LOCAL: 0xfffffffe,
  ANY: 0xffffffff,
} as const;

/** Group numbers with a meaning, OFPG_* [7.3.4.3]. */
export const OFPG = { MAX: 0xffffff00, ALL: 0xfffffffc, ANY: 0xffffffff } as const;
/** Meter numbers with a meaning, OFPM_* [7.3.4.4]. */
export const OFPM = { MAX: 0xffff0000, ALL: 0xffffffff } as const;
/** No buffered packet, OFP_NO_BUFFER [7.4.1]. */
export const OFP_NO_BUFFER = 0xffffffff;
/** All tables, OFPTT_ALL [7.3.4.1]. */
export const OFPTT_ALL = 0xff;

/** Flow_mod commands, OFPFC_* [7.3.4.1]. */
export const OFPFC = {
  ADD: 0,
  MODIFY: 1,
  MODIFY_STRICT: 2,
  DELETE: 3,
  DELETE_STRICT: 4,
} as const;
/** Flow_mod flags, OFPFF_* [7.3.4.1]. */
export const OFPFF = {
  SEND_FLOW_REM: 1,
  CHECK_OVERLAP: 2,
  RESET_COUNTS: 4,
  NO_PKT_COUNTS: 8,
  NO_BYT_COUNTS: 16,
} as const;
/** Group_mod commands, OFPGC_* [7.3.4.3]. */
export const OFPGC = { ADD: 0, MODIFY: 1, DELETE: 2 } as const;
/** Group types, OFPGT_* [7.3.4.3]. */
export const OFPGT = { ALL: 0, SELECT: 1, INDIRECT: 2, FF: 3 } as const;

/** Meter_mod commands, OFPMC_* [7.3.4.4]. */
export const OFPMC = { ADD: 0, MODIFY: 1, DELETE: 2 } as const;
/** Meter flags, OFPMF_* [7.3.4.4]. */
export const OFPMF = { KBPS: 1, PKTPS: 2, BURST: 4, STATS: 8 } as const;
/** Meter bands, OFPMBT_* [7.3.4.4]. */
export const OFPMBT = { DROP: 1 } as const;
/** Why a packet comes to the controller, OFPR_* [7.4.1]. */
export const OFPR = { NO_MATCH: 0, ACTION: 1 } as const;

/** Instruction types, OFPIT_* [7.2.4]. */
export const OFPIT = {
  GOTO_TABLE: 1,
  WRITE_METADATA: 2,
  WRITE_ACTIONS: 3,
  APPLY_ACTIONS: 4,
  CLEAR_ACTIONS: 5,
  METER: 6,
} as const;
/** Action types, OFPAT_* [7.2.5]. */
export const OFPAT = {
  OUTPUT: 0,
  GROUP: 22,
  SET_FIELD: 25,
  EXPERIMENTER: 0xffff,
} as const;
/** Match type of OXM, OFPMT_OXM [7.2.3.1]. */
export const OFPMT_OXM = 1;

/** OXM classes [7.2.3.2]; OVS's own in `lib/nx-match.c`. */
export const OXM_CLASS = {
  NXM_0: 0x0000,
  NXM_1: 0x0001,
  OPENFLOW_BASIC: 0x8000,
  PACKET_REGS: 0x8001,
  EXPERIMENTER: 0xffff,
} as const;

/** Fragment handling of SET_CONFIG, OFPC_FRAG_* [7.3.2]; NX_MATCH is OVS's own: the fragment state can be matched. */
export const OFPC_FRAG = { NORMAL: 0, DROP: 1, REASM: 2, NX_MATCH: 3 } as const;

/** Experimenter id of Nicira, used by all of OVS's own extensions. */
export const NX_VENDOR_ID = 0x00002320;
/** Experimenter id of the Open Networking Foundation. */
export const ONF_VENDOR_ID = 0x4f4e4600;

/** OVS's own message subtypes (`nicira-ext.h`). */
export const NXT = { SET_CONTROLLER_ID: 20, CT_FLUSH_ZONE: 29 } as const;

/** OVS's own action subtypes (`lib/ofp-actions.c`, NXAST_*). */
export const NXAST = {
  RESUBMIT: 1,
  REG_MOVE: 6,
  REG_LOAD: 7,
  RESUBMIT_TABLE: 14,
  OUTPUT_REG: 15,
  LEARN: 16,
  CONTROLLER: 20,
  REG_LOAD2: 33,
  CONJUNCTION: 34,
  CT: 35,
  CONTROLLER2: 37,
  CLONE: 42,
  LEARN2: 45,
} as const;

/** Experimenter types of ONF bundles on OpenFlow 1.3. */
export const ONF_ET = { BUNDLE_CONTROL: 2300, BUNDLE_ADD_MESSAGE: 2301 } as const;
/** Bundle control types, OFPBCT_*. */
export const OFPBCT = {
  OPEN_REQUEST: 0,
  OPEN_REPLY: 1,
  CLOSE_REQUEST: 2,
  CLOSE_REPLY: 3,
  COMMIT_REQUEST: 4,
  COMMIT_REPLY: 5,
  DISCARD_REQUEST: 6,
  DISCARD_REPLY: 7,
} as const;
/** Bundle flags, OFPBF_*. */
export const OFPBF = { ATOMIC: 1, ORDERED: 2 } as const;

/** Multipart type of the ONF flow monitor on OpenFlow 1.3 (extension 187). */
export const ONFST = { FLOW_MONITOR: 1870 } as const;
/** Experimenter types of the ONF flow monitor. */
export const ONFT = {
  FLOW_MONITOR_CANCEL: 1870,
  FLOW_MONITOR_PAUSED: 1871,
  FLOW_MONITOR_RESUMED: 1872,
} as const;
/** Flow monitor flags, ONFFMF_*. */
export const ONFFMF = {
  INITIAL: 1,
  ADD: 2,
  DELETE: 4,
  MODIFY: 8,
  ACTIONS: 16,
  OWN: 32,
} as const;
/** Events of a flow update, ONFFME_*. */
export const ONFFME = { ADDED: 0, DELETED: 1, MODIFIED: 2, ABBREV: 3 } as const;
/** Why a flow is gone, OFPRR_* [7.4.2]. */
export const OFPRR = {
  IDLE_TIMEOUT: 0,
  HARD_TIMEOUT: 1,
  DELETE: 2,
  GROUP_DELETE: 3,
  /** Open vSwitch's, from OpenFlow 1.4. */
  METER_DELETE: 4,
} as const;
