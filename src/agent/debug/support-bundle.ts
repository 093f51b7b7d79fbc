/**
 * `/support-bundle`: everything that the debug socket tells, in one JSON file for whoever helps from afar, without secrets:
 * what is named like one is replaced, and so are the credentials in URLs.
 */
import { errorMessage } from '../../base/error.ts';
import { VERSION } from '../../base/version.ts';
import type { AgentView } from './agent-view.ts';
import type { DebugAnswer, DebugRoute } from './debug-server.ts';

const PARTS = [
  ...['/status', '/rules', '/networks', '/ports', '/peers', '/groups', '/diff', '/drops'],
  ...['/flows', '/events', '/metrics'],
];
const SECRET_NAME =
  /token|secret|password|passwd|authorization|credential|private|certificate-?data|key-?data/i;
const REDACTED = '[redacted]';

/** Answers `/support-bundle` from the other routes; one that fails says why in its place. */
export async function bundleAnswer(
  agent: AgentView,
  routes: ReadonlyMap<string, DebugRoute>,
): Promise<DebugAnswer> {
  const parts: Record<string, unknown> = {};
  for (const path of PARTS) {
    try {
      const answer = await routes.get(path)?.(new URLSearchParams());
      parts[path] = answer?.body;
    } catch (error) {
      parts[path] = { error: errorMessage(error) };
    }
  }
  const body = {
    kind: 'dpu-agent support bundle',
    version: VERSION,
    at: new Date().toISOString(),
    node: { version: process.version, memory: process.memoryUsage(), uptime: process.uptime() },
    configuration: agent.config,
    ...parts,
  };
  return { body: redact(body, '') };
}

/** A copy without secrets. */
function redact(value: unknown, name: string): unknown {
  if (SECRET_NAME.test(name) && typeof value === 'string') return REDACTED;
  if (typeof value === 'string') return withoutCredentials(value);
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map((item: unknown) => redact(item, name));
  if (typeof value !== 'object' || value === null) return value;
  // Anything may be written there, kubectl's copy of the object among it.
  const entries = Object.entries(value).filter(([key]) => key !== 'annotations');
  return Object.fromEntries(entries.map(([key, item]) => [key, redact(item, key)]));
}

/** `https://user:password@host` without the part before the @, and no bearer tokens. */
function withoutCredentials(text: string): string {
  return text
    .replace(/([a-z][a-z0-9+.-]*:\/\/)[^/\s@]{1,512}@/gi, `$1${REDACTED}@`)
    .replace(/\b(bearer\s+)[\w.~+/=-]{8,}/gi, `$1${REDACTED}`);
}
