// Faults against real daemons, with live packets: what is denied never opens, what a fault does not take away is not lost,
// and afterwards the switches hold exactly what they should. The short form takes the quick ones.
import t from 'tap';
import { missingForLab } from '../../demo/lab.ts';
import { FaultLab, type Fault, type FaultOutcome } from '../support/fault-lab.ts';
import { agentFaults } from './agent-faults.ts';
import { daemonFaults } from './daemon-faults.ts';
import { placeFaults } from './place-faults.ts';
import { portFaults } from './port-faults.ts';
import { resourceFaults } from './resource-faults.ts';

const LONG = process.env['TEST_LONG'] !== undefined;
const ONLY = process.env['FAULT'];
const FAULTS = [
  ...daemonFaults,
  ...agentFaults,
  ...resourceFaults,
  ...portFaults,
  ...placeFaults,
].filter(({ name, quick }) => (ONLY === undefined ? LONG || quick === true : name.includes(ONLY)));

const WIDTHS = [10, 9, 10, 8, 9];

/** A line of the table: 100 columns with tap's indentation. */
function row(name: string, cells: readonly string[]): string {
  return [name.padEnd(43), ...cells.map((cell, index) => cell.padStart(WIDTHS[index] ?? 0))].join(
    '',
  );
}

function tableRow({ name, outage }: Fault, outcome: FaultOutcome): string {
  const { sent, lost, repairMs, leftOver, written } = outcome;
  return row(name, [
    `${lost}/${sent}`,
    `${Math.round(repairMs)} ms`,
    String(leftOver.length),
    String(written),
    outage === undefined ? 'no' : 'yes',
  ]);
}

const missing = await missingForLab();
const skip = missing.length === 0 ? false : `the lab needs ${missing.join(', ')}`;

// Of the file as a whole, too: the long form takes minutes, and a busy machine makes the short one long.
t.setTimeout(1_200_000);
t.test(`${FAULTS.length} faults`, { skip, timeout: 1_200_000 }, async (t) => {
  const lab = await FaultLab.up(t);
  const table: string[] = [];
  for (const fault of FAULTS) {
    await t.test(fault.name, { timeout: 120_000 }, async (t) => {
      await fault.prepare?.(lab);
      const outcome = await lab
        .measure((over) => fault.run(lab, over))
        .catch(async (error) => {
          t.comment(await lab.agent(1).logTail(15));
          throw error;
        });
      table.push(tableRow(fault, outcome));
      if (!t.ok(outcome.repairMs < Infinity, 'repaired')) t.comment(await lab.agent(1).logTail(15));
      t.strictSame(outcome.leftOver, [], 'nothing is left over');
      t.strictSame(outcome.missing, [], 'nothing is missing');
      t.equal(outcome.leaked, 0, 'the denied port never opened');
      if (fault.outage === undefined) t.equal(outcome.lost, 0, 'no allowed packet was lost');
      if (fault.quiet === true) t.equal(outcome.written, 0, 'nothing was written');
      await fault.undo?.(lab);
    });
  }
  t.comment(row('fault', ['lost', 'repaired', 'left over', 'written', 'may lose']));
  for (const line of table) t.comment(line);
});
