/**
 * How far one kind has been read, for others to know: the newest resourceVersion of a change that meant something. Versions of
 * a cluster grow all the time, and a status that others write is an event too: were each of them told, a thousand agents
 * would answer every write with one of their own. Pure.
 */

/** See the head of the file. */
export class VersionMark {
  #version: string | undefined;
  /** Since the mark moved there was an event that meant nothing to us. */
  #behind = false;
  #specChanged = false;

  /** Everything that was meant to change up to this version is known. */
  get version(): string | undefined {
    return this.#version;
  }

  /** The event whose version comes next changed what the agent reads. */
  specChanged(): void {
    this.#specChanged = true;
  }

  /** Takes note of a version that was reached; true when the mark moved. */
  advance(version: string, event: 'list' | 'object' | 'bookmark'): boolean {
    const specChanged = this.#specChanged;
    this.#specChanged = false;
    // Whoever judges by the version of a status that it wrote itself must see it passed some day: bookmarks come once a minute.
    const moves = event === 'list' || (event === 'object' ? specChanged : this.#behind);
    this.#behind = !moves && (this.#behind || event === 'object');
    if (moves) this.#version = version;
    return moves;
  }
}
