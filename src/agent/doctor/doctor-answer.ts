/**
 * `/doctor`: gathers facts and answers with what every check makes of them. Reads only.
 */
import type { AgentView } from '../debug/agent-view.ts';
import type { DebugAnswer } from '../debug/debug-server.ts';
import { checkParameters } from '../debug/query.ts';
import { examine } from './checks.ts';
import { gatherFacts } from './facts.ts';

/** Answers `/doctor`. */
export async function doctorAnswer(agent: AgentView, query: URLSearchParams): Promise<DebugAnswer> {
  checkParameters(query, []);
  const startMs = performance.now();
  const checks = examine(await gatherFacts(agent));
  const milliseconds = Math.round(performance.now() - startMs);
  return {
    body: { node: agent.config.node, at: new Date().toISOString(), milliseconds, checks },
  };
}
