/**
 * Workload `change`: one rule in a hundred denies another port, all others stay. The product is given the whole new
 * snapshot; `replace-flows` the whole new table as text; the floor the bytes of the difference.
 */
import { DesiredState } from '../src/agent/flow/desired.ts';
import { diff, type Change } from '../src/agent/flow/diff.ts';
import type { Snapshot } from '../src/agent/flow/model.ts';
import { writeChanges } from '../src/agent/reconcile/flow-writer.ts';
import { Mirror } from '../src/agent/reconcile/mirror.ts';
import type { OpenFlowConnection } from '../src/openflow/client.ts';
import { bundleOf, type BenchSwitch } from './bench-switch.ts';
import { checkInstalled } from './install.ts';
import { changeOnePercent, changesBetween, desiredOf, makeRules, snapshotOf } from './rule-load.ts';
import { sampleInTurn, timeOf } from './sample.ts';
import {
  ratioTargets,
  roundsFor,
  sizedWorkload,
  sizeText,
  type Compare,
} from './sized-workload.ts';

const FLOOR = 'floor: bytes of the difference, made before';
const AGENT = 'dpu-agent';
const OFCTL = 'ovs-ofctl --bundle replace-flows';

/** What one side of the change is. */
interface Version {
  readonly snapshot: Snapshot;
  readonly desired: DesiredState;
  readonly file: string;
}

async function makeVersion(bench: BenchSwitch, snapshot: Snapshot, name: string): Promise<Version> {
  const desired = desiredOf(snapshot);
  const flows = Array.from(desired.flows(), ([, { flow }]) => flow);
  return { snapshot, desired, file: await bench.flowFile(name, flows) };
}

/** The product with the table that it has in force. */
class Agent {
  readonly #connection: OpenFlowConnection;
  readonly #desired = new DesiredState();
  readonly #mirror = new Mirror();

  constructor(connection: OpenFlowConnection) {
    this.#connection = connection;
  }

  /** Brings the switch to a snapshot as a pass of the reconciler does. */
  async update(snapshot: Snapshot): Promise<void> {
    const { dirtyFlows, dirtyGroups } = this.#desired.update(snapshot);
    const changes = diff(this.#desired, this.#mirror, { flows: dirtyFlows, groups: dirtyGroups });
    await writeChanges(this.#connection, changes, {
      chunkSize: undefined,
      onCommitted: (done) => this.#mirror.apply(done),
      onRefused: () => {},
      mayWrite: () => true,
    });
  }

  /** Takes note that somebody else has brought the switch to a snapshot. */
  follow(snapshot: Snapshot, changes: readonly Change[]): void {
    this.#desired.update(snapshot);
    this.#mirror.apply(changes);
  }
}

const compare: Compare = async (context, bench, flowCount) => {
  const connection = await bench.connect();
  const rules = makeRules(flowCount);
  const before = await makeVersion(bench, snapshotOf(rules), 'before.txt');
  const after = await makeVersion(bench, snapshotOf(changeOnePercent(rules)), 'after.txt');
  const back = changesBetween(after.desired, before.desired);
  const backBytes = bundleOf(back);
  await bench.empty();
  const agent = new Agent(connection);
  await agent.update(before.snapshot);
  const raw = await bench.connectRaw();
  // Every round begins and ends with the first version in force.
  const subjects = [
    {
      name: AGENT,
      run: async () => {
        const ms = await timeOf(() => agent.update(after.snapshot));
        await bench.settle();
        return ms;
      },
    },
    {
      name: FLOOR,
      run: async () => {
        const ms = await timeOf(() => raw.commit(backBytes));
        agent.follow(before.snapshot, back);
        await bench.settle();
        return ms;
      },
    },
    {
      name: OFCTL,
      run: async () => {
        const ms = await bench.timeOfctl(['--bundle'], 'replace-flows', after.file);
        await checkInstalled(connection, after.desired, OFCTL);
        await raw.commit(backBytes);
        await bench.settle();
        return ms;
      },
    },
  ];
  const rows = await sampleInTurn(roundsFor(context, flowCount, 9, 5), subjects);
  await checkInstalled(connection, before.desired, 'the rounds');
  const size = `1 % of ${sizeText(flowCount)}`;
  return {
    comparison: { title: `${size} (${back.length} flow_mods)`, baseline: FLOOR, rows },
    targets: ratioTargets(`change ${size}`, rows, [
      { subject: AGENT, by: FLOOR, bound: 'at most', limit: 2 },
      { subject: OFCTL, by: AGENT, bound: 'at least', limit: 40 },
    ]),
  };
};

/** The workload. */
export const change = sizedWorkload('change', 'One rule in a hundred changed', compare);
