/**
 * The environment variables that override the file, each checked as the field that it replaces.
 */
import { parseWithSchema } from '../api/schema-problem.ts';
import type { Problem } from '../base/error.ts';
import type { z } from 'zod';
import {
  addressField,
  bridgeName,
  nodeName,
  interfaceName,
  type ParsedConfig,
  serverUrl,
} from './config-schema.ts';

/** The configuration with the environment applied, or what is wrong in the environment. */
export interface EnvironmentResult {
  readonly config?: ParsedConfig;
  readonly problems: readonly Problem[];
}

/** Applies the environment to `config`; checks it even when there is no valid `config` to apply it to. */
export function applyEnvironment(
  config: ParsedConfig | undefined,
  env: Readonly<Record<string, string | undefined>>,
): EnvironmentResult {
  const problems: Problem[] = [];
  function read<Schema extends z.ZodType>(
    name: string,
    schema: Schema,
  ): z.output<Schema> | undefined {
    const text = env[name];
    if (text === undefined || text === '') return undefined;
    const result = parseWithSchema(schema, text);
    for (const { message } of result.problems) {
      problems.push({ path: `environment variable ${name}`, message });
    }
    return result.value;
  }
  const apiServer = read('KUBE_API_SERVER', serverUrl);
  const ip = read('VTEP_LOCAL_IP', addressField);
  const device = read('VXLAN_DEVICE', interfaceName);
  const bridge = read('OVS_BRIDGE', bridgeName);
  const node = read('NODE_NAME', nodeName);
  if (config === undefined || problems.length > 0) return { problems };
  const deviceVtep = device === undefined ? config.vtep : { interface: device };
  return {
    config: {
      ...config,
      ovs: bridge === undefined ? config.ovs : { ...config.ovs, bridge },
      vtep: ip === undefined ? deviceVtep : { ip },
      kubernetes: apiServer === undefined ? config.kubernetes : { ...config.kubernetes, apiServer },
      node: node ?? config.node,
    },
    problems,
  };
}
