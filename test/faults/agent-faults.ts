/** Faults of the agent itself: killed and stopped at random moments. */
import { sleep } from '../../demo/agent-process.ts';
import type { Fault, FaultLab } from '../support/fault-lab.ts';

/** Ends the agent of DPU 1 at a random moment after its start, several times; then it may live. */
async function killAtRandom(
  lab: FaultLab,
  rounds: number,
  damage: () => Promise<unknown>,
): Promise<void> {
  const agent = lab.agent(1);
  for (let round = 0; round < rounds; round++) {
    await agent.crash();
    await damage();
    agent.start();
    await sleep(100 + Math.random() * 700);
  }
  await agent.crash();
  agent.start();
}

/** The list. */
export const agentFaults: readonly Fault[] = [
  {
    name: 'agent killed, started again',
    quiet: true,
    quick: true,
    async run(lab, over) {
      await lab.agent(1).crash();
      lab.agent(1).start();
      over();
    },
  },
  {
    name: 'agent killed at 10 random moments',
    quiet: true,
    async run(lab, over) {
      await killAtRandom(lab, 10, () => Promise.resolve());
      over();
    },
  },
  {
    name: 'agent killed in first sync, 6 times',
    outage: 'its flows are deleted each time',
    async run(lab, over) {
      await killAtRandom(lab, 6, () => lab.lab.ofctl(1, 'del-flows'));
      over();
    },
  },
  {
    name: 'agent killed in its OVSDB change, 6 times',
    outage: 'its tunnel port is deleted each time',
    async run(lab, over) {
      await killAtRandom(lab, 6, () => lab.lab.vsctl(1, '--if-exists', 'del-port', 'vtep0'));
      over();
    },
  },
  {
    name: 'agent stopped 12 s while flows are deleted',
    outage: 'the flows are gone meanwhile',
    async run(lab, over) {
      const pid = lab.agent(1).pid ?? 0;
      process.kill(pid, 'SIGSTOP');
      await lab.lab.ofctl(1, 'del-flows', 'table=40');
      await sleep(12_000);
      process.kill(pid, 'SIGCONT');
      over();
    },
  },
];
