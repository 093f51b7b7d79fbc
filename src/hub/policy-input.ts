/**
 * The input of a verb of dpu-hub: files to what they become, with every fault on standard error; and that as text.
 */
import { stringify } from 'yaml';
import type { DpuNetwork } from '../api/dpu-network.ts';
import { errorMessage } from '../base/error.ts';
import { EXIT, type Surroundings } from './surroundings.ts';
import { translateSet, type TranslatedSet } from './translate/policy-set.ts';
import { type PlacedPolicy, readPolicyText } from './translate/policy-text.ts';

/** Options that say what is translated. */
export interface InputOptions {
  readonly filename: string[];
  readonly namespace: string;
  readonly network?: string;
}

/** What the files become; an exit status when anything is wrong with them. */
export async function readInput(
  { filename, namespace, network }: InputOptions,
  world: Surroundings,
): Promise<TranslatedSet['objects'] | number> {
  const policies: PlacedPolicy[] = [];
  const networks: DpuNetwork[] = [];
  const problems: string[] = [];
  const say = (text: string): void => world.complain(`dpu-hub: ${text}\n`);
  for (const file of filename) {
    const name = file === '-' ? 'standard input' : file;
    let text: string;
    try {
      text = await world.read(file);
    } catch (error) {
      say(`${name}: cannot be read: ${errorMessage(error)}`);
      return EXIT.UNREADABLE;
    }
    const read = readPolicyText(text, name, namespace);
    policies.push(...read.policies);
    networks.push(...read.networks);
    problems.push(...read.problems);
    for (const note of read.notes) say(`note: ${note}`);
  }
  const translated = translateSet(policies, networks, network);
  problems.push(...translated.problems);
  for (const problem of problems) say(problem);
  return problems.length > 0 ? EXIT.REFUSED : translated.objects;
}

/** Objects as documents or as one List. */
export function formatObjects(objects: TranslatedSet['objects'], format: 'yaml' | 'json'): string {
  if (format === 'json') {
    return `${JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }, null, 2)}\n`;
  }
  const documents = objects.map((object) =>
    // Version 1.1: kubectl's reader takes words such as on and no for booleans unless they are quoted.
    stringify(object, { version: '1.1', lineWidth: 100, aliasDuplicateObjects: false }),
  );
  return documents.join('---\n');
}
