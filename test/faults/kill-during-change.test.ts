// The agent killed at random moments during a change of 1,000 rules, with live packets: what is denied never opens, what is
// allowed loses nothing, and afterwards exactly what is desired is in the switch.
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { stringify } from 'yaml';
import { AgentProcess, sleep } from '../../demo/agent-process.ts';
import { missingForLab, TwoDpuLab } from '../../demo/lab.ts';
import { DEMO_PODS } from '../../demo/story.ts';
import { until } from '../support/agent.ts';

const ROUNDS = process.env['TEST_LONG'] === undefined ? 3 : 20;
const RULES = 1000;
const DENIED_PORT = 81;
const ECHO_PORT = 7;
const TARGET = '10.1.0.25';

/** 1,000 rules about other ports, in one of two versions, and the deny, which is in both. */
function rulesFile(version: number): string {
  const documents = Array.from({ length: RULES / 100 }, (_, block) => ({
    apiVersion: 'dpu.network/v1alpha1',
    kind: 'DPURule',
    metadata: { name: `block-${block}`, namespace: 'tenant-a' },
    spec: {
      networkRef: 'tenant-a',
      rules: Array.from({ length: 100 }, (_, index) => ({
        name: `rule-${index}`,
        match: {
          dstIP: TARGET,
          protocol: 'TCP',
          dstPort: 10_000 + block * 200 + index * 2 + version,
        },
        action: 'deny',
      })),
    },
  }));
  const deny = {
    apiVersion: 'dpu.network/v1alpha1',
    kind: 'DPURule',
    metadata: { name: 'deny', namespace: 'tenant-a' },
    spec: {
      networkRef: 'tenant-a',
      rules: [{ match: { dstIP: TARGET, protocol: 'TCP', dstPort: DENIED_PORT }, action: 'deny' }],
    },
  };
  return [deny, ...documents].map((document) => stringify(document)).join('---\n');
}

const missing = await missingForLab();
const skip = missing.length === 0 ? false : `the lab needs ${missing.join(', ')}`;

t.test(`killed during a change, ${ROUNDS} times`, { skip, timeout: 600_000 }, async (t) => {
  const lab = await TwoDpuLab.up({ pods: DEMO_PODS });
  t.after(() => lab.down());
  const rulesDir = join(lab.dir, 'rules.d');
  await mkdir(rulesDir, { recursive: true });
  const publish = async (version: number): Promise<void> => {
    const temporary = join(rulesDir, '.rules.tmp');
    await writeFile(temporary, rulesFile(version));
    await rename(temporary, join(rulesDir, 'rules.yaml'));
  };
  await publish(0);
  const agents = await Promise.all([
    AgentProcess.create(lab, 1, rulesDir),
    AgentProcess.create(lab, 2, rulesDir),
  ]);
  for (const agent of agents) agent.start();
  await Promise.all(agents.map((agent) => agent.waitReady()));
  await lab.primeUnderlay();
  const [source, target] = [lab.pod('pod1a'), lab.pod('pod2a')];
  await Promise.all([target.listenTcp(DENIED_PORT), target.echoUdp(ECHO_PORT)]);

  const settled = async (agent: AgentProcess, version: number): Promise<boolean> => {
    const flows22 = await lab.ofctl(agent.dpu.number, 'dump-flows', 'table=22');
    if (!flows22.includes(`tp_dst=${10_000 + version} `)) return false;
    const { flows, rules } = (await agent.status()) as {
      flows: { desired: number; installed: number };
      rules: { total: number; programmed: number };
    };
    return (
      flows.desired === flows.installed &&
      rules.total === RULES + 1 &&
      rules.programmed === RULES + 1
    );
  };
  const both = { ip: TARGET, intervalMs: 10, timeoutMs: 500 };
  const denied = await source.startProber({ ...both, kind: 'tcp', port: DENIED_PORT });
  const allowed = await source.startProber({ ...both, kind: 'udp', port: ECHO_PORT });
  const delays: number[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    const agent = agents[round % 2];
    if (agent === undefined) throw new Error('no agent');
    await publish(round % 2);
    const delayMs = Math.round(Math.random() * 150);
    delays.push(delayMs);
    await sleep(delayMs);
    await agent.crash();
    agent.start();
    await agent.waitReady();
    for (const each of agents)
      await until(`round ${round} settled`, () => settled(each, round % 2), 20_000);
  }
  const [deniedProbes, allowedProbes] = [await denied.stop(), await allowed.stop()];
  t.comment(
    `killed ${delays.join(', ')} ms after the rename; ${deniedProbes.length} probes denied, ${allowedProbes.length} allowed`,
  );
  t.ok(
    deniedProbes.length > 20 * ROUNDS && allowedProbes.length > 20 * ROUNDS,
    'probes ran all along',
  );
  t.equal(
    deniedProbes.filter(({ rttMs }) => rttMs !== null).length,
    0,
    'the denied port never opened',
  );
  t.equal(
    allowedProbes.filter(({ rttMs }) => rttMs === null).length,
    0,
    'no allowed packet was lost',
  );
});
