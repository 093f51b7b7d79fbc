/**
 * What can go wrong between one of our programs and an API server. Faults of objects are no errors: they belong to
 * whoever keeps the objects.
 */
import { BaseError } from '../base/error.ts';

/** Codes of {@link KubeError}. */
export type KubeErrorCode =
  | 'SOURCE_KUBE_CONFIG'
  | 'SOURCE_KUBE_UNREACHABLE'
  | 'SOURCE_KUBE_TIMEOUT'
  | 'SOURCE_KUBE_REFUSED'
  | 'SOURCE_KUBE_EXPIRED'
  | 'SOURCE_KUBE_BAD_ANSWER';

/** What a {@link KubeError} can carry beside code and message. */
export interface KubeErrorDetails {
  /** URL without query, where a request was made. */
  readonly url?: string;
  /** HTTP status, or the code of a Status object. */
  readonly status?: number;
  /** How long the server asks to be left alone, in milliseconds. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/** A request to an API server that failed, or an answer that is none. All of them are worth another try. */
export class KubeError extends BaseError<KubeErrorCode> {
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: KubeErrorCode, message: string, details: KubeErrorDetails = {}) {
    const { url, status, retryAfterMs, cause } = details;
    super(message, {
      code,
      op: 'kube.watch',
      retryable: true,
      details: {
        ...(url === undefined ? {} : { url }),
        ...(status === undefined ? {} : { status }),
      },
      cause,
    });
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}
