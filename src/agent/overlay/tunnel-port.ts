/**
 * The bridge and its one tunnel port as OVSDB operations: compares what is there with what should be and says what to
 * change, all for one transaction. Pure. What is not ours is not edited, except that a bridge which forwards without flows
 * (`fail_mode` other than secure) is put right.
 */
import { everyRow, rowIs, when } from '../../ovsdb/condition.ts';
import {
  assertLock,
  insert,
  mutate,
  mutation,
  update,
  wait,
  type Operation,
} from '../../ovsdb/operation.ts';
import type { BridgeRow, InterfaceRow, PortRow } from '../../ovsdb/vswitch.ts';

/** Name of the one tunnel port. */
export const TUNNEL_PORT = 'vtep0';
/** UDP port of VXLAN (RFC 7348 section 5). */
export const VXLAN_PORT = 4789;
/** Asked for, so that flows keep their bytes when the port is made again. OVS gives another number when it is taken. */
export const TUNNEL_OFPORT = 65000;
/** Key in `external_ids` that says whose a row is. */
export const OWNER_KEY = 'dpu-owner';

/** The lock that an agent of a bridge holds while it writes. */
export function bridgeLock(bridge: string): string {
  return `dpu-agent/${bridge}`;
}

/** What should be there. */
export interface TunnelWish {
  readonly bridge: string;
  /** Type of the datapath, for a bridge that has to be made; an existing one is adopted as it is. */
  readonly datapathType: string;
  /** Our VTEP address as text; undefined while it is not known: then only the bridge is looked after. */
  readonly localIp: string | undefined;
}

/** What is there. */
export interface TunnelFacts {
  readonly bridge: BridgeRow | undefined;
  /** Port and interface of the name {@link TUNNEL_PORT}, on whatever bridge. */
  readonly port: PortRow | undefined;
  readonly iface: InterfaceRow | undefined;
}

/** What to do. No operations and no problem: all is as it should be. */
export interface TunnelPlan {
  readonly operations: readonly Operation[];
  /** Why the wish cannot be met without touching what is not ours. */
  readonly problem?: string;
  /** What the operations do, for the log. */
  readonly actions: readonly string[];
}

/** The options that make one port serve every VNI: flows set `tun_id` and `tun_dst`. */
function tunnelOptions(localIp: string): Map<string, string> {
  return new Map([
    ['key', 'flow'],
    ['remote_ip', 'flow'],
    ['local_ip', localIp],
    ['dst_port', String(VXLAN_PORT)],
  ]);
}

/** Plans the transaction. It starts with an assertion of the lock and fails as a whole when that was lost. */
export function planTunnel(wish: TunnelWish, facts: TunnelFacts): TunnelPlan {
  const owner = bridgeLock(wish.bridge);
  const operations: Operation[] = [];
  const actions: string[] = [];
  const bridgeName = 'new_bridge';
  const { bridge, port, iface } = facts;
  if (bridge === undefined) {
    actions.push(`create bridge ${wish.bridge}`);
    operations.push(...createBridge(wish, owner, bridgeName));
  } else if (bridge.failMode !== 'secure') {
    actions.push(`set fail_mode=secure, was ${bridge.failMode ?? 'unset'}`);
    operations.push(update('Bridge', [rowIs({ uuid: bridge.uuid })], { fail_mode: 'secure' }));
  }
  let problem: string | undefined;
  if (wish.localIp !== undefined) {
    const options = tunnelOptions(wish.localIp);
    if ((port === undefined) !== (iface === undefined) || !pairs(port, iface)) {
      problem = `there is a port or an interface ${TUNNEL_PORT} that is not the port of one interface that we make; remove or rename it`;
    } else if (port === undefined || iface === undefined) {
      actions.push(`create port ${TUNNEL_PORT}`);
      operations.push(...createPort(options, owner));
      operations.push(
        bridge === undefined
          ? mutate(
              'Bridge',
              [when('name', '==', wish.bridge)],
              [mutation('ports', 'insert', { namedUuid: 'new_port' })],
            )
          : mutate(
              'Bridge',
              [rowIs({ uuid: bridge.uuid })],
              [mutation('ports', 'insert', { namedUuid: 'new_port' })],
            ),
      );
    } else if (iface.externalIds.get(OWNER_KEY) !== owner) {
      problem = `port ${TUNNEL_PORT} exists and is not this agent's (external_ids:${OWNER_KEY} is not ${owner}); remove or rename it`;
    } else if (bridge !== undefined && !bridge.ports.includes(port.uuid)) {
      problem = `port ${TUNNEL_PORT} stands on another bridge; remove it there`;
    } else if (iface.type !== 'vxlan' || !sameEntries(iface.options, options)) {
      actions.push(`repair options of ${TUNNEL_PORT}`);
      operations.push(
        update('Interface', [rowIs({ uuid: iface.uuid })], { type: 'vxlan', options }),
      );
    }
  }
  const planned = operations.length === 0 ? [] : [assertLock(owner), ...operations];
  return { operations: planned, actions, ...(problem === undefined ? {} : { problem }) };
}

/** True when the one is the port of the other, or neither is there. */
function pairs(port: PortRow | undefined, iface: InterfaceRow | undefined): boolean {
  return port === undefined || iface === undefined || port.interfaces.includes(iface.uuid);
}

function createBridge(wish: TunnelWish, owner: string, bridgeName: string): Operation[] {
  const externalIds = new Map([[OWNER_KEY, owner]]);
  return [
    // Somebody else may have made it meanwhile: then this fails, and the next look finds it.
    wait('Bridge', [when('name', '==', wish.bridge)], ['name'], '==', []),
    insert('Interface', { name: wish.bridge, type: 'internal' }, 'bridge_interface'),
    insert(
      'Port',
      { name: wish.bridge, interfaces: { namedUuid: 'bridge_interface' } },
      'bridge_port',
    ),
    insert(
      'Bridge',
      {
        name: wish.bridge,
        datapath_type: wish.datapathType === 'system' ? '' : wish.datapathType,
        fail_mode: 'secure',
        external_ids: externalIds,
        ports: { namedUuid: 'bridge_port' },
      },
      bridgeName,
    ),
    mutate('Open_vSwitch', everyRow, [mutation('bridges', 'insert', { namedUuid: bridgeName })]),
  ];
}

function createPort(options: ReadonlyMap<string, string>, owner: string): Operation[] {
  const externalIds = new Map([[OWNER_KEY, owner]]);
  return [
    wait('Port', [when('name', '==', TUNNEL_PORT)], ['name'], '==', []),
    insert(
      'Interface',
      {
        name: TUNNEL_PORT,
        type: 'vxlan',
        options,
        ofport_request: TUNNEL_OFPORT,
        external_ids: externalIds,
      },
      'new_interface',
    ),
    insert(
      'Port',
      { name: TUNNEL_PORT, interfaces: { namedUuid: 'new_interface' }, external_ids: externalIds },
      'new_port',
    ),
  ];
}

function sameEntries(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...b].every(([key, value]) => a.get(key) === value);
}
