// The flow table as a function of the configuration alone, whatever the way to it: changes in any order, repeated, with
// restarts of the agent in between.
import fc from 'fast-check';
import t from 'tap';
import { DesiredState } from '../../../src/agent/flow/desired.ts';
import { diff, fullScope } from '../../../src/agent/flow/diff.ts';
import type { Snapshot } from '../../../src/agent/flow/model.ts';
import { Mirror } from '../../../src/agent/reconcile/mirror.ts';
import type { World } from '../../support/evaluator.ts';
import { snapshotOfWorld, worldArbitrary } from '../../support/world.ts';

const SEQUENCES = 1000;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 2 ** 31);

/** An agent on a switch that the mirror stands for. */
class Bench {
  readonly #switch = new Mirror();
  #desired = new DesiredState();
  messages = 0;

  /** The process dies and comes back: nothing is remembered but what the switch holds. */
  restart(): void {
    this.#desired = new DesiredState();
  }

  /** Brings the switch to a snapshot, by what the change touched alone unless this is the first pass. */
  apply(snapshot: Snapshot): void {
    const isFirst = this.#desired.flowCount === 0;
    const dirty = this.#desired.update(snapshot);
    const { dirtyFlows: flows, dirtyGroups: groups, dirtyMeters: meters } = dirty;
    const scope = isFirst ? fullScope(this.#desired, this.#switch) : { flows, groups, meters };
    const changes = diff(this.#desired, this.#switch, scope);
    this.messages += changes.length;
    this.#switch.apply(changes);
  }

  /** Messages that would bring the switch to what a fresh compile of `snapshot` asks for: none when it is there. */
  distance(snapshot: Snapshot): number {
    const fresh = new DesiredState();
    fresh.update(snapshot);
    return diff(fresh, this.#switch, fullScope(fresh, this.#switch)).length;
  }
}

/** The parts of several worlds mixed: what changes from step to step is sometimes one thing, sometimes all. */
const sequences = fc.tuple(worldArbitrary, worldArbitrary, worldArbitrary).chain((worlds) => {
  const one = fc.constantFrom(...worlds);
  const rules = worlds.flatMap((world, index) =>
    world.rules.map(({ object, vni }) => ({
      vni,
      // The names of the three worlds overlap in part: the same rule, edited.
      object:
        index === 2
          ? { ...object, metadata: { ...object.metadata, name: `x${object.metadata.name}` } }
          : object,
    })),
  );
  const step = fc.record({
    networks: one.map((world) => world.networks),
    endpoints: one.map((world) => world.endpoints),
    peers: fc.subarray([...worlds[0].peers]),
    legs: one.map((world) => world.legs),
    groups: one.map((world) => world.groups),
    rules: fc
      .shuffledSubarray(rules, { maxLength: Math.min(5, rules.length) })
      .map((some) => [...new Map(some.map((rule) => [rule.object.metadata.name, rule])).values()]),
    restart: fc.boolean(),
    twice: fc.boolean(),
  });
  const steps = fc.array(step, { minLength: 2, maxLength: 6, size: 'max' });
  return fc.tuple(fc.constant(worlds[0].vtep), steps);
});

t.test(
  `${SEQUENCES} random sequences of changes end where a fresh start would (seed ${SEED})`,
  async (t) => {
    let [steps, messages] = [0, 0];
    const property = fc.property(sequences, ([vtep, history]) => {
      const bench = new Bench();
      let last: World | undefined;
      for (const { restart, twice, ...world } of history) {
        last = { vtep, ...world };
        if (restart) bench.restart();
        bench.apply(snapshotOfWorld(last));
        if (twice) bench.apply(snapshotOfWorld(last));
        steps++;
      }
      messages += bench.messages;
      return last !== undefined && bench.distance(snapshotOfWorld(last)) === 0;
    });
    fc.assert(property, { numRuns: SEQUENCES, seed: SEED });
    t.comment(`${steps} steps, ${messages} messages`);
    t.ok(messages > 10 * steps, 'there was something to do');
  },
);
