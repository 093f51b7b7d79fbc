/**
 * Changes into bundles. A change of rules is one atomic bundle; only a first sync, where nothing of ours is in the switch
 * yet, is cut into chunks (the pipeline's end comes first, so a packet never meets a half-built path). A bundle that the
 * switch refuses is sent again without the messages that it named, so one bad flow holds nobody else back.
 *
 * Open vSwitch takes no meter_mod in a bundle: meters that come or change are written before the bundles, one by one, and
 * those that go after them.
 */
import { BaseError } from '../../base/error.ts';
import type { OpenFlowConnection } from '../../openflow/client.ts';
import type { OpenFlowError } from '../../openflow/errors.ts';
import type { Change } from '../flow/diff.ts';

/** A change that the switch would not take. */
export interface RefusedChange {
  readonly change: Change;
  readonly error: OpenFlowError;
}

/** What a write did. */
export interface WriteOutcome {
  readonly refused: readonly RefusedChange[];
  /** False when writing stopped because it was no longer allowed. */
  readonly complete: boolean;
}

/** How a write is done. */
export interface WriteOptions {
  /** Most messages of one bundle; undefined for one bundle whatever its size. */
  readonly chunkSize: number | undefined;
  /** Called with the changes of each committed bundle, in order, and before later messages of the switch are read. */
  readonly onCommitted: (changes: readonly Change[]) => void;
  /** Called for each bundle that the switch refused. */
  readonly onRefused: () => void;
  /** Asked before each bundle: false when another agent has the bridge by now. */
  readonly mayWrite: () => boolean;
}

/** Chunk of a first sync: 1,000 flows stall the switch's other connections by about 4 ms. */
export const FIRST_SYNC_CHUNK = 1000;
/** Bundles that may be refused in one write before it gives up; each names at least one message. */
const REFUSALS_MAX = 64;

/**
 * Writes changes.
 * @throws ConnectionError when the connection goes, with `details.outcomeUnknown`; OpenFlowError when a bundle fails
 * without naming a message, or too many are refused. The caller then dumps before it writes again.
 */
export async function writeChanges(
  connection: Pick<OpenFlowConnection, 'commitBundle' | 'sendMessages'>,
  all: readonly Change[],
  options: WriteOptions,
): Promise<WriteOutcome> {
  const refused: RefusedChange[] = [];
  const changes = all.filter((change) => !isMeterChange(change));
  const meterChanges = all.filter(isMeterChange);
  const meters = meterChanges.filter(({ kind }) => kind !== 'meter_delete');
  const idle = meterChanges.filter(({ kind }) => kind === 'meter_delete');
  if (!(await writeMeters(connection, meters, options, refused)))
    return { refused, complete: false };
  const size = options.chunkSize ?? Math.max(1, changes.length);
  let refusals = 0;
  for (let start = 0; start < changes.length; start += size) {
    let pending = changes.slice(start, start + size);
    while (pending.length > 0) {
      if (!options.mayWrite()) return { refused, complete: false };
      const sent = pending;
      const outcome = await connection.commitBundle(
        sent.map((change) => change.message),
        { onCommitted: () => options.onCommitted(sent) },
      );
      if (outcome.committed) break;
      options.onRefused();
      const named = new Map(outcome.refused.map(({ index, error }) => [index, error]));
      for (const [index, error] of named) {
        const change = pending[index];
        if (change !== undefined) refused.push({ change, error });
      }
      pending = pending.filter((_, index) => !named.has(index));
      refusals++;
      if (refusals > REFUSALS_MAX) throw new TooManyRefusals(refused);
    }
  }
  const complete = await writeMeters(connection, idle, options, refused);
  return { refused, complete };
}

type MeterChange = Extract<Change, { readonly kind: `meter_${string}` }>;

function isMeterChange(change: Change): change is MeterChange {
  return change.kind.startsWith('meter_');
}

/** @returns false when writing is no longer allowed. */
async function writeMeters(
  connection: Pick<OpenFlowConnection, 'sendMessages'>,
  changes: readonly MeterChange[],
  options: WriteOptions,
  refused: RefusedChange[],
): Promise<boolean> {
  if (changes.length === 0) return true;
  if (!options.mayWrite()) return false;
  const errors = await connection.sendMessages(changes.map(({ message }) => message));
  const named = new Map(errors.map(({ index, error }) => [index, error]));
  for (const [index, error] of named) {
    const change = changes[index];
    if (change !== undefined) refused.push({ change, error });
  }
  options.onCommitted(changes.filter((_, index) => !named.has(index)));
  return true;
}

/** The switch refuses one bundle after another. */
export class TooManyRefusals extends BaseError<'FLOW_REFUSED'> {
  readonly refused: readonly RefusedChange[];
  constructor(refused: readonly RefusedChange[]) {
    super(
      `switch refused ${refused.length} messages in a row, last: ${refused.at(-1)?.error.message ?? ''}`,
      {
        code: 'FLOW_REFUSED',
        op: 'reconcile.write',
        retryable: true,
      },
    );
    this.refused = refused;
  }
}
