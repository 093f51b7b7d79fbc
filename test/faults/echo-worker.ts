/** Another OpenFlow client of the switch, in a thread of its own: asks for echoes one after another and keeps their times. */
import { parentPort, workerData } from 'node:worker_threads';
import { OpenFlowConnection } from '../../src/openflow/client.ts';

const connection = await OpenFlowConnection.connect({ path: workerData as string });
let running = true;
parentPort?.once('message', () => (running = false));
parentPort?.postMessage('ready');
const timesMs: number[] = [];
while (running) {
  const start = performance.now();
  await connection.echo();
  timesMs.push(performance.now() - start);
  await new Promise((resolve) => setTimeout(resolve, 1));
}
connection.close();
parentPort?.postMessage(timesMs);
