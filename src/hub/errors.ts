/**
 * What can go wrong between the hub and a customer's API server. No error carries a credential: what stands in a kubeconfig
 * is never quoted.
 */
import { BaseError } from '../base/error.ts';

/** Codes of {@link HubError}. */
export type HubErrorCode =
  | 'HUB_KUBECONFIG'
  | 'HUB_UNREACHABLE'
  | 'HUB_TIMEOUT'
  | 'HUB_REFUSED'
  | 'HUB_CONFLICT'
  | 'HUB_BAD_ANSWER'
  | 'HUB_NOT_LEADING';

/** What a {@link HubError} can carry beside code and message. */
export interface HubErrorDetails {
  /** URL without query, where a request was made. */
  readonly url?: string;
  /** HTTP status. */
  readonly status?: number;
  readonly cause?: unknown;
}

/** A request to a customer's API server that failed, or a kubeconfig that cannot be used. */
export class HubError extends BaseError<HubErrorCode> {
  readonly status: number | undefined;

  constructor(code: HubErrorCode, message: string, { url, status, cause }: HubErrorDetails = {}) {
    super(message, {
      code,
      op: 'hub.request',
      retryable: code === 'HUB_UNREACHABLE' || code === 'HUB_TIMEOUT' || code === 'HUB_CONFLICT',
      details: {
        ...(url === undefined ? {} : { url }),
        ...(status === undefined ? {} : { status }),
      },
      cause,
    });
    this.status = status;
  }
}
