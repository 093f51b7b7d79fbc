/**
 * `dpu-hub diff` and `dpu-hub apply`: one customer, from the command line. What would change is asked of the API server
 * itself, so its defaults and refusals are in the answer.
 */
import { errorMessage } from '../base/error.ts';
import { applySet, formatName, type ObjectOutcome } from './apply/apply-set.ts';
import { Customer } from './apply/customer.ts';
import { KubeClient } from './apply/kube-client.ts';
import { readKubeconfig } from './apply/kubeconfig.ts';
import { HubError } from './errors.ts';
import { readInput, type InputOptions } from './policy-input.ts';
import { EXIT, type Surroundings } from './surroundings.ts';

/** Options of both verbs. */
export interface ApplyVerbOptions extends InputOptions {
  readonly kubeconfig: string;
  readonly hubId: string;
  readonly prune?: true;
  readonly allowLargePrune?: true;
}

type Outcome = ObjectOutcome['outcome'];

const SIGNS: Readonly<Record<Outcome, string>> = {
  ...{ created: '+', changed: '~', unchanged: '=', pruned: '-' },
  ...{ conflict: '!', failed: '!', kept: '!' },
};
const SUMMARY: readonly (readonly [Outcome, string])[] = [
  ['created', 'created'],
  ['changed', 'changed'],
  ['pruned', 'deleted'],
  ['unchanged', 'unchanged'],
  ['conflict', 'held by others'],
  ['failed', 'refused'],
  ['kept', 'kept by the prune guard'],
];

/** Runs one of the verbs; the result is the exit status. */
export async function applyInput(
  options: ApplyVerbOptions,
  verb: 'diff' | 'apply',
  world: Surroundings,
): Promise<number> {
  const objects = await readInput(options, world);
  if (typeof objects === 'number') return objects;
  let text: string;
  try {
    text = await world.read(options.kubeconfig);
  } catch (error) {
    world.complain(`dpu-hub: ${options.kubeconfig}: cannot be read: ${errorMessage(error)}\n`);
    return EXIT.UNREADABLE;
  }
  try {
    const client = await KubeClient.create(readKubeconfig(text));
    try {
      const outcomes = await applySet(new Customer(client), objects, {
        hubId: options.hubId,
        dryRun: verb === 'diff',
        prune: options.prune === true,
        allowLargePrune: options.allowLargePrune === true,
      });
      return report(outcomes, verb, world);
    } finally {
      client.close();
    }
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    world.complain(`dpu-hub: ${error.message} (${error.code})\n`);
    return error.code === 'HUB_KUBECONFIG' ? EXIT.REFUSED : EXIT.UNREADABLE;
  }
}

function report(
  outcomes: readonly ObjectOutcome[],
  verb: 'diff' | 'apply',
  world: Surroundings,
): number {
  for (const outcome of outcomes) {
    if (outcome.outcome === 'unchanged') continue;
    // The server's words: a terminal must not obey them.
    const words = outcome.message.replace(/\p{Cc}+/gu, ' ');
    const why = words === '' ? outcome.fields.join(', ') : words;
    const line = `${SIGNS[outcome.outcome]} ${formatName(outcome)}`;
    world.print(why === '' ? `${line}\n` : `${line}: ${why}\n`);
  }
  const counts = SUMMARY.map(([outcome, word]) => {
    const count = outcomes.filter((one) => one.outcome === outcome).length;
    return count === 0 ? '' : `${count} ${word}`;
  }).filter((text) => text !== '');
  const summary = counts.length === 0 ? 'nothing to do' : counts.join(', ');
  world.print(`${verb === 'diff' ? 'would be: ' : ''}${summary}\n`);
  const isBad = outcomes.some(({ outcome }) => SIGNS[outcome] === '!');
  if (isBad) return EXIT.REFUSED;
  const isSame = outcomes.every(({ outcome }) => outcome === 'unchanged');
  return verb === 'diff' && !isSame ? EXIT.DIFFERENT : EXIT.OK;
}
