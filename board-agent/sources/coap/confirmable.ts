/**
 * Messages of ours that the peer has to acknowledge (RFC 7252, section 4.2): repeated with growing
 * pauses until an ACK or RST comes, and given up after the fifth.
 */
import type { Clock } from '../../clock.ts';
import type { Peer } from './peer.ts';

export type Delivery = 'acknowledged' | 'reset' | 'lost';

export interface Confirmable {
  /** A message id that no message under way has. */
  nextMessageId(): number;
  /** Never rejects. At once `lost` when too many wait already. */
  send(peer: Peer, messageId: number, bytes: Buffer): Promise<Delivery>;
  /** An ACK or RST came. */
  settle(peer: Peer, messageId: number, delivery: 'acknowledged' | 'reset'): void;
  /** Gives up what is under way. */
  stop(): void;
}

/** ACK_TIMEOUT, ACK_RANDOM_FACTOR and MAX_RETRANSMIT of RFC 7252, section 4.8. */
export const transmission = {
  ackTimeoutMs: 2000,
  randomFactor: 1.5,
  retransmits: 4,
  underWay: 1000,
} as const;

export function createConfirmable({
  clock,
  random = Math.random,
}: {
  clock: Clock;
  random?: () => number;
}): Confirmable {
  const waiting = new Map<string, (delivery: Delivery) => void>();
  let lastId = Math.floor(random() * 65_536);
  const keyOf = (peer: Peer, messageId: number) => `${peer.key}#${messageId}`;

  return {
    nextMessageId() {
      lastId = (lastId + 1) & 0xffff;
      return lastId;
    },
    send(peer, messageId, bytes) {
      const key = keyOf(peer, messageId);
      if (waiting.size >= transmission.underWay || waiting.has(key)) return Promise.resolve('lost');
      return new Promise((resolve) => {
        let cancel = () => {};
        let timeoutMs = transmission.ackTimeoutMs * (1 + (transmission.randomFactor - 1) * random());
        let left: number = transmission.retransmits;
        const done = (delivery: Delivery) => {
          cancel();
          waiting.delete(key);
          resolve(delivery);
        };
        const transmit = () => {
          peer.send(bytes);
          cancel = clock.after(timeoutMs, () => {
            if (left === 0) return done('lost');
            left -= 1;
            timeoutMs *= 2;
            transmit();
          });
        };
        waiting.set(key, done);
        transmit();
      });
    },
    settle(peer, messageId, delivery) {
      waiting.get(keyOf(peer, messageId))?.(delivery);
    },
    stop() {
      for (const done of [...waiting.values()]) done('lost');
    },
  };
}
