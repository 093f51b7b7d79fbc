/**
 * Workload `install`: from parsed objects to a full flow table in an empty bridge, until the commit reply. The product
 * compiles, compares and writes; the others are given finished flows, as bytes or as text.
 */
import { Buffer } from 'node:buffer';
import type { DesiredState } from '../src/agent/flow/desired.ts';
import { diff, fullScope } from '../src/agent/flow/diff.ts';
import { FIRST_SYNC_CHUNK, writeChanges } from '../src/agent/reconcile/flow-writer.ts';
import { Mirror } from '../src/agent/reconcile/mirror.ts';
import { dumpMirror } from '../src/agent/reconcile/switch-dump.ts';
import type { OpenFlowConnection } from '../src/openflow/client.ts';
import type { EncodedFlow } from '../src/openflow/flow.ts';
import { bundleOf } from './bench-switch.ts';
import { osKen } from './os-ken.ts';
import { changesBetween, desiredOf, makeRules, snapshotOf } from './rule-load.ts';
import { sampleInTurn, timeOf, type Subject } from './sample.ts';
import {
  ratioTargets,
  roundsFor,
  slowRoundsFor,
  sizedWorkload,
  sizeText,
  type Compare,
  type RatioWish,
} from './sized-workload.ts';

const FLOOR = 'floor: the same bytes, made before';
const ONE_BUNDLE = 'dpu-agent, one bundle';
const CHUNKED = 'dpu-agent, as at a first sync (bundles of 1,000)';
const COMPILED = 'dpu-agent, one bundle, compiled before';
const OFCTL_BUNDLE = 'ovs-ofctl --bundle add-flows';
const OFCTL_PLAIN = 'ovs-ofctl add-flows';

/** One first sync of an empty switch: what is desired is compared and written. */
async function firstSync(
  connection: OpenFlowConnection,
  desired: DesiredState,
  chunkSize: number | undefined,
): Promise<void> {
  const mirror = new Mirror();
  const changes = diff(desired, mirror, fullScope(desired, mirror));
  const onCommitted = mirror.apply.bind(mirror);
  const outcome = await writeChanges(connection, changes, {
    chunkSize,
    onCommitted,
    onRefused: () => {},
    mayWrite: () => true,
  });
  if (outcome.refused.length > 0) throw new Error(String(outcome.refused[0]?.error));
}

/**
 * Checks that the switch holds what is desired, whoever has put it there.
 * @throws Error when it does not: then a subject has not done the work that it is measured by.
 */
export async function checkInstalled(
  connection: OpenFlowConnection,
  desired: DesiredState,
  subject: string,
): Promise<void> {
  const mirror = await dumpMirror(connection, desired);
  const changes = diff(desired, mirror, fullScope(desired, mirror));
  if (changes.length > 0) {
    throw new Error(`after ${subject} ${changes.length} flows or groups are not as desired`);
  }
}

const compare: Compare = async (context, bench, flowCount) => {
  const connection = await bench.connect();
  const snapshot = snapshotOf(makeRules(flowCount));
  const desired = desiredOf(snapshot);
  const groups = Array.from(desired.groups(), (group) => group.message);
  const bundle = bundleOf(changesBetween(undefined, desired));
  const flows = Array.from(desired.flows(), ([, { flow }]) => flow);
  const file = await bench.flowFile(`install-${flowCount}.txt`, flows);
  const checked = new Set<string>();
  const onEmptySwitch = (
    name: string,
    work: () => Promise<number>,
    rounds = Infinity,
  ): Subject => ({
    name,
    rounds,
    run: async () => {
      const ms = await work();
      if (!checked.has(name)) await checkInstalled(connection, desired, name);
      checked.add(name);
      await bench.empty();
      return ms;
    },
  });
  const ofctl = async (...options: string[]): Promise<number> => {
    // ovs-ofctl has no way to add groups and flows at once: it finds the groups there.
    await connection.commitBundle(groups);
    return bench.timeOfctl(options, 'add-flows', file);
  };
  const slowRounds = slowRoundsFor(flowCount);
  const subjects = [
    onEmptySwitch(ONE_BUNDLE, () =>
      timeOf(() => firstSync(connection, desiredOf(snapshot), undefined)),
    ),
    onEmptySwitch(CHUNKED, () =>
      timeOf(() => firstSync(connection, desiredOf(snapshot), FIRST_SYNC_CHUNK)),
    ),
    onEmptySwitch(COMPILED, () => timeOf(() => firstSync(connection, desired, undefined))),
    onEmptySwitch(FLOOR, async () => {
      const raw = await bench.connectRaw();
      return timeOf(() => raw.commit(bundle));
    }),
    onEmptySwitch(OFCTL_BUNDLE, () => ofctl('--bundle')),
    onEmptySwitch(OFCTL_PLAIN, () => ofctl(), slowRounds),
  ];
  const peer = await osKen(context, bench, 'flow_mods and a barrier', async () => {
    const hex = ({ message }: EncodedFlow): string => Buffer.from(message).toString('hex');
    await connection.commitBundle(groups);
    return ['load', await bench.flowFile('install.hex', flows, hex)];
  });
  subjects.push(...peer.subjects.map(({ name, run }) => onEmptySwitch(name, run, slowRounds)));
  const rows = await sampleInTurn(roundsFor(context, flowCount, 9, 3), subjects);
  const size = sizeText(flowCount);
  const wishes = [ONE_BUNDLE, CHUNKED].flatMap((subject): RatioWish[] => [
    { subject, by: FLOOR, bound: 'at most', limit: 1.15 },
    { subject: OFCTL_BUNDLE, by: subject, bound: 'at least', limit: 1.7 },
  ]);
  return {
    comparison: {
      title: `${size} into an empty bridge`,
      baseline: FLOOR,
      rows,
      absent: peer.absent,
    },
    targets: ratioTargets(`install ${size}`, rows, wishes),
  };
};

/** The workload. */
export const install = sizedWorkload(
  'install',
  'Rules compiled and installed into an empty bridge',
  compare,
);
