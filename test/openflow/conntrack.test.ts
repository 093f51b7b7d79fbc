// The message that forgets the connections of a zone, as ovs-ofctl sends it.
import t from 'tap';
import { encodeConntrackFlushZone } from '../../src/openflow/conntrack.ts';
import { encodeMessage } from '../../src/openflow/header.ts';
import { OFPT } from '../../src/openflow/ofp13.ts';

t.test('a zone is flushed by the message that ovs-ofctl sends', async (t) => {
  // `ovs-ofctl ofp-print` of these bytes (Open vSwitch 3.1.0): NXT_CT_FLUSH_ZONE (OF1.3) (xid=0x1): zone_id=7
  const want = '040400180000000100002320' + '0000001d' + '0000000000000007';
  const message = encodeMessage(OFPT.EXPERIMENTER, 1, encodeConntrackFlushZone(7));
  t.equal(Buffer.from(message).toString('hex'), want);
});
