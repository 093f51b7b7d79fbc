/**
 * Which packets of a rule will not be handled by the hardware, from its compiled flows, before anything is installed.
 * Pure. What the kernel and DOCA refuse is in docs/offload.md; whether a card has room, or did it, only evidence tells.
 */
import type { Action } from '../../openflow/action.ts';
import { instructionsOf, type EncodedFlow } from '../../openflow/flow.ts';
import { decodeInstructions } from '../../openflow/instruction.ts';
import type { FieldName } from '../../openflow/oxm-fields.ts';
import type { CompiledEntry } from '../flow/rule-flows.ts';
import { reason, type DatapathKind, type Reason } from './reason.ts';
import { classifiersOf, entryOverlaps, type Classifiers, type Region } from './region.ts';

/** How a port is backed. `unknown`: nobody could be asked, and nothing is said of it. */
export type PortBacking = 'representor' | 'software' | 'unknown';

/** What the lint has to know of a port. */
export interface LintPort {
  readonly name: string;
  readonly ofport: number;
  readonly backing: PortBacking;
  /** Switch that a representor belongs to, in hex; undefined for others. */
  readonly switchId?: string | undefined;
}

/** What the lint has to know of the entry's surroundings. */
export interface LintContext {
  readonly datapath: DatapathKind;
  /** True when the entry's network tracks connections. */
  readonly tracked: boolean;
  /** Ports of the bridge. */
  readonly ports: readonly LintPort[];
  /** Ofports of the endpoints of the entry's network. */
  readonly endpoints: ReadonlySet<number>;
  /** Copies of a flooded packet of the entry's network. */
  readonly flood: { readonly remote: number; readonly local: number };
}

/** Most actions of one tc filter (`TCA_ACT_MAX_NUM` of OVS `lib/tc.h`). */
export const ACTIONS_MAX = 16;
/** A copy to a VTEP sets the tunnel's destination and goes out; a local one only goes out. */
const ACTIONS_PER_PEER = 2;
const ICMP = [1n, 58n] as const;
const PROTOCOL_MASK = 0xffn;
const GROUP_BIT = 0x0100_0000_0000n;

function region(fields: readonly (readonly [FieldName, bigint, bigint])[]): Region {
  return new Map(fields.map(([field, value, mask]) => [field, { value, mask }]));
}

const ICMP_REGIONS = [
  region([
    ['ethType', 0x0800n, 0xffffn],
    ['ipProto', ICMP[0], PROTOCOL_MASK],
  ]),
  region([
    ['ethType', 0x86ddn, 0xffffn],
    ['ipProto', ICMP[1], PROTOCOL_MASK],
  ]),
];
/** What is flooded around a multicast or broadcast address; a unicast one inside is dropped by FloodGuard. */
const FLOOD_REGIONS = [
  region([
    ['ethDst', GROUP_BIT, GROUP_BIT],
    ['ethType', 0x0800n, 0xffffn],
    ['ipv4Dst', 0xe000_0000n, 0xe000_0000n],
  ]),
  region([
    ['ethDst', GROUP_BIT, GROUP_BIT],
    ['ethType', 0x86ddn, 0xffffn],
    ['ipv6Dst', 0xffn << 120n, 0xffn << 120n],
  ]),
];
/** Fields that no packet carries: setting them costs no action in the datapath. */
const PIPELINE_FIELD = /^(reg\d+|metadata)$/;
/** A register holds two legs of a device (`registers.ts`). */
const LEG_BITS = 16;
const LEG_MASK = 0xffff;

/** The reasons that keep packets of an entry out of the hardware, each code once. */
export function lintEntry(
  entry: Pick<CompiledEntry, 'flows' | 'clauses' | 'meters'>,
  context: LintContext,
): Reason[] {
  const { datapath } = context;
  if (entry.flows.length + entry.clauses.length === 0) return [];
  const everything = reason(datapath, 'UserspaceDatapath', 'all');
  if (everything.length > 0) return everything;
  const classifiers = classifiersOf(entry);
  const flows = [...entry.flows, ...entry.clauses];
  const meters = entry.meters.length > 0 ? reason(datapath, 'MeterByteCount', 'none') : [];
  return [
    ...trackingReasons(classifiers, context),
    ...actionReasons(flows, context),
    ...matchReasons(classifiers, datapath),
    ...portReasons(flows, context),
    ...floodReasons(classifiers, context),
    ...meters,
  ];
}

function trackingReasons(classifiers: Classifiers, { datapath, tracked }: LintContext): Reason[] {
  if (!tracked) return [];
  const canBeIcmp = ICMP_REGIONS.some((icmp) => entryOverlaps(classifiers, icmp));
  const scope = fieldAlways(classifiers, 'ipProto', ICMP) ? 'all' : 'some';
  return [
    ...(canBeIcmp ? reason(datapath, 'StatefulICMP', scope) : []),
    ...reason(datapath, 'Recirculation', 'all'),
  ];
}

/** True when each way to match the entry asks for one of these values of a field. */
function fieldAlways(
  { plain, conjunctions }: Classifiers,
  field: FieldName,
  values: readonly bigint[],
): boolean {
  const asks = (match: Classifiers['plain'][number]): boolean =>
    match.some((one) => one.field === field && values.includes(BigInt(one.value)));
  return (
    plain.every(asks) &&
    conjunctions.every((dimensions) => dimensions.some((choices) => choices.every(asks)))
  );
}

function matchReasons({ plain, conjunctions }: Classifiers, datapath: DatapathKind): Reason[] {
  const every = [...plain, ...conjunctions.flat(2)];
  const matches = (name: FieldName): boolean =>
    every.some((match) => match.some(({ field }) => field === name));
  return [
    ...(matches('ipDscp') ? reason(datapath, 'DSCPMask', 'all') : []),
    ...(matches('pktMark') ? reason(datapath, 'PacketMark', 'all') : []),
  ];
}

/** Actions as they follow each other, those of clones and of ct included. */
function flat(actions: readonly Action[]): Action[] {
  return actions.flatMap((action) => {
    if (action.type === 'clone') return [action, ...flat(action.actions)];
    if (action.type === 'ct') return [action, ...flat(action.exec ?? [])];
    return [action];
  });
}

function actionsOf(flow: EncodedFlow): Action[] {
  return flat(decodeInstructions(instructionsOf(flow)).applyActions ?? []);
}

function costsAnAction(action: Action): boolean {
  switch (action.type) {
    case 'setField':
      return !PIPELINE_FIELD.test(action.field);
    case 'move':
      return !PIPELINE_FIELD.test(action.to.field);
    case 'resubmit':
    case 'conjunction':
    case 'clone':
      return false;
    default:
      return true;
  }
}

function actionReasons(flows: readonly EncodedFlow[], { datapath }: LintContext): Reason[] {
  const lists = flows.map(actionsOf);
  const has = (is: (action: Action) => boolean): boolean => lists.some((list) => list.some(is));
  const most = Math.max(0, ...lists.map((list) => list.filter(costsAnAction).length));
  const tooMany = `${most} actions in one flow, at most ${ACTIONS_MAX}`;
  return [
    ...(has(({ type }) => type === 'controller') ? reason(datapath, 'Logging', 'all') : []),
    ...(has((action) => action.type === 'setField' && action.field === 'pktMark')
      ? reason(datapath, 'PacketMark', 'all')
      : []),
    ...(has(({ type }) => type === 'unknown') ? reason(datapath, 'UnsupportedAction', 'all') : []),
    ...(most > ACTIONS_MAX ? reason(datapath, 'TooManyActions', 'all', tooMany) : []),
  ];
}

/** Ofports that packets are redirected to: legs in reg5 and reg6, and plain outputs. */
function redirectPorts(flows: readonly EncodedFlow[]): Set<number> {
  const ports = new Set<number>();
  const add = (port: number): void => {
    if (port !== 0) ports.add(port);
  };
  for (const action of flows.flatMap(actionsOf)) {
    if (action.type === 'output') add(action.port);
    if (action.type !== 'setField' || action.mask !== undefined) continue;
    const value = Number(action.value);
    if (action.field === 'reg6') add(value);
    if (action.field === 'reg5') {
      add(value >>> LEG_BITS);
      add(value & LEG_MASK);
    }
  }
  return ports;
}

function portReasons(flows: readonly EncodedFlow[], context: LintContext): Reason[] {
  const { datapath, ports, endpoints } = context;
  const redirect = redirectPorts(flows);
  const legs = ports.filter(({ ofport }) => redirect.has(ofport));
  const locals = ports.filter(({ ofport }) => endpoints.has(ofport));
  const soft = (some: readonly LintPort[]): string =>
    some
      .filter(({ backing }) => backing === 'software')
      .map(({ name }) => name)
      .sort()
      .join(', ');
  const switches = new Set([...legs, ...locals].flatMap(({ switchId }) => switchId ?? []));
  const [softLegs, softLocals] = [soft(legs), soft(locals)];
  return [
    ...(softLegs === ''
      ? []
      : reason(datapath, 'RedirectPortNotRepresentor', 'all', `no representor: ${softLegs}`)),
    ...(softLocals === ''
      ? []
      : reason(datapath, 'EndpointNotRepresentor', 'some', `no representor: ${softLocals}`)),
    ...(switches.size > 1
      ? reason(datapath, 'MixedSwitches', 'some', `switch ids ${[...switches].sort().join(', ')}`)
      : []),
  ];
}

function floodReasons(classifiers: Classifiers, { datapath, flood }: LintContext): Reason[] {
  const actions = ACTIONS_PER_PEER * flood.remote + flood.local;
  if (actions <= ACTIONS_MAX) return [];
  if (!FLOOD_REGIONS.some((flooded) => entryOverlaps(classifiers, flooded))) return [];
  const detail = `a flood to ${flood.remote} peers and ${flood.local} ports is ${actions} actions, at most ${ACTIONS_MAX}`;
  return reason(datapath, 'TooManyActions', 'some', detail);
}
