/**
 * Client of the control socket of an Open vSwitch daemon, what `ovs-appctl -t SOCKET` speaks: JSON-RPC without framing,
 * one request per connection here (OVS `lib/unixctl.c`). It knows no command.
 */
import { makeDeferred } from '../base/deferred.ts';
import { ConnectionError, toError } from '../base/error.ts';
import { Connection } from './connection.ts';
import { OvsdbError } from './errors.ts';
import { badValue, expectObject, type Json } from './json-value.ts';

/**
 * The text of a reply to `command`; an error reply has no `result` at all.
 * @throws OvsdbError `OVSDB_UNIXCTL_FAILED` with the daemon's words; DecodeError when it is no reply.
 */
export function parseUnixctlReply(command: string, reply: Json): string {
  const op = `unixctl.${command}`;
  const { result, error } = expectObject(reply, op, 'reply');
  if (typeof error === 'string') {
    throw new OvsdbError('OVSDB_UNIXCTL_FAILED', error.trim().slice(0, 2000), { op });
  }
  if (typeof result !== 'string') throw badValue(op, 'reply has no text');
  return result;
}

/**
 * Runs `command` with `args` at the daemon whose control socket is `path` and returns its output. The
 * whole exchange may take `timeoutMs`.
 * @throws OvsdbError `OVSDB_UNIXCTL_FAILED` with the daemon's words when it refuses; ConnectionError; DecodeError.
 */
export async function unixctl(
  path: string,
  command: string,
  args: readonly string[] = [],
  timeoutMs = 10_000,
): Promise<string> {
  const deferred = makeDeferred<string>(timeoutMs, () => {
    const where = { op: `unixctl.${command}`, endpoint: path, details: { timeoutMs } };
    return new ConnectionError('CONN_TIMEOUT', `no reply to ${command}`, where);
  });
  const connection = new Connection(path, {
    onConnect: () => connection.send(JSON.stringify({ method: command, params: args, id: 1 })),
    onActivity: () => undefined,
    onMessage: (reply) => {
      try {
        deferred.resolve(parseUnixctlReply(command, reply));
      } catch (thrown) {
        deferred.reject(toError(thrown));
      }
    },
    onClose: (error) => deferred.reject(error),
  });
  try {
    return await deferred.promise;
  } finally {
    connection.destroy();
  }
}
