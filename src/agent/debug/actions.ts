/**
 * What the debug socket does, as against what it tells: POST, and only where the configuration or the command line of the
 * agent allows it. Every one is logged.
 */
import { VNI_MAX } from '../../base/brand.ts';
import type { LogLevel } from '../log.ts';
import { INTERVENTION_MAX_MS, type Interventions } from '../interventions.ts';
import type { AgentView } from './agent-view.ts';
import type { DebugAnswer, DebugRoute } from './debug-server.ts';
import { checkParameters, numberParameter, QueryError, show } from './query.ts';

/** The agent as far as it can be told to do something. */
export interface ActingAgent extends AgentView {
  readonly interventions: Interventions;
  /** Compares everything with a fresh dump; resolves after that pass, or when it takes too long. */
  resync(): Promise<{ readonly flowMods: number } | undefined>;
  /** False when the log has no level that can be changed. */
  setLogLevel(level: LogLevel): boolean;
}

const FORBIDDEN = 403;
const UNAVAILABLE = 503;
const LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error'];
const DEFAULT_SECONDS = 600;

/** The POST routes of the debug socket. */
export function debugActions(agent: ActingAgent): Map<string, DebugRoute> {
  const routes: [string, DebugRoute][] = [
    ['/resync', (query) => resync(agent, query)],
    ['/pause', (query) => pause(agent, query)],
    ['/resume', (query) => resume(agent, query)],
    ['/log-level', (query) => logLevel(agent, query)],
    ['/bypass', (query) => bypass(agent, query)],
  ];
  return new Map(routes.map(([path, route]) => [path, guarded(agent, path, route)]));
}

function guarded(agent: ActingAgent, path: string, route: DebugRoute): DebugRoute {
  return (query) => {
    if (agent.config.debug.allowMutations) return route(query);
    const error =
      `${path} would change something, and this agent does not allow that: debug.allowMutations: true in its configuration` +
      ' and a restart, or dpu-agent --allow-mutations, does';
    return { status: FORBIDDEN, body: { error } };
  };
}

async function resync(agent: ActingAgent, query: URLSearchParams): Promise<DebugAnswer> {
  checkParameters(query, []);
  const sync = await agent.resync();
  if (sync !== undefined) return { body: { done: true, flowMods: sync.flowMods } };
  const waits = agent.interventions.pausedUntil === undefined ? agent.notReady : ['it is paused'];
  const error = `no sync was complete in time: ${waits.join('; ') || 'the switch is slow'}`;
  return { status: UNAVAILABLE, body: { error } };
}

function pause(agent: ActingAgent, query: URLSearchParams): DebugAnswer {
  checkParameters(query, ['seconds']);
  const until = agent.interventions.pause(secondsOf(query) * 1000);
  return { body: { pausedUntil: until.toISOString() } };
}

function resume(agent: ActingAgent, query: URLSearchParams): DebugAnswer {
  checkParameters(query, []);
  agent.interventions.resume();
  return { body: { pausedUntil: null } };
}

function logLevel(agent: ActingAgent, query: URLSearchParams): DebugAnswer {
  checkParameters(query, ['level']);
  const text = query.get('level') ?? '';
  const level = LEVELS.find((known) => known === text);
  if (level === undefined) {
    throw new QueryError(`level is ${show(text)}; accepted: ${LEVELS.join(', ')}`);
  }
  if (agent.setLogLevel(level)) return { body: { level } };
  return { status: UNAVAILABLE, body: { error: 'the log of this agent has one level only' } };
}

function bypass(agent: ActingAgent, query: URLSearchParams): DebugAnswer {
  checkParameters(query, ['vni', 'seconds', 'off']);
  const vni = numberParameter(query, 'vni', 1, VNI_MAX);
  const networks = agent.built?.snapshot.networks ?? [];
  if (vni === undefined || !networks.some((network) => network.vni === vni)) {
    const known = networks.map((network) => `${network.vni} (${network.name})`).join(', ');
    throw new QueryError(
      `vni is ${show(query.get('vni') ?? '')}; accepted: ${known || 'there is no network'}`,
    );
  }
  if (query.has('off')) {
    agent.interventions.endBypass(vni);
    return { body: { vni, bypassedUntil: null } };
  }
  const until = agent.interventions.bypass(vni, secondsOf(query) * 1000);
  return { body: { vni, bypassedUntil: until.toISOString() } };
}

function secondsOf(query: URLSearchParams): number {
  return numberParameter(query, 'seconds', 1, INTERVENTION_MAX_MS / 1000) ?? DEFAULT_SECONDS;
}
