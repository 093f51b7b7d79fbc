/**
 * Where ovs-vswitchd listens for commands (`ovs-vswitchd(8)`, --unixctl): the path of the configuration, else the one that
 * its pid file names, as ovs-appctl finds it. It sends nothing.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ConnectionError } from '../../base/error.ts';

const DAEMON = 'ovs-vswitchd';
const OP = 'unixctl.find';

/**
 * The control socket of the ovs-vswitchd whose sockets are in `rundir`.
 * @throws ConnectionError `CONN_REFUSED` when there is none, or more than one and no pid file to choose by.
 */
export async function controlSocket(ovs: {
  readonly rundir: string;
  readonly control?: string | undefined;
}): Promise<string> {
  const { rundir, control } = ovs;
  if (control !== undefined) return control;
  const pidFile = join(rundir, `${DAEMON}.pid`);
  const pid = (await readFile(pidFile, 'utf8').catch(() => '')).trim();
  if (/^\d{1,10}$/.test(pid)) return join(rundir, `${DAEMON}.${pid}.ctl`);
  const names = await readdir(rundir).catch((): string[] => []);
  const sockets = names.filter((name) => /^ovs-vswitchd\.\d+\.ctl$/.test(name));
  const [only] = sockets;
  if (only !== undefined && sockets.length === 1) return join(rundir, only);
  const seen = sockets.length === 0 ? 'no control socket' : `${sockets.length} control sockets`;
  const message = `${seen} of ${DAEMON} and no pid file in ${rundir}; set ovs.control in the configuration`;
  throw new ConnectionError('CONN_REFUSED', message, { op: OP, endpoint: pidFile });
}
