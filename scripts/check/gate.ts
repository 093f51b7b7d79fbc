/** What a gate is: a named check of a source tree that answers with the list of what is wrong, empty when nothing is. */

/** The tree that is checked. */
export interface GateContext {
  /** Absolute path of the tree's root: where package.json and src/ are. */
  readonly root: string;
  /** Fewer modules than this under src/ mean that a gate looked at the wrong place, not that all is well. */
  readonly moduleFloor: number;
}

/** One check. */
export interface Gate {
  /** Short name, as `--only` takes it. */
  readonly name: string;
  /** What it holds the tree to, for `--list`. */
  readonly holds: string;
  /** One line per violation, with file and line where they are known. */
  run(context: GateContext): Promise<string[]>;
}
