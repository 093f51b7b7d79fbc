/**
 * Many files, one set of objects: which file's version of an object is in force when two claim it. Pure.
 */
import type { FileObject } from './rule-file.ts';
import { originFile, type SourceObject, type SourceProblem } from './source.ts';

/** What is known of one file of the directory. */
export interface RuleFile {
  readonly name: string;
  readonly path: string;
  /** What stat said of the version that was read; empty when it must be read again. */
  signature: string;
  /** Hash of the bytes that were read. */
  digest: string;
  /** Objects of the last good version. */
  objects: readonly FileObject[];
  /** What is wrong with the newest version. */
  problems: readonly SourceProblem[];
  /** True when the newest version was refused for want of room only. */
  overflow: boolean;
  /** `performance.now()` when it was first found missing or empty. */
  vanishedAtMs: number | undefined;
}

/** Objects and problems of a whole directory. */
export interface MergedFiles {
  readonly objects: ReadonlyMap<string, SourceObject>;
  readonly problems: readonly SourceProblem[];
}

interface Claim {
  readonly file: RuleFile;
  readonly entry: FileObject;
}

function originOf({ file, entry }: Claim): string {
  return entry.line === undefined ? file.path : `${file.path}:${entry.line}`;
}

/**
 * The claim in force: a file that is vanishing gives way to one that is there; then the file whose version is in force
 * already; then the first by name.
 */
function winner(claims: readonly Claim[], inForce: string | undefined): Claim | undefined {
  const present = claims.filter(({ file }) => file.vanishedAtMs === undefined);
  const candidates = present.length > 0 ? present : claims;
  return candidates.find(({ file }) => file.path === inForce) ?? candidates[0];
}

/** Merges `files`; objects that did not change are the very entries of `before`. */
export function mergeFiles(
  files: readonly RuleFile[],
  before: ReadonlyMap<string, SourceObject>,
): MergedFiles {
  const sorted = [...files].sort((one, other) => (one.name < other.name ? -1 : 1));
  const claimsByKey = new Map<string, Claim[]>();
  for (const file of sorted) {
    for (const entry of file.objects) {
      const claims = claimsByKey.get(entry.key);
      if (claims === undefined) claimsByKey.set(entry.key, [{ file, entry }]);
      else claims.push({ file, entry });
    }
  }
  const objects = new Map<string, SourceObject>();
  const problems = sorted.flatMap((file) => file.problems);
  for (const [key, claims] of claimsByKey) {
    const known = before.get(key);
    const chosen = winner(claims, known === undefined ? undefined : originFile(known.origin));
    if (chosen === undefined) continue;
    const origin = originOf(chosen);
    const same =
      known !== undefined && known.object === chosen.entry.object && known.origin === origin;
    objects.set(key, same ? known : { object: chosen.entry.object, origin });
    for (const claim of claims) {
      if (claim === chosen || claim.file.vanishedAtMs !== undefined) continue;
      problems.push({
        file: claim.file.path,
        path: 'metadata.name',
        message: `${key} stands in ${originOf(chosen)} and in ${originOf(claim)}; accepted: each object once; the former is in force`,
        object: key,
        ...(claim.entry.line === undefined ? {} : { line: claim.entry.line }),
      });
    }
  }
  return { objects, problems };
}
