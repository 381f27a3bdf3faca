/** Who sent a datagram, and the way back: the socket on which it came. */
export interface Peer {
  /** Address, port and socket; the same for all that comes from there. */
  key: string;
  send(bytes: Buffer): void;
}
