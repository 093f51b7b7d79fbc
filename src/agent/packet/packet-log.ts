/**
 * Writes a line about each packet that rules with `log` have sent up: equal ones once a second, with their number
 * (`log-windows.ts`). What the meter of a network held back, or what found no room here, is written and counted as lost.
 * The lines go to the log alone, not to the ring of the agent's recent events, which they would fill.
 */
import { formatIp, formatMac } from '../../base/address.ts';
import { isBaseError } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';
import type { Vni } from '../../base/brand.ts';
import type { OpenFlowConnection } from '../../openflow/client.ts';
import { OFPR } from '../../openflow/ofp13.ts';
import { decodePacketIn, type PacketIn } from '../../openflow/packet-in.ts';
import type { DesiredState } from '../flow/desired.ts';
import type { LogTarget } from '../flow/packet-logging.ts';
import { TABLE } from '../flow/pipeline.ts';
import { visitOwnMeters } from '../reconcile/switch-dump.ts';
import { decodeFrame, PROTOCOL, type FrameHeader } from './frame.ts';
import { LogWindows, type LogOutcome } from './log-windows.ts';

/** How often ended windows and lost packets are looked at, in milliseconds, while there is something to look at. */
const LOOK_MS = 1000;
const PROTOCOL_NAMES: ReadonlyMap<number, string> = new Map([
  [PROTOCOL.tcp, 'TCP'],
  [PROTOCOL.udp, 'UDP'],
  [PROTOCOL.icmp, 'ICMP'],
  [PROTOCOL.icmpv6, 'ICMPv6'],
]);

/** What lines are made with. */
export interface PacketLogOptions {
  readonly desired: DesiredState;
  /** Of the process. */
  readonly logger: Logger;
  readonly count: (result: LogOutcome, packets: number) => void;
  /** Clock in milliseconds. Default `performance.now`. */
  readonly now?: () => number;
}

type LineFields = Readonly<Record<string, string | number>>;

interface LoggedRule extends LogTarget {
  readonly name: string;
}

/** What the rules in force say about logging. */
interface LogRules {
  readonly byCookie: ReadonlyMap<bigint, LoggedRule>;
  /** The network whose packets a meter limits. */
  readonly vniByMeter: ReadonlyMap<number, Vni>;
}

/** The log of packets. */
export class PacketLog {
  readonly #options: PacketLogOptions;
  readonly #now: () => number;
  readonly #windows = new LogWindows<LineFields>();
  /** Made anew after each change of rules. */
  #rules: LogRules | undefined;
  /** Packets that each meter has held back, as it said last. */
  #held: ReadonlyMap<number, number> | undefined;
  #connection: OpenFlowConnection | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: PacketLogOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Rules may have changed. */
  forgetRules(): void {
    this.#rules = undefined;
  }

  /** Writes about what a connection sends up, for as long as it lasts. */
  follow(connection: OpenFlowConnection): void {
    this.#connection = connection;
    // What was held back before this agent began is not its to tell.
    if (this.#held === undefined) void this.#readMeters(() => undefined);
    connection.on('packetIn', (message) => {
      const packet = decodePacketIn(message);
      if (packet.reason === OFPR.ACTION) this.#take(packet);
    });
  }

  /** Ends. What is still to be counted is not written any more. */
  close(): void {
    clearTimeout(this.#timer);
  }

  #take(packet: PacketIn): void {
    const rule = this.#find().byCookie.get(packet.cookie);
    const header = decodeFrame(packet.data);
    if (rule === undefined || header === undefined) {
      // Of a rule that has just gone, or nothing that a switch would send.
      this.#options.count('lost', 1);
      return;
    }
    const fields = fieldsOf(packet, header, rule);
    const line = { ...fields, bytes: packet.totalLength };
    const result = this.#windows.take(Object.values(fields).join(' '), line, this.#now());
    this.#options.count(result, 1);
    if (result === 'logged') this.#write(line, 0);
    this.#timer ??= this.#arm();
  }

  #write(fields: LineFields, suppressed: number): void {
    this.#options.logger.info({ ...fields, suppressed }, 'packet logged by a rule');
  }

  #arm(): NodeJS.Timeout {
    return setTimeout(() => {
      for (const { event, suppressed } of this.#windows.close(this.#now())) {
        this.#write(event, suppressed);
      }
      this.#timer = this.#windows.size === 0 ? undefined : this.#arm();
      void this.#readMeters((vni, lost) => {
        this.#options.count('lost', lost);
        this.#options.logger.info({ vni, lost }, 'packets not logged, over the limit of a network');
      });
    }, LOOK_MS).unref();
  }

  /** Asks the switch what meters have held back; `onMore` gets what is new of each network. */
  async #readMeters(onMore: (vni: Vni, packets: number) => void): Promise<void> {
    const held = new Map<number, number>();
    try {
      const connection = this.#connection;
      if (connection === undefined) return;
      await visitOwnMeters(connection, ({ meterId, dropped }) => held.set(meterId, dropped));
    } catch (error) {
      // The connection went; its loss is logged elsewhere, and the next one tells the same.
      if (!isBaseError(error)) throw error;
      return;
    }
    const before = this.#held;
    this.#held = held;
    for (const [meterId, vni] of this.#find().vniByMeter) {
      const [last, now] = [before?.get(meterId) ?? 0, held.get(meterId) ?? 0];
      // Less than before: it has been made anew.
      const more = now >= last ? now - last : now;
      if (more > 0) onMore(vni, more);
    }
  }

  #find(): LogRules {
    if (this.#rules === undefined) {
      const byCookie = new Map<bigint, LoggedRule>();
      const vniByMeter = new Map<number, Vni>();
      for (const {
        cookie,
        log,
        meters,
        namespace,
        name,
        rule,
      } of this.#options.desired.entries()) {
        if (log === undefined) continue;
        byCookie.set(cookie, { ...log, name: `${namespace}/${name}/${rule}` });
        for (const { use, meterId } of meters) if (use === 'log') vniByMeter.set(meterId, log.vni);
      }
      this.#rules = { byCookie, vniByMeter };
    }
    return this.#rules;
  }
}

/** What a line says of a packet, its size apart: equal packets have equal fields. */
function fieldsOf(
  { tableId }: PacketIn,
  { ethSrc, ethDst, ip, ports, icmp }: FrameHeader,
  { name, label, vni, action }: LoggedRule,
): LineFields {
  return {
    rule: name,
    label,
    vni,
    direction: tableId === TABLE.ingressVerdict.id ? 'ingress' : 'egress',
    verdict: action,
    srcMAC: formatMac(ethSrc),
    dstMAC: formatMac(ethDst),
    ...(ip === undefined
      ? {}
      : {
          srcIP: formatIp(ip.family, ip.src),
          dstIP: formatIp(ip.family, ip.dst),
          protocol: PROTOCOL_NAMES.get(ip.protocol) ?? ip.protocol,
        }),
    ...(ports === undefined ? {} : { srcPort: ports.src, dstPort: ports.dst }),
    ...(icmp === undefined ? {} : { icmpType: icmp.type, icmpCode: icmp.code }),
  };
}
