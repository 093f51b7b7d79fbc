/**
 * The decoders of src/openflow, with what a real switch and ovs-ofctl said as samples (test/fixtures/openflow).
 */
import { Buffer } from 'node:buffer';
import { decodeActions, encodeActions } from '../../src/openflow/action.ts';
import { bundleControlType, encodeBundleControl } from '../../src/openflow/bundle.ts';
import { decodeError } from '../../src/openflow/error-msg.ts';
import { decodeFeatures, decodeSwitchConfig } from '../../src/openflow/features.ts';
import { decodeFlowMod } from '../../src/openflow/flow-mod.ts';
import { decodeFlowMonitorNotice, decodeFlowUpdates } from '../../src/openflow/flow-monitor.ts';
import { decodeFlowStats } from '../../src/openflow/flow-stats.ts';
import { formatGroup, formatInstructions, formatMatch } from '../../src/openflow/format.ts';
import { Framer } from '../../src/openflow/framer.ts';
import { decodeGroupDesc } from '../../src/openflow/group-mod.ts';
import { encodeMessage } from '../../src/openflow/header.ts';
import { checkHello, encodeHello } from '../../src/openflow/hello.ts';
import { decodeInstructions, encodeInstructions } from '../../src/openflow/instruction.ts';
import { decodeMatch, encodeMatch } from '../../src/openflow/match.ts';
import { MultipartReply } from '../../src/openflow/multipart.ts';
import { OFPBCT, OFPIT, OFPMP, OFPT } from '../../src/openflow/ofp13.ts';
import { decodePortDescriptions, decodePortStatus } from '../../src/openflow/port.ts';
import { records } from '../fixtures/openflow/records.ts';
import { bytesDecoder, outcomeOf, type FuzzedDecoder } from './decoder.ts';
import { anyCut, Random } from './mutation.ts';

const HEADER = 8;
const MULTIPART = 16;
const flows = [...records('reference-flows.txt'), ...records('field-flows.txt')];
const flowMods = flows.map(({ mod }) => mod);
const groups = records('groups.txt').map(({ dump }) => dump);
const updates = records('flow-monitor.txt')
  .map(({ dump }) => dump)
  .filter(({ length }) => length > 0);
const isOfType =
  (type: number) =>
  (message: Buffer): boolean =>
    message[1] === type;
const ports = records('ports.txt').map(({ dump }) => dump);
const matches = flowMods.map((mod) => Buffer.from(decodeFlowMod(mod).match));
const instructions = flowMods.map((mod) => Buffer.from(decodeFlowMod(mod).instructions));
/** What follows the header of an instruction that applies actions, where it is the first one. */
const actions = instructions
  .filter((bytes) => bytes.length > HEADER && bytes.readUInt16BE(0) === OFPIT.APPLY_ACTIONS)
  .map((bytes) => bytes.subarray(HEADER, bytes.readUInt16BE(2)));
const errors = ['00040001', '00050000', '00020009', 'ffff0903' + '4f4e4600'].map((hex) =>
  encodeMessage(OFPT.ERROR, 7, Buffer.from(`${hex}040e0008000000ff`, 'hex')),
);
const features = Buffer.from('0000feedfacecafe00000000fe0000000000004f00000000', 'hex');
const bundle = { bundleId: 1, flags: 3 };
const controls = [
  encodeBundleControl(bundle, 9, OFPBCT.OPEN_REPLY),
  encodeBundleControl(bundle, 10, OFPBCT.COMMIT_REPLY),
];
const streams = [0, 3, 6, 9].map((start) =>
  Buffer.concat([
    encodeHello(0),
    ...flowMods.slice(start, start + 3),
    ...updates.slice(0, 2),
    ...errors.slice(0, 1),
  ]),
);

function frame(chunks: readonly Buffer[]): string[] {
  const framer = new Framer();
  const seen: string[] = [];
  // What comes before a fault counts as well: it has been handed on by then.
  const last = outcomeOf(() => {
    for (const chunk of chunks) framer.push(chunk, (bytes) => seen.push(bytes.toString('hex')));
    return framer.heldBytes;
  });
  return [...seen, last];
}

function frameAnyCut(stream: Buffer): void {
  const whole = frame([stream]);
  const cut = frame(anyCut(stream, new Random(stream.length)));
  if (whole.join() !== cut.join()) throw new Error(`cut: ${cut.join()}, whole: ${whole.join()}`);
  new Framer().push(stream, () => {});
}

/** Bodies of the parts of a multipart reply. */
const bodies = (messages: readonly Buffer[]): Buffer[] =>
  messages.filter(isOfType(OFPT.MULTIPART_REPLY)).map((message) => message.subarray(MULTIPART));

/** All decoders of OpenFlow. */
export const OPENFLOW_DECODERS: readonly FuzzedDecoder[] = [
  bytesDecoder('openflow framer', streams, frameAnyCut),
  bytesDecoder('openflow match', matches, (bytes) => {
    const match = decodeMatch(bytes);
    formatMatch(match);
    encodeMatch(match);
  }),
  bytesDecoder('openflow actions', actions, (bytes) => void encodeActions(decodeActions(bytes))),
  bytesDecoder('openflow instructions', instructions, (bytes) => {
    formatInstructions(bytes);
    encodeInstructions(decodeInstructions(bytes));
  }),
  bytesDecoder('openflow flow_mod', flowMods, (bytes) => {
    const { match, instructions: carried } = decodeFlowMod(bytes);
    decodeMatch(match);
    decodeInstructions(carried);
  }),
  bytesDecoder(
    'openflow flow stats',
    flows.map(({ dump }) => dump),
    (bytes) =>
      decodeFlowStats(bytes, ({ match, instructions: carried }) => {
        decodeMatch(match);
        decodeInstructions(carried);
      }),
  ),
  bytesDecoder('openflow group desc', groups, (bytes) =>
    decodeGroupDesc(bytes, (group) => void formatGroup(group)),
  ),
  bytesDecoder('openflow flow monitor', bodies(updates), (bytes) =>
    decodeFlowUpdates(bytes, (update) => {
      if (update.event !== 'abbrev') decodeMatch(update.match);
    }),
  ),
  bytesDecoder('openflow flow monitor notice', updates, (bytes) => {
    if (bytes.length >= HEADER) decodeFlowMonitorNotice(bytes);
  }),
  bytesDecoder('openflow multipart', ports.filter(isOfType(OFPT.MULTIPART_REPLY)), (bytes) => {
    if (bytes.length >= HEADER) new MultipartReply(OFPMP.PORT_DESC, () => {}).receive(bytes);
  }),
  bytesDecoder('openflow port desc', bodies(ports), (bytes) => void decodePortDescriptions(bytes)),
  bytesDecoder('openflow port status', ports.filter(isOfType(OFPT.PORT_STATUS)), (bytes) => {
    if (bytes.length >= HEADER) decodePortStatus(bytes);
  }),
  bytesDecoder('openflow features', [features], (bytes) => void decodeFeatures(bytes)),
  bytesDecoder(
    'openflow switch config',
    [Buffer.from('0003ffff', 'hex')],
    (bytes) => void decodeSwitchConfig(bytes),
  ),
  bytesDecoder('openflow error', errors, (bytes) => {
    if (bytes.length >= HEADER) decodeError(bytes, 'fuzz');
  }),
  bytesDecoder('openflow hello', [encodeHello(0)], (bytes) => {
    if (bytes.length >= HEADER) checkHello(bytes, 'fuzz');
  }),
  bytesDecoder('openflow bundle control', controls, (bytes) => {
    if (bytes.length >= HEADER) bundleControlType(bytes);
  }),
];
