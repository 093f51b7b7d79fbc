/**
 * Workload `dump`: everything that the switch holds is read. The product keeps what it read in a mirror, ovs-ofctl prints
 * it to nowhere, the floor forgets it.
 */
import { dumpMirror, visitOwnFlows } from '../src/agent/reconcile/switch-dump.ts';
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
} from './sized-workload.ts';

const FLOOR = 'floor: read, not decoded';
const AGENT = 'dpu-agent, decoded into a mirror';
const VISIT = 'dpu-agent, counters only, nothing kept';
const OFCTL = 'ovs-ofctl dump-flows to /dev/null';

const compare: Compare = async (context, bench, flowCount) => {
  const connection = await bench.connect();
  const raw = await bench.connectRaw();
  const desired = desiredOf(snapshotOf(makeRules(flowCount)));
  await bench.empty();
  await raw.commit(bundleOf(changesBetween(undefined, desired)));
  await bench.settle();
  const subjects: Subject[] = [
    {
      name: AGENT,
      run: () =>
        timeOf(async () => {
          const { flowCount: count } = await dumpMirror(connection, desired);
          if (count !== desired.flowCount) throw new Error(`${count} flows were read`);
        }),
    },
    {
      name: VISIT,
      run: () =>
        timeOf(async () => {
          let packets = 0;
          await visitOwnFlows(connection, (stats) => (packets += stats.packets));
          if (packets !== 0) throw new Error('a flow without traffic has counted packets');
        }),
    },
    { name: FLOOR, run: () => timeOf(() => raw.readFlows()) },
    { name: OFCTL, run: () => bench.timeOfctl([], 'dump-flows') },
  ];
  const peer = await osKen(context, bench, 'decoded', async () => [
    'dump',
    String(desired.flowCount),
  ]);
  const rounds = slowRoundsFor(flowCount);
  subjects.push(...peer.subjects.map((subject) => ({ ...subject, rounds })));
  const rows = await sampleInTurn(roundsFor(context, flowCount, 9, 5), subjects);
  const size = sizeText(flowCount);
  return {
    comparison: {
      title: `${size} read`,
      baseline: FLOOR,
      rows,
      absent: peer.absent,
    },
    targets: ratioTargets(`dump ${size}`, rows, [
      { subject: AGENT, by: FLOOR, bound: 'at most', limit: 1.5 },
      { subject: OFCTL, by: AGENT, bound: 'at least', limit: 1 },
    ]),
  };
};

/** The workload. */
export const dump = sizedWorkload('dump', 'The whole flow table read and decoded', compare);
