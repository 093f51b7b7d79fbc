/**
 * Workload `dump`: everything that the switch holds is read. The product keeps what it read in a mirror, ovs-ofctl prints
 * it to nowhere, the floor forgets it.
 */
import { dumpMirror, visitOwnFlows } from '../src/agent/reconcile/switch-dump.ts';
import { messagesOf, type BenchSwitch } from './bench-switch.ts';
import { encodeWholeBundle } from './raw-switch.ts';
import { changesBetween, desiredOf, makeRules, snapshotOf } from './rule-load.ts';
import { ratioOf, sampleInTurn, timeOf } from './sample.ts';
import { roundsFor, sizedWorkload, sizeText, type SizedResult } from './sized-workload.ts';
import type { BenchContext } from './workload.ts';

const FLOOR = 'floor: read, not decoded';
const AGENT = 'dpu-agent, decoded into a mirror';
const VISIT = 'dpu-agent, counters only, nothing kept';
const OFCTL = 'ovs-ofctl dump-flows to /dev/null';

async function compare(
  context: BenchContext,
  bench: BenchSwitch,
  flowCount: number,
): Promise<SizedResult> {
  const connection = await bench.connect();
  const raw = await bench.connectRaw();
  context.defer(async () => raw.close());
  const desired = desiredOf(snapshotOf(makeRules(flowCount)));
  await bench.empty();
  await raw.commit(encodeWholeBundle(messagesOf(changesBetween(undefined, desired))));
  await bench.settle();
  const subjects = [
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
  const rows = await sampleInTurn(roundsFor(context, flowCount, 15, 7), subjects);
  const size = sizeText(flowCount);
  return {
    comparison: { title: `${size} read`, baseline: FLOOR, rows },
    targets: [
      {
        what: `dump ${size}, ${AGENT}, by the floor`,
        bound: 'at most',
        limit: 1.5,
        measured: ratioOf(rows, AGENT, FLOOR),
        unit: 'x',
      },
      {
        what: `dump ${size}, ${OFCTL} by ${AGENT}`,
        bound: 'at least',
        limit: 1,
        measured: ratioOf(rows, OFCTL, AGENT),
        unit: 'x',
      },
    ],
  };
}

/** The workload. */
export const dump = sizedWorkload('dump', 'The whole flow table read and decoded', compare);
