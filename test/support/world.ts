/**
 * Random worlds and packets for the executable model, small enough that rules, addresses and ports meet often, and the
 * same world as the compiler is given it.
 */
import fc from 'fast-check';
import type { DpuRule } from '../../src/api/dpu-rule.ts';
import type { DeviceLeg, EntryVerdict, RuleInput, Snapshot } from '../../src/agent/flow/model.ts';
import { parseObject } from '../../src/api/object.ts';
import { GROUP_LABEL } from '../../src/api/labels.ts';
import { collectGroups, type GroupIndex, withGroups } from '../../src/agent/rules/groups.ts';
import { checkOwnership, collectNetworks } from '../../src/agent/rules/ownership.ts';
import { ruleInputs } from '../../src/agent/rules/rule-inputs.ts';
import { ip4, local, network, ofport, prefix, remote, rule, vni } from './model.ts';
import type { ModelEndpoint, ModelLeg, ModelNetwork, Packet, World } from './evaluator.ts';

/** Ports of the bridge that worlds use; 19 is never an endpoint, and devices stand behind those from 21. */
export const WORLD_PORTS = [11, 12, 13, 14, 19, 21, 22, 23] as const;
/** Legs, as far as a world has them: two in one network, one in the other. */
const LEGS: readonly ModelLeg[] = [
  { name: 'fw0', port: 21, vni: 1000 },
  { name: 'fw1', port: 22, vni: 1000 },
  { name: 'fwb', port: 23, vni: 1001 },
];
/** What a redirect may name: also an endpoint's port, and one that is never there. */
const LEG_NAMES = [...LEGS.map(({ name }) => name), 'p11', 'nowhere'];
const GROUP_NAMES = ['g0', 'g1', 'constructor'];
/** ofport of the tunnel. */
export const TUNNEL_PORT = 65000;
const VTEP = '192.168.1.11';
const PEERS = ['192.168.1.12', '192.168.1.13'];
const VNIS = [1000, 1001];
const HOSTILE_NAMESPACE = 'tenant-a';
const SUBNETS = ['10.1.0.0/24', 'fd00::/64'];

/** Endpoints by number: both VNIs use the same addresses. */
const V4 = ['10.1.0.5', '10.1.0.6', '10.1.0.130', '10.1.0.131', '10.1.0.9'];
const V6 = ['fd00::5', 'fd00::6', 'fd00::82', 'fd00::83', 'fd00::9'];
const MACS = [5, 6, 130, 131, 9].map((n) => `02:00:0a:01:00:${n.toString(16).padStart(2, '0')}`);

const prefixes4 = fc.constantFrom(
  ...V4,
  ...['10.1.0.0/24', '10.1.0.4/30', '10.1.0.128/25', '0.0.0.0/0', '128.0.0.0/1', '10.2.0.0/16'],
);
const prefixes6 = fc.constantFrom(...V6, 'fd00::/64', 'fd00::80/121', '::/0', '::ffff:10.1.0.5');
const prefixText = fc.oneof({ weight: 3, arbitrary: prefixes4 }, prefixes6);
const portText = fc.constantFrom(0, 53, 80, 443, 8080, '0-80', '80-81', '53-8080', '1-65535');
const PORTS = [0, 53, 67, 80, 81, 443, 547, 8080, 40000];

const side = (one: string, many: string, except: string, group: string) =>
  fc.oneof(
    fc.constantFrom(...GROUP_NAMES).map((name) => ({ [group]: name })),
    fc.constantFrom(...GROUP_NAMES).map((name) => ({ [group]: name, [except]: ['10.1.0.4/30'] })),
    { weight: 6, arbitrary: fc.constant({}) },
    prefixText.map((text) => ({ [one]: text })),
    fc.uniqueArray(prefixText, { minLength: 1, maxLength: 4 }).map((list) => ({ [many]: list })),
    fc.uniqueArray(prefixText, { minLength: 1, maxLength: 2 }).map((list) => ({ [except]: list })),
    fc
      .tuple(
        fc.uniqueArray(prefixText, { minLength: 1, maxLength: 3 }),
        fc.uniqueArray(prefixText, { minLength: 1, maxLength: 2 }),
      )
      .map(([list, not]) => ({ [many]: list, [except]: not })),
  );

const ports = (one: string, many: string) =>
  fc.oneof(
    { weight: 2, arbitrary: fc.constant({}) },
    portText.map((port) => ({ [one]: port })),
    fc.uniqueArray(portText, { minLength: 1, maxLength: 3 }).map((list) => ({ [many]: list })),
  );

/** Protocol and what depends on it. */
const transport = fc.oneof(
  fc.constant({}),
  fc.tuple(ports('srcPort', 'srcPorts'), ports('dstPort', 'dstPorts')).map(merge),
  fc
    .tuple(
      fc.constantFrom('TCP', 'UDP', 'SCTP', 6, 17).map((protocol) => ({ protocol })),
      ports('srcPort', 'srcPorts'),
      ports('dstPort', 'dstPorts'),
    )
    .map(merge),
  fc.constantFrom(
    { protocol: 'ICMP' },
    { protocol: 'ICMP', icmpType: 8 },
    { protocol: 'ICMP', icmpType: 0, icmpCode: 0 },
    { protocol: 'ICMP', icmpType: 3, icmpCode: 1 },
    { protocol: 'ICMPv6', icmpType: 128 },
    { protocol: 'ICMPv6' },
    { protocol: 47 },
    { tcpFlags: '+syn-ack' },
    { tcpFlags: '-ack' },
    { protocol: 'TCP', tcpFlags: '+ack', dstPort: 80 },
    { dscp: 46 },
    { etherType: 0x0800 },
    { etherType: 0x86dd, protocol: 'TCP' },
    { srcMAC: MACS[0] },
    { dstMAC: MACS[2], protocol: 'UDP' },
    { dstMAC: 'ff:ff:ff:ff:ff:ff' },
  ),
);

function merge(parts: readonly object[]): object {
  return Object.assign({}, ...parts) as object;
}

const match = fc
  .tuple(
    side('srcIP', 'srcIPs', 'notSrcIPs', 'srcGroup'),
    side('dstIP', 'dstIPs', 'notDstIPs', 'dstGroup'),
    transport,
    fc.constantFrom({}, { dstPortName: 'http' }),
  )
  .map(([source, destination, other, name]) => {
    // A named port needs a group to look it up in.
    const hasPort = 'dstPort' in other || 'dstPorts' in other;
    const named = 'dstGroup' in destination && !hasPort ? name : {};
    return merge([source, destination, other, named]);
  });

const entry = fc
  .record({
    match,
    priority: fc.option(fc.constantFrom(0, 499, 500, 501, 1000), { nil: undefined }),
    direction: fc.constantFrom('Both', 'Both', 'Ingress', 'Egress'),
    action: fc.constantFrom(
      'allow',
      'allow',
      'allow',
      'deny',
      'deny',
      'pass',
      'reject',
      'redirect',
    ),
    reverse: fc.boolean(),
    rateLimit: fc.constantFrom(undefined, undefined, { pps: 100 }, { kbps: 1000, burst: 200 }),
    device: fc.record({
      redirectPort: fc.constantFrom(...LEG_NAMES),
      returnPort: fc.option(fc.constantFrom(...LEG_NAMES), { nil: undefined }),
      onMissing: fc.constantFrom('Drop', 'Allow'),
    }),
  })
  .map(({ priority, reverse, rateLimit, device: { returnPort, ...device }, ...rest }) => ({
    ...rest,
    ...(priority === undefined ? {} : { priority }),
    ...(rest.action === 'allow' ? { reverse } : {}),
    // It acts where a packet leaves its source.
    ...(rest.action === 'allow' && rest.direction !== 'Ingress' && rateLimit !== undefined
      ? { rateLimit }
      : {}),
    ...(rest.action === 'redirect'
      ? { ...device, ...(returnPort === undefined ? {} : { returnPort }) }
      : {}),
  }))
  // What the API refuses (sides of different families, for one) is for other tests.
  .filter((each) => isAccepted({ rules: [{ ...each, vni: 1000 }] }));

const object = fc
  .record({
    tier: fc.constantFrom(
      'platform',
      'admin',
      'tenant',
      'tenant',
      'policy',
      'isolation',
      'baseline',
    ),
    priority: fc.constantFrom(0, 500, 500, 501),
    enforcement: fc.constantFrom('Enforce', 'Enforce', 'Enforce', 'DryRun', 'Suspended'),
    rules: fc.array(entry, { minLength: 1, maxLength: 4, size: 'max' }),
    vni: fc.constantFrom(...VNIS),
  })
  .map(({ vni: net, rules, ...spec }) => ({
    vni: net,
    spec: {
      ...spec,
      // Baseline is the last tier: nothing is left to pass to.
      tier:
        spec.tier === 'baseline' &&
        rules.some(({ action }) => action === 'pass' || action === 'redirect')
          ? 'isolation'
          : spec.tier,
      rules: rules.map((each) => ({ ...each, vni: net })),
    },
  }));

/** Members of groups: endpoints, of either network, with a named port that is another one here and there. */
const member = fc
  .record({
    who: fc.nat({ max: V4.length - 1 }),
    family: fc.constantFrom(V4, V4, V6),
    vni: fc.constantFrom(...VNIS),
    ports: fc.constantFrom(
      undefined,
      { http: ['TCP', 80] },
      { http: ['TCP', 8080] },
      { http: ['UDP', 53] },
    ),
  })
  .map(({ who, family, vni: net, ports: named }) => ({
    ...{ ip: family[who] ?? '', vni: net },
    ...(named === undefined ? {} : { ports: named }),
  }));

const groups = fc.tuple(
  ...GROUP_NAMES.map((name) =>
    fc.record({
      name: fc.constant(name),
      cidrs: fc.uniqueArray(prefixText, { maxLength: 2 }),
      except: fc.uniqueArray(prefixText, { maxLength: 2 }),
      entries: fc.array(member, { maxLength: 5, size: 'max' }),
    }),
  ),
);

function isAccepted(spec: Record<string, unknown>): boolean {
  const metadata = { name: 'drawn', namespace: 'tenant-a' };
  const document = { apiVersion: 'dpu.network/v1alpha1', kind: 'DPURule', metadata, spec };
  return parseObject(document).object !== undefined;
}

const networks = fc.tuple(
  ...VNIS.map((net) =>
    fc.record({
      vni: fc.constant(net),
      name: fc.constant(`net-${net}`),
      subnets: fc.constant(SUBNETS),
      defaultAction: fc.record({
        ingress: fc.constantFrom('allow' as const, 'deny' as const),
        egress: fc.constantFrom('allow' as const, 'deny' as const),
      }),
      unknownUnicast: fc.constantFrom('drop' as const, 'flood' as const),
    }),
  ),
);

/** Each endpoint is here (every port has one VNI), behind a peer, or absent. */
const endpoints = fc
  .tuple(
    // Both networks have a port here.
    fc.tuple(
      fc.constant(1000),
      fc.constant(1001),
      fc.constantFrom(...VNIS),
      fc.constantFrom(...VNIS),
    ),
    fc.array(fc.constantFrom(0, 1, 2), { minLength: 6, maxLength: 6 }),
    fc.boolean(),
  )
  .map(([vnis, places, shares]) => [
    ...vnis.map((net, index) => {
      // The last one may stand behind the port of another one of its network.
      const other = index === 3 && shares ? vnis.indexOf(net) : index;
      return endpoint(net, index, { port: WORLD_PORTS[other] ?? 0 });
    }),
    ...places.flatMap((place, index) => {
      const [net, who] = [VNIS[index % 2] ?? 0, 2 + (index >> 1)];
      const vtep = PEERS[place];
      const isHere = vnis[who] === net;
      return vtep === undefined || isHere ? [] : [endpoint(net, who, { vtep })];
    }),
  ]);

function endpoint(
  net: number,
  who: number,
  where: { port: number } | { vtep: string },
): ModelEndpoint {
  return { vni: net, mac: MACS[who] ?? '', ips: [V4[who] ?? '', V6[who] ?? ''], ...where };
}

/** A random configuration of one DPU. */
export const worldArbitrary: fc.Arbitrary<World> = fc
  .tuple(
    networks,
    endpoints,
    fc.array(object, { minLength: 1, maxLength: 9, size: 'max' }),
    fc.subarray([...LEGS]),
    groups,
  )
  .map(([nets, ends, objects, legs, listed]) => ({
    vtep: VTEP,
    peers: PEERS,
    networks: nets,
    endpoints: ends,
    legs,
    groups: listed,
    rules: objects.map(({ vni: net, spec }, index) => ({
      object: rule(`rule-${index}`, { ...spec, rules: apart(spec.rules, index) }),
      vni: net,
    })),
  }));

/** Of two redirects of equal rank that both match, either may win, to different devices: here none has another's rank. */
function apart<Entry extends { readonly action: string }>(
  entries: readonly Entry[],
  index: number,
): (Entry & { priority?: number })[] {
  return entries.map((each, position) =>
    each.action === 'redirect' ? { ...each, priority: 490 + index + 10 * position } : each,
  );
}

const BROADCASTS = ['ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:05', '33:33:00:00:00:01'];
const EXTRA_V4 = ['10.1.0.255', '255.255.255.255', '224.0.0.5', '10.1.0.77', '192.0.2.1'];
const EXTRA_V6 = ['ff02::1', 'fd00::77', '::', 'fe80::5'];

/** One time in `odds` a value, else undefined. */
const sometimes = <T>(odds: number, arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: odds - 1, arbitrary: fc.constant(undefined) }, arbitrary);

/** A packet: mostly one that an endpoint of `world` may send to another, sometimes one that lies about itself. */
export function packetArbitrary(world: World): fc.Arbitrary<Packet> {
  const people = world.endpoints.flatMap((sender) =>
    world.endpoints
      .filter(({ vni, port }) => vni === sender.vni && (port ?? sender.port) !== undefined)
      .map((receiver) => ({ sender, receiver })),
  );
  return fc
    .record({
      pair: fc.constantFrom(...people),
      from: sometimes(
        10,
        fc.oneof(
          fc.constantFrom(...WORLD_PORTS).map((port) => ({ port })),
          fc.constantFrom(...LEGS).map(({ port }) => ({ port })),
          fc.record({
            peer: fc.constantFrom(...PEERS, '192.168.1.77'),
            to: fc.constantFrom(VTEP, VTEP, '192.168.1.99'),
            vni: fc.constantFrom(...VNIS, 1002),
          }),
        ),
      ),
      ethSrc: sometimes(16, fc.constantFrom(...MACS, BROADCASTS[1] ?? '')),
      ethDst: sometimes(6, fc.constantFrom(...BROADCASTS, '02:00:00:00:00:99', ...MACS)),
      type: fc.constantFrom('ipv4', 'ipv4', 'ipv4', 'ipv6', 'ipv6', 'arp'),
      src: sometimes(16, fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 7, 8)),
      dst: sometimes(8, fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 7, 8)),
      transport: fc.constantFrom(6, 6, 6, 17, 17, 132, 1, 58, 47),
      srcPort: fc.constantFrom(...PORTS),
      dstPort: fc.constantFrom(...PORTS),
      icmpType: fc.constantFrom(0, 3, 8, 128, 129, 134, 135, 136, 143),
      icmpCode: fc.constantFrom(0, 1),
      dscp: fc.constantFrom(0, 0, 46),
      tcpFlags: fc.constantFrom(0x02, 0x12, 0x10, 0x11, 0x04),
      fragment: fc.constantFrom('no', 'no', 'no', 'no', 'first', 'later'),
    })
    .map(({ pair: { sender, receiver }, transport: protocol, ...draw }) => {
      const { type } = draw;
      const [all, family] = type === 'ipv6' ? [[...V6, ...EXTRA_V6], 1] : [[...V4, ...EXTRA_V4], 0];
      const addressOf = (other: number | undefined, { ips }: ModelEndpoint): string =>
        (other === undefined ? undefined : all[other]) ?? ips[family] ?? '';
      const there = { peer: sender.vtep ?? '', to: VTEP, vni: sender.vni };
      return {
        ...draw,
        from: draw.from ?? (sender.port === undefined ? there : { port: sender.port }),
        ethSrc: draw.ethSrc ?? sender.mac,
        ethDst: draw.ethDst ?? receiver.mac,
        src: addressOf(draw.src, sender),
        dst: addressOf(draw.dst, receiver),
        protocol: protocolOf(type, draw.fragment, protocol, 1 + (draw.srcPort % 2)),
        // Neighbour discovery has code 0 only.
        icmpCode: draw.icmpType > 130 ? 0 : draw.icmpCode,
        fragment: type === 'arp' ? 'no' : draw.fragment,
      };
    });
}

/** What can be read as the protocol. */
function protocolOf(
  type: Packet['type'],
  fragment: Packet['fragment'],
  protocol: number,
  arpOperation: number,
): number {
  if (type === 'arp') return arpOperation;
  // RFC 8200 section 4.5: the fragment header stands before what says it.
  return type === 'ipv6' && fragment === 'later' ? 44 : protocol;
}

/** Rules that a tenant may write to harm another: of the namespace of VNI 1000, naming either VNI. */
export const hostileRules: fc.Arbitrary<DpuRule[]> = fc
  .array(fc.tuple(object, fc.constantFrom('constructor', 'tostring', 'a', 'b', 'c')), {
    minLength: 1,
    maxLength: 6,
    size: 'max',
  })
  .map((drawn) =>
    drawn.map(([{ spec }, name], index) => rule(`${name}-${index}`, spec, HOSTILE_NAMESPACE)),
  );

/** A world with rules as the agent judges them: by the namespaces of its networks. */
export function judged(world: World, objects: readonly DpuRule[]): RuleInput[] {
  const { networks: index } = collectNetworks(
    world.networks.map(({ vni: net, subnets, ...rest }) => ({
      ...rest,
      conntrack: 'off' as const,
      remoteLearning: 'off' as const,
      vni: vni(net),
      subnets: subnets.map(prefix),
      namespaces: [net === VNIS[0] ? HOSTILE_NAMESPACE : 'tenant-b'],
    })),
    [],
    [],
  );
  const customerVnis = [{ first: vni(1000), last: vni(1999) }];
  // The strongest tiers too: they are no licence to reach into another network.
  const tiers = { platform: [HOSTILE_NAMESPACE], admin: [HOSTILE_NAMESPACE] };
  const config = { customerVnis, tiers };
  return inputsOf(
    world,
    objects.map((each) => ({ object: each, verdicts: checkOwnership(each, index, config) })),
  );
}

/** The groups of a world as the agent reads them. */
function groupsOf(world: World): GroupIndex {
  const read = (kind: string, name: string, spec: object, labels = {}) => {
    const metadata = { name, namespace: HOSTILE_NAMESPACE, labels };
    const document = { apiVersion: 'dpu.network/v1alpha1', kind, metadata, spec };
    const { object: parsed, problems } = parseObject(document);
    if (parsed === undefined) throw new Error(JSON.stringify(problems));
    return parsed;
  };
  const objects = world.groups.flatMap(({ name, cidrs, except, entries }) => [
    read('DPUGroup', name, { cidrs, except }),
    read('DPUGroupSlice', `${name}-1`, { entries }, { [GROUP_LABEL]: name }),
  ]);
  return collectGroups(
    objects.filter((each) => each.kind === 'DPUGroup'),
    objects.filter((each) => each.kind === 'DPUGroupSlice'),
  );
}

function legsOf(world: World): DeviceLeg[] {
  return world.legs.map(({ name, port, vni: net }) => ({
    ...{ port: name, ofport: ofport(port), vni: vni(net) },
  }));
}

/** Rules as the compiler is given them: with the groups and the legs of the world. */
function inputsOf(
  world: World,
  rules: readonly { object: DpuRule; verdicts: readonly EntryVerdict[] }[],
): RuleInput[] {
  const index = groupsOf(world);
  const owned = rules.map(({ object: each, verdicts }) => ({
    rule: each,
    verdicts: verdicts.map((verdict, position) => {
      const ruled = each.spec.rules[position];
      return ruled === undefined
        ? verdict
        : withGroups(verdict, ruled, each.metadata.namespace, index);
    }),
    namesPorts: each.spec.rules.some(({ action }) => action === 'redirect'),
    groups: new Map(),
  }));
  return ruleInputs(owned, legsOf(world), []);
}

/** The same world as the compiler is given it, with `more` rules. */
export function snapshotOfWorld(world: World, more: readonly RuleInput[] = []): Snapshot {
  return {
    tunnel: { ofport: ofport(TUNNEL_PORT), ip: ip4(world.vtep) },
    peers: world.peers.map(ip4),
    networks: world.networks.map(({ vni: net, name, subnets, ...rest }: ModelNetwork) =>
      network(net, name, { subnets: subnets.map(prefix), ...rest }),
    ),
    locals: world.endpoints.flatMap(({ vni: net, mac, ips, port }) =>
      port === undefined ? [] : [local(`p${port}`, port, net, mac, ...ips)],
    ),
    legs: legsOf(world),
    remotes: world.endpoints.flatMap(({ vni: net, mac, ips, vtep }) =>
      vtep === undefined ? [] : [remote(net, mac, vtep, ...ips)],
    ),
    rules: [
      ...inputsOf(
        world,
        world.rules.map(({ object: each, vni: net }) => ({
          object: each,
          verdicts: each.spec.rules.map(() => ({ vni: vni(net) })),
        })),
      ),
      ...more,
    ],
  };
}
