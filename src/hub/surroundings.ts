/**
 * What dpu-hub has of the world, and how it ends.
 */

/** Exit statuses of dpu-hub, as docs/hub.md lists them. */
export const EXIT = {
  OK: 0,
  /** Something in the input is refused, by dpu-hub or by the cluster. */
  REFUSED: 1,
  USAGE: 2,
  /** A file or a cluster cannot be read. */
  UNREADABLE: 3,
  /** `diff` found something that would change. */
  DIFFERENT: 4,
} as const;

/** What dpu-hub has of the world. */
export interface Surroundings {
  /** The text of a file, `-` for standard input. Rejects when it cannot be read. */
  read(file: string): Promise<string>;
  /** Writes to standard output. */
  print(text: string): void;
  /** Writes to standard error. */
  complain(text: string): void;
}
