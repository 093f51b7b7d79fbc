/**
 * The agent's configuration: from the text of `agent.yaml` and the environment to an AgentConfig in which every value is
 * parsed and every cross-check has passed. Pure: reads no file and no process state.
 */
import { parsePath } from '../api/field-path.ts';
import { boundProblems, parseWithSchema } from '../api/schema-problem.ts';
import { ConfigError, type Problem } from '../base/error.ts';
import { checkConfig } from './config-check.ts';
import { applyEnvironment } from './config-environment.ts';
import { agentConfigSchema } from './config-schema.ts';
import type { AgentConfig } from './config-shape.ts';
import { PAUSE, readYaml, type YamlDocument } from '../api/yaml-document.ts';

export type { AgentConfig, NetworkConfig, TierConfig, VtepConfig } from './config-shape.ts';

function readSingle(text: string, file: string): YamlDocument {
  const documents = [...readYaml(text)].filter((step) => step !== PAUSE);
  const problems = documents.flatMap((document) => document.problems);
  const [first, second] = documents;
  if (problems.length > 0) throw new ConfigError(file, problems);
  if (first === undefined) {
    throw new ConfigError(file, [
      { path: '', message: 'is empty; accepted: a YAML document with node, customer, vtep, ...' },
    ]);
  }
  if (second !== undefined) {
    const message = 'is a second document; accepted: one document';
    throw new ConfigError(file, [{ path: '', message, line: second.line }]);
  }
  return first;
}

/**
 * Reads the configuration in `text`. `file` is named in messages only. Of `env`, KUBE_API_SERVER, VTEP_LOCAL_IP,
 * VXLAN_DEVICE, OVS_BRIDGE and NODE_NAME override the file; an empty value counts as unset.
 * @throws ConfigError that lists every problem with its line, path and what is accepted.
 */
export function readConfig(
  text: string,
  file: string,
  env: Readonly<Record<string, string | undefined>>,
): AgentConfig {
  const document = readSingle(text, file);
  const withLines = (problems: readonly Problem[]): Problem[] =>
    boundProblems(problems).map((problem) => ({
      ...problem,
      line: document.lineOf(parsePath(problem.path)),
    }));
  const { value, problems } = parseWithSchema(agentConfigSchema, document.value);
  const fromEnvironment = applyEnvironment(value, env);
  if (value === undefined || fromEnvironment.config === undefined) {
    throw new ConfigError(file, [...withLines(problems), ...fromEnvironment.problems]);
  }
  const checked = checkConfig(fromEnvironment.config);
  if (checked.config === undefined) throw new ConfigError(file, withLines(checked.problems));
  return checked.config;
}
