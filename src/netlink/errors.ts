/**
 * What the kernel says when it refuses a netlink request: the errno of NLMSG_ERROR or NLMSG_DONE, by name, with the
 * extended acknowledgement where the kernel sent one (kernel `include/uapi/linux/netlink.h`, NLMSGERR_ATTR_*). A socket that
 * cannot be opened, timed out or was closed is a ConnectionError of the base layer instead.
 */
import { BaseError } from '../base/error.ts';

/** `NL_` and the errno's name, such as `NL_EPERM`; `NL_ERRNO_<number>` for one that is not in our list. */
export type NetlinkErrorCode = `NL_${string}`;

/** What the kernel added to an error: words, and the place in our request that they are about. */
export interface ExtAck {
  /** The kernel's own sentence. */
  readonly message?: string;
  /** Offset in bytes, from the start of our message, of the attribute that was refused. */
  readonly offset?: number;
  /** Type of an attribute that the kernel wanted and did not find. */
  readonly missingType?: number;
}

/** Errno of a dump that was interrupted: netlink says it by a flag, and the loss of messages by a type. */
export const EINTR = 4;
/** Errno of a dump that lost messages; see {@link EINTR}. */
export const ENOBUFS = 105;

/** Linux errno numbers (asm-generic, so x86-64 and arm64) that netlink families return, with the text of strerror(3). */
const ERRNO: ReadonlyMap<number, readonly [name: string, text: string]> = new Map([
  [1, ['EPERM', 'operation not permitted']],
  [2, ['ENOENT', 'no such file or directory']],
  [3, ['ESRCH', 'no such process']],
  [EINTR, ['EINTR', 'interrupted system call']],
  [5, ['EIO', 'input/output error']],
  [6, ['ENXIO', 'no such device or address']],
  [7, ['E2BIG', 'argument list too long']],
  [11, ['EAGAIN', 'resource temporarily unavailable']],
  [12, ['ENOMEM', 'cannot allocate memory']],
  [13, ['EACCES', 'permission denied']],
  [16, ['EBUSY', 'device or resource busy']],
  [17, ['EEXIST', 'file exists']],
  [19, ['ENODEV', 'no such device']],
  [22, ['EINVAL', 'invalid argument']],
  [28, ['ENOSPC', 'no space left on device']],
  [34, ['ERANGE', 'numerical result out of range']],
  [75, ['EOVERFLOW', 'value too large']],
  [90, ['EMSGSIZE', 'message too long']],
  [93, ['EPROTONOSUPPORT', 'protocol not supported']],
  [95, ['EOPNOTSUPP', 'operation not supported']],
  [97, ['EAFNOSUPPORT', 'address family not supported']],
  [99, ['EADDRNOTAVAIL', 'cannot assign requested address']],
  [100, ['ENETDOWN', 'network is down']],
  [101, ['ENETUNREACH', 'network is unreachable']],
  [ENOBUFS, ['ENOBUFS', 'no buffer space available']],
  [110, ['ETIMEDOUT', 'connection timed out']],
]);

const RETRYABLE = new Set(['EINTR', 'EAGAIN', 'ENOMEM', 'EBUSY', 'ENOBUFS', 'ETIMEDOUT']);

/** Which request failed. */
export interface NetlinkErrorPlace {
  /** What was asked, such as `netlink.links`. */
  readonly op: string;
  /** Netlink protocol of the socket: 0 is NETLINK_ROUTE. */
  readonly family: number;
}

/** The kernel refused a request. */
export class NetlinkError extends BaseError<NetlinkErrorCode> {
  /** Positive Linux error number, such as 19. */
  readonly errno: number;
  /** Netlink protocol of the socket: 0 is NETLINK_ROUTE. */
  readonly family: number;
  /** What the kernel added; empty when it added nothing. */
  readonly extAck: ExtAck;

  /**
   * @param place Which request failed.
   * @param errno Positive Linux error number.
   * @param extAck What the kernel added.
   */
  constructor(place: NetlinkErrorPlace, errno: number, extAck: ExtAck = {}) {
    const [name, text] = ERRNO.get(errno) ?? [`ERRNO_${errno}`, `error ${errno}`];
    super(extAck.message === undefined ? text : `${text}: ${extAck.message}`, {
      code: `NL_${name}`,
      op: place.op,
      retryable: RETRYABLE.has(name),
      details: {
        errno,
        family: place.family,
        ...(Object.keys(extAck).length > 0 ? { extAck } : {}),
      },
    });
    this.errno = errno;
    this.family = place.family;
    this.extAck = extAck;
  }
}
