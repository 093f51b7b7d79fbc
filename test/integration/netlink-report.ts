/**
 * Prints what the netlink client says in the network namespace that this program was started in, as JSON. Started by
 * netlink.test.ts.
 */
import { NetlinkClient } from '../../src/netlink/client.ts';

const client = NetlinkClient.open();
const [links, addresses] = await Promise.all([client.links(), client.addresses()]);
await client.close();
process.stdout.write(JSON.stringify({ links, addresses }));
