/**
 * Values for tests of the compiler: short ways to write endpoints, networks and rules. Rules go through the real parser.
 */
import { parseObject } from '../../src/api/object.ts';
import type { DpuRule } from '../../src/api/dpu-rule.ts';
import { parseIp, parseMac, parsePrefix, type IpPrefix } from '../../src/base/address.ts';
import { asOfPort, asVni, type OfPort, type Vni } from '../../src/base/brand.ts';
import type {
  LocalEndpoint,
  Network,
  RemoteEndpoint,
  RuleInput,
  Snapshot,
} from '../../src/agent/flow/model.ts';

function known<T>(value: T | undefined, text: string): T {
  if (value === undefined) throw new Error(`test value ${text}`);
  return value;
}

export const vni = (value: number): Vni => known(asVni(value), String(value));
export const ofport = (value: number): OfPort => known(asOfPort(value), String(value));
export const mac = (text: string): bigint => known(parseMac(text), text);
export const ip = (text: string): IpPrefix => known(parseIp(text), text);
export const ip4 = (text: string): number => Number(ip(text).value);
export const prefix = (text: string): IpPrefix => known(parsePrefix(text), text);

export function local(
  port: string,
  number: number,
  net: number,
  macText: string,
  ...ips: string[]
): LocalEndpoint {
  return { port, ofport: ofport(number), vni: vni(net), mac: mac(macText), ips: ips.map(ip) };
}

export function remote(
  net: number,
  macText: string,
  vtep: string,
  ...ips: string[]
): RemoteEndpoint {
  return { vni: vni(net), mac: mac(macText), ips: ips.map(ip), vtep: ip4(vtep) };
}

export function network(net: number, name: string, override: Partial<Network> = {}): Network {
  return {
    vni: vni(net),
    name,
    subnets: [prefix('10.1.0.0/16')],
    defaultAction: { ingress: 'allow', egress: 'allow' },
    unknownUnicast: 'drop',
    ...override,
  };
}

/** A DPURule as a user would write it, parsed by the product. */
export function rule(name: string, spec: Record<string, unknown>, namespace = 'tenant-a'): DpuRule {
  const { object, problems } = parseObject({
    apiVersion: 'dpu.network/v1alpha1',
    kind: 'DPURule',
    metadata: { name, namespace },
    spec,
  });
  if (object === undefined || object.kind !== 'DPURule') throw new Error(JSON.stringify(problems));
  return object;
}

/** A rule whose every entry may act in one VNI. */
export function allowedIn(object: DpuRule, net: number): RuleInput {
  return { object, verdicts: object.spec.rules.map(() => ({ vni: vni(net) })) };
}

/** The first DPU of the lab: one endpoint per VNI here, and one behind the other DPU. */
export function labSnapshot(
  rules: readonly RuleInput[] = [],
  override: Partial<Snapshot> = {},
): Snapshot {
  return {
    tunnel: { ofport: ofport(65000), ip: ip4('192.168.1.11') },
    peers: [ip4('192.168.1.12')],
    networks: [network(1000, 'tenant-a'), network(1001, 'tenant-b')],
    locals: [
      local('rep1a', 2, 1000, '02:00:0a:01:01:05', '10.1.0.15'),
      local('rep1b', 3, 1001, '02:00:0a:01:01:06', '10.1.0.16'),
    ],
    remotes: [
      remote(1000, '02:00:0a:01:02:05', '192.168.1.12', '10.1.0.25'),
      remote(1001, '02:00:0a:01:02:06', '192.168.1.12', '10.1.0.26'),
    ],
    legs: [],
    rules,
    ...override,
  };
}
