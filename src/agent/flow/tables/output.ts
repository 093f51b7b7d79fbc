/**
 * Tables 49 IngressEntry, 60 Divert, 70 Commit and 80 Output: from the choice of a port to the packet leaving by it.
 */
import { OFPP } from '../../../openflow/ofp13.ts';
import { CLEAR_DRY_RUN } from '../dry-run.ts';
import { ETH_TYPE, ethType, icmpv6, ND_TYPES, type FlowList } from '../flow-list.ts';
import type { LocalEndpoint, Tunnel } from '../model.ts';
import { TABLE } from '../pipeline.ts';
import { matchFlag } from '../registers.ts';

const VNI_BITS = 24;

/** What holds for every network. */
export function outputBase(list: FlowList, tunnel: Tunnel | undefined): void {
  list.goto(TABLE.ingressEntry, 100, [ethType(ETH_TYPE.arp)], TABLE.output);
  for (const type of ND_TYPES) list.goto(TABLE.ingressEntry, 100, icmpv6(type), TABLE.output);
  list.add(TABLE.ingressEntry, 0, [], CLEAR_DRY_RUN, TABLE.ingressPlatform);
  list.goto(TABLE.ingressEntry, 90, [matchFlag('skipPolicy')], TABLE.commit);
  list.goto(TABLE.divert, 0, [], TABLE.commit);
  list.goto(TABLE.commit, 0, [], TABLE.output);
  if (tunnel !== undefined) {
    list.add(
      TABLE.output,
      110,
      [{ field: 'reg1', value: tunnel.ofport }],
      [
        {
          type: 'move',
          from: { field: 'metadata', start: 0, bits: VNI_BITS },
          to: { field: 'tunnelId', start: 0 },
        },
        { type: 'output', port: tunnel.ofport },
      ],
    );
  }
  list.drop(TABLE.output, 105, [{ field: 'reg1', value: 0 }], 'NoOutput');
  list.add(TABLE.output, 100, [], [{ type: 'outputField', field: 'reg1', start: 0, bits: 32 }]);
}

/** Two endpoints that share a port talk back through it, which OVS does only when told so by name. */
export function outputSharedPort(list: FlowList, endpoint: LocalEndpoint): void {
  list.add(
    TABLE.output,
    120,
    [
      { field: 'inPort', value: endpoint.ofport },
      { field: 'reg1', value: endpoint.ofport },
    ],
    [{ type: 'output', port: OFPP.IN_PORT }],
  );
}
