// Where the debug socket may stand: a place that others can write to is refused, with what is accepted.
import { chmod, lstat, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { DebugServer } from '../../../src/agent/debug/debug-server.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { httpGet } from '../../support/agent.ts';

function server(): DebugServer {
  return new DebugServer(new Map([['/healthz', () => ({ body: 'ok\n' })]]), silentLogger);
}

t.test('a socket is made for its owner alone, in a directory that is made for it', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'dpu-debug-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const path = join(dir, 'run', 'deep', 'debug.sock');
  const listening = server();
  t.after(() => listening.close());
  await listening.listenUnix(path);
  t.equal((await lstat(path)).mode & 0o777, 0o600);
  t.equal((await lstat(join(dir, 'run', 'deep'))).mode & 0o777, 0o700);
  t.strictSame(await httpGet(path, '/healthz'), { status: 200, body: 'ok\n' });
});

t.test('a place that is not safe, or is taken, is refused by name', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'dpu-debug-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const other = server();
  t.after(() => other.close());
  await other.listenUnix(join(dir, 'taken', 'debug.sock'));
  const make = async (name: string, mode: number): Promise<string> => {
    await mkdir(join(dir, name));
    await chmod(join(dir, name), mode);
    return join(dir, name);
  };
  await make('everybody', 0o777);
  await make('sticky', 0o1777);
  await make('group', 0o770);
  await symlink(await make('real', 0o700), join(dir, 'link'));
  await writeFile(join(dir, 'file'), '');
  await writeFile(join(dir, 'real', 'note'), '');
  const cases: [place: string, why: RegExp][] = [
    ['everybody/debug.sock', /has mode 777: others may write there; accepted: 0700 or 0755/],
    ['sticky/debug.sock', /has mode 1777/],
    ['group/debug.sock', /has mode 770/],
    ['link/debug.sock', /is a symbolic link or no directory/],
    ['file/debug.sock', /cannot be made|no directory/],
    ['file/under/debug.sock', /cannot be made: ENOTDIR/],
    ['real/note', /a file of another kind/],
    ['taken/debug.sock', /another process listens there/],
  ];
  for (const [place, why] of cases) {
    const refused = server();
    await t.rejects(
      refused.listenUnix(join(dir, place)).finally(() => refused.close()),
      { code: 'CONFIG_INVALID', message: why },
      place,
    );
  }
});
