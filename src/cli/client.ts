/**
 * One HTTP request over the agent's Unix socket (RFC 9112), bounded in time and bytes, with errors that an operator can act
 * on. It returns the body as text and does not read it.
 */
import { stat } from 'node:fs/promises';
import { request, type IncomingMessage } from 'node:http';
import { errorMessage } from '../base/error.ts';
import { DpuctlError } from './errors.ts';

/** Largest answer that is read, in bytes. A million flows are some 300 MB: ask by table or rule then. */
export const ANSWER_BYTES_MAX = 64 * 1024 * 1024;
/** sun_path of sockaddr_un has 108 bytes, the last of them zero (unix(7)). */
const SOCKET_PATH_BYTES_MAX = 107;
const HTTP_OK = 200;
const HTTP_BAD_REQUEST = 400;
const HTTP_FORBIDDEN = 403;
const HTTP_UNAVAILABLE = 503;

/** Where the agent listens and how long it may take. */
export interface AgentEndpoint {
  /** Path of the Unix socket. */
  readonly socket: string;
  /** Time for the whole answer in milliseconds. */
  readonly timeoutMs: number;
  /** Largest answer in bytes. Default {@link ANSWER_BYTES_MAX}. */
  readonly maxBytes?: number;
}

/**
 * Asks for `path`, or with POST for something to be done, and returns the body.
 * @throws DpuctlError `DPUCTL_UNREACHABLE` when there is no whole answer, `DPUCTL_USAGE` when the question is refused,
 * `DPUCTL_UNWELL` when the agent cannot say at present.
 */
export async function askAgent(
  endpoint: AgentEndpoint,
  path: string,
  method: 'GET' | 'POST' = 'GET',
): Promise<string> {
  const { socket, timeoutMs } = endpoint;
  if (Buffer.byteLength(socket) > SOCKET_PATH_BYTES_MAX) {
    throw new DpuctlError(
      'DPUCTL_USAGE',
      `the socket path ${socket} is longer than ${SOCKET_PATH_BYTES_MAX} bytes`,
      'Linux allows no longer one: use a shorter path or a symbolic link to its directory',
    );
  }
  const signal = AbortSignal.timeout(timeoutMs);
  let answer: { readonly status: number; readonly body: string };
  try {
    answer = await exchange(endpoint, path, method, signal);
  } catch (thrown) {
    if (thrown instanceof DpuctlError) throw thrown;
    throw signal.aborted ? tooSlow(endpoint, thrown) : await unreachable(socket, thrown);
  }
  if (answer.status === HTTP_OK) return answer.body;
  throw refused(answer.status, answer.body, path, socket);
}

function exchange(
  endpoint: AgentEndpoint,
  path: string,
  method: 'GET' | 'POST',
  signal: AbortSignal,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const question = request(
      { socketPath: endpoint.socket, path, method, signal, agent: false },
      (response) => {
        readBody(response, endpoint).then(
          (body) => resolve({ status: response.statusCode ?? 0, body }),
          reject,
        );
      },
    );
    question.once('error', reject);
    question.end();
  });
}

async function readBody(response: IncomingMessage, endpoint: AgentEndpoint): Promise<string> {
  const limit = endpoint.maxBytes ?? ANSWER_BYTES_MAX;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) {
      throw new DpuctlError(
        'DPUCTL_UNREACHABLE',
        `the answer of the agent on ${endpoint.socket} is larger than ${limit} bytes`,
        'ask for less: dpuctl flows --table N, or --rule NAMESPACE/NAME',
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function tooSlow({ socket, timeoutMs }: AgentEndpoint, cause: unknown): DpuctlError {
  return new DpuctlError(
    'DPUCTL_UNREACHABLE',
    `the agent on ${socket} did not answer within ${timeoutMs / 1000} s`,
    'it may be busy: try --timeout with more seconds, and look at its log',
    cause,
  );
}

/** The reason of a connect or read that failed, by its errno. */
async function unreachable(socket: string, thrown: unknown): Promise<DpuctlError> {
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
  // Linux refuses a connection to a file or directory as it refuses one to a socket without a listener.
  const isOther = code === 'ECONNREFUSED' && !(await isSocket(socket));
  const [what, advice] = REASONS.get(isOther ? 'ENOTSOCK' : code) ?? [
    errorMessage(thrown),
    'is this the socket of dpu-agent? its configuration names it: debug.socket',
  ];
  return new DpuctlError(
    'DPUCTL_UNREACHABLE',
    `cannot reach the agent on ${socket}: ${what}`,
    advice,
    thrown,
  );
}

async function isSocket(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isSocket();
  } catch {
    // It has gone meanwhile, as the socket of an agent that ends does.
    return true;
  }
}

const NOT_THE_SOCKET =
  'is dpu-agent running? if it is, its configuration names the socket (debug.socket): give it with --socket PATH or ' +
  'DPU_AGENT_SOCKET';
const CLOSED =
  'dpu-agent may be restarting: try again; if it stays so, is this its socket? its configuration names it: debug.socket';
const AS_ROOT = 'run dpuctl as the user that runs dpu-agent, which is root: sudo dpuctl ...';

const REASONS: ReadonlyMap<string, readonly [what: string, advice: string]> = new Map([
  ['ENOENT', ['there is no such socket', NOT_THE_SOCKET]],
  ['ENOTDIR', ['a part of the path is no directory', NOT_THE_SOCKET]],
  ['ENOTSOCK', ['it is no socket', NOT_THE_SOCKET]],
  ['ECONNREFUSED', ['nobody listens there', 'dpu-agent has ended: start it, and look at its log']],
  ['EACCES', ['permission denied', AS_ROOT]],
  ['EPERM', ['permission denied', AS_ROOT]],
  ['ECONNRESET', ['it closed the connection', CLOSED]],
  ['EPIPE', ['it closed the connection', CLOSED]],
  ['EAGAIN', ['its queue of connections is full', 'it may be busy: try again']],
]);

/** An answer with a status other than 200: the agent says why in `error`. */
function refused(status: number, body: string, path: string, socket: string): DpuctlError {
  const why = reasonIn(body) ?? `HTTP status ${status}`;
  if (status === HTTP_FORBIDDEN) return new DpuctlError('DPUCTL_UNWELL', `refused: ${why}`);
  if (status === HTTP_BAD_REQUEST) return new DpuctlError('DPUCTL_USAGE', why);
  if (status === HTTP_UNAVAILABLE) {
    return new DpuctlError(
      'DPUCTL_UNWELL',
      `the agent on ${socket} cannot answer now: ${why}`,
      'dpuctl status shows what it waits for',
    );
  }
  return new DpuctlError(
    'DPUCTL_UNREACHABLE',
    `the agent on ${socket} does not answer ${path}: ${why}`,
    'do dpuctl and dpu-agent have the same version? dpuctl --version, dpu-agent --version',
  );
}

function reasonIn(body: string): string | undefined {
  try {
    const value: unknown = JSON.parse(body);
    const found = typeof value === 'object' && value !== null && 'error' in value && value.error;
    return typeof found === 'string' ? found : undefined;
  } catch {
    return undefined;
  }
}
