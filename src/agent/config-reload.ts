/**
 * Which parts of a changed configuration take effect on SIGHUP, and which need a restart. Pure.
 */
import type { AgentConfig } from './config.ts';

/** Parts that hold sockets, identity or the logger: they are read at the start only. */
const FIXED_PARTS = [
  'node',
  'ovs',
  'rules',
  'state',
  'debug',
  'metrics',
  'log',
  'kubernetes',
  'vteps',
] as const;

/** The configuration to go on with, and the names of changed parts that wait for a restart. */
export interface ReloadedConfig {
  readonly config: AgentConfig;
  readonly needRestart: readonly string[];
}

/** Takes over from `next` what can change while the agent runs. */
export function reloadConfig(current: AgentConfig, next: AgentConfig): ReloadedConfig {
  const needRestart = FIXED_PARTS.filter((part) => text(current[part]) !== text(next[part]));
  const config: AgentConfig = {
    ...next,
    node: current.node,
    ovs: current.ovs,
    rules: current.rules,
    state: current.state,
    debug: current.debug,
    metrics: current.metrics,
    log: current.log,
    kubernetes: current.kubernetes,
    vteps: current.vteps,
  };
  return { config, needRestart };
}

function text(value: unknown): string {
  return (
    JSON.stringify(value, (_key, part: unknown) =>
      typeof part === 'bigint' ? part.toString() : part,
    ) ?? ''
  );
}
