// The compact store: flows by key, slots that stay, pauses in which others have their turn.
import fc from 'fast-check';
import t from 'tap';
import { FlowIndex, NO_SLOT } from '../../../src/agent/flow/flow-index.ts';
import { allSteps, type Steps } from '../../../src/agent/flow/steps.ts';
import { inSlices } from '../../../src/agent/reconcile/slices.ts';
import { encodeFlow, type EncodedFlow } from '../../../src/openflow/flow.ts';

function flowOf(priority: number, gotoTable = 1): EncodedFlow {
  const match = [{ field: 'reg0', value: priority % 7 } as const];
  return encodeFlow({ tableId: 0, priority, cookie: 1n, match, instructions: { gotoTable } });
}

t.test('an index of flows does what a map by key does, and a flow keeps its slot', async () => {
  const operation = fc.record({
    kind: fc.constantFrom('put', 'put', 'delete'),
    priority: fc.nat(40),
    gotoTable: fc.integer({ min: 1, max: 3 }),
  });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 300 }), (operations) => {
      const index = new FlowIndex();
      const model = new Map<string, { flow: EncodedFlow; slot: number }>();
      for (const { kind, priority, gotoTable } of operations) {
        const flow = flowOf(priority, gotoTable);
        const known = model.get(flow.key);
        if (kind === 'put') {
          const slot = index.put(flow);
          if (known !== undefined && known.slot !== slot) return false;
          model.set(flow.key, { flow, slot });
        } else {
          if (index.delete(flow) !== (known?.slot ?? NO_SLOT)) return false;
          model.delete(flow.key);
        }
        if (index.size !== model.size || index.has(flow) !== (kind === 'put')) return false;
      }
      const found = Array.from(model.values(), ({ flow, slot }) => {
        // Another object of the same key finds it too.
        const twin = flowOf(flow.priority, 9);
        return index.get(twin) === flow && index.at(slot) === flow && index.slotOf(twin) === slot;
      });
      return found.every(Boolean) && new Set(index).size === model.size;
    }),
    { numRuns: 200 },
  );
});

t.test('a walk with pauses sees what was there all the time', async (t) => {
  const index = new FlowIndex();
  for (let priority = 0; priority < 100; priority++) index.put(flowOf(priority));
  const seen = new Set<number>();
  for (const flow of index) {
    seen.add(flow.priority);
    // Others come and go meanwhile, and the table grows.
    if (flow.priority < 100) {
      index.delete(flowOf(flow.priority + 1000 - 1));
      for (let more = 0; more < 5; more++) index.put(flowOf(1000 + flow.priority * 5 + more));
    }
  }
  for (let priority = 0; priority < 100; priority++) t.ok(seen.has(priority), `${priority}`);
});

t.test('work in steps pauses when its slice is over, and gives the same result', async (t) => {
  function* count(): Steps<number> {
    for (let step = 0; step < 100; step++) yield;
    return 42;
  }
  t.equal(allSteps(count()), 42);
  let nowMs = 0;
  let pauses = 0;
  // A millisecond per look at the clock; slices are of three.
  const now = () => nowMs++;
  const pause = async () => void pauses++;
  t.equal(await inSlices(count(), { now, pause }), 42);
  t.ok(pauses >= 20 && pauses <= 35, `${pauses} pauses in 100 steps`);
});
