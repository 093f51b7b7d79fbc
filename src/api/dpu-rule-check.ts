/**
 * What one field of a DPURule cannot say alone: fields that exclude or need each other, address families that can never
 * match, names that are not unique. The CRD's CEL rules say a part of the same to the API server.
 */
import { type IpFamily, parsePrefix } from '../base/address.ts';
import type { Problem } from '../base/error.ts';
import {
  type DpuRuleSpec,
  EXCLUSIVE_MATCH_FIELDS,
  type RuleEntry,
  type RuleMatch,
} from './dpu-rule.ts';
import { protocolNumber } from './field.ts';

const TCP = 6;
const PORT_PROTOCOLS: ReadonlySet<number> = new Set([TCP, 17, 132]);
const ICMP_FAMILY: ReadonlyMap<number, IpFamily> = new Map([
  [1, 4],
  [58, 6],
]);
const IP_ETHER_TYPE: ReadonlyMap<number, IpFamily> = new Map([
  [0x0800, 4],
  [0x86dd, 6],
]);
const PORT_FIELDS = ['srcPort', 'srcPorts', 'dstPort', 'dstPorts', 'dstPortName'] as const;

type Report = (field: string, message: string) => void;

/** Address families of one side of a match; empty when that side names no address. */
function families(match: RuleMatch, side: 'src' | 'dst'): Set<IpFamily> {
  const single = side === 'src' ? match.srcIP : match.dstIP;
  const list = (side === 'src' ? match.srcIPs : match.dstIPs) ?? [];
  const found = new Set<IpFamily>();
  for (const text of single === undefined ? list : [single]) {
    const prefix = parsePrefix(text);
    if (prefix !== undefined) found.add(prefix.family);
  }
  return found;
}

function familyNames(found: ReadonlySet<IpFamily>): string {
  return [...found]
    .sort()
    .map((family) => `IPv${family}`)
    .join(' and ');
}

function checkFamilies(match: RuleMatch, report: Report): void {
  const source = families(match, 'src');
  const destination = families(match, 'dst');
  if (source.size > 0 && destination.size > 0 && familyNames(source) !== familyNames(destination)) {
    report(
      match.dstIP === undefined ? 'dstIPs' : 'dstIP',
      `destinations are ${familyNames(destination)} while sources are ${familyNames(source)}: ` +
        'such packets do not exist; accepted: the same families on both sides',
    );
  }
  const used = new Set([...source, ...destination]);
  const needs = (field: string, value: string, family: IpFamily | undefined): void => {
    const other = [...used].find((candidate) => candidate !== family);
    if (family === undefined || other === undefined) return;
    report(field, `${value} is IPv${family} while an address of the rule is IPv${other}`);
  };
  const protocol = protocolNumber(match.protocol);
  if (protocol !== undefined) needs('protocol', String(match.protocol), ICMP_FAMILY.get(protocol));
  if (match.etherType === undefined) return;
  const etherFamily = IP_ETHER_TYPE.get(match.etherType);
  needs('etherType', String(match.etherType), etherFamily);
  const icmpFamily = protocol === undefined ? undefined : ICMP_FAMILY.get(protocol);
  if (etherFamily !== undefined && icmpFamily !== undefined && etherFamily !== icmpFamily) {
    report(
      'etherType',
      `${match.etherType} is IPv${etherFamily} while the protocol is of IPv${icmpFamily}`,
    );
  }
  if (etherFamily === undefined && usesIp(match)) {
    report('etherType', `${match.etherType} is not IP, while other fields of the match are IP's`);
  }
}

function usesIp(match: RuleMatch): boolean {
  const layer2: ReadonlySet<string> = new Set(['etherType', 'srcMAC', 'dstMAC']);
  return Object.entries(match).some(([field, value]) => value !== undefined && !layer2.has(field));
}

function checkProtocol(match: RuleMatch, report: Report): void {
  const protocol = protocolNumber(match.protocol);
  for (const field of PORT_FIELDS) {
    if (match[field] !== undefined && protocol !== undefined && !PORT_PROTOCOLS.has(protocol)) {
      report(
        field,
        `protocol ${match.protocol} has no ports; accepted: TCP, UDP, SCTP or no protocol`,
      );
    }
  }
  if (match.icmpType !== undefined && !ICMP_FAMILY.has(protocol ?? -1)) {
    report('icmpType', 'needs protocol ICMP or ICMPv6');
  }
  if (match.icmpCode !== undefined && match.icmpType === undefined) {
    report('icmpCode', 'needs icmpType');
  }
  if (match.tcpFlags === undefined) return;
  if (protocol !== undefined && protocol !== TCP) {
    report('tcpFlags', `protocol ${match.protocol} has no TCP flags; accepted: TCP or no protocol`);
  }
  const flags = match.tcpFlags.match(/[a-z]+/g) ?? [];
  if (new Set(flags).size < flags.length) {
    report('tcpFlags', `"${match.tcpFlags}" names a flag twice; accepted: each flag once`);
  }
}

function checkMatch(match: RuleMatch, report: Report): void {
  for (const [one, other] of EXCLUSIVE_MATCH_FIELDS) {
    if (match[one] !== undefined && match[other] !== undefined) {
      report(other, `cannot be given beside ${one}; accepted: one of them`);
    }
  }
  if (match.dstPortName !== undefined && match.dstGroup === undefined) {
    report('dstPortName', 'needs dstGroup, whose endpoints say which number the name stands for');
  }
  checkFamilies(match, report);
  checkProtocol(match, report);
}

function checkAction(rule: Omit<RuleEntry, 'name'>, report: Report): void {
  if (rule.action === 'redirect') {
    if (rule.redirectPort === undefined) {
      report(
        'redirectPort',
        'is missing; accepted: the name of an OVS port, required with action redirect',
      );
    }
  } else {
    for (const field of ['redirectPort', 'returnPort', 'onMissing'] as const) {
      if (rule[field] !== undefined) {
        report(
          field,
          `has no meaning with action ${rule.action}; accepted: with action redirect only`,
        );
      }
    }
  }
  if (rule.reverse && rule.action !== 'allow') {
    report(
      'reverse',
      `has no meaning with action ${rule.action}; accepted: with action allow only`,
    );
  }
  const limit = rule.rateLimit;
  if (limit !== undefined && (limit.pps === undefined) === (limit.kbps === undefined)) {
    report('rateLimit', 'needs one of pps and kbps');
  }
}

/** Every cross-field problem of a `spec` whose fields are each valid, with paths that begin at the object. */
export function checkDpuRuleSpec(spec: DpuRuleSpec): Problem[] {
  const problems: Problem[] = [];
  const firstUse = new Map<string, number>();
  spec.rules.forEach((rule, index) => {
    const path = `spec.rules[${index}]`;
    const report: Report = (field, message) => problems.push({ path: `${path}.${field}`, message });
    const earlier = firstUse.get(rule.name);
    if (earlier === undefined) firstUse.set(rule.name, index);
    else
      report('name', `"${rule.name}" is the name of rules[${earlier}] too; accepted: unique names`);
    if (rule.vni === undefined && spec.networkRef === undefined) {
      report('vni', 'is missing; accepted: a VNI 1..16777215, or spec.networkRef');
    }
    checkMatch(rule.match, (field, message) => report(`match.${field}`, message));
    checkAction(rule, report);
  });
  return problems;
}
