/**
 * Regenerates test/fixtures/ovsdb/ofproto-trace.txt: `node test/capture/capture-trace.ts`. Records what a real ovs-vswitchd
 * answers to `ofproto/trace` in the lab of the demo, with flows beside the agent's that use what its pipeline does not yet.
 * The answers are those of ovs-appctl: nothing under test reads them. Needs root and OVS.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentProcess } from '../../demo/agent-process.ts';
import { run } from '../../demo/command.ts';
import { TwoDpuLab } from '../../demo/lab.ts';
import { DEMO_PODS } from '../../demo/story.ts';
import { ruleFile } from '../support/agent.ts';

const OUT = join(import.meta.dirname, '../fixtures/ovsdb/ofproto-trace.txt');
const POD = 'in_port=rep1a,dl_src=02:00:0a:01:01:05,nw_src=10.1.0.15,nw_ttl=64';
const FAR = `${POD},dl_dst=02:00:0a:01:02:05,nw_dst=10.1.0.25`;
const FLOOD = `${POD},dl_dst=ff:ff:ff:ff:ff:ff,nw_dst=255.255.255.255`;
const TUNNEL =
  'in_port=vtep0,tun_src=192.168.1.12,tun_dst=192.168.1.11,tun_id=1000,dl_src=02:00:0a:01:02:05';
const FLOWS = [
  'table=0,priority=500,udp,udp_dst=7,actions=resubmit(,200),clone(set_field:1->reg5,resubmit(,204))',
  'table=0,priority=500,udp,udp_dst=9,actions=group:7',
  'table=200,priority=5,ip,actions=ct(table=201,zone=5)',
  'table=201,priority=5,ct_state=+new,ip,actions=ct(commit,zone=5),resubmit(,202),output:1',
  'table=201,priority=5,ct_state=+est,ip,cookie=0x77,actions=output:2',
  'table=202,priority=5,ip,actions=controller,learn(table=203,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[])',
  'table=205,priority=5,actions=resubmit(,205)',
  'table=0,priority=500,udp,udp_dst=11,actions=resubmit(,205)',
  'table=0,priority=500,udp,udp_dst=13,actions=output:1,output:77,output:2',
];
const GROUPS = [
  'group_id=7,type=all,bucket=actions=group:8,bucket=actions=set_field:3->reg4,resubmit(,206)',
  'group_id=8,type=all,bucket=actions=output:1,bucket=actions=output:2',
];
const CASES: readonly (readonly [name: string, ...args: string[]])[] = [
  ['denied by a rule', `tcp,${FAR},tcp_dst=81`],
  ['allowed through the native tunnel', `tcp,${FAR},tcp_dst=82`],
  ['denied by a conjunction', `tcp,${FAR},tcp_dst=90`],
  [
    'from the tunnel',
    `tcp,${TUNNEL},dl_dst=02:00:0a:01:01:05,nw_src=10.1.0.25,nw_dst=10.1.0.15,tcp_dst=80`,
  ],
  ['flooded', `udp,${FLOOD},udp_dst=67`],
  ['an unknown port', 'in_port=77,dl_src=02:00:00:00:00:01'],
  ['recirculated as new', `udp,${FAR},udp_dst=7`],
  ['recirculated as established', `udp,${FAR},udp_dst=7`, '--ct-next', 'trk,est'],
  ['a group in a group', `udp,${FAR},udp_dst=9`],
  ['a loop', `udp,${FAR},udp_dst=11`],
  ['several outputs, two of them in vain', `udp,${FAR},udp_dst=13`],
];

const lab = await TwoDpuLab.up({ pods: DEMO_PODS });
try {
  const rules = join(lab.dir, 'rules');
  await mkdir(rules);
  const deny = {
    name: 'web',
    match: { dstIP: '10.1.0.25', protocol: 'TCP', dstPort: 81 },
    action: 'deny',
  };
  const match = {
    srcIPs: ['10.1.0.15', '10.1.0.16', '10.1.0.17'],
    dstIPs: ['10.1.0.25', '10.1.0.26', '10.1.0.27'],
    protocol: 'TCP',
    dstPorts: [90, 91],
  };
  await writeFile(join(rules, 'deny.yaml'), ruleFile('deny', deny));
  await writeFile(join(rules, 'wide.yaml'), ruleFile('wide', { name: 'w', match, action: 'deny' }));
  const agent = await AgentProcess.create(lab, 1, rules);
  agent.start();
  await agent.waitReady();
  for (const group of GROUPS.toReversed()) await lab.ofctl(1, 'add-group', group);
  for (const flow of FLOWS) await lab.ofctl(1, 'add-flow', flow);
  const control = join(lab.dpus[0].rundir, 'vswitchd.ctl');
  const version = (await run('ovs-vswitchd', ['--version'])).split('\n')[0] ?? '';
  const sections = [
    `# ofproto/trace. Recorded by test/capture/capture-trace.ts with ovs-appctl; ${version}, userspace datapath.`,
  ];
  for (const [name, ...args] of CASES) {
    const text = await run('ovs-appctl', ['-t', control, 'ofproto/trace', 'br-int', ...args]);
    sections.push(`@ ${name}`, text.trimEnd());
  }
  await writeFile(OUT, `${sections.join('\n')}\n`);
  await agent.crash();
} finally {
  await lab.down();
}
