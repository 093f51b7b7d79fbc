/**
 * Cross-checks of the configuration: what contradicts something else in the same file.
 */
import { formatVniRanges, ownsVni } from '../api/vni-range.ts';
import { formatIp, formatMac, type IpPrefix, parseIp, prefixContains } from '../base/address.ts';
import type { Problem } from '../base/error.ts';
import { type ParsedConfig, RULES_DIRECTORY } from './config-schema.ts';
import type { AgentConfig, EndpointConfig, RulesConfig, VtepConfig } from './config-shape.ts';

/** The configuration, or everything that contradicts itself in it. */
export interface CheckedConfig {
  readonly config?: AgentConfig;
  readonly problems: readonly Problem[];
}

/** Collects problems, and finds values that come twice. */
class Findings {
  readonly problems: Problem[] = [];
  readonly #firstUse = new Map<string, string>();

  add(path: string, message: string): void {
    this.problems.push({ path, message });
  }

  /** Reports `shown` at `path` when `value` of the same `sort` stands elsewhere already. */
  unique(sort: string, value: string, path: string, shown: string): void {
    const key = `${sort} ${value}`;
    const earlier = this.#firstUse.get(key);
    if (earlier === undefined) this.#firstUse.set(key, path);
    else this.add(path, `${shown} stands at ${earlier} already; accepted: each ${sort} once`);
  }
}

function showIp(ip: IpPrefix): string {
  return formatIp(ip.family, ip.value);
}

function sameAddress(one: IpPrefix, other: IpPrefix): boolean {
  return one.family === other.family && one.value === other.value;
}

function chooseVtep(vtep: ParsedConfig['vtep'], findings: Findings): VtepConfig | undefined {
  const { ip, interface: device, cidr } = vtep ?? {};
  const choices: VtepConfig[] = [];
  if (ip !== undefined) choices.push({ ip });
  if (device !== undefined) choices.push({ interface: device });
  if (cidr !== undefined) choices.push({ cidr });
  const [choice] = choices;
  if (choice !== undefined && choices.length === 1) {
    for (const address of [ip, cidr]) {
      if (address !== undefined) checkUnderlayFamily(address, 'vtep', findings);
    }
    return choice;
  }
  const seen =
    choices.length === 0 ? 'is missing' : `has ${choices.length} of ip, interface and cidr`;
  findings.add('vtep', `${seen}; accepted: exactly one of ip, interface and cidr`);
  return undefined;
}

function chooseRules(rules: ParsedConfig['rules'], findings: Findings): RulesConfig {
  const { source, path, kubeconfig } = rules;
  if (source === 'kubernetes') {
    if (path !== RULES_DIRECTORY) {
      findings.add('rules.path', 'is not used with source kubernetes; accepted: nothing');
    }
    return kubeconfig === undefined ? { source } : { source, kubeconfig };
  }
  if (kubeconfig !== undefined) {
    const message = 'is not used with source directory; accepted: nothing, or source kubernetes';
    findings.add('rules.kubeconfig', message);
  }
  return { source, path };
}

/** This release tunnels over IPv4; what is inside the tunnel may be either. */
function checkUnderlayFamily(address: IpPrefix, path: string, findings: Findings): void {
  if (address.family === 4) return;
  findings.add(path, `${showIp(address)} is IPv6; accepted: IPv4, the underlay of this release`);
}

function checkEndpoint(
  endpoint: EndpointConfig,
  path: string,
  config: ParsedConfig,
  findings: Findings,
): void {
  checkVni(endpoint.vni, `${path}.vni`, config, findings);
  const { vni } = endpoint;
  const mac = formatMac(endpoint.mac);
  findings.unique('MAC in a VNI', `${vni} ${mac}`, `${path}.mac`, `${mac} in VNI ${vni}`);
  endpoint.ips.forEach((ip, index) => {
    const shown = showIp(ip);
    findings.unique(
      'address in a VNI',
      `${vni} ${shown}`,
      `${path}.ips[${index}]`,
      `${shown} in VNI ${vni}`,
    );
  });
}

function checkVni(vni: number, path: string, config: ParsedConfig, findings: Findings): void {
  const { name, vnis } = config.customer;
  if (ownsVni(vnis, vni)) return;
  findings.add(path, `${vni} is not a VNI of customer ${name}; accepted: ${formatVniRanges(vnis)}`);
}

function checkPeers(config: ParsedConfig, vtep: VtepConfig | undefined, findings: Findings): void {
  const own = vtep !== undefined && 'ip' in vtep ? vtep.ip : undefined;
  config.peers.forEach((peer, index) => {
    const path = `peers[${index}]`;
    const shown = showIp(peer.vtep);
    findings.unique('peer', shown, `${path}.vtep`, shown);
    if (own !== undefined && sameAddress(own, peer.vtep)) {
      findings.add(`${path}.vtep`, `${shown} is this agent's own VTEP; accepted: another DPU's`);
    }
    checkUnderlayFamily(peer.vtep, `${path}.vtep`, findings);
    peer.endpoints.forEach((endpoint, place) =>
      checkEndpoint(endpoint, `${path}.endpoints[${place}]`, config, findings),
    );
  });
}

function checkListen(config: ParsedConfig, vtep: VtepConfig | undefined, findings: Findings): void {
  const { listen } = config.metrics;
  if (listen === 'off' || vtep === undefined) return;
  const underlay = 'ip' in vtep ? vtep.ip : 'cidr' in vtep ? vtep.cidr : undefined;
  const host = parseIp(listen.host);
  if (underlay === undefined || host === undefined || !prefixContains(underlay, host)) return;
  findings.add(
    'metrics.listen',
    `${listen.host} is on the data plane (vtep); accepted: the management address or loopback`,
  );
}

function checkCluster({ rules, vteps, kubernetes }: ParsedConfig, findings: Findings): void {
  if (vteps.source === 'kubernetes' && rules.source !== 'kubernetes') {
    const message = 'kubernetes needs rules.source kubernetes; accepted: static';
    findings.add('vteps.source', message);
  }
  const { leaseSeconds, renewSeconds } = kubernetes;
  if (renewSeconds * 2 > leaseSeconds) {
    const message = `${renewSeconds} is more than half of leaseSeconds, ${leaseSeconds}; accepted: 1..${Math.floor(leaseSeconds / 2)}`;
    findings.add('kubernetes.renewSeconds', message);
  }
}

/** Checks `config` against itself: the finished configuration, or every problem. */
export function checkConfig(config: ParsedConfig): CheckedConfig {
  const findings = new Findings();
  const vtep = chooseVtep(config.vtep, findings);
  const rules = chooseRules(config.rules, findings);
  config.networks.forEach((network, index) => {
    const path = `networks[${index}]`;
    checkVni(network.vni, `${path}.vni`, config, findings);
    findings.unique('VNI of a network', String(network.vni), `${path}.vni`, String(network.vni));
    findings.unique('name of a network', network.name, `${path}.name`, network.name);
  });
  checkPeers(config, vtep, findings);
  config.ports.forEach((port, index) => {
    findings.unique('port', port.name, `ports[${index}].name`, port.name);
    checkEndpoint(port, `ports[${index}]`, config, findings);
  });
  checkListen(config, vtep, findings);
  checkCluster(config, findings);
  const { firstZone, lastZone } = config.conntrack;
  if (firstZone > lastZone) {
    const message = `${lastZone} is below firstZone, ${firstZone}; accepted: ${firstZone}..65535`;
    findings.add('conntrack.lastZone', message);
  }
  if (vtep === undefined || findings.problems.length > 0) return { problems: findings.problems };
  const { apiServer, localAddress, ...others } = config.kubernetes;
  const kubernetes = {
    ...others,
    ...(apiServer === undefined ? {} : { apiServer }),
    ...(localAddress === undefined ? {} : { localAddress }),
  };
  return { config: { ...config, rules, vtep, kubernetes }, problems: [] };
}
