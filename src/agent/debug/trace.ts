/**
 * `/trace`: what the switch would do with a packet, asked of ovs-vswitchd itself and told by the names of rules and
 * endpoints. It sends no packet and changes nothing.
 */
import { ConnectionError } from '../../base/error.ts';
import { parseOfprotoTrace, type TracedPass } from '../../ovsdb/ofproto-trace.ts';
import { unixctl } from '../../ovsdb/unixctl.ts';
import { controlSocket } from '../overlay/control-socket.ts';
import type { AgentView } from './agent-view.ts';
import type { DebugAnswer } from './debug-server.ts';
import { flowOwners } from './flow-names.ts';
import { partiesOf, partyName } from './trace-endpoint.ts';
import { tracePacket, type TracePacket } from './trace-packet.ts';
import { tellStory, type Story, type StoryNames } from './trace-story.ts';

/** What `/trace` answers. */
export interface TraceAnswer extends Story {
  readonly packet: TracePacket;
  /** What was asked of Open vSwitch, to be asked again with ovs-appctl. */
  readonly command: string;
  /** Of the agent and Open vSwitch together. */
  readonly milliseconds: number;
}

const TIMEOUT_MS = 5000;
const UNAVAILABLE = 503;

/** Answers `/trace`. */
export async function traceAnswer(agent: AgentView, query: URLSearchParams): Promise<DebugAnswer> {
  const startMs = performance.now();
  const snapshot = agent.built?.snapshot;
  if (snapshot === undefined) {
    return { status: UNAVAILABLE, body: { error: 'the rules have not been read yet' } };
  }
  const world = { snapshot, ports: agent.bridge.ports };
  const packet = tracePacket(query, world);
  const { ovs } = agent.config;
  const args = [ovs.bridge, packet.flow, ...packet.options];
  const passes = await askSwitch(await controlSocket(ovs), args);
  const story = tellStory(passes, namesOf(agent, passes));
  const body: TraceAnswer = {
    packet,
    ...story,
    command: `ovs-appctl ofproto/trace ${args.map((arg) => `'${arg}'`).join(' ')}`,
    milliseconds: Math.round((performance.now() - startMs) * 10) / 10,
  };
  return { body };
}

async function askSwitch(path: string, args: readonly string[]): Promise<TracedPass[]> {
  try {
    return parseOfprotoTrace(await unixctl(path, 'ofproto/trace', args, TIMEOUT_MS));
  } catch (error) {
    if (!(error instanceof ConnectionError)) throw error;
    const message = `ovs-vswitchd does not answer on ${path} (${error.message}); ovs.control of the configuration names its control socket`;
    throw new ConnectionError('CONN_REFUSED', message, {
      op: error.op,
      endpoint: path,
      cause: error,
    });
  }
}

function namesOf(agent: AgentView, passes: readonly TracedPass[]): StoryNames {
  const snapshot = agent.built?.snapshot;
  const ports = agent.bridge.ports;
  const cookies = passes.flatMap(({ steps }) => steps.flatMap(({ cookie }) => cookie ?? []));
  const owners = flowOwners(cookies, agent.desired, snapshot);
  const parties = snapshot === undefined ? [] : partiesOf(snapshot, ports);
  const tunnelOfport = snapshot?.tunnel?.ofport;
  return {
    bridge: agent.config.ovs.bridge,
    tunnelOfport,
    owner: (cookie) => owners.get(cookie) ?? { kind: 'foreign', name: '' },
    port: (ofport) => {
      const name = ports.find((port) => port.ofport === ofport)?.name;
      return {
        name: name ?? (ofport === tunnelOfport ? 'vtep0' : String(ofport)),
        endpoints: parties.filter(({ port }) => port?.ofport === ofport).map(partyName),
      };
    },
  };
}
