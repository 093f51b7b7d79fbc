/**
 * The HTTP endpoints of the debug socket as OpenAPI 3.1: one table of paths, with the schemas that dpuctl itself reads answers
 * by. A test asks a real agent for each of them.
 */
import * as z from 'zod';
import { flowSchema, ruleSchema, statusSchema } from '../../src/cli/answer.ts';
import { explainSchema, ruleAnswerSchema } from '../../src/cli/explain.ts';
import { doctorSchema } from '../../src/cli/doctor.ts';
import { offloadSchema, whatIfSchema } from '../../src/cli/offload.ts';
import {
  diffSchema,
  dropRow,
  eventRow,
  groupRow,
  networkRow,
  peerRow,
  portRow,
} from '../../src/cli/table-verb.ts';
import { PARAMETERS, traceSchema } from '../../src/cli/trace.ts';

/** One endpoint. */
export interface DebugPath {
  readonly path: string;
  readonly method: 'get' | 'post';
  readonly summary: string;
  /** Of the query: name, what it says, and an example where the answer needs one. */
  readonly parameters?: readonly (readonly [name: string, says: string, example?: string])[];
  /** Of the answer's JSON; undefined for plain text. */
  readonly schema?: z.ZodType;
}

const TRACE_EXAMPLES = new Map([
  ['from', 'rep1a'],
  ['to', '10.1.0.25'],
  ['tcp', '81'],
]);
const trace = PARAMETERS.map(([flags, says]) => {
  const name = /^--([a-z-]+)/.exec(flags)?.[1] ?? '';
  const example = TRACE_EXAMPLES.get(name);
  return example === undefined ? ([name, says] as const) : ([name, says, example] as const);
});
const SECONDS = ['seconds', 'how long, 1..86400; 600 when it is not given', '1'] as const;
const until = z.string().nullable();
const ASSUME = ['assume', 'reasons as on another datapath: kernel, doca or userspace'] as const;
const RULE_EXAMPLE = JSON.stringify({
  apiVersion: 'dpu.network/v1alpha1',
  kind: 'DPURule',
  metadata: { name: 'icmp', namespace: 'tenant-a' },
  spec: { rules: [{ vni: 1000, action: 'deny', match: { protocol: 'ICMP' } }] },
});

/** Every endpoint. */
export const DEBUG_PATHS: readonly DebugPath[] = [
  { path: '/healthz', method: 'get', summary: 'The process answers.' },
  { path: '/readyz', method: 'get', summary: 'Ready, or 503 with the reasons why not.' },
  { path: '/metrics', method: 'get', summary: 'Metrics in the text format of Prometheus.' },
  { path: '/status', method: 'get', summary: 'Is the agent well.', schema: statusSchema },
  { path: '/rules', method: 'get', summary: 'Every rule entry.', schema: z.array(ruleSchema) },
  {
    path: '/flows',
    method: 'get',
    summary: "The agent's flows in the switch.",
    parameters: [
      ['table', '0..253'],
      ['rule', 'NAMESPACE/NAME or NAMESPACE/NAME/RULE'],
    ],
    schema: z.array(flowSchema),
  },
  {
    path: '/offload',
    method: 'get',
    summary: 'By rule: was it handled in hardware, and why would it not be.',
    parameters: [ASSUME],
    schema: offloadSchema,
  },
  {
    path: '/offload/what-if',
    method: 'get',
    summary: 'What a rule that is not applied yet would take out of hardware.',
    parameters: [['rule', 'a DPURule as YAML or JSON', RULE_EXAMPLE], ASSUME],
    schema: whatIfSchema,
  },
  {
    path: '/doctor',
    method: 'get',
    summary: 'Is this DPU set up right: each check with what was seen and what to do.',
    schema: doctorSchema,
  },
  {
    path: '/trace',
    method: 'get',
    summary: 'What the switch would do with a packet.',
    parameters: trace,
    schema: traceSchema,
  },
  {
    path: '/rule',
    method: 'get',
    summary: 'One rule as it was read.',
    parameters: [['name', 'NAMESPACE/NAME or NAMESPACE/NAME/RULE', 'tenant-a/deny']],
    schema: ruleAnswerSchema,
  },
  {
    path: '/explain',
    method: 'get',
    summary: 'Each flow that a rule became.',
    parameters: [['rule', 'NAMESPACE/NAME or NAMESPACE/NAME/RULE', 'tenant-a/deny']],
    schema: explainSchema,
  },
  {
    path: '/diff',
    method: 'get',
    summary: 'Desired against the switch.',
    parameters: [['limit', 'most rows that are listed, 1..100000; totals count all']],
    schema: diffSchema,
  },
  { path: '/drops', method: 'get', summary: 'What drops packets.', schema: z.array(dropRow) },
  { path: '/groups', method: 'get', summary: 'OpenFlow groups.', schema: z.array(groupRow) },
  { path: '/ports', method: 'get', summary: 'Ports of the bridge.', schema: z.array(portRow) },
  { path: '/peers', method: 'get', summary: 'The other DPUs.', schema: z.array(peerRow) },
  { path: '/networks', method: 'get', summary: 'Networks.', schema: z.array(networkRow) },
  {
    path: '/events',
    method: 'get',
    summary: 'Recent events, oldest first.',
    parameters: [['after', 'only events with a higher id']],
    schema: z.array(eventRow),
  },
  {
    path: '/support-bundle',
    method: 'get',
    summary: 'All of the above in one answer, without secrets.',
    schema: z.looseObject({ kind: z.string(), version: z.string(), at: z.string() }),
  },
  {
    path: '/resync',
    method: 'post',
    summary: 'Compare everything with a fresh dump, and repair.',
    schema: z.object({ done: z.boolean(), flowMods: z.number() }),
  },
  {
    path: '/pause',
    method: 'post',
    summary: 'Write nothing to the switch for a while.',
    parameters: [SECONDS],
    schema: z.object({ pausedUntil: until }),
  },
  {
    path: '/resume',
    method: 'post',
    summary: 'End a pause.',
    schema: z.object({ pausedUntil: until }),
  },
  {
    path: '/log-level',
    method: 'post',
    summary: 'Set how much the agent logs.',
    parameters: [['level', 'trace, debug, info, warn or error']],
    schema: z.object({ level: z.string() }),
  },
  {
    path: '/bypass',
    method: 'post',
    summary: 'Let all traffic of a network pass its policy for a while.',
    parameters: [['vni', 'the network', '1001'], SECONDS, ['off', 'put the policy in force again']],
    schema: z.object({ vni: z.number(), bypassedUntil: until }),
  },
];

const ERROR = {
  type: 'object',
  properties: { error: { type: 'string', description: 'What is wrong and what is accepted.' } },
};

/** The OpenAPI document. */
export function openApi(version: string): unknown {
  const paths = DEBUG_PATHS.map(({ path, method, summary, parameters = [], schema }) => {
    const failure = (description: string): unknown => ({
      description,
      content: { 'application/json': { schema: ERROR } },
    });
    const content =
      schema === undefined
        ? { 'text/plain': { schema: { type: 'string' } } }
        : { 'application/json': { schema: jsonSchema(schema) } };
    const operation = {
      summary,
      parameters: parameters.map(([name, description, example]) => ({
        name,
        in: 'query',
        description,
        schema: { type: 'string' },
        ...(example === undefined ? {} : { example }),
      })),
      responses: {
        200: { description: 'The answer.', content },
        400: failure('The question is wrong.'),
        ...(method === 'post' ? { 403: failure('The agent does not allow changes.') } : {}),
        503: failure('The agent cannot say, or do that, now.'),
      },
    };
    return [path, { [method]: operation }] as const;
  });
  return {
    openapi: '3.1.0',
    info: {
      title: 'Debug socket of dpu-agent',
      version,
      description:
        'HTTP over a Unix socket. Generated by `npm run generate`; do not edit. Answers may have more fields than are listed.',
    },
    servers: [{ url: 'http://agent', description: 'any host name; the socket decides' }],
    paths: Object.fromEntries(paths),
  };
}

function jsonSchema(schema: z.ZodType): unknown {
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
}
