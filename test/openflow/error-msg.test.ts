/** OFPT_ERROR: names as Open vSwitch prints them (compared with `ovs-ofctl ofp-print` in the integration test). */
import fc from 'fast-check';
import t from 'tap';
import { DecodeError } from '../../src/base/error.ts';
import { decodeError, errorName } from '../../src/openflow/error-msg.ts';
import { OpenFlowError } from '../../src/openflow/errors.ts';
import { encodeMessage } from '../../src/openflow/header.ts';
import { NX_VENDOR_ID, OFPT, ONF_VENDOR_ID } from '../../src/openflow/ofp13.ts';

for (const { type, code, experimenter, want } of [
  { type: 0, code: 0, want: 'OFPHFC_INCOMPATIBLE' },
  { type: 1, code: 13, want: 'OFPBRC_MULTIPART_BUFFER_OVERFLOW' },
  { type: 2, code: 9, want: 'OFPBAC_BAD_OUT_GROUP' },
  { type: 2, code: 10, want: 'OFPBAC_MATCH_INCONSISTENT' },
  { type: 3, code: 2, want: 'OFPBIC_BAD_TABLE_ID' },
  { type: 4, code: 9, want: 'OFPBMC_BAD_PREREQ' },
  { type: 4, code: 10, want: 'OFPBMC_DUP_FIELD' },
  { type: 5, code: 1, want: 'OFPFMFC_TABLE_FULL' },
  { type: 6, code: 8, want: 'OFPGMFC_UNKNOWN_GROUP' },
  { type: 12, code: 2, want: 'OFPMMFC_INVALID_METER' },
  { type: 13, code: 3, want: 'OFPBPC_BAD_LEN' },
  { type: 13, code: 5, want: 'OFPTFFC_EPERM' },
  { type: 0xffff, code: 2310, experimenter: ONF_VENDOR_ID, want: 'OFPBFC_MSG_UNSUP' },
  { type: 0xffff, code: 2314, experimenter: ONF_VENDOR_ID, want: 'OFPBFC_TIMEOUT' },
  { type: 0xffff, code: 2600, experimenter: ONF_VENDOR_ID, want: 'OFPBIC_DUP_INST' },
  { type: 0xffff, code: 15, experimenter: NX_VENDOR_ID, want: 'NXBAC_BAD_CONJUNCTION' },
  { type: 0xffff, code: 35, experimenter: NX_VENDOR_ID, want: 'NXR_STALE' },
  { type: 4, code: 99, want: 'ERROR_4_99' },
  { type: 99, code: 0, want: 'ERROR_99_0' },
  { type: 0xffff, code: 1, experimenter: 0xabcd, want: 'ERROR_0xabcd_1' },
]) {
  t.test(`${type}/${code} is ${want}`, async (t) => {
    const body = Buffer.alloc(experimenter === undefined ? 4 : 8);
    body.writeUInt16BE(type, 0);
    body.writeUInt16BE(code, 2);
    if (experimenter !== undefined) body.writeUInt32BE(experimenter, 4);
    t.equal(errorName(type, code, experimenter), want);
    t.match(decodeError(encodeMessage(OFPT.ERROR, 77, body), 'openflow.test'), {
      code: `OFP_${want}`,
      op: 'openflow.test',
      errorType: type,
      errorCode: code,
      xid: 77,
    });
  });
}

t.test(
  'the start of the offending message is kept, at most 64 bytes, in memory of its own',
  async (t) => {
    const flowMod = encodeMessage(OFPT.FLOW_MOD, 9, Buffer.alloc(200, 3));
    const bytes = encodeMessage(OFPT.ERROR, 9, Buffer.concat([Buffer.from([0, 4, 0, 9]), flowMod]));
    const error = decodeError(bytes, 'openflow.test');
    bytes.fill(0);
    t.strictSame(error.offending, flowMod.subarray(0, 64));
    t.equal(error.message, 'switch answered OFPBMC_BAD_PREREQ for a FLOW_MOD message');
    t.match(error.toJSON(), {
      code: 'OFP_OFPBMC_BAD_PREREQ',
      retryable: false,
      details: { offending: flowMod.subarray(0, 64).toString('hex') },
    });
  },
);

t.test('any bytes give an OpenFlowError or a DecodeError', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (body) => {
      try {
        return decodeError(encodeMessage(OFPT.ERROR, 1, body), 'op') instanceof OpenFlowError;
      } catch (error) {
        return error instanceof DecodeError;
      }
    }),
    { numRuns: 2000 },
  );
});
