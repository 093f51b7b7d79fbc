/**
 * Which live traffic would leave the hardware if a rule were applied, and why: the datapath flows that are in hardware now and
 * that an entry with a reason to stay in software can match. Pure. An upper bound: rules that stand before it are not asked.
 */
import type { CompiledEntry } from '../flow/rule-flows.ts';
import type { Steps } from '../flow/steps.ts';
import { placeOf, type FlowPlace } from './evidence.ts';
import { lintEntry, type LintContext } from './lint.ts';
import { megaflowRegion } from './megaflow-region.ts';
import type { AttributedFlow } from './offload-reader.ts';
import type { Reason } from './reason.ts';
import { classifiersOf, entryOverlaps, type Region } from './region.ts';

/** An entry that is not in force, with what its network is like. */
export interface Candidate {
  readonly entry: CompiledEntry;
  readonly context: LintContext;
}

/** A datapath flow that an entry may match. */
export interface TouchedFlow {
  readonly key: string;
  readonly packets: number;
  readonly place: FlowPlace;
  /** Entries that keep it in software, each with its reasons; empty when it stays where it is. */
  readonly because: readonly { readonly rule: string; readonly reasons: readonly Reason[] }[];
}

/** The answer. */
export interface WhatIf {
  /** Traffic that is in hardware, alone or in part, and would leave it. */
  readonly leaving: { flows: number; packets: number };
  /** All traffic that the rule may match. */
  readonly touched: { flows: number; packets: number };
  /** Flows that it may match, those that would leave first, then by packets; not more than a hundred. */
  readonly flows: readonly TouchedFlow[];
}

const ROWS_MAX = 100;
const STEP_FLOWS = 16;
/** Frames of a card that cannot be in hardware leave nothing. */
const IN_HARDWARE: ReadonlySet<FlowPlace> = new Set(['hardware', 'partial']);

/** What would leave. */
export function* whatIfSteps(
  candidates: readonly Candidate[],
  flows: readonly AttributedFlow[],
): Steps<WhatIf> {
  const prepared = candidates.map(({ entry, context }) => ({
    rule: `${entry.namespace}/${entry.name}/${entry.rule}`,
    classifiers: classifiersOf(entry),
    // A counter that misses hardware moves no packet.
    reasons: lintEntry(entry, context).filter(({ scope }) => scope !== 'none'),
    context,
  }));
  const leaving = { flows: 0, packets: 0 };
  const touched = { flows: 0, packets: 0 };
  const rows: TouchedFlow[] = [];
  for (const [index, { flow, way }] of flows.entries()) {
    if (index % STEP_FLOWS === 0) yield;
    const region = megaflowRegion(flow.key, way?.vni);
    const matching = prepared.filter(({ classifiers }) => entryOverlaps(classifiers, region));
    if (matching.length === 0) continue;
    const place = placeOf(flow);
    const because = matching.flatMap(({ rule, reasons }) => {
      const here = reasons.filter((one) => concerns(one, region));
      return here.length === 0 ? [] : [{ rule, reasons: here }];
    });
    touched.flows++;
    touched.packets += flow.packets;
    if (because.length > 0 && IN_HARDWARE.has(place)) {
      leaving.flows++;
      leaving.packets += flow.packets;
    }
    rows.push({ key: flow.key, packets: flow.packets, place, because });
  }
  rows.sort((a, b) => rank(b) - rank(a) || b.packets - a.packets);
  return { leaving, touched, flows: rows.slice(0, ROWS_MAX) };
}

function rank({ because, place }: TouchedFlow): number {
  return (because.length > 0 ? 2 : 0) + (IN_HARDWARE.has(place) ? 1 : 0);
}

const ICMP_PROTOCOLS = [1n, 58n];

/** False for a reason that holds for some packets of the rule only, and for none of this region. */
function concerns({ code, scope }: Reason, region: Region): boolean {
  if (scope === 'all') return true;
  if (code === 'StatefulICMP') {
    const protocol = region.get('ipProto');
    return (
      protocol === undefined ||
      ICMP_PROTOCOLS.some((icmp) => ((icmp ^ protocol.value) & protocol.mask) === 0n)
    );
  }
  if (code === 'TooManyActions') {
    const destination = region.get('ethDst');
    return destination === undefined || (destination.value & destination.mask & GROUP_BIT) !== 0n;
  }
  return true;
}

const GROUP_BIT = 0x0100_0000_0000n;
