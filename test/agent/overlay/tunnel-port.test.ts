// What is planned for the tunnel port: made, repaired, or left alone with the reason when it is not ours.
import t from 'tap';
import { bridgeLock, OWNER_KEY, planTunnel } from '../../../src/agent/overlay/tunnel-port.ts';
import { parseBridge, parseInterface, parsePort } from '../../../src/ovsdb/vswitch.ts';

const OPTIONS = new Map([
  ['key', 'flow'],
  ['remote_ip', 'flow'],
  ['local_ip', '192.168.1.11'],
  ['dst_port', '4789'],
]);
const OURS = new Map([[OWNER_KEY, bridgeLock('br-int')]]);
const WISH = { bridge: 'br-int', datapathType: 'netdev', localIp: '192.168.1.11' };

const bridge = (ports: readonly string[]) =>
  parseBridge(
    'bridge',
    new Map<string, string | { uuid: string }[]>([
      ['name', 'br-int'],
      ['fail_mode', 'secure'],
      ['ports', ports.map((uuid) => ({ uuid }))],
    ]),
  );
const port = (uuid: string, iface: string) =>
  parsePort(
    uuid,
    new Map<string, string | { uuid: string }[]>([
      ['name', 'vtep0'],
      ['interfaces', [{ uuid: iface }]],
    ]),
  );
const iface = (uuid: string, externalIds = OURS, options = OPTIONS) =>
  parseInterface(
    uuid,
    new Map<string, string | Map<string, string>>([
      ['name', 'vtep0'],
      ['type', 'vxlan'],
      ['options', options],
      ['external_ids', externalIds],
    ]),
  );

t.test('the tunnel port is made, repaired or left alone', async (t) => {
  const foreign = /is not the port of one interface that we make; remove or rename it/;
  const cases: {
    name: string;
    facts: Parameters<typeof planTunnel>[1];
    actions?: readonly string[];
    problem?: RegExp;
  }[] = [
    {
      name: 'nothing is there',
      facts: { bridge: undefined, port: undefined, iface: undefined },
      actions: ['create bridge br-int', 'create port vtep0'],
    },
    {
      name: 'all is right',
      facts: { bridge: bridge(['p']), port: port('p', 'i'), iface: iface('i') },
    },
    {
      name: 'an option differs',
      facts: {
        bridge: bridge(['p']),
        port: port('p', 'i'),
        iface: iface('i', OURS, new Map([...OPTIONS, ['csum', 'true']])),
      },
      actions: ['repair options of vtep0'],
    },
    {
      name: 'it is of somebody else',
      facts: { bridge: bridge(['p']), port: port('p', 'i'), iface: iface('i', new Map()) },
      problem: /exists and is not this agent's/,
    },
    {
      name: 'it stands on another bridge',
      facts: { bridge: bridge([]), port: port('p', 'i'), iface: iface('i') },
      problem: /stands on another bridge/,
    },
    {
      name: 'a port of that name holds another interface',
      facts: { bridge: bridge(['p']), port: port('p', 'x'), iface: undefined },
      problem: foreign,
    },
    {
      name: 'an interface of that name is in another port',
      facts: { bridge: bridge([]), port: undefined, iface: iface('i') },
      problem: foreign,
    },
    {
      name: 'port and interface of that name do not belong together',
      facts: { bridge: bridge(['p']), port: port('p', 'x'), iface: iface('i') },
      problem: foreign,
    },
  ];
  for (const { name, facts, actions = [], problem } of cases) {
    const plan = planTunnel(WISH, facts);
    t.strictSame(plan.actions, actions, name);
    t.equal(plan.operations.length > 0, actions.length > 0, `${name}: operations`);
    if (problem === undefined) t.equal(plan.problem, undefined, name);
    else t.match(plan.problem, problem, name);
  }
});
