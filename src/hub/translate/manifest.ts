/**
 * The custom resources that the hub writes, in the form in which a user would write them: defaults are left to the schema.
 * Types only.
 */
import type { z } from 'zod';
import type { dpuRuleSchema } from '../../api/dpu-rule.ts';
import type { API_VERSION } from '../../api/labels.ts';
import type { LabelSelector } from './label-selector.ts';

/** A DPURule. */
export type DpuRuleManifest = z.input<typeof dpuRuleSchema>;
/** One entry of a DPURule. */
export type RuleEntryManifest = DpuRuleManifest['spec']['rules'][number];
/** What an entry matches. */
export type RuleMatchManifest = NonNullable<RuleEntryManifest['match']>;

/** A DPUGroup. */
export interface DpuGroupManifest {
  readonly apiVersion: typeof API_VERSION;
  readonly kind: 'DPUGroup';
  readonly metadata: DpuRuleManifest['metadata'];
  readonly spec: {
    readonly podSelector?: LabelSelector;
    readonly namespaceSelector?: LabelSelector;
  };
}

/** Named ports of an address: protocol and number by name. */
export type NamedPorts = Readonly<Record<string, readonly ['TCP' | 'UDP' | 'SCTP', number]>>;

/** One address of a group. An address whose named port has several protocols has several entries. */
export interface GroupEntryManifest {
  readonly ip: string;
  readonly vni: number;
  readonly ports?: NamedPorts;
}

/** A DPUGroupSlice. */
export interface DpuGroupSliceManifest {
  readonly apiVersion: typeof API_VERSION;
  readonly kind: 'DPUGroupSlice';
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly spec: { readonly entries: readonly GroupEntryManifest[] };
}
