/**
 * Arbitrary matches and actions for property tests: only such as the encoder accepts, in the form in which the decoder
 * returns them.
 */
import fc from 'fast-check';
import type { Action } from '../../src/openflow/action.ts';
import type { LearnSpec } from '../../src/openflow/learn.ts';
import type { Match, MatchField } from '../../src/openflow/match.ts';
import { OXM_FIELDS, fieldByName } from '../../src/openflow/oxm-fields.ts';
import type { FieldName, OxmField, OxmValue } from '../../src/openflow/oxm-fields.ts';

function spec(name: FieldName): OxmField {
  const field = fieldByName(name);
  if (field === undefined) throw new Error(name);
  return field;
}

/** Any value of a field: edges are as likely as the rest. */
function valueOf(field: OxmField, bits = field.bits): fc.Arbitrary<OxmValue> {
  if (field.kind === 'port') return fc.nat({ max: 0xfeff });
  const max = (1n << BigInt(bits)) - 1n;
  const any = fc.oneof(fc.bigInt(0n, max), fc.constantFrom(0n, 1n, max));
  return field.bits <= 48 ? any.map(Number) : any;
}

function masked(field: OxmField, value: OxmValue, mask: OxmValue): MatchField | undefined {
  const [wide, wideMask] = [BigInt(value), BigInt(mask)];
  if (wideMask === 0n) return undefined;
  const cut = wide & wideMask;
  const narrow = (number: bigint): OxmValue => (field.bits <= 48 ? Number(number) : number);
  if (wideMask === (1n << BigInt(field.bits)) - 1n)
    return { field: field.name, value: narrow(cut) };
  return { field: field.name, value: narrow(cut), mask: narrow(wideMask) };
}

/** A field with any value and, where it may have one, any mask. */
function entryOf(name: FieldName): fc.Arbitrary<MatchField[]> {
  const field = spec(name);
  if (!field.maskable) return valueOf(field).map((value) => [{ field: name, value }]);
  const prefix = fc
    .integer({ min: 1, max: field.bits })
    .map((length) => ((1n << BigInt(length)) - 1n) << BigInt(field.bits - length));
  const all = fc.constant((1n << BigInt(field.bits)) - 1n);
  return fc.tuple(valueOf(field), fc.oneof(valueOf(field), prefix, all)).map(([value, mask]) => {
    const entry = masked(field, value, mask);
    return entry === undefined ? [] : [entry];
  });
}

function exactly(name: FieldName, value: number): fc.Arbitrary<MatchField[]> {
  return fc.constant([{ field: name, value }]);
}

function optional(name: FieldName): fc.Arbitrary<MatchField[]> {
  return fc.oneof({ arbitrary: fc.constant<MatchField[]>([]), weight: 2 }, entryOf(name));
}

function all(...parts: fc.Arbitrary<MatchField[]>[]): fc.Arbitrary<MatchField[]> {
  return fc.tuple(...parts).map((lists) => lists.flat());
}

// Ports stand beside "no" and "first" only; nw_frag 2 of 3 does not exist.
const anyFrag = fc.constantFrom<MatchField[]>(
  [],
  [{ field: 'ipFrag', value: 0 }],
  [{ field: 'ipFrag', value: 1 }],
  [{ field: 'ipFrag', value: 0, mask: 2 }],
  [{ field: 'ipFrag', value: 1, mask: 1 }],
);
const laterFrag = fc.constantFrom<MatchField[]>(
  [{ field: 'ipFrag', value: 3 }],
  [{ field: 'ipFrag', value: 2, mask: 2 }],
);
const ports = (proto: number, ...names: FieldName[]): fc.Arbitrary<MatchField[]> =>
  all(anyFrag, exactly('ipProto', proto), ...names.map(optional));
const noPorts = all(laterFrag, fc.oneof(exactly('ipProto', 6), exactly('ipProto', 47)));
const l4 = fc.oneof(
  fc.constant<MatchField[]>([]),
  noPorts,
  ports(6, 'tcpSrc', 'tcpDst', 'tcpFlags'),
  ports(17, 'udpSrc', 'udpDst'),
  ports(132, 'sctpSrc', 'sctpDst'),
  ports(47),
);
const ndCode = fc.constantFrom<MatchField[]>([], [{ field: 'icmpv6Code', value: 0 }]);
const icmp6 = fc.oneof(
  all(exactly('icmpv6Type', 135), ndCode, optional('ipv6NdTarget'), optional('ipv6NdSll')),
  all(exactly('icmpv6Type', 136), ndCode, optional('ipv6NdTarget'), optional('ipv6NdTll')),
  all(exactly('icmpv6Type', 1), optional('icmpv6Code')),
);
const l3 = fc.oneof(
  fc.constant<MatchField[]>([]),
  exactly('ethType', 0x88cc),
  all(exactly('ethType', 0x0800), optional('ipv4Src'), optional('ipv4Dst'), optional('ipDscp'), l4),
  all(exactly('ethType', 0x0800), optional('ipv4Src'), ports(1, 'icmpv4Type', 'icmpv4Code')),
  all(exactly('ethType', 0x86dd), optional('ipv6Src'), optional('ipv6Dst'), optional('ipDscp'), l4),
  all(exactly('ethType', 0x86dd), optional('ipv6Src'), exactly('ipProto', 58), icmp6),
  all(
    exactly('ethType', 0x0806),
    ...(['arpOp', 'arpSpa', 'arpTpa', 'arpSha', 'arpTha'] as const).map(optional),
  ),
);

/** A match with its prerequisites. */
export const matchOfFlow: fc.Arbitrary<Match> = all(
  ...(['inPort', 'conjId', 'ethSrc', 'ethDst', 'vlanVid'] as const).map(optional),
  l3,
  ...(['tunnelId', 'tunIpv4Src', 'tunIpv4Dst', 'metadata'] as const).map(optional),
  ...(['reg0', 'reg1', 'reg7', 'reg8', 'reg15'] as const).map(optional),
  ...(['pktMark', 'ctState', 'ctZone', 'ctMark'] as const).map(optional),
);

const anyFieldName = fc.constantFrom(...OXM_FIELDS.map(({ name }) => name));
const writableField = fc.constantFrom(...OXM_FIELDS.filter((field) => field.writable));

/** A run of at most 64 bits, not the whole field. */
function runOf(field: OxmField): fc.Arbitrary<{ start: number; bits: number }> {
  return fc
    .tuple(fc.nat({ max: field.nxmBits - 1 }), fc.integer({ min: 1, max: 64 }))
    .map(([start, bits]) => ({ start, bits: Math.min(bits, field.nxmBits - start) }));
}

const setField: fc.Arbitrary<Action> = writableField.chain((field) =>
  fc.oneof(
    valueOf(field, field.nxmBits).map((value) => ({
      type: 'setField' as const,
      field: field.name,
      value,
    })),
    fc
      .tuple(valueOf(field, field.nxmBits), runOf(field))
      .map(([value, { start, bits }]): Action => {
        const run = ((1n << BigInt(bits)) - 1n) << BigInt(start);
        const entry = masked(field, value, run);
        if (bits === field.nxmBits && field.nxmBits <= 64) {
          return { type: 'setField', field: field.name, value, load: true };
        }
        return entry?.mask === undefined
          ? { type: 'setField', field: field.name, value }
          : { type: 'setField', field: field.name, value: entry.value, mask: entry.mask };
      }),
  ),
);

const move: fc.Arbitrary<Action> = fc
  .tuple(anyFieldName.map(spec), writableField)
  .chain(([from, to]) => {
    const width = Math.min(from.nxmBits, to.nxmBits);
    return fc.integer({ min: 1, max: width }).chain((bits) =>
      fc
        .tuple(fc.nat({ max: from.nxmBits - bits }), fc.nat({ max: to.nxmBits - bits }))
        .map(([start, toStart]): Action => ({
          type: 'move',
          from: { field: from.name, start, bits },
          to: { field: to.name, start: toStart },
        })),
    );
  });

const learnSpec: fc.Arbitrary<LearnSpec> = fc
  .tuple(anyFieldName.map(spec), writableField)
  .chain(([from, to]) => {
    const width = Math.min(from.nxmBits, to.nxmBits);
    return fc
      .tuple(fc.integer({ min: 1, max: width }), fc.nat(), fc.nat(), fc.nat({ max: 2 }))
      .map(([bits, start, toStart, kind]): LearnSpec => ({
        use: kind === 0 ? 'match' : 'load',
        to: { field: to.name, start: toStart % (to.nxmBits - bits + 1), bits },
        from:
          kind === 2 && bits <= 64
            ? BigInt.asUintN(bits, BigInt(start) * 0x10001n)
            : { field: from.name, start: start % (from.nxmBits - bits + 1) },
      }));
  });

const u16 = fc.nat({ max: 0xffff });
const u32 = fc.nat({ max: 0xffffffff });
const port = fc.oneof(fc.integer({ min: 1, max: 0xfeff }), fc.constant(0xfffffffe));

const simple: fc.Arbitrary<Action> = fc.oneof(
  port.map((number): Action => ({ type: 'output', port: number })),
  u16.map((maxLen): Action => ({ type: 'output', port: 0xfffffffd, maxLen })),
  u32.map((groupId): Action => ({ type: 'group', groupId })),
  setField,
  move,
  fc.constantFrom<Action>(
    { type: 'outputField', field: 'reg1' },
    { type: 'outputField', field: 'metadata', start: 5, bits: 16 },
  ),
  fc.nat({ max: 0xff }).map((table): Action => ({ type: 'resubmit', table })),
  fc
    .tuple(fc.nat({ max: 0xff }), port)
    .map(([table, number]): Action => ({ type: 'resubmit', table, port: number })),
  fc
    .tuple(
      u16,
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      fc.array(learnSpec, { maxLength: 4 }),
    )
    .map(([some, cookie, specs]): Action => ({
      type: 'learn',
      table: some % 0xff,
      priority: some,
      cookie,
      ...(some % 2 === 0 ? {} : { idleTimeout: some }),
      ...(some % 3 === 0 ? {} : { hardTimeout: some }),
      ...(some % 5 === 0 ? {} : { limit: some * 0x10001 }),
      specs,
    })),
  fc.tuple(u32, fc.integer({ min: 2, max: 64 }), fc.nat()).map(([id, clauses, any]): Action => ({
    type: 'conjunction',
    id,
    clause: any % clauses,
    clauses,
  })),
  fc
    .tuple(u16, u16, fc.constantFrom(undefined, 0, 2, 3))
    .map(([maxLen, controllerId, reason]): Action => ({
      type: 'controller',
      maxLen,
      controllerId,
      ...(reason === undefined ? {} : { reason }),
    })),
);

/** Any action, nested ones included. */
export const anyAction: fc.Arbitrary<Action> = fc.letrec<{ action: Action }>((tie) => ({
  action: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    { arbitrary: simple, weight: 6 },
    fc
      .array(tie('action'), { maxLength: 3 })
      .map((actions): Action => ({ type: 'clone', actions })),
    fc
      .record({
        commit: fc.boolean(),
        zone: u16,
        table: fc.nat({ max: 0xff }),
        exec: fc.array(tie('action'), { maxLength: 2 }),
      })
      .map(({ commit, zone, table, exec }): Action => ({
        type: 'ct',
        ...(commit ? { commit: true } : {}),
        ...(zone === 0 ? {} : { zone }),
        ...(table === 0xff ? {} : { table }),
        ...(exec.length === 0 ? {} : { exec }),
      })),
  ),
})).action;
