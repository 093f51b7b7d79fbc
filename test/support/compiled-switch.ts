/**
 * A real switch that is given compiled flows, and answers by `ofproto/trace` what it would do with a packet: the other
 * half of the executable model. Cookies are turned back into names by what was compiled.
 */
import { join } from 'node:path';
import type { DesiredState } from '../../src/agent/flow/desired.ts';
import { diff, fullScope } from '../../src/agent/flow/diff.ts';
import { dropReasonOf } from '../../src/agent/flow/drop-reason.ts';
import { TABLE } from '../../src/agent/flow/pipeline.ts';
import { writeChanges } from '../../src/agent/reconcile/flow-writer.ts';
import { dumpMirror } from '../../src/agent/reconcile/switch-dump.ts';
import { OpenFlowConnection } from '../../src/openflow/client.ts';
import { unixctl } from '../../src/ovsdb/unixctl.ts';
import { DEFAULT, type Packet } from './evaluator.ts';
import { ovsSandbox, type OvsSandbox, type SandboxOwner } from './ovs-sandbox.ts';
import { TUNNEL_PORT, WORLD_PORTS } from './world.ts';

/** What the switch would do with a packet. */
export interface TracedOutcome {
  /** `port N` and `vtep IP vni N`, sorted. */
  readonly outputs: readonly string[];
  /** Reason of the drop flow that ended it, if one did. */
  readonly drop: string | undefined;
  /** Names of the rules whose verdict flows were met, in order; `default` for a network's. */
  readonly egress: readonly string[];
  readonly ingress: readonly string[];
  /** The translation to the datapath, which says what else the packet would pay for. */
  readonly datapathActions: string;
  readonly text: string;
}

/** Verdicts of rules on trial (docs/pipeline.md): they decide nothing. */
const SHADOW_PRIORITY = 200;

/** Adds an endpoint's port by number. */
const portArgs = (port: number): string[] => [
  ...['--', 'add-port', 'br-int', `p${port}`],
  ...['--', 'set', 'interface', `p${port}`, 'type=dummy', `ofport_request=${port}`],
];

export class CompiledSwitch {
  readonly #ovs: OvsSandbox;
  readonly #connection: OpenFlowConnection;
  #names: ReadonlyMap<bigint, string> = new Map();

  private constructor(ovs: OvsSandbox, connection: OpenFlowConnection) {
    this.#ovs = ovs;
    this.#connection = connection;
  }

  /** Undefined, after a skip, where there is no Open vSwitch. */
  static async create(
    t: SandboxOwner,
    ports: readonly number[] = WORLD_PORTS,
  ): Promise<CompiledSwitch | undefined> {
    const ovs = await ovsSandbox(t, { dummy: true });
    if (ovs === undefined) return undefined;
    await ovs.vsctl(
      ...['add-br', 'br-int', '--', 'set', 'bridge', 'br-int'],
      ...['datapath_type=dummy', 'fail_mode=secure', 'protocols=OpenFlow13,OpenFlow15'],
      ...['--', 'add-port', 'br-int', 'vtep0', '--', 'set', 'interface', 'vtep0', 'type=vxlan'],
      ...[`ofport_request=${TUNNEL_PORT}`, 'options:key=flow', 'options:remote_ip=flow'],
      'options:local_ip=192.168.1.11',
      ...ports.flatMap(portArgs),
    );
    const path = join(ovs.rundir, 'br-int.mgmt');
    // Its handshake asks for fragments by port, as the agent does.
    const connection = await OpenFlowConnection.connect({ path });
    t.after(async () => connection.close());
    return new CompiledSwitch(ovs, connection);
  }

  /** Brings the switch to a desired state. @throws Error when it refuses a flow. */
  async install(desired: DesiredState): Promise<void> {
    const mirror = await dumpMirror(this.#connection);
    const changes = diff(desired, mirror, fullScope(desired, mirror));
    const outcome = await writeChanges(this.#connection, changes, {
      chunkSize: undefined,
      onCommitted: () => undefined,
      onRefused: () => undefined,
      mayWrite: () => true,
    });
    const [refused] = outcome.refused;
    if (refused !== undefined) throw refused.error;
    this.#names = new Map(Array.from(desired.entries(), ({ cookie, key }) => [cookie, key]));
  }

  /** What the switch would do with a packet. */
  async trace(packet: Packet): Promise<TracedOutcome> {
    const flow = flowOf(packet);
    const socket = join(this.#ovs.rundir, 'vswitchd.ctl');
    const text = await unixctl(socket, 'ofproto/trace', ['br-int', flow]);
    return this.#read(text, 'port' in packet.from ? packet.from.port : TUNNEL_PORT);
  }

  #read(text: string, inPort: number): TracedOutcome {
    const lines = text.split('\n');
    const outputs: string[] = [];
    const [egress, ingress]: [string[], string[]] = [[], []];
    let drop: string | undefined;
    let tunnel = { dst: '', vni: 0 };
    for (const [index, line] of lines.entries()) {
      const step = /^ *(\d+)\. .*priority (\d+), cookie (0x[0-9a-f]+)$/.exec(line);
      if (step !== null && Number(step[2]) !== SHADOW_PRIORITY) {
        const [table, cookie] = [Number(step[1]), BigInt(step[3] ?? 0)];
        const name = this.#names.get(cookie) ?? DEFAULT;
        drop = dropReasonOf(cookie) ?? drop;
        // The end of a copy that no device may multiply: no rule counts it.
        const isCounted = dropReasonOf(cookie) !== 'RedirectMulticast';
        if (table === TABLE.egressVerdict.id && isCounted) egress.push(name);
        if (table === TABLE.ingressVerdict.id && isCounted) ingress.push(name);
      }
      const dst = /set_field:([\d.]+)->tun_dst/.exec(line)?.[1];
      if (dst !== undefined) tunnel = { ...tunnel, dst };
      const id = /set_field:(0x[0-9a-f]+|\d+)->tun_id/.exec(line)?.[1];
      if (id !== undefined) tunnel = { ...tunnel, vni: Number(id) };
      const moved = /-> NXM_NX_TUN_ID\[0\.\.23\] is now (0x[0-9a-f]+|\d+)/.exec(line)?.[1];
      if (moved !== undefined) tunnel = { ...tunnel, vni: Number(moved) };
      const port = /^ *IN_PORT$/.test(line)
        ? String(inPort)
        : /(?:^ *output:|-> output port is )(\d+)/.exec(line)?.[1];
      if (port === undefined || lines[index + 1]?.includes('skipping output to input port'))
        continue;
      outputs.push(
        Number(port) === TUNNEL_PORT ? `vtep ${tunnel.dst} vni ${tunnel.vni}` : `port ${port}`,
      );
    }
    const datapathActions = /^Datapath actions: (.*)$/m.exec(text)?.[1] ?? '';
    return { outputs: outputs.sort(), drop, egress, ingress, datapathActions, text };
  }
}

/** A packet in the words of `ofproto/trace`. */
export function flowOf(packet: Packet): string {
  const { from, type, protocol } = packet;
  const place =
    'port' in from
      ? `in_port=${from.port}`
      : `in_port=${TUNNEL_PORT},tun_id=${from.vni},tun_src=${from.peer},tun_dst=${from.to}`;
  const ethernet = `${place},dl_src=${packet.ethSrc},dl_dst=${packet.ethDst}`;
  if (type === 'arp') {
    const who = `arp_spa=${packet.src},arp_tpa=${packet.dst},arp_sha=${packet.ethSrc}`;
    return `${ethernet},arp,arp_op=${protocol},${who}`;
  }
  const [family, prefix] = type === 'ipv4' ? ['ip', 'nw'] : ['ipv6', 'ipv6'];
  const ip = `${family},${prefix}_src=${packet.src},${prefix}_dst=${packet.dst},nw_proto=${protocol}`;
  const frag = packet.fragment === 'no' ? '' : `,nw_frag=${packet.fragment}`;
  return `${ethernet},${ip},nw_tos=${packet.dscp << 2}${frag}${transportOf(packet)}`;
}

function transportOf(packet: Packet): string {
  if (packet.fragment === 'later') return '';
  const { type, protocol, icmpType, icmpCode } = packet;
  const ports = (name: string): string =>
    `,${name}_src=${packet.srcPort},${name}_dst=${packet.dstPort}`;
  if (protocol === 6) return `${ports('tcp')},tcp_flags=${packet.tcpFlags}`;
  if (protocol === 17) return ports('udp');
  if (protocol === 132) return ports('sctp');
  if (protocol === 1 && type === 'ipv4') return `,icmp_type=${icmpType},icmp_code=${icmpCode}`;
  if (protocol !== 58 || type !== 'ipv6') return '';
  const target = icmpType === 135 || icmpType === 136 ? `,nd_target=${packet.dst}` : '';
  return `,icmpv6_type=${icmpType},icmpv6_code=${icmpCode}${target}`;
}
