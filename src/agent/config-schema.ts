/**
 * The schema of `agent.yaml`: keys, defaults and what each accepts. One source of validation and of
 * docs/reference/config.md. Addresses, MACs and VNIs leave it parsed. What one key alone cannot say is in config-check.ts.
 */
import { z } from 'zod';
import {
  conntrackSchema,
  defaultActionSchema,
  remoteLearningSchema,
  unknownUnicastSchema,
} from '../api/dpu-network.ts';
import {
  addressText,
  dnsLabel,
  dnsSubdomain,
  portName,
  prefixText,
  unicastMacText,
  vniNumber,
  wholeNumber,
} from '../api/field.ts';
import { SEQUENCE_MAX } from './config-shape.ts';
import { accepts } from '../api/schema-problem.ts';
import { parseVniRange } from '../api/vni-range.ts';
import { parseIp, parseMac, parsePrefix } from '../base/address.ts';
import { asVni } from '../base/brand.ts';
import { parseListen } from './listen-address.ts';

const PATH_MAX = 4096;
/** Directory of rules unless the file says otherwise. */
export const RULES_DIRECTORY = '/etc/dpu-agent/rules.d';
const LIST_MAX = 65_536;

const address = addressText.transform((text) => parseIp(text) ?? z.NEVER);
const prefix = prefixText.transform((text) => parsePrefix(text) ?? z.NEVER);
const mac = unicastMacText.transform((text) => parseMac(text) ?? z.NEVER);
const vni = vniNumber.transform((value) => asVni(value) ?? z.NEVER);

function absolutePath(example: string): z.ZodString {
  const says = accepts(`an absolute path such as ${example}`);
  return z
    .string(says)
    .max(PATH_MAX, says)
    .regex(/^\/[^\0]*$/, says);
}

const DATABASE = accepts('unix: and an absolute path, such as unix:/var/run/openvswitch/db.sock');
const LISTEN = accepts(
  'an address of this machine and a port such as 127.0.0.1:9464 or [::1]:9464 (no wildcard), or "off"',
);
const VNI_RANGE = accepts('a VNI such as 42 or a range such as "1000-1999", within 1..16777215');
const SERVER = accepts('a URL such as https://10.100.2.10:6443');
/** IFNAMSIZ of Linux is 16, with the closing zero. */
const INTERFACE = accepts(
  'the name of a network interface: at most 15 characters, no / and no blank',
);

/** Name of a network interface of Linux. */
export const interfaceName = z.string(INTERFACE).regex(/^[^\s/\0]{1,15}$/, INTERFACE);
/** Name of the integration bridge, which is a network interface too. */
export const bridgeName = z.string(INTERFACE).regex(/^[^\s/\0]{1,15}$/, INTERFACE);
/** Name of a DPU. */
export const nodeName = dnsSubdomain;
/** One address, parsed. */
export const addressField = address;
/** URL of an API server. */
export const serverUrl = z
  .string(SERVER)
  .max(2048, SERVER)
  .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), SERVER);

const endpointSchema = z.strictObject({
  vni: vni.describe("VXLAN network identifier of the endpoint; must be the customer's."),
  mac: mac.describe('MAC address of the endpoint.'),
  ips: z.array(address).max(64).default([]).describe('Addresses of the endpoint.'),
  sequence: wholeNumber(0, SEQUENCE_MAX)
    .optional()
    .describe('Of two claims to one endpoint the higher sequence wins. Default 0.'),
});

const networkSchema = z.strictObject({
  vni: vni.describe("VXLAN network identifier; must be the customer's."),
  name: dnsSubdomain.describe('Name by which rules refer to the network (networkRef).'),
  namespaces: z
    .array(dnsLabel)
    .max(LIST_MAX)
    .default([])
    .describe('Namespaces whose rules may name this network.'),
  subnets: z.array(prefix).max(64).default([]).describe('Prefixes in use in this network.'),
  defaultAction: defaultActionSchema,
  unknownUnicast: unknownUnicastSchema,
  conntrack: conntrackSchema,
  remoteLearning: remoteLearningSchema,
});

const namespaces = z.array(dnsLabel).max(LIST_MAX).default([]);

/** Schema of the whole file. */
export const agentConfigSchema = z.strictObject({
  node: nodeName.describe(
    'Name of this DPU: logs, metrics and objects carry it. Environment: NODE_NAME.',
  ),
  ovs: z
    .strictObject({
      database: z
        .string(DATABASE)
        .max(PATH_MAX, DATABASE)
        .regex(/^unix:\/[^\0]+$/, DATABASE)
        .default('unix:/var/run/openvswitch/db.sock')
        .describe('Socket of ovsdb-server.'),
      rundir: absolutePath('/var/run/openvswitch')
        .default('/var/run/openvswitch')
        .describe('Directory with the sockets of ovs-vswitchd.'),
      control: absolutePath('/var/run/openvswitch/ovs-vswitchd.42.ctl')
        .optional()
        .describe(
          'Control socket of ovs-vswitchd, for `dpuctl trace`; without it the one in rundir that its pid file names.',
        ),
      bridge: bridgeName
        .default('br-int')
        .describe(
          'Integration bridge; made when it is missing, never deleted. Environment: OVS_BRIDGE.',
        ),
      datapathType: z
        .enum(['system', 'netdev'])
        .default('system')
        .describe('system is the kernel (and its offload), netdev the userspace datapath.'),
      flowRestoreTimeoutSeconds: wholeNumber(1, 3600)
        .default(30)
        .describe(
          'When other_config:flow-restore-wait of Open_vSwitch is cleared although the flows are not in.',
        ),
    })
    .prefault({})
    .describe('The local Open vSwitch.'),
  rules: z
    .strictObject({
      source: z
        .enum(['directory', 'kubernetes'])
        .default('directory')
        .describe(
          "Where rules come from: files of a directory, or the API server of the customer's cluster.",
        ),
      path: absolutePath(RULES_DIRECTORY)
        .default(RULES_DIRECTORY)
        .describe('Directory with *.yaml, *.yml and *.json files; with source directory only.'),
      kubeconfig: absolutePath('/etc/dpu-agent/kubeconfig')
        .optional()
        .describe(
          "Kubeconfig, read again at each connection; with source kubernetes only. Without it, the pod's service account.",
        ),
    })
    .prefault({})
    .describe('Source of DPURule and DPUNetwork objects.'),
  state: absolutePath('/var/lib/dpu-agent')
    .default('/var/lib/dpu-agent')
    .describe('Directory for what must outlive a restart.'),
  customer: z
    .strictObject({
      name: dnsSubdomain.describe('Name of the customer that this DPU serves.'),
      vnis: z
        .array(
          z
            .custom<number | string>((value) => parseVniRange(value) !== undefined, VNI_RANGE)
            .meta({ type: 'string', pattern: '^[0-9]{1,8}(-[0-9]{1,8})?$' })
            .transform((value) => parseVniRange(value) ?? z.NEVER),
        )
        .min(1)
        .max(1024)
        .describe("VNIs and ranges of VNIs that are the customer's. No rule can name another."),
    })
    .describe('Whose DPU this is.'),
  tiers: z
    .strictObject({
      platform: namespaces.describe('Namespaces whose rules may use tier platform.'),
      admin: namespaces.describe('Namespaces whose rules may use tier admin.'),
    })
    .prefault({})
    .describe("Who may use the tiers that come before the tenants'."),
  vtep: z
    .strictObject({
      ip: address.optional().describe('The address itself. Environment: VTEP_LOCAL_IP.'),
      interface: interfaceName
        .optional()
        .describe('Interface whose one IPv4 address it is. Environment: VXLAN_DEVICE.'),
      cidr: prefix.optional().describe('Prefix that holds the one address of this machine to use.'),
    })
    .optional()
    .describe(
      'Local VXLAN endpoint: exactly one of ip, interface and cidr. VTEP_LOCAL_IP replaces all of it; VXLAN_DEVICE does unless VTEP_LOCAL_IP is set too.',
    ),
  peers: z
    .array(
      z.strictObject({
        vtep: address.describe('VTEP address of the other DPU.'),
        endpoints: z
          .array(endpointSchema)
          .max(LIST_MAX)
          .default([])
          .describe('Endpoints behind it.'),
      }),
    )
    .max(LIST_MAX)
    .default([])
    .describe('Other DPUs and the endpoints behind them.'),
  vteps: z
    .strictObject({
      source: z
        .enum(['static', 'kubernetes'])
        .default('static')
        .describe(
          'How other DPUs are found: by peers alone, or also by the DPUEndpointSlices that the agents publish; the latter with rules from kubernetes only.',
        ),
      exclude: z
        .array(prefix)
        .max(64)
        .default([])
        .describe(
          'Prefixes in which no VTEP of another DPU can be, such as the management networks: what is published with one is ignored.',
        ),
    })
    .prefault({})
    .describe('Discovery of the other DPUs.'),
  networks: z
    .array(networkSchema)
    .max(LIST_MAX)
    .default([])
    .describe(
      'Networks; one that is given here wins over a DPUNetwork object with its VNI or name.',
    ),
  ports: z
    .array(
      z.strictObject({
        name: portName.describe('Name of the OVS port.'),
        ...endpointSchema.shape,
      }),
    )
    .max(LIST_MAX)
    .default([])
    .describe('Local endpoints whose ports carry no external_ids.'),
  conntrack: z
    .strictObject({
      firstZone: wholeNumber(1, 65_535)
        .default(32_768)
        .describe('First zone of the connection tracker that the agent may use.'),
      lastZone: wholeNumber(1, 65_535).default(65_535).describe('Last one.'),
      warmUpSeconds: wholeNumber(0, 3600)
        .default(60)
        .describe(
          'How long policy stays stateless after tracking was switched on in a network, so that live connections become known.',
        ),
    })
    .prefault({})
    .describe('Connection tracking, for networks that have it on.'),
  learning: z
    .strictObject({
      limit: wholeNumber(1, 65_536)
        .default(1024)
        .describe(
          'Most MACs that are learned of one peer in one network; what is more stays unknown.',
        ),
      ageSeconds: wholeNumber(1, 65_535)
        .default(300)
        .describe('How long a learned MAC is kept after its last packet.'),
    })
    .prefault({})
    .describe('Bounds of what is learned, for networks that have remoteLearning on.'),
  debug: z
    .strictObject({
      socket: absolutePath('/run/dpu-agent/debug.sock')
        .default('/run/dpu-agent/debug.sock')
        .describe('Unix socket that dpuctl talks to.'),
      allowMutations: z
        .boolean()
        .default(false)
        .describe(
          'Lets dpuctl change something: resync, pause, log-level, bypass. Command line: --allow-mutations.',
        ),
    })
    .prefault({})
    .describe('Debug socket.'),
  metrics: z
    .strictObject({
      listen: z
        .string(LISTEN)
        .max(64, LISTEN)
        .refine((text) => parseListen(text) !== undefined, LISTEN)
        .transform((text) => parseListen(text) ?? z.NEVER)
        .prefault('127.0.0.1:9464')
        .describe('Address and port of the metrics, or "off". Never the VTEP\'s address.'),
    })
    .prefault({})
    .describe('Prometheus metrics.'),
  log: z
    .strictObject({
      level: z
        .enum(['trace', 'debug', 'info', 'warn', 'error'])
        .default('info')
        .describe('Least important lines that are written.'),
    })
    .prefault({})
    .describe('Log.'),
  kubernetes: z
    .strictObject({
      apiServer: serverUrl
        .optional()
        .describe(
          "URL of the API server; replaces that of the kubeconfig or the pod's. Environment: KUBE_API_SERVER.",
        ),
      localAddress: addressText
        .optional()
        .describe(
          'Address of this machine, on the management network, from which connections to the API server leave.',
        ),
      publish: z
        .boolean()
        .default(true)
        .describe(
          'Whether the agent writes what it knows of itself: DPUNode, Lease, Events and, with vteps from kubernetes, DPUEndpointSlices.',
        ),
      namespace: dnsLabel
        .default('dpu-system')
        .describe('Namespace of the agent: its Lease, named after the node, stands there.'),
      leaseSeconds: wholeNumber(3, 3600)
        .default(40)
        .describe('How old the Lease may be before the DPU counts as not heard of.'),
      renewSeconds: wholeNumber(1, 1200)
        .default(10)
        .describe('How often the Lease is renewed; at most half of leaseSeconds.'),
      statusSeconds: wholeNumber(1, 3600)
        .default(5)
        .describe('Shortest time between two writes of the DPUNode; jitter comes on top.'),
    })
    .prefault({})
    .describe("The customer's cluster."),
});

/** The file's content with defaults, before cross-checks and environment. */
export type ParsedConfig = z.output<typeof agentConfigSchema>;
