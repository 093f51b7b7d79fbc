/**
 * The tables of br-int: number, name and job of each (docs/pipeline.md, which is checked against this file). Numbers only:
 * the flows are made by the files of `tables/`.
 */
import { tableId, type TableId } from '../../base/brand.ts';

/** One table of the pipeline. */
export interface PipelineTable {
  readonly id: TableId;
  readonly name: string;
}

const table = (id: number, name: string): PipelineTable => ({ id: tableId(id), name });

/** Every table that the agent, or a flow of it, writes flows to. */
export const TABLE = {
  classify: table(0, 'Classify'),
  network: table(1, 'Network'),
  spoofGuard: table(5, 'SpoofGuard'),
  remoteGuard: table(6, 'RemoteGuard'),
  neighbour: table(10, 'Neighbour'),
  conntrack: table(15, 'Conntrack'),
  conntrackState: table(16, 'ConntrackState'),
  entry: table(17, 'Entry'),
  egressPlatform: table(20, 'EgressPlatform'),
  egressAdmin: table(21, 'EgressAdmin'),
  egressTenant: table(22, 'EgressTenant'),
  egressPolicy: table(23, 'EgressPolicy'),
  egressIsolation: table(24, 'EgressIsolation'),
  egressBaseline: table(25, 'EgressBaseline'),
  egressVerdict: table(29, 'EgressVerdict'),
  forward: table(40, 'Forward'),
  /** Written by learn() alone. */
  learned: table(41, 'Learned'),
  unknownUnicast: table(42, 'UnknownUnicast'),
  floodGuard: table(45, 'FloodGuard'),
  flood: table(46, 'Flood'),
  ingressEntry: table(49, 'IngressEntry'),
  ingressPlatform: table(50, 'IngressPlatform'),
  ingressAdmin: table(51, 'IngressAdmin'),
  ingressTenant: table(52, 'IngressTenant'),
  ingressPolicy: table(53, 'IngressPolicy'),
  ingressIsolation: table(54, 'IngressIsolation'),
  ingressBaseline: table(55, 'IngressBaseline'),
  ingressVerdict: table(59, 'IngressVerdict'),
  divert: table(60, 'Divert'),
  commit: table(70, 'Commit'),
  output: table(80, 'Output'),
} as const;
