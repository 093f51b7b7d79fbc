// The compiled flows on a real switch against an executable model that shares no code with the compiler.
import fc from 'fast-check';
import t from 'tap';
import { DesiredState } from '../../src/agent/flow/desired.ts';
import { CompiledSwitch, flowOf, type TracedOutcome } from '../support/compiled-switch.ts';
import {
  evaluate,
  type Decision,
  type Outcome,
  type Packet,
  type World,
} from '../support/evaluator.ts';
import { packetArbitrary, snapshotOfWorld, worldArbitrary } from '../support/world.ts';

const WORLDS = process.env['TEST_LONG'] === undefined ? 200 : 10_000;
const PACKETS = 50;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 2 ** 31);

/** What differs between the model and the switch, in a sentence; undefined when they agree. */
function difference(want: Outcome, got: TracedOutcome): string | undefined {
  if (want.outputs.join() !== got.outputs.join()) {
    return `outputs: model [${want.outputs.join()}], switch [${got.outputs.join()}]`;
  }
  const asked = (decision: Decision | undefined): readonly string[] => decision?.by ?? [];
  const [decider] = got.egress;
  if (got.egress.length > 1 || !agrees(decider, asked(want.egress))) {
    return `egress: model [${asked(want.egress).join()}], switch [${got.egress.join()}]`;
  }
  const possible = want.ingress.flatMap(({ by }) => by);
  const ingressAgrees =
    got.ingress.length === want.ingress.filter(({ by }) => by.length > 0).length &&
    got.ingress.every((name) => agrees(name, possible));
  if (!ingressAgrees) {
    return `ingress: model [${possible.join()}], switch [${got.ingress.join()}]`;
  }
  if (want.drop !== undefined && want.drop !== got.drop) {
    return `drop: model ${want.drop}, switch ${got.drop ?? '-'}`;
  }
  return undefined;
}

/** The switch's decider is one of those that the model thinks possible, or neither has one. */
function agrees(got: string | undefined, possible: readonly string[]): boolean {
  return got === undefined ? possible.length === 0 : possible.includes(got);
}

function rulesText(world: World): string {
  return world.rules
    .map(({ object, vni }) => `${vni} ${object.metadata.name} ${JSON.stringify(object.spec)}`)
    .join('\n');
}

t.test(
  `the switch does with a packet what the model says (seed ${SEED})`,
  { timeout: WORLDS * 2000 },
  async (t) => {
    const real = await CompiledSwitch.create(t);
    if (real === undefined) return;
    const seen = { packets: 0, forwarded: 0, dropped: 0, byRule: 0 };
    const draw = worldArbitrary.chain((world) => {
      const packets = fc.array(packetArbitrary(world), { minLength: PACKETS, maxLength: PACKETS });
      return fc.tuple(fc.constant(world), packets);
    });
    const property = fc.asyncProperty(draw, async ([world, packets]: [World, Packet[]]) => {
      const desired = new DesiredState();
      desired.update(snapshotOfWorld(world));
      const refused = [...desired.entries()].filter(
        ({ refusal }) => refusal?.reason === 'Unsupported',
      );
      if (refused.length > 0)
        throw new Error(JSON.stringify(refused.map(({ refusal }) => refusal)));
      await real.install(desired);
      for (const packet of packets) {
        const want = evaluate(world, packet);
        const got = await real.trace(packet);
        const what = difference(want, got);
        if (what !== undefined) {
          throw new Error(`${what}\n${flowOf(packet)}\n${rulesText(world)}\n${got.text}`);
        }
        seen.packets++;
        if (want.outputs.length > 0) seen.forwarded++;
        else seen.dropped++;
        const deciders = [want.egress, ...want.ingress].flatMap((decision) => decision?.by ?? []);
        if (deciders.some((name) => name.startsWith('DPURule/'))) seen.byRule++;
      }
    });
    const { failed, errorInstance } = await fc.check(property, { numRuns: WORLDS, seed: SEED });
    t.notOk(failed, String(errorInstance));
    t.comment(`${WORLDS} worlds: ${JSON.stringify(seen)}`);
    // A generator that draws nothing but nonsense would prove nothing.
    t.ok(seen.forwarded > seen.packets / 4, 'many packets arrive');
    t.ok(seen.byRule > seen.packets / 6, 'many are decided by a rule');
  },
);
