// The compiled flows on a real switch against an executable model that shares no code with the compiler.
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { DesiredState } from '../../src/agent/flow/desired.ts';
import type { DpuRule } from '../../src/api/dpu-rule.ts';
import { CompiledSwitch, flowOf, type TracedOutcome } from '../support/compiled-switch.ts';
import {
  evaluate,
  type Decision,
  type Outcome,
  type Packet,
  type World,
} from '../support/evaluator.ts';
import {
  hostileRules,
  judged,
  packetArbitrary,
  snapshotOfWorld,
  worldArbitrary,
} from '../support/world.ts';

const LONG = process.env['TEST_LONG'] !== undefined;
const WORLDS = LONG ? 10_000 : 200;
const HOSTILE_SETS = LONG ? 2000 : 200;
const PACKETS = 50;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 2 ** 31);

/** What differs between the model and the switch, in a sentence; undefined when they agree. */
function difference(want: Outcome, got: TracedOutcome): string | undefined {
  if (want.outputs.join() !== got.outputs.join()) {
    return `outputs: model [${want.outputs.join()}], switch [${got.outputs.join()}]`;
  }
  if (!isCountedAs(want.egress, got.egress)) {
    return `egress: model ${JSON.stringify(want.egress)}, switch [${got.egress.join()}]`;
  }
  const possible = want.ingress.flatMap(({ by, passed = [] }) => [...passed, ...by]);
  const ingressAgrees =
    got.ingress.length === want.ingress.reduce((sum, each) => sum + countsOf(each), 0) &&
    got.ingress.every((name) => possible.includes(name));
  if (!ingressAgrees) {
    return `ingress: model [${possible.join()}], switch [${got.ingress.join()}]`;
  }
  if (want.drop !== undefined && want.drop !== got.drop) {
    return `drop: model ${want.drop}, switch ${got.drop ?? '-'}`;
  }
  return undefined;
}

/** How many rules count a packet on its way through one chain. */
function countsOf({ by, passed = [] }: Decision): number {
  return passed.length + (by.length > 0 ? 1 : 0);
}

/** The switch's decider is one of those that the model thinks possible, or neither has one. */
function isCountedAs(want: Decision | undefined, got: readonly string[]): boolean {
  if (want === undefined) return got.length === 0;
  const { by, passed = [] } = want;
  const [decider, ...others] = got.slice(passed.length);
  const isDecided = decider === undefined ? by.length === 0 : by.includes(decider);
  return passed.every((name, index) => got[index] === name) && isDecided && others.length === 0;
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

t.test(
  `no rules of one tenant change what the switch does with packets of another (seed ${SEED})`,
  { timeout: HOSTILE_SETS * 2000 },
  async (t) => {
    const real = await CompiledSwitch.create(t);
    if (real === undefined) return;
    const [victim, packetCount] = [1001, 12];
    const seen = { sets: 0, accepted: 0, refused: 0, packets: 0, forwarded: 0 };
    const draw = fc.tuple(worldArbitrary, hostileRules).chain(([drawn, hostile]) => {
      const world = { ...drawn, rules: drawn.rules.filter(({ vni }) => vni === victim) };
      const others = world.endpoints.filter(({ vni }) => vni === victim);
      const packets = fc.array(packetArbitrary({ ...world, endpoints: others }), {
        minLength: packetCount,
        maxLength: packetCount,
      });
      return fc.tuple(fc.constant(world), fc.constant(hostile), packets);
    });
    const property = fc.asyncProperty(
      draw,
      async ([world, hostile, packets]: [World, DpuRule[], Packet[]]) => {
        const desired = new DesiredState();
        desired.update(snapshotOfWorld(world));
        await real.install(desired);
        const before: TracedOutcome[] = [];
        const ofVictim = packets.filter(({ from }) => isVictim(world, victim, from));
        for (const packet of ofVictim) before.push(await real.trace(packet));

        const inputs = judged(world, hostile);
        desired.update(snapshotOfWorld(world, inputs));
        await real.install(desired);
        for (const [index, packet] of ofVictim.entries()) {
          const want = before[index];
          const got = await real.trace(packet);
          if (want !== undefined && isDeepStrictEqual(fateOf(want), fateOf(got))) continue;
          const rules = JSON.stringify(hostile);
          throw new Error(`${flowOf(packet)}\n${rules}\n${want?.text ?? ''}\n${got.text}`);
        }
        const verdicts = inputs.flatMap((input) => input.verdicts);
        seen.sets++;
        seen.accepted += verdicts.filter(({ vni }) => vni !== undefined).length;
        seen.refused += verdicts.filter(({ vni }) => vni === undefined).length;
        seen.packets += before.length;
        seen.forwarded += before.filter(({ outputs }) => outputs.length > 0).length;
      },
    );
    const run = { numRuns: HOSTILE_SETS, seed: SEED };
    const { failed, errorInstance } = await fc.check(property, run);
    t.notOk(failed, String(errorInstance));
    t.comment(JSON.stringify(seen));
    t.ok(seen.accepted > HOSTILE_SETS && seen.refused > HOSTILE_SETS, 'many rules of either kind');
    t.ok(seen.forwarded > seen.packets / 5, 'many packets arrive');
  },
);

/** What becomes of a packet. Which of two equal rules counted it is open: the switch may take either, at any time. */
function fateOf({ outputs, drop, egress, ingress, datapathActions: text }: TracedOutcome): object {
  // What goes up to the agent carries the number of this one translation.
  const datapathActions = text.replaceAll(/recirc_id=\d+/g, 'recirc_id=');
  return { outputs, drop, datapathActions, verdicts: [egress.length, ingress.length] };
}

/** Whether a packet comes in where the victim's packets do. */
function isVictim(world: World, victim: number, from: Packet['from']): boolean {
  if ('vni' in from) return from.vni === victim;
  return [...world.endpoints, ...world.legs].some(
    ({ port, vni }) => port === from.port && vni === victim,
  );
}
