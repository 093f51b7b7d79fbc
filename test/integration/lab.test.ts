/**
 * The lab itself, which the demo and other tests stand on: labs live beside each other, leave nothing behind, and a lab
 * whose owner was killed goes away with the next one.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { once } from 'node:events';
import t from 'tap';
import { run } from '../../demo/command.ts';
import { missingForLab, TwoDpuLab } from '../../demo/lab.ts';

const missing = await missingForLab();
const skip = missing.length > 0 ? `the lab needs ${missing.join('; ')}` : false;

async function namespacesOf(lab: TwoDpuLab): Promise<number> {
  const suffix = lab.dpus[0].namespace.replace(/^dpu1/, '');
  return (await run('ip', ['netns', 'list'])).split('\n').filter((line) => line.includes(suffix))
    .length;
}

void t.test('two labs live beside each other and leave nothing behind', { skip }, async (t) => {
  const labs = await Promise.all([TwoDpuLab.up(), TwoDpuLab.up()]);
  t.teardown(() => Promise.all(labs.map((lab) => lab.down())));
  for (const lab of labs) {
    t.equal(await namespacesOf(lab), 6);
    t.match(await lab.vsctl(1, 'get-fail-mode', 'br-int'), 'secure');
    const [here] = lab.podSpecs(1);
    const attached = await lab.vsctl(1, 'get', 'interface', 'rep1a', 'external_ids');
    t.match(attached, `attached-mac="${here?.mac}"`);
    // Without flows, a secure bridge drops: pods on one DPU do not reach each other either.
    t.same(await lab.pod('pod1a').ping('10.1.0.16', 1), { sent: 1, received: 0 });
  }
  const [first, second] = labs;
  await first.down();
  t.equal(await namespacesOf(first), 0);
  t.notOk(existsSync(first.dir));
  t.equal(await namespacesOf(second), 6, 'the other lab is untouched');
  await second.down();
  t.equal(await namespacesOf(second), 0);
});

void t.test('a lab whose owner was killed is swept by the next', { skip }, async (t) => {
  const script = `
    import { TwoDpuLab } from ${JSON.stringify(new URL('../../demo/lab.ts', import.meta.url).href)};
    console.log((await TwoDpuLab.up()).dir);
    setInterval(() => {}, 1000);`;
  const owner = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => owner.kill('SIGKILL'));
  const [dir] = (await once(owner.stdout.setEncoding('utf8'), 'data')) as [string];
  const lab = dir.trim();
  await TwoDpuLab.sweep();
  t.ok(existsSync(lab), 'it stays while its owner lives');
  owner.kill('SIGKILL');
  await once(owner, 'exit');
  await TwoDpuLab.sweep();
  t.notOk(existsSync(lab));
  const suffix = lab.slice(lab.lastIndexOf('-'));
  t.notMatch(await run('ip', ['netns', 'list']), suffix);
});
