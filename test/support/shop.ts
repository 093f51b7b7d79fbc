/**
 * An agent with a small world, on the dummy datapath of a real ovs-vswitchd: three endpoints in two networks, one of them with
 * an address that the other network has too, and two rules.
 */
import { ruleFile, TestAgent, until, type ConfigOverride } from './agent.ts';
import { ovsSandbox, type OvsSandbox, type SandboxOwner } from './ovs-sandbox.ts';

/** An entry that denies one TCP port, without its action. */
export const DENY = { name: 'tcp-81', match: { dstIP: '10.1.0.25', protocol: 'TCP', dstPort: 81 } };
const WIDE = {
  srcIPs: ['10.1.0.15', '10.1.0.16', '10.1.0.17'],
  dstIPs: ['10.1.0.16', '10.1.0.25', '10.1.0.27'],
  protocol: 'TCP',
  dstPorts: [90, 91],
};

async function addEndpoint(
  ovs: OvsSandbox,
  name: string,
  ofport: number,
  vni: number,
  ips: string,
): Promise<void> {
  await ovs.vsctl(
    ...['add-port', 'br-int', name, '--', 'set', 'interface', name, 'type=dummy'],
    ...[`ofport_request=${ofport}`, `external_ids:dpu-vni=${vni}`, `external_ids:dpu-ips="${ips}"`],
    `external_ids:attached-mac="02:00:0a:01:01:${ofport}"`,
    `external_ids:iface-id=shop_pod-${name}`,
  );
}

/** An agent with three endpoints in two networks and two rules, on a dummy datapath. */
export async function shop(
  t: SandboxOwner,
  override: ConfigOverride = {},
): Promise<{ agent: TestAgent; ovs: OvsSandbox } | undefined> {
  const ovs = await ovsSandbox(t, { dummy: true });
  if (ovs === undefined) return undefined;
  const agent = await TestAgent.create(t, ovs, override);
  await agent.start();
  await addEndpoint(ovs, 'rep1a', 11, 1000, '10.1.0.15,fd00::15');
  await addEndpoint(ovs, 'rep2a', 12, 1000, '10.1.0.16');
  await addEndpoint(ovs, 'rep1b', 13, 1001, '10.1.0.15');
  await agent.writeRule('deny.yaml', ruleFile('deny', { ...DENY, action: 'deny' }));
  await agent.writeRule('wide.yaml', ruleFile('wide', { name: 'w', match: WIDE, action: 'deny' }));
  await agent.rule('wide', ({ programmed }) => programmed);
  await until('endpoints', async () => {
    const { endpoints, flows } = await agent.json<{
      endpoints: { local: number };
      flows: { desired: number; installed: number };
    }>('/status');
    return endpoints.local === 3 && flows.desired === flows.installed;
  });
  return { agent, ovs };
}
