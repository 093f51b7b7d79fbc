/** Faults of ports, bridge and flows: what others do to the switch while traffic runs. */
import { sleep } from '../../demo/agent-process.ts';
import { until } from '../support/agent.ts';
import type { Fault, FaultLab } from '../support/fault-lab.ts';

async function ofportIs(lab: FaultLab, port: string, ofport: number): Promise<void> {
  await until(
    `${port} is ${ofport}`,
    async () => Number(await lab.lab.vsctl(1, 'get', 'interface', port, 'ofport')) === ofport,
  );
}

/** The list. */
export const portFaults: readonly Fault[] = [
  {
    name: 'all flows deleted by somebody',
    quick: true,
    outage: 'until they are back',
    async run(lab, over) {
      await lab.lab.ofctl(1, 'del-flows');
      over();
    },
  },
  {
    name: 'flows edited by somebody',
    outage: 'one forwarding flow is a drop meanwhile',
    async run(lab, over) {
      await lab.lab.ofctl(1, 'mod-flows', 'table=40,actions=drop');
      over();
    },
  },
  {
    name: 'groups deleted by somebody',
    async run(lab, over) {
      await lab.lab.ofctl(1, 'del-groups');
      over();
    },
  },
  {
    name: 'ofport renumbered (ofport_request)',
    quick: true,
    outage: 'ovs-vswitchd makes the port anew',
    async run(lab, over) {
      const bundles = await lab.agent(1).metric('dpu_agent_bundles_total', 'committed');
      await lab.lab.vsctl(1, 'set', 'interface', 'rep1a', 'ofport_request=77');
      over();
      await ofportIs(lab, 'rep1a', 77);
      await until('flows follow', () => lab.whole());
      const after = await lab.agent(1).metric('dpu_agent_bundles_total', 'committed');
      if (after - bundles !== 1) throw new Error(`${after - bundles} bundles instead of one`);
    },
    async undo(lab) {
      await lab.lab.vsctl(1, 'clear', 'interface', 'rep1a', 'ofport_request');
    },
  },
  {
    name: 'port deleted and added again',
    outage: 'the port is not there meanwhile',
    async run(lab, over) {
      await lab.lab.vsctl(1, 'del-port', 'rep1a');
      await sleep(300);
      await lab.lab.plug(1);
      over();
    },
  },
  {
    name: 'port flapping, 20 times',
    outage: 'the port is not there meanwhile',
    async run(lab, over) {
      for (let round = 0; round < 20; round++) {
        await lab.lab.vsctl(1, '--no-wait', 'del-port', 'rep1a');
        await lab.lab.plug(1);
      }
      over();
    },
  },
  {
    name: 'bridge deleted under the agent',
    quick: true,
    outage: 'its ports go with it',
    async run(lab, over) {
      await lab.lab.vsctl(1, 'del-br', 'br-int');
      await until('bridge and tunnel are made again', async () =>
        (await lab.lab.vsctl(1, 'list-ports', 'br-int')).includes('vtep0'),
      );
      await lab.lab.plug(1);
      over();
    },
  },
  {
    name: 'tunnel port deleted',
    outage: 'until it is back',
    async run(lab, over) {
      await lab.lab.vsctl(1, 'del-port', 'vtep0');
      over();
    },
  },
];
