// Who has an endpoint that several claim, and when one that keeps moving is frozen.
import t from 'tap';
import {
  EndpointMoves,
  MOVES_MAX,
  MOVES_WINDOW_MS,
  type SettledEndpoints,
} from '../../../src/agent/overlay/endpoint-moves.ts';
import { attachments } from '../../../src/agent/overlay/attachments.ts';
import type { LocalEndpoint, RemoteEndpoint } from '../../../src/agent/flow/model.ts';
import { local, ofport, remote } from '../../support/model.ts';

const MAC = '02:00:0a:01:01:05';
const here = (sequence?: number, port = 'rep1'): LocalEndpoint => ({
  ...local(port, 11, 1000, MAC, '10.1.0.5'),
  ...(sequence === undefined ? {} : { sequence }),
});
const there = (sequence?: number, vtep = '192.168.1.12'): RemoteEndpoint => ({
  ...remote(1000, MAC, vtep, '10.1.0.5'),
  ...(sequence === undefined ? {} : { sequence }),
});

/** Where the endpoint is: `rep1`, or the last number of the VTEP. */
function places({ locals, remotes }: SettledEndpoints): string[] {
  return [...locals.map(({ port }) => port), ...remotes.map(({ vtep }) => String(vtep & 0xff))];
}

t.test('the highest sequence wins, also over a port of our own', async (t) => {
  const cases: readonly [string, LocalEndpoint[], RemoteEndpoint[], string[], RegExp][] = [
    ['here alone', [here()], [], ['rep1'], /^$/],
    ['there alone', [], [there()], ['12'], /^$/],
    ['equal', [here(3)], [there(3)], ['rep1'], /^is attached here, to port rep1$/],
    ['none given', [here()], [there()], ['rep1'], /^is attached here, to port rep1$/],
    [
      'newer there',
      [here()],
      [there(1)],
      ['12'],
      /is at VTEP 192.168.1.12 \(sequence 1; 0 at port rep1\)/,
    ],
    ['newer here', [here(2)], [there(1)], ['rep1'], /sequence 2; 1 at VTEP 192.168.1.12/],
    [
      'two peers',
      [],
      [there(1), there(2, '192.168.1.13')],
      ['13'],
      /sequence 2; 1 at VTEP 192.168.1.12/,
    ],
    ['32 bits', [here(0xffff_ffff)], [there(1)], ['rep1'], /sequence 4294967295; 1/],
  ];
  for (const [name, locals, remotes, want, says] of cases) {
    const settled = new EndpointMoves().settle(locals, remotes, 0);
    t.strictSame(places(settled), want, name);
    t.match(settled.problems.map(({ message }) => message).join(), says, name);
  }
});

t.test('another network and another MAC are other endpoints', async (t) => {
  const elsewhere = [
    remote(1001, MAC, '192.168.1.12'),
    remote(1000, '02:00:00:00:00:09', '192.168.1.12'),
  ];
  const settled = new EndpointMoves().settle(
    [here()],
    elsewhere.map((endpoint) => ({ ...endpoint, sequence: 9 })),
    0,
  );
  t.strictSame(places(settled), ['rep1', '12', '12']);
  t.strictSame(settled.problems, []);
});

t.test('an endpoint that keeps moving is frozen where it stands, until it is quiet', async (t) => {
  const moves = new EndpointMoves();
  let sequence = 0;
  /** The other place claims it with a higher sequence; both claims stand. */
  const move = (nowMs: number): SettledEndpoints => {
    sequence++;
    const isThere = sequence % 2 === 1;
    return moves.settle([here(isThere ? 0 : sequence)], [there(isThere ? sequence : 0)], nowMs);
  };
  moves.settle([here()], [], 0);
  for (let count = 1; count <= MOVES_MAX; count++) {
    const settled = move(count * 1000);
    t.strictSame(places(settled), [count % 2 === 1 ? '12' : 'rep1'], `move ${count}`);
    t.notMatch(settled.problems.map(({ message }) => message).join(), /frozen/);
  }
  const settled = move(6000);
  t.strictSame(places(settled), ['12'], 'it stays where the fifth move had brought it');
  t.match(settled.problems[0], { vtep: there().vtep, message: /^is frozen at VTEP 192.168.1.12/ });
  const same = moves.settle([here(sequence)], [there()], 7000);
  t.strictSame(places(same), ['12'], 'also when nothing more happens at once');
  const unplugged = moves.settle([here(sequence)], [], 8000);
  t.strictSame(places(unplugged), ['rep1'], 'a place that claims it no more does not keep it');
  const later = moves.settle([here(sequence)], [there()], 1000 + MOVES_WINDOW_MS);
  t.strictSame(places(later), ['rep1'], 'the first move is forgotten: the best claim has it');
  t.strictSame(later.problems.length, 1);
});

t.test('a port that comes and goes does not move, and neither does a new sequence', async (t) => {
  const moves = new EndpointMoves();
  for (let round = 0; round < 20; round++) {
    t.strictSame(places(moves.settle([here(round)], [], round * 10)), ['rep1']);
    t.strictSame(places(moves.settle([], [], round * 10 + 5)), []);
  }
  const settled = moves.settle([here(20)], [], 500);
  t.strictSame(settled.problems, []);
});

t.test('a port tells its sequence by an id of its own', async (t) => {
  const read = (sequence: string) =>
    attachments(
      [
        {
          name: 'rep1',
          ofport: ofport(5),
          externalIds: new Map([
            ['attached-mac', MAC],
            ['dpu-vni', '1000'],
            ['dpu-sequence', sequence],
          ]),
        },
      ],
      [],
      new Set([1000]),
    );
  t.equal(read('4294967295').endpoints[0]?.sequence, 4294967295);
  for (const bad of ['4294967296', '-1', '1.5', '1e3', '']) {
    t.strictSame(read(bad).endpoints, [], bad);
    t.match(read(bad).problems[0]?.message, /dpu-sequence is ".*", not 0\.\.4294967295/);
  }
});
