/**
 * Flows and groups as text, exactly as `ovs-ofctl --no-names --no-stats dump-flows` and `dump-groups` print them on
 * OpenFlow 1.3, so that an operator can compare and paste. What this product does not know is printed as hex. One way only:
 * there is no parser.
 */
import { Buffer } from 'node:buffer';
import { decodeActions } from './action.ts';
import type { Action } from './action.ts';
import { instructionsOf, matchOf } from './flow.ts';
import type { EncodedFlow } from './flow.ts';
import {
  CT_STATE_FLAGS,
  TCP_FLAGS,
  formatFlags,
  formatPort,
  formatValue,
  hex,
  reservedPort,
} from './format-value.ts';
import { BUCKET_HEADER_SIZE } from './group-mod.ts';
import type { GroupDesc } from './group-mod.ts';
import { decodeInstructions } from './instruction.ts';
import type { Instructions, OtherInstruction } from './instruction.ts';
import { bufferOver, decodeMatch } from './match.ts';
import type { Match, MatchField } from './match.ts';
import { OFPGT, OFPIT, OFPP } from './ofp13.ts';
import { OXM_FIELDS, fieldByName } from './oxm-fields.ts';
import type { FieldName, OxmField, OxmValue } from './oxm-fields.ts';

type Fields = ReadonlyMap<string, MatchField>;

const DEFAULT_PRIORITY = 0x8000;
const ETH_WORDS: ReadonlyMap<number, string> = new Map([
  [0x0800, 'ip'],
  [0x86dd, 'ipv6'],
  [0x0806, 'arp'],
  [0x8035, 'rarp'],
  [0x8847, 'mpls'],
  [0x8848, 'mplsm'],
]);
const IPV4_WORDS: ReadonlyMap<number, string> = new Map([
  [1, 'icmp'],
  [2, 'igmp'],
  [6, 'tcp'],
  [17, 'udp'],
  [132, 'sctp'],
]);
const IPV6_WORDS: ReadonlyMap<number, string> = new Map([
  [58, 'icmp6'],
  [6, 'tcp6'],
  [17, 'udp6'],
  [132, 'sctp6'],
]);

function numberOf(fields: Fields, name: FieldName): number | undefined {
  const entry = fields.get(name);
  return entry === undefined ? undefined : Number(entry.value);
}

/** `ip`, `tcp6`, `arp`, ... and whether ip_proto is thereby said. */
function protocolWord(fields: Fields): { word: string | undefined; saysProto: boolean } {
  const ethType = numberOf(fields, 'ethType');
  if (ethType === undefined) return { word: undefined, saysProto: false };
  const proto = numberOf(fields, 'ipProto');
  const words = ethType === 0x0800 ? IPV4_WORDS : ethType === 0x86dd ? IPV6_WORDS : undefined;
  const word = proto === undefined ? undefined : words?.get(proto);
  return word === undefined
    ? { word: ETH_WORDS.get(ethType), saysProto: false }
    : { word, saysProto: true };
}

function formatVlan({ value, mask }: MatchField): string {
  const vid = Number(value);
  const bits = mask === undefined ? 0x1fff : Number(mask);
  const present = vid & bits & 0x1000; // OFPVID_PRESENT
  if (present && (bits & 0xfff) === 0xfff) return `dl_vlan=${vid & 0xfff}`;
  const digits = (number: number): string => number.toString(16).padStart(4, '0');
  return `vlan_tci=0x${digits(vid)}/0x${digits(bits)}`;
}

function formatFrag({ value, mask }: MatchField): string {
  const fragmented = Number(value) & 1;
  const later = Number(value) & 2;
  if (mask === undefined || Number(mask) === 3) {
    return fragmented ? (later ? 'later' : 'first') : later ? '<error>' : 'no';
  }
  return Number(mask) === 1 ? (fragmented ? 'yes' : 'no') : later ? 'later' : 'not_later';
}

/** One field as `name=value`. */
function formatField(field: OxmField, entry: MatchField): string {
  const { value, mask } = entry;
  const maskNumber = mask === undefined ? undefined : Number(mask);
  switch (field.name) {
    case 'ethType':
      return `dl_type=0x${value.toString(16).padStart(4, '0')}`;
    case 'vlanVid':
      return formatVlan(entry);
    case 'ipDscp':
      return `nw_tos=${Number(value) << 2}`;
    case 'ipFrag':
      return `nw_frag=${formatFrag(entry)}`;
    case 'ctState':
      return `ct_state=${formatFlags(CT_STATE_FLAGS, Number(value), maskNumber)}`;
    case 'tcpFlags':
      return `tcp_flags=${formatFlags(TCP_FLAGS, Number(value), maskNumber)}`;
    default:
      return `${field.matchName}=${formatValue(field, value, mask)}`;
  }
}

const BEFORE_PROTOCOL: readonly FieldName[] = ['pktMark', 'conjId', 'ctState', 'ctZone', 'ctMark'];
const REGISTERS = OXM_FIELDS.flatMap(({ name }) => (name.startsWith('reg') ? [name] : []));
const AFTER_PROTOCOL: readonly FieldName[] = [
  ...REGISTERS,
  ...(['tunnelId', 'tunIpv4Src', 'tunIpv4Dst', 'metadata', 'inPort', 'vlanVid'] as const),
  ...(['ethSrc', 'ethDst', 'ethType', 'ipv6Src', 'ipv6Dst', 'arpSpa', 'arpTpa'] as const),
  ...(['ipv4Src', 'ipv4Dst', 'arpOp', 'ipProto', 'arpSha', 'arpTha', 'ipDscp', 'ipFrag'] as const),
  ...(['icmpv4Type', 'icmpv4Code', 'icmpv6Type', 'icmpv6Code'] as const),
  ...(['ipv6NdTarget', 'ipv6NdSll', 'ipv6NdTll'] as const),
  ...(['tcpSrc', 'tcpDst', 'udpSrc', 'udpDst', 'sctpSrc', 'sctpDst', 'tcpFlags'] as const),
];

/**
 * A match as `ip,metadata=0x3e8,nw_src=10.1.0.0/16`; empty for a match of everything.
 * @throws DecodeError for bytes that are no match.
 */
export function formatMatch(match: Match | Uint8Array): string {
  const list = match instanceof Uint8Array ? decodeMatch(match) : match;
  const fields: Fields = new Map(list.map((entry) => [entry.field, entry]));
  const { word, saysProto } = protocolWord(fields);
  const parts: string[] = [];
  const put = (name: FieldName): void => {
    const entry = fields.get(name);
    const field = fieldByName(name);
    if (entry !== undefined && field !== undefined) parts.push(formatField(field, entry));
  };
  BEFORE_PROTOCOL.forEach(put);
  if (word !== undefined) parts.push(word);
  for (const name of AFTER_PROTOCOL) {
    if (name === 'ethType' && word !== undefined) continue;
    if (name === 'ipProto' && saysProto) continue;
    put(name);
  }
  for (const { field, oxm } of list) {
    if (field === 'unknown') parts.push(`oxm=${Buffer.from(oxm ?? []).toString('hex')}`);
  }
  return parts.join(',');
}

/** `NXM_NX_REG0[]`, `[3]` or `[4..7]`. */
function formatSubfield(name: FieldName, start: number, bits: number): string {
  const field = fieldByName(name);
  if (field === undefined) return name;
  if (start === 0 && bits === field.nxmBits) return `${field.nxmName}[]`;
  const range = bits === 1 ? String(start) : `${start}..${start + bits - 1}`;
  return `${field.nxmName}[${range}]`;
}

/** One `load:` for each run of bits, as the encoder writes them. */
function formatLoads(name: FieldName, value: OxmValue, mask: OxmValue): string {
  const wide = BigInt(value);
  const wideMask = BigInt(mask);
  const loads: string[] = [];
  for (let start = 0; wideMask >> BigInt(start) !== 0n;) {
    let bits = 0;
    while (bits < 64 && (wideMask >> BigInt(start + bits)) & 1n) bits++;
    if (bits > 0) {
      const run = BigInt.asUintN(bits, wide >> BigInt(start));
      loads.push(`load:${hex(run)}->${formatSubfield(name, start, bits)}`);
    }
    start += Math.max(bits, 1);
  }
  return loads.join(',');
}

function formatSetField(action: Action & { readonly type: 'setField' }): string {
  const field = fieldByName(action.field);
  if (field === undefined) return `set_field:${action.value}->${action.field}`;
  if (action.mask !== undefined) return formatLoads(action.field, action.value, action.mask);
  if (action.load === true) {
    return `load:${hex(action.value)}->${formatSubfield(action.field, 0, field.nxmBits)}`;
  }
  return `set_field:${formatValue(field, action.value)}->${field.ovsName}`;
}

const REASONS: readonly string[] = [
  'no_match',
  'action',
  'invalid_ttl',
  'action_set',
  'group',
  'packet_out',
];

function formatController(action: Action & { readonly type: 'controller' }): string {
  const { maxLen, controllerId, reason = 1, meterId } = action;
  if (reason === 1 && controllerId === 0 && meterId === undefined) return `CONTROLLER:${maxLen}`;
  const parts = [
    reason === 1 ? '' : `reason=${REASONS[reason] ?? reason}`,
    maxLen === 0xffff ? '' : `max_len=${maxLen}`,
    controllerId === 0 ? '' : `id=${controllerId}`,
    meterId === undefined ? '' : `meter_id=${meterId}`,
  ];
  return `controller(${parts.filter((part) => part !== '').join(',')})`;
}

function formatCt(action: Action & { readonly type: 'ct' }): string {
  const parts = [
    action.commit === true ? 'commit' : '',
    action.table === undefined ? '' : `table=${action.table}`,
    action.zone === undefined || action.zone === 0 ? '' : `zone=${action.zone}`,
    action.exec === undefined ? '' : `exec(${formatActions(action.exec)})`,
  ];
  return `ct(${parts.filter((part) => part !== '').join(',')})`;
}

function formatLearn(action: Action & { readonly type: 'learn' }): string {
  const { table, idleTimeout, hardTimeout, priority, cookie, limit, specs } = action;
  const parts = [
    `table=${table}`,
    idleTimeout === undefined ? '' : `idle_timeout=${idleTimeout}`,
    hardTimeout === undefined ? '' : `hard_timeout=${hardTimeout}`,
    priority === DEFAULT_PRIORITY ? '' : `priority=${priority}`,
    cookie === 0n ? '' : `cookie=${hex(cookie)}`,
    limit === undefined ? '' : `limit=${limit}`,
    ...specs.map(({ use, to, from }) => {
      const target = formatSubfield(to.field, to.start, to.bits);
      const source =
        typeof from === 'bigint' ? hex(from) : formatSubfield(from.field, from.start, to.bits);
      if (use === 'load') return `load:${source}->${target}`;
      return source === target ? target : `${target}=${source}`;
    }),
  ];
  return `learn(${parts.filter((part) => part !== '').join(',')})`;
}

function formatAction(action: Action): string {
  switch (action.type) {
    case 'output':
      if (action.port === OFPP.CONTROLLER) return `CONTROLLER:${action.maxLen ?? 0xffff}`;
      return reservedPort(action.port) ?? `output:${formatPort(action.port)}`;
    case 'outputField': {
      const start = action.start ?? 0;
      const bits = action.bits ?? (fieldByName(action.field)?.nxmBits ?? 0) - start;
      return `output:${formatSubfield(action.field, start, bits)}`;
    }
    case 'group':
      return `group:${action.groupId}`;
    case 'setField':
      return formatSetField(action);
    case 'move': {
      const { from, to } = action;
      const source = formatSubfield(from.field, from.start, from.bits);
      return `move:${source}->${formatSubfield(to.field, to.start, from.bits)}`;
    }
    case 'resubmit': {
      const port = action.port === undefined ? '' : formatPort(action.port);
      if (action.table === 0xff) return port === '' ? 'resubmit(,)' : `resubmit:${port}`;
      return `resubmit(${port},${action.table})`;
    }
    case 'conjunction':
      return `conjunction(${action.id},${action.clause + 1}/${action.clauses})`;
    case 'clone':
      return `clone(${formatActions(action.actions)})`;
    case 'ct':
      return formatCt(action);
    case 'controller':
      return formatController(action);
    case 'learn':
      return formatLearn(action);
    case 'unknown':
      return `unknown(${Buffer.from(action.bytes).toString('hex')})`;
  }
}

function formatActions(actions: readonly Action[]): string {
  return actions.map(formatAction).join(',');
}

function formatOther({ type, bytes }: OtherInstruction): string {
  const buffer = bufferOver(bytes);
  if (type === OFPIT.WRITE_METADATA && buffer.length === 24) {
    const mask = buffer.readBigUInt64BE(16);
    const text = `write_metadata:${hex(buffer.readBigUInt64BE(8))}`;
    return mask === 0xffffffffffffffffn ? text : `${text}/${hex(mask)}`;
  }
  if (type === OFPIT.CLEAR_ACTIONS) return 'clear_actions';
  if (type === OFPIT.WRITE_ACTIONS) {
    return `write_actions(${formatActions(decodeActions(bytes.subarray(8)))})`;
  }
  return `unknown(${buffer.toString('hex')})`;
}

/**
 * Instructions as `set_field:0x1->reg1,goto_table:5`; `drop` when there are none.
 * @throws DecodeError for bytes that are no instructions.
 */
export function formatInstructions(instructions: Instructions | Uint8Array): string {
  const { meter, applyActions, others, gotoTable } =
    instructions instanceof Uint8Array ? decodeInstructions(instructions) : instructions;
  const parts = [
    meter === undefined ? '' : `meter:${meter}`,
    formatActions(applyActions ?? []),
    ...(others ?? []).map(formatOther),
    gotoTable === undefined ? '' : `goto_table:${gotoTable}`,
  ];
  return parts.filter((part) => part !== '').join(',') || 'drop';
}

/**
 * A flow as `cookie=0x1, table=5, priority=100,ip actions=drop`. Cookie 0, table 0 and priority 32768 go without saying, as
 * ovs-ofctl has it.
 */
export function formatFlow(flow: EncodedFlow): string {
  const cookie = flow.cookie === 0n ? '' : `cookie=0x${flow.cookie.toString(16)}, `;
  const table = flow.tableId === 0 ? '' : `table=${flow.tableId}, `;
  const priority = flow.priority === DEFAULT_PRIORITY ? '' : `priority=${flow.priority}`;
  const match = [priority, formatMatch(matchOf(flow))].filter((part) => part !== '').join(',');
  const actions = `actions=${formatInstructions(instructionsOf(flow))}`;
  return `${cookie}${table}${match === '' ? '' : `${match} `}${actions}`;
}

const GROUP_TYPES: ReadonlyMap<number, string> = new Map([
  [OFPGT.ALL, 'all'],
  [OFPGT.SELECT, 'select'],
  [OFPGT.INDIRECT, 'indirect'],
  [OFPGT.FF, 'ff'],
]);

function formatBucket(bucket: Buffer, type: number): string {
  const weight = bucket.readUInt16BE(2);
  const watchPort = bucket.readUInt32BE(4);
  const watchGroup = bucket.readUInt32BE(8);
  const actions = formatActions(decodeActions(bucket.subarray(BUCKET_HEADER_SIZE)));
  const parts = [
    weight === (type === OFPGT.SELECT ? 1 : 0) ? '' : `weight:${weight}`,
    watchPort === OFPP.ANY ? '' : `watch_port:${formatPort(watchPort)}`,
    watchGroup === OFPP.ANY ? '' : `watch_group:${watchGroup}`,
    `actions=${actions === '' ? 'drop' : actions}`,
  ];
  return `bucket=${parts.filter((part) => part !== '').join(',')}`;
}

/**
 * A group as `group_id=5,type=all,bucket=actions=output:1`.
 * @throws DecodeError when an action in it is malformed; a bucket whose own length cannot be ends the text with its bytes.
 */
export function formatGroup(group: GroupDesc): string {
  const buckets = bufferOver(group.buckets);
  const parts = [`group_id=${group.groupId}`, `type=${GROUP_TYPES.get(group.type) ?? group.type}`];
  for (let at = 0; at < buckets.length;) {
    const size = buckets.length - at < BUCKET_HEADER_SIZE ? 0 : buckets.readUInt16BE(at);
    if (size < BUCKET_HEADER_SIZE || at + size > buckets.length) {
      parts.push(`unknown(${buckets.subarray(at).toString('hex')})`);
      break;
    }
    parts.push(formatBucket(buckets.subarray(at, at + size), group.type));
    at += size;
  }
  return parts.join(',');
}
