// An endpoint that a port and a peer both claim, on a real Open vSwitch: packets go to the claim with the higher sequence.
import t from 'tap';
import { until } from '../support/agent.ts';
import { A1, from, outcome, stage, tunnel } from '../support/stage.ts';

const MOVED = { mac: '02:00:0a:01:01:44', ip: '10.1.0.44' };

interface Status {
  readonly problems: readonly { readonly path: string; readonly message: string }[];
}

t.test('an endpoint is where its highest sequence says, here or behind a peer', async (t) => {
  const staged = await stage(t, {
    peers: [
      {
        vtep: '192.168.1.12',
        endpoints: [{ vni: 1000, mac: MOVED.mac, ips: [MOVED.ip], sequence: 5 }],
      },
    ],
  });
  if (staged === undefined) return;
  const { ovs, agent } = staged;
  const toIt = `${from(A1)},dl_dst=${MOVED.mac},ip,nw_src=${A1.ip},nw_dst=${MOVED.ip}`;
  const fromAfar = `${tunnel(1000, MOVED.mac)},dl_dst=${A1.mac},ip,nw_src=${MOVED.ip},nw_dst=${A1.ip}`;
  const fromHere = `in_port=14,dl_src=${MOVED.mac},dl_dst=${A1.mac},ip,nw_src=${MOVED.ip},nw_dst=${A1.ip}`;
  const says = async (pattern: RegExp): Promise<boolean> =>
    (await agent.json<Status>('/status')).problems.some(({ path, message }) =>
      pattern.test(`${path} ${message}`),
    );
  await ovs.run('ip', 'link', 'add', 'rep4', 'type', 'veth', 'peer', 'name', 'rep4p');
  await ovs.vsctl(
    ...['add-port', 'br-int', 'rep4', '--', 'set', 'interface', 'rep4', 'ofport_request=14'],
    ...[
      `external_ids:attached-mac=${MOVED.mac}`,
      'external_ids:dpu-vni=1000',
      `external_ids:dpu-ips=${MOVED.ip}`,
    ],
  );
  await until('the port has lost', () => says(/^rep4 .*is at VTEP 192.168.1.12 \(sequence 5; 0/));
  t.strictSame(await outcome(ovs, toIt), ['65000'], 'it is behind the peer');
  t.strictSame(await outcome(ovs, fromAfar), ['11']);
  t.strictSame(await outcome(ovs, fromHere), ['drop'], 'the port that it left is none of its own');

  await ovs.vsctl('set', 'interface', 'rep4', 'external_ids:dpu-sequence=6');
  await until('it is here', async () => (await outcome(ovs, toIt))[0] === '14');
  t.strictSame(await outcome(ovs, fromHere), ['11']);
  t.strictSame(await outcome(ovs, fromAfar), ['drop'], 'and no longer behind the peer');
  t.ok(await says(/^peers 192.168.1.12 .*is at port rep4 \(sequence 6; 5 at VTEP/));

  for (let sequence = 7; sequence <= 18; sequence++) {
    // Higher than the peer's, and lower: it moves each time.
    const now = sequence % 2 === 0 ? sequence : 1;
    await ovs.vsctl('set', 'interface', 'rep4', `external_ids:dpu-sequence=${now}`);
    await until('it moved, or is frozen', async () => {
      const [place] = await outcome(ovs, toIt);
      return place === (now > 5 ? '14' : '65000') || (await says(/is frozen at/));
    });
  }
  await until('frozen', () => says(/is frozen at .*moved more than 5 times in 180 s/));
});
