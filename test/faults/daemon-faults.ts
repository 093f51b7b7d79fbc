/** Faults of Open vSwitch's daemons: killed, stopped, restarted, their database and their sockets replaced. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { sleep } from '../../demo/agent-process.ts';
import { until } from '../support/agent.ts';
import { denyRule, type Fault, type FaultLab } from '../support/fault-lab.ts';

const RULE = 'changed-meanwhile';
/** Measured without any agent, too. With the kernel's datapath packets do not pass through ovs-vswitchd. */
const MAIN_LOOP = 'the main loop of ovs-vswitchd, which polls these ports, waits for ovsdb-server';
const DATAPATH_GONE = 'the userspace datapath is in ovs-vswitchd';

async function restartVswitchd(lab: FaultLab, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
  await lab.signal(1, 'vswitchd', signal);
  await sleep(500);
  await lab.startVswitchd(1);
}

/** The list. */
export const daemonFaults: readonly Fault[] = [
  {
    name: 'ovs-vswitchd killed, started again',
    quick: true,
    outage: DATAPATH_GONE,
    async run(lab, over) {
      await restartVswitchd(lab, 'SIGKILL');
      over();
    },
  },
  {
    name: 'ovs-vswitchd ended, started again',
    outage: DATAPATH_GONE,
    async run(lab, over) {
      await restartVswitchd(lab, 'SIGTERM');
      over();
    },
  },
  {
    name: 'ovs-vswitchd stopped 2 s, continued',
    outage: DATAPATH_GONE,
    async run(lab, over) {
      await lab.signal(1, 'vswitchd', 'SIGSTOP');
      await sleep(2000);
      await lab.signal(1, 'vswitchd', 'SIGCONT');
      over();
    },
  },
  {
    // Longer than two probes of the session: the connection is given up and made again.
    name: 'ovs-vswitchd stopped 14 s, continued',
    outage: DATAPATH_GONE,
    async run(lab, over) {
      await lab.signal(1, 'vswitchd', 'SIGSTOP');
      await sleep(14_000);
      await lab.signal(1, 'vswitchd', 'SIGCONT');
      over();
    },
  },
  {
    name: 'ovsdb-server killed, started again',
    quick: true,
    quiet: true,
    outage: MAIN_LOOP,
    async run(lab, over) {
      await lab.signal(1, 'ovsdb', 'SIGKILL');
      await sleep(500);
      await lab.lab.startOvsdb(1);
      over();
    },
  },
  {
    name: 'ovsdb-server stopped 2 s, continued',
    quiet: true,
    async run(lab, over) {
      await lab.signal(1, 'ovsdb', 'SIGSTOP');
      await sleep(2000);
      await lab.signal(1, 'ovsdb', 'SIGCONT');
      over();
    },
  },
  {
    name: 'ovsdb-server stopped 14 s, continued',
    quiet: true,
    async run(lab, over) {
      await lab.signal(1, 'ovsdb', 'SIGSTOP');
      await sleep(14_000);
      await lab.signal(1, 'ovsdb', 'SIGCONT');
      over();
    },
  },
  {
    name: 'ovsdb-server down while a rule changes',
    outage: MAIN_LOOP,
    prepare: (lab) =>
      lab.rehearse(
        () => lab.writeRule(RULE, denyRule(RULE, [2000, 2001])),
        () => lab.removeRule(RULE),
      ),
    async run(lab, over) {
      await lab.signal(1, 'ovsdb', 'SIGTERM');
      await lab.writeRule(RULE, denyRule(RULE, [2000, 2001]));
      await sleep(1000);
      await lab.lab.startOvsdb(1);
      over();
    },
    undo: (lab) => lab.restore(() => lab.removeRule(RULE)),
  },
  {
    name: 'ovs-vswitchd down 15 s, started again',
    outage: DATAPATH_GONE,
    async run(lab, over) {
      await lab.signal(1, 'vswitchd', 'SIGKILL');
      await sleep(15_000);
      await lab.startVswitchd(1);
      over();
    },
  },
  {
    name: 'socket files removed, daemons restarted',
    outage: DATAPATH_GONE,
    async run(lab, over) {
      const rundir = lab.lab.dpus[0].rundir;
      for (const file of ['db.sock', 'br-int.mgmt']) await rm(join(rundir, file));
      await sleep(500);
      await lab.signal(1, 'ovsdb', 'SIGTERM');
      await lab.lab.startOvsdb(1);
      await restartVswitchd(lab, 'SIGTERM');
      over();
    },
  },
  {
    name: 'ovs-vswitchd restarted, flow-restore-wait',
    quick: true,
    outage: DATAPATH_GONE,
    async run(lab, over) {
      const waits = async (): Promise<boolean> =>
        (await lab.lab.vsctl(1, 'get', 'Open_vSwitch', '.', 'other_config')).includes(
          'flow-restore-wait',
        );
      const pid = lab.agent(1).pid ?? 0;
      await lab.lab.vsctl(1, 'set', 'Open_vSwitch', '.', 'other_config:flow-restore-wait=true');
      await sleep(200);
      if (!(await waits())) throw new Error('cleared before the restart that it was set for');
      process.kill(pid, 'SIGSTOP');
      await restartVswitchd(lab, 'SIGTERM');
      await sleep(500);
      if (!(await waits())) throw new Error('cleared by somebody else');
      process.kill(pid, 'SIGCONT');
      over();
      await until('cleared', async () => !(await waits()));
    },
  },
  {
    name: 'both daemons killed, started again',
    outage: DATAPATH_GONE,
    async run(lab, over) {
      await lab.signal(1, 'ovsdb', 'SIGKILL');
      await lab.signal(1, 'vswitchd', 'SIGKILL');
      await sleep(500);
      await lab.lab.startOvsdb(1);
      await lab.startVswitchd(1);
      over();
    },
  },
  {
    name: 'database re-created, empty',
    quick: true,
    outage: 'the bridges go with their rows',
    async run(lab, over) {
      await lab.signal(1, 'ovsdb', 'SIGTERM');
      await lab.lab.createDatabase(1);
      await lab.lab.startOvsdb(1);
      await until('bridge and tunnel are made again', async () =>
        (await lab.lab.vsctl(1, 'list-ports', 'br-int')).includes('vtep0'),
      );
      await lab.lab.plug(1);
      over();
    },
  },
];
