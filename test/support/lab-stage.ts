/** The two-DPU lab with an agent of the test process on each DPU, and rules that both get. */
import { run } from '../../demo/command.ts';
import { TwoDpuLab } from '../../demo/lab.ts';
import { TestAgent, until, type ConfigOverride, type RuleRow } from './agent.ts';

/** The IPv6 address of a pod, by its IPv4 address. */
const ip6Of = (ip: string): string => `fd00::${ip.split('.').at(-1)}`;

/** Two DPUs with an agent each, and rules that both get. `family` 6: the pods have IPv6 addresses too. */
export async function labStage(
  t: { after(work: () => unknown): void },
  override: ConfigOverride = {},
  family: 4 | 6 = 4,
): Promise<{
  lab: TwoDpuLab;
  agents: [TestAgent, TestAgent];
  rules: (text: string) => Promise<void>;
}> {
  const lab = await TwoDpuLab.up();
  t.after(() => lab.down());
  if (family === 6) await addIpv6(lab);
  const agents = await Promise.all(
    lab.dpus.map((dpu) => {
      const far = dpu.number === 1 ? 2 : 1;
      const endpoints = lab.podSpecs(far).map(({ vni, mac, ip }) => ({
        vni,
        mac,
        ips: family === 4 ? [ip] : [ip, ip6Of(ip)],
      }));
      const place = { rundir: dpu.rundir, databaseSocket: `${dpu.rundir}/db.sock` };
      return TestAgent.create(t, place, {
        node: `dpu-${dpu.number}`,
        vtep: { ip: dpu.vtepIp },
        peers: [{ vtep: `192.168.1.1${far}`, endpoints }],
        ...override,
      });
    }),
  );
  const [one, two] = agents;
  if (one === undefined || two === undefined) throw new Error('two agents were asked for');
  await Promise.all([one.start(), two.start()]);
  await until('the pods reach each other', async () => {
    const { received } = await lab.pod('pod1a').ping('10.1.0.25', 1);
    return received === 1;
  });
  return {
    lab,
    agents: [one, two],
    rules: async (text) => {
      for (const agent of agents) {
        await agent.writeRule('rules.yaml', text);
        await until('rules in force', async () => {
          const rows = await agent.json<RuleRow[]>('/rules');
          const wanted = text.split('kind: DPURule').length - 1;
          if (rows.length === wanted && rows.every(({ programmed }) => programmed)) return true;
          throw new Error(JSON.stringify(rows));
        });
      }
    },
  };
}

async function addIpv6(lab: TwoDpuLab): Promise<void> {
  for (const { name, dpu, ip } of lab.podSpecs()) {
    const { namespace } = lab.pod(name);
    const inside = (...args: string[]): Promise<string> => run('ip', ['-n', namespace, ...args]);
    const links = JSON.parse(await inside('-j', 'link')) as { ifname: string }[];
    const device = links.map(({ ifname }) => ifname).find((each) => each !== 'lo') ?? '';
    await inside('addr', 'add', `${ip6Of(ip)}/64`, 'dev', device, 'nodad');
    const ids = `external_ids:dpu-ips="${ip},${ip6Of(ip)}"`;
    await lab.vsctl(dpu, 'set', 'interface', name.replace('pod', 'rep'), ids);
  }
}
