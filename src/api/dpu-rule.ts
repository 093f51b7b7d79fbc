/**
 * DPURule: what may pass between endpoints. This schema is the one source of the type, of the agent's validation, of the
 * CRD and of the reference page. What one field alone cannot say stands in dpu-rule-check.ts (agent) and in the CEL rules
 * here (API server). Whether a release can program a field is the compiler's to say, not this file's.
 */
import { z } from 'zod';
import {
  ADDRESSES_MAX,
  dnsLabel,
  dnsSubdomain,
  groupName,
  labelMap,
  listOf,
  macText,
  portName,
  portRange,
  PORTS_MAX,
  prefixText,
  protocolField,
  unicastMacText,
  vniNumber,
  wholeNumber,
} from './field.ts';
import { API_VERSION } from './labels.ts';
import { namespacedMeta, type ObjectMeta } from './metadata.ts';
import { accepts } from './schema-problem.ts';

/** The tiers in the order in which they are evaluated. */
export const TIERS = ['platform', 'admin', 'tenant', 'policy', 'isolation', 'baseline'] as const;
/** One tier. */
export type Tier = (typeof TIERS)[number];

/** Verdicts and diversions, in the order in which they beat each other at equal priority, `deny` apart. */
export const RULE_ACTIONS = ['allow', 'deny', 'redirect', 'reject', 'pass'] as const;
/** What a rule does with what it matches. */
export type RuleAction = (typeof RULE_ACTIONS)[number];

/** Where a rule is enforced. */
export const DIRECTIONS = ['Ingress', 'Egress', 'Both'] as const;
/** Where a rule is enforced: at the destination's port, at the source's, or at both. */
export type Direction = (typeof DIRECTIONS)[number];

/** Most rules in one object. */
export const RULES_MAX = 256;
/** Largest priority: the last to be evaluated. */
export const PRIORITY_MAX = 1000;
/** Priority of an object that names none. */
export const PRIORITY_DEFAULT = 500;

const addresses = listOf(prefixText, ADDRESSES_MAX);
const ports = listOf(portRange, PORTS_MAX);
const TCP_FLAGS = /^([+-](fin|syn|rst|psh|ack|urg|ece|cwr|ns))+$/;
const DATE_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;

/** Pairs of match fields of which a rule may use one only. */
export const EXCLUSIVE_MATCH_FIELDS = [
  ['srcIP', 'srcIPs'],
  ['dstIP', 'dstIPs'],
  ['srcIP', 'srcGroup'],
  ['srcIPs', 'srcGroup'],
  ['dstIP', 'dstGroup'],
  ['dstIPs', 'dstGroup'],
  ['srcPort', 'srcPorts'],
  ['dstPort', 'dstPorts'],
  ['dstPort', 'dstPortName'],
  ['dstPorts', 'dstPortName'],
] as const;

const matchSchema = z
  .strictObject({
    srcIP: prefixText.optional().describe('Source address or prefix, IPv4 or IPv6.'),
    srcIPs: addresses.optional().describe('Source addresses or prefixes; any of them matches.'),
    notSrcIPs: addresses.optional().describe('Source addresses or prefixes that do not match.'),
    dstIP: prefixText.optional().describe('Destination address or prefix, IPv4 or IPv6.'),
    dstIPs: addresses
      .optional()
      .describe('Destination addresses or prefixes; any of them matches.'),
    notDstIPs: addresses
      .optional()
      .describe('Destination addresses or prefixes that do not match.'),
    srcGroup: groupName
      .optional()
      .describe('DPUGroup of the same namespace that holds the sources.'),
    dstGroup: groupName
      .optional()
      .describe('DPUGroup of the same namespace that holds the destinations.'),
    protocol: protocolField
      .optional()
      .describe('IP protocol: TCP, UDP, SCTP, ICMP, ICMPv6 or its number 0..255.'),
    srcPort: portRange
      .optional()
      .describe('Source port, or a range such as "8000-8100". Without protocol: TCP and UDP.'),
    srcPorts: ports.optional().describe('Source ports or ranges; any of them matches.'),
    dstPort: portRange
      .optional()
      .describe('Destination port, or a range such as "8000-8100". Without protocol: TCP and UDP.'),
    dstPorts: ports.optional().describe('Destination ports or ranges; any of them matches.'),
    dstPortName: dnsLabel
      .optional()
      .describe('Named port of the endpoints of dstGroup, resolved for each endpoint.'),
    icmpType: wholeNumber(0, 255).optional().describe('Type of ICMP or ICMPv6; needs protocol.'),
    icmpCode: wholeNumber(0, 255).optional().describe('Code of ICMP or ICMPv6; needs icmpType.'),
    dscp: wholeNumber(0, 63)
      .optional()
      .describe('Differentiated services code point, all six bits.'),
    srcMAC: unicastMacText.optional().describe('Source MAC address.'),
    dstMAC: macText.optional().describe('Destination MAC address.'),
    etherType: wholeNumber(0x600, 0xffff)
      .optional()
      .describe('EtherType as a number, 1536..65535 (0x0800 is IPv4, 0x86dd IPv6).'),
    tcpFlags: z
      .string(accepts('flags such as "+syn-ack"'))
      .max(36, accepts('flags such as "+syn-ack", each at most once'))
      .regex(
        TCP_FLAGS,
        accepts('+ or - before each of fin syn rst psh ack urg ece cwr ns, such as "+syn-ack"'),
      )
      .optional()
      .describe('TCP flags that must be set (+) or clear (-), such as "+syn-ack".'),
  })
  .describe(
    'What the rule applies to. All fields given must match; an empty match is every packet.',
  )
  .meta({
    'x-kubernetes-validations': [
      ...EXCLUSIVE_MATCH_FIELDS.map(([one, other]) => ({
        rule: `!(has(self.${one}) && has(self.${other}))`,
        message: `${one} and ${other} exclude each other`,
      })),
      {
        rule: '!has(self.dstPortName) || has(self.dstGroup)',
        message: 'dstPortName needs dstGroup',
      },
    ],
  });

const ruleSchema = z
  .strictObject({
    name: dnsLabel
      .optional()
      .describe('Name of the rule, unique in the object; key of its counters. Default r<index>.'),
    vni: vniNumber
      .optional()
      .describe('VXLAN network identifier, 1..16777215. Required without spec.networkRef.'),
    priority: wholeNumber(0, PRIORITY_MAX)
      .optional()
      .describe('Priority of this rule, lower first. Default: spec.priority.'),
    direction: z
      .enum(DIRECTIONS)
      .default('Both')
      .describe(
        'Enforced where the packet reaches its destination (Ingress), leaves its source (Egress), or Both.',
      ),
    match: matchSchema.prefault({}),
    action: z
      .enum(RULE_ACTIONS)
      .describe(
        'What happens: allow; deny drops; reject drops and answers; redirect sends to redirectPort; pass goes on to the next tier.',
      ),
    redirectPort: portName
      .optional()
      .describe('OVS port in the same VNI that gets the packets. Required with redirect.'),
    returnPort: portName
      .optional()
      .describe('Second leg of the device behind redirectPort, where packets come back.'),
    onMissing: z
      .enum(['Drop', 'Allow'])
      .optional()
      .describe('What happens to redirected packets while redirectPort is missing. Default Drop.'),
    reverse: z
      .boolean()
      .default(false)
      .describe('In networks without conntrack: an allow also allows the replies.'),
    log: z
      .strictObject({
        mode: z
          .enum(['none', 'drop', 'first', 'all'])
          .default('none')
          .describe(
            'Which packets are logged: none, dropped ones, the first of a connection, all.',
          ),
        label: z.string().max(63).default('').describe('Text that every line of this log carries.'),
      })
      .optional()
      .describe('Logging of packets that match.'),
    rateLimit: z
      .strictObject({
        pps: wholeNumber(1, 1_000_000_000).optional().describe('Packets in a second.'),
        kbps: wholeNumber(1, 1_000_000_000).optional().describe('Kilobits in a second.'),
        burst: wholeNumber(1, 1_000_000_000)
          .optional()
          .describe('Burst, in packets with pps and in kilobits with kbps.'),
      })
      .meta({
        'x-kubernetes-validations': [
          { rule: 'has(self.pps) != has(self.kbps)', message: 'give one of pps and kbps' },
        ],
      })
      .optional()
      .describe('Limit at the source endpoint, for each DPU.'),
    mirror: z
      .strictObject({ port: portName.describe('OVS port that gets the copies.') })
      .optional()
      .describe('Copies of packets that match.'),
    expiresAt: z
      .string(accepts('a time such as 2026-12-01T00:00:00Z'))
      .max(40, accepts('a time such as 2026-12-01T00:00:00Z'))
      .refine(
        (value) => DATE_TIME.test(value) && !Number.isNaN(Date.parse(value)),
        accepts('a time such as 2026-12-01T00:00:00Z'),
      )
      .meta({ format: 'date-time' })
      .optional()
      .describe('Time (RFC 3339) from which the rule is no longer in force.'),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: "(self.action == 'redirect') == has(self.redirectPort)",
        message: 'redirectPort is required with action redirect, and used with no other',
      },
      {
        rule: "!self.reverse || self.action == 'allow'",
        message: 'reverse needs action allow',
      },
    ],
  })
  .describe('One rule.');

/** Schema of `spec`. */
export const dpuRuleSpecSchema = z
  .strictObject({
    tier: z
      .enum(TIERS)
      .default('tenant')
      .describe(
        'Tier; tiers are evaluated in the order platform, admin, tenant, policy, isolation, baseline.',
      ),
    priority: wholeNumber(0, PRIORITY_MAX)
      .default(PRIORITY_DEFAULT)
      .describe('Priority in the tier, lower first. At equal priority deny wins over allow.'),
    nodeSelector: labelMap
      .optional()
      .describe('Labels of the DPUNode objects that the rules apply to. Empty: all.'),
    networkRef: dnsSubdomain
      .optional()
      .describe('DPUNetwork that gives the VNI, so that no rule needs to name it.'),
    enforcement: z
      .enum(['Enforce', 'DryRun', 'Suspended'])
      .default('Enforce')
      .describe(
        'Enforce; DryRun counts what would happen and decides nothing; Suspended does nothing.',
      ),
    rules: listOf(ruleSchema, RULES_MAX).describe('The rules; their order does not matter.'),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: 'has(self.networkRef) || self.rules.all(r, has(r.vni))',
        message: 'a rule without vni needs spec.networkRef',
      },
      {
        rule: 'self.rules.all(r, !has(r.name) || self.rules.exists_one(q, has(q.name) && q.name == r.name))',
        message: 'names of rules must be unique',
      },
    ],
  })
  .describe('What is wanted.');

/** Schema of a whole object as the agent reads it; `status` is read by nobody here and dropped. */
export const dpuRuleSchema = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('DPURule'),
  metadata: namespacedMeta,
  spec: dpuRuleSpecSchema,
  status: z.unknown().optional(),
});

/** Fields of a packet that a rule names, as the user wrote them (all validated). */
export type RuleMatch = z.output<typeof matchSchema>;

type ParsedRule = z.output<typeof ruleSchema>;
type ParsedSpec = z.output<typeof dpuRuleSpecSchema>;

/** One rule of an object with its defaults: it always has a name, which is unique in the object. */
export interface RuleEntry extends Omit<ParsedRule, 'name'> {
  name: string;
  action: RuleAction;
  direction: Direction;
}

/** `spec` with its defaults. */
export interface DpuRuleSpec extends Omit<ParsedSpec, 'rules'> {
  rules: RuleEntry[];
}

/** A DPURule in its parsed form: defaults applied, every field checked. */
export interface DpuRule extends Omit<z.output<typeof dpuRuleSchema>, 'spec' | 'status'> {
  metadata: ObjectMeta;
  spec: DpuRuleSpec;
}
