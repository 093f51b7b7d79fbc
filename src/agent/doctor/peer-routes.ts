/**
 * A route to a peer by another interface carries VXLAN over the wrong plane. Pure.
 */
import { bad, MANAGEMENT, ok, unknown, vtepDevice, type Check } from './check.ts';

/** The check. */
export const peerRoutes: Check = {
  id: 'peer-routes',
  title: 'the route to each peer leaves by the data interface',
  run(facts) {
    if (facts.routes === undefined || facts.links === undefined)
      return unknown('the kernel was not asked for routes');
    if (facts.routes.length === 0) return ok('there are no peers');
    const none = facts.routes.filter(({ problem }) => problem !== undefined);
    const names = new Map(facts.links.map(({ ifindex, name }) => [ifindex, name]));
    const data = vtepDevice(facts)?.name;
    const ways = facts.routes.map(({ peer, ifindex }) => ({
      peer,
      name: names.get(ifindex ?? 0) ?? '',
    }));
    const leak = ways.filter(({ name }) => MANAGEMENT.test(name));
    const list = (rows: readonly { readonly peer: string; readonly name: string }[]): string =>
      rows
        .slice(0, 8)
        .map(({ peer, name }) => `${peer} by ${name}`)
        .join(', ');
    if (leak.length > 0)
      return bad(
        'fail',
        list(leak),
        'add a route to the peers by the data interface, and a blackhole of higher metric so that nothing falls back',
      );
    if (none.length > 0) {
      const [first] = none;
      return bad(
        'fail',
        `${none.length} of ${facts.routes.length} peers have no route: ${first?.peer ?? ''} (${first?.problem ?? ''})`,
        'add a route to the peers by the data interface',
      );
    }
    if (data === undefined) return unknown(`${list(ways)}; the interface of the VTEP is not known`);
    const other = ways.filter(({ name }) => name !== data);
    if (other.length > 0)
      return bad(
        'warn',
        `${list(other)}; the VTEP is on ${data}`,
        'give peers a route by the interface of the VTEP',
      );
    return ok(`${ways.length} peers by ${data}`);
  },
};
