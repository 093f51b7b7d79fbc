/**
 * Types of node-netlink 0.0.4, which brings none: what `socket.ts` uses of it, read off its `lib/index.js`. Numbers of the
 * header are bigint there.
 */
declare module 'node-netlink' {
  interface Header {
    readonly nlmsg_type: bigint;
    readonly nlmsg_flags: bigint;
    readonly nlmsg_seq: bigint;
    readonly nlmsg_pid: bigint;
  }

  interface Packet {
    readonly header: Header;
    readonly payload: Buffer;
  }

  interface Request {
    readonly header: Pick<Header, 'nlmsg_type' | 'nlmsg_flags'>;
    readonly payload: Uint8Array;
  }

  /** One socket with its receive loop. */
  export interface Handle {
    /** Sends a request with NLM_F_ACK and waits for the message that ends its answer. */
    tryTalk(request: Request, options: { readonly timeout: number }): Promise<unknown>;
    /** Every message that arrives. A listener that throws ends the receive loop. */
    on(event: 'message', listener: (packet: Packet) => void): void;
    close(): Promise<void>;
  }

  const netlink: { open(options: { readonly family: number }): Promise<Handle> };
  export default netlink;
}
