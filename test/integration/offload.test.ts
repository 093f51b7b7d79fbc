// dpuctl offload against a real switch without a card: rules are attributed by real packets, and nothing is ever in hardware.
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { runDpuctl } from '../../src/cli/program.ts';
import { unixctl } from '../../src/ovsdb/unixctl.ts';
import { httpGet, until } from '../support/agent.ts';
import { shop } from '../support/shop.ts';

interface Offload {
  readonly datapath: string;
  readonly places: Readonly<Record<string, { flows: number; packets: number }>>;
  readonly rules: readonly {
    readonly name: string;
    readonly verdict: string;
    readonly places: Readonly<Record<string, { flows: number; packets: number }>> | null;
    readonly reasons: readonly { code: string }[];
  }[];
}

void t.test('rules are attributed by their packets, and no verdict is full', async (t) => {
  const made = await shop(t);
  if (made === undefined) return;
  const { agent, ovs } = made;
  const send = (port: number, destination = '10.1.0.25'): Promise<string> =>
    unixctl(join(ovs.rundir, 'vswitchd.ctl'), 'netdev-dummy/receive', [
      'rep1a',
      'in_port(1),eth(src=02:00:0a:01:01:11,dst=02:00:0a:01:01:12),eth_type(0x0800),' +
        `ipv4(src=10.1.0.15,dst=${destination},proto=6,tos=0,ttl=64,frag=no),tcp(src=5000,dst=${port})`,
    ]);
  const ask = async (): Promise<Offload> => agent.json<Offload>('/offload');
  const before = await ask();
  t.strictSame(
    before.rules.map(({ verdict }) => verdict),
    ['notObserved', 'notObserved'],
  );
  await until(
    'both rules are seen in the datapath',
    async () => {
      // The first packet makes the datapath flow, and is not counted by it.
      for (let count = 0; count < 3; count++) await send(81);
      await send(90, '10.1.0.16');
      await send(90, '10.1.0.16');
      const { rules } = await ask();
      return rules.every(({ verdict }) => verdict === 'none');
    },
    30_000,
  );
  const seen = await ask();
  t.equal(seen.datapath, 'userspace');
  for (const { name, verdict, places, reasons } of seen.rules) {
    t.equal(verdict, 'none', name);
    t.ok((places?.['software']?.packets ?? 0) > 0, name);
    t.equal(places?.['hardware']?.packets, 0, 'there is no card');
    t.strictSame(
      reasons.map(({ code }) => code),
      ['UserspaceDatapath'],
    );
  }
  t.equal(seen.places['hardware']?.flows, 0);

  const rows = await agent.json<{ name: string; offload: string }[]>('/rules');
  t.strictSame(
    rows.map(({ offload }) => offload),
    ['none', 'none'],
    '/rules carries the verdict',
  );
  const metrics = (await httpGet(agent.socket, '/metrics')).body;
  t.match(metrics, /^dpu_agent_rules_offload\{state="none"\} 2$/m);
  t.match(metrics, /^dpu_agent_rules_offload\{state="full"\} 0$/m);

  const dpuctl = async (line: string): Promise<{ exit: number; out: string; err: string }> => {
    let [out, err] = ['', ''];
    const exit = await runDpuctl(line.split(' '), {
      env: { DPU_AGENT_SOCKET: agent.socket },
      layout: { width: Infinity, colours: false },
      print: (text) => void (out += text),
      complain: (text) => void (err += text),
    });
    return { exit, out, err };
  };
  const table = await dpuctl('offload');
  t.equal(table.exit, 0, table.err);
  t.match(
    table.out,
    /^tenant-a\/deny\/tcp-81 +none +0% +\d+ +UserspaceDatapath \(all\): the bridge is of/m,
  );
  t.match(table.out, /datapath userspace: 0 packets in hardware, .* in software/);
  const assumed = await dpuctl('offload --assume kernel --json');
  t.match(JSON.parse(assumed.out), { datapath: 'kernel', assumed: true });
  t.notMatch(assumed.out, /UserspaceDatapath|"full"/);

  const file = join(ovs.dir, 'what-if.yaml');
  const whatIf = (match: string): Promise<void> =>
    writeFile(
      file,
      `apiVersion: dpu.network/v1alpha1\nkind: DPURule\nmetadata: {name: w, namespace: tenant-a}\nspec:\n  rules:\n    - {vni: 1000, action: deny, match: ${match}}\n`,
    );
  await whatIf('{srcIP: 10.1.0.15, dscp: 46}');
  const planned = await dpuctl(`offload --what-if -f ${file} --assume kernel`);
  t.equal(planned.exit, 0, 'nothing is in hardware, so nothing leaves it');
  t.match(planned.out, /^tenant-a\/w\/r0: DSCPMask \(all, depends on the driver\): /m);
  t.match(planned.out, /^0 packets in 0 flows would leave hardware, of \d+ in [1-9]\d* that/m);
  t.match(planned.out, /software .*tenant-a\/w\/r0: DSCPMask$/m);
  t.equal((await agent.json<object[]>('/rules')).length, 2, 'and nothing was applied');
  await whatIf('{srcIP: nonsense}');
  const refused = await dpuctl(`offload --what-if -f ${file}`);
  t.equal(refused.exit, 2);
  t.match(refused.err, /spec\.rules\[0\]\.match\.srcIP/);
  t.equal((await dpuctl('offload --what-if')).exit, 2);
  t.equal((await dpuctl('offload -f x')).exit, 2);

  // The doctor, on the same switch: it has neither a card nor, with the dummy datapath, a listening tunnel.
  const report = join(ovs.dir, 'doctor.html');
  const doctor = await dpuctl(`doctor --report ${report}`);
  t.equal(doctor.err, '');
  t.match(doctor.out, /^fail-mode +ok +fail_mode=secure$/m);
  t.match(doctor.out, /^ovs-version +ok +ovs-vswitchd \d/m);
  t.match(doctor.out, /^hw-offload +warn +hw-offload=false, datapath userspace/m);
  t.match(doctor.out, /^13 checks: \d+ ok/m);
  t.equal(doctor.exit, /^\S+ +fail /m.test(doctor.out) ? 1 : 0);
  t.match(await readFile(report, 'utf8'), /<!doctype html>.*<td>fail-mode<\/td>/s);
  t.equal((await stat(report)).mode & 0o777, 0o600);
  t.match(JSON.parse((await dpuctl('doctor --json')).out), { checks: { length: 13 } });
  await ovs.vsctl('set', 'Open_vSwitch', '.', 'other_config:tc-policy=skip_hw');
  await until('the doctor sees it', async () =>
    /^tc-policy +warn +tc-policy=skip_hw +ovs-vsctl remove/m.test((await dpuctl('doctor')).out),
  );
});
