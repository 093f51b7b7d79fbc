/**
 * A switch with three endpoints and the agent on it, for tests that ask the switch where a packet goes (`ofproto/trace`).
 */
import { join } from 'node:path';
import { unixctl } from '../../src/ovsdb/unixctl.ts';
import { TestAgent, until, type ConfigOverride } from './agent.ts';
import { ovsSandbox, type OvsSandbox } from './ovs-sandbox.ts';

export const A1 = { port: 11, mac: '02:00:0a:01:01:05', ip: '10.1.0.15', ip6: 'fd00::15' };
export const A2 = { port: 12, mac: '02:00:0a:01:01:06', ip: '10.1.0.16', ip6: 'fd00::16' };
export const B1 = { port: 13, mac: '02:00:0a:01:01:07', ip: '10.1.0.17', ip6: 'fd00::17' };
export const FAR = { mac: '02:00:0a:01:02:05', ip: '10.1.0.25' };
export const BROADCAST = 'ff:ff:ff:ff:ff:ff';
export const TUNNEL = 65000;

/** A switch with two endpoints of VNI 1000 and one of 1001, and the agent on it. */
export async function stage(
  t: Parameters<typeof ovsSandbox>[0],
  override: ConfigOverride = {},
): Promise<{ ovs: OvsSandbox; agent: TestAgent } | undefined> {
  const ovs = await ovsSandbox(t);
  if (ovs === undefined) return undefined;
  const agent = await TestAgent.create(t, ovs, override);
  await agent.start();
  for (const [name, { port, mac, ip, ip6 }, vni] of [
    ['rep1', A1, 1000],
    ['rep2', A2, 1000],
    ['rep3', B1, 1001],
  ] as const) {
    await ovs.run('ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}p`);
    await ovs.vsctl(
      ...['add-port', 'br-int', name, '--', 'set', 'interface', name, `ofport_request=${port}`],
      ...[
        `external_ids:attached-mac=${mac}`,
        `external_ids:dpu-vni=${vni}`,
        `external_ids:dpu-ips="${ip},${ip6}"`,
      ],
    );
  }
  await until(
    'endpoints',
    async () =>
      (await agent.json<{ endpoints: { local: number } }>('/status')).endpoints.local === 3,
  );
  await until('their flows', async () => {
    const { flows } = await agent.json<{ flows: { desired: number; installed: number } }>(
      '/status',
    );
    return flows.desired === flows.installed;
  });
  return { ovs, agent };
}

/** Where a packet ends: ports of the bridge by their number, or `drop`; sorted. */
export async function outcome(ovs: OvsSandbox, flow: string): Promise<string[]> {
  const text = await unixctl(join(ovs.rundir, 'vswitchd.ctl'), 'ofproto/trace', ['br-int', flow]);
  const lines = text.split('\n');
  const ends = lines.flatMap((line, index) => {
    const port = /(?:^ *output:|-> output port is )(\d+)/.exec(line)?.[1];
    const skipped = lines[index + 1]?.includes('skipping output to input port') ?? false;
    return port === undefined || skipped ? [] : [port];
  });
  return ends.length === 0 ? ['drop'] : ends.sort();
}

export const from = ({ port, mac }: { port: number; mac: string }): string =>
  `in_port=${port},dl_src=${mac}`;
export const tunnel = (vni: number, source: string, src = '192.168.1.12'): string =>
  `in_port=${TUNNEL},tun_id=${vni},tun_src=${src},tun_dst=192.168.1.11,dl_src=${source}`;
