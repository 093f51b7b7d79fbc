/**
 * The error class of the OpenFlow layer: what the switch refused (OFPT_ERROR), and what our own encoders refuse to send.
 * Faults in bytes that came from the switch are `DecodeError` of the base layer.
 */
import { BaseError } from '../base/error.ts';
import type { ErrorOptionsOf } from '../base/error.ts';

/** What an OpenFlowError can carry beside the fields of every error. */
export interface OpenFlowErrorOptions extends ErrorOptionsOf<string> {
  /** Type of the OFPT_ERROR message, where the switch sent one. */
  readonly errorType?: number;
  /** Code of the OFPT_ERROR message, where the switch sent one. */
  readonly errorCode?: number;
  /** Transaction id of the request that failed. */
  readonly xid?: number;
  /** The first bytes, at most 64, of the message that the switch refused. */
  readonly offending?: Uint8Array;
}

/** A message that the switch refused, or that we refuse to encode. */
export class OpenFlowError extends BaseError {
  readonly errorType?: number;
  readonly errorCode?: number;
  readonly xid?: number;
  readonly offending?: Uint8Array;

  constructor(message: string, options: OpenFlowErrorOptions) {
    super(message, options);
    if (options.errorType !== undefined) this.errorType = options.errorType;
    if (options.errorCode !== undefined) this.errorCode = options.errorCode;
    if (options.xid !== undefined) this.xid = options.xid;
    if (options.offending !== undefined) this.offending = options.offending;
  }
}
