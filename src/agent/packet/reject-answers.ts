/**
 * Answers the packets that rules with `action: reject` have sent up. What is answered is decided by `packet/answer.ts`, where
 * the answer goes by the switch; here is the way between the two. Bounded: what comes faster than the switch takes answers is
 * left without one, and counted.
 */
import type { Logger } from '../../base/logger.ts';
import { isBaseError } from '../../base/error.ts';
import type { OpenFlowConnection } from '../../openflow/client.ts';
import { OFPP, OFPR } from '../../openflow/ofp13.ts';
import { decodePacketIn, encodePacketOut } from '../../openflow/packet-in.ts';
import type { DesiredState } from '../flow/desired.ts';
import type { RejectTarget } from '../flow/verbs.ts';
import { answerActions } from '../flow/reject.ts';
import { rejectAnswer } from './answer.ts';
import { decodeFrame } from './frame.ts';

/** Answers that the switch has not taken yet. */
const UNDER_WAY_MAX = 64;

/** What became of a packet that was sent up. */
export type RejectResult = 'answered' | 'silent' | 'lost';

/** What answers are made with. */
export interface RejectAnswersOptions {
  readonly desired: DesiredState;
  readonly logger: Logger;
  readonly count: (result: RejectResult) => void;
}

/** The answers. */
export class RejectAnswers {
  readonly #options: RejectAnswersOptions;
  /** By cookie; made anew after each change of rules. */
  #targets: ReadonlyMap<bigint, RejectTarget> | undefined;
  #underWay = 0;

  constructor(options: RejectAnswersOptions) {
    this.#options = options;
  }

  /** Rules may have changed. */
  forgetRules(): void {
    this.#targets = undefined;
  }

  /** Answers what a connection sends up, for as long as it lasts. */
  follow(connection: OpenFlowConnection): void {
    connection.on('packetIn', (message) => {
      const packet = decodePacketIn(message);
      if (packet.reason !== OFPR.NO_MATCH) return;
      const target = this.#find(packet.cookie);
      const header = target === undefined ? undefined : decodeFrame(packet.data);
      const answer = header === undefined ? undefined : rejectAnswer(packet.data, header);
      if (target === undefined || answer === undefined) this.#options.count('silent');
      else if (this.#underWay >= UNDER_WAY_MAX) this.#options.count('lost');
      else void this.#send(connection, target, answer);
    });
  }

  async #send(
    connection: OpenFlowConnection,
    { vni }: RejectTarget,
    answer: Uint8Array,
  ): Promise<void> {
    this.#underWay++;
    try {
      const message = encodePacketOut(OFPP.CONTROLLER, answerActions(vni), answer);
      const [refused] = await connection.sendMessages([message]);
      if (refused === undefined) this.#options.count('answered');
      else {
        this.#options.count('lost');
        this.#options.logger.debug({ err: refused.error }, 'switch refused the answer to a packet');
      }
    } catch (error) {
      // The connection went; its loss is logged elsewhere.
      if (!isBaseError(error)) throw error;
      this.#options.count('lost');
    } finally {
      this.#underWay--;
    }
  }

  #find(cookie: bigint): RejectTarget | undefined {
    if (this.#targets === undefined) {
      const targets = new Map<bigint, RejectTarget>();
      for (const entry of this.#options.desired.entries()) {
        if (entry.reject !== undefined) targets.set(entry.cookie, entry.reject);
      }
      this.#targets = targets;
    }
    return this.#targets.get(cookie);
  }
}
