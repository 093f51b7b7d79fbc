/**
 * os-ken as a subject: an application of it (peers/osken_flows.py) that the switch connects to as to its controller.
 */
import type { BenchSwitch } from './bench-switch.ts';
import { InstalledPeer, installPeer, PEER } from './peer.ts';
import type { Subject } from './sample.ts';
import type { Absent, BenchContext } from './workload.ts';

/** What os-ken adds to a comparison: itself, or why it is not there. */
export interface OsKen {
  readonly subjects: readonly Subject[];
  readonly absent: readonly Absent[];
}

/**
 * os-ken for a table of so many flows. `what` it does comes after its name; `args` makes its arguments, before the clock
 * starts.
 */
export async function osKen(
  context: BenchContext,
  bench: BenchSwitch,
  what: string,
  args: () => Promise<readonly string[]>,
): Promise<OsKen> {
  const peer = await installPeer(PEER.osKen, (line) => context.say(line));
  if (!(peer instanceof InstalledPeer)) return { subjects: [], absent: [peer] };
  const run = async (): Promise<number> => bench.measureController(peer, await args());
  return { subjects: [{ name: `${peer.name}, ${what}`, run }], absent: [] };
}
