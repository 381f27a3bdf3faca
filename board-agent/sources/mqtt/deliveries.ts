/**
 * Which deliveries of the broker are repetitions. A message that was taken and whose PUBACK did not
 * arrive comes again with the DUP flag, the same packet id, topic and payload. What this process has
 * taken it knows exactly; what a killed one had taken the intake knows by the transmission.
 */
import type { IntakeOutcome } from '../../intake/types.ts';

export interface Delivery {
  messageId: number;
  dup: boolean;
  /** Of topic and payload. */
  hash: string;
}

export interface Deliveries {
  /** What became of it, when this process has taken it before. */
  find(delivery: Delivery): Promise<IntakeOutcome> | undefined;
  note(delivery: Delivery, outcome: Promise<IntakeOutcome>): void;
  /** For the intake: whether it may be known from before this process began. */
  isRepetition(delivery: Delivery): boolean;
  /** The broker has begun a new session: its packet ids mean other messages. */
  forget(): void;
}

export const transmissionOf = ({ messageId, hash: digest }: Delivery): string => `${messageId} ${digest}`;

/** `most` is beyond what the broker sends without a PUBACK. */
export function createDeliveries(most: number): Deliveries {
  const taken = new Map<number, { hash: string; outcome: Promise<IntakeOutcome> }>();
  /** Until the broker has sent again what an earlier process has not acknowledged. */
  let isFirst = true;

  return {
    find({ dup, messageId, hash: digest }) {
      const known = dup ? taken.get(messageId) : undefined;
      return known?.hash === digest ? known.outcome : undefined;
    },
    note({ messageId, hash: digest }, outcome) {
      taken.delete(messageId);
      taken.set(messageId, { hash: digest, outcome });
      if (taken.size > most) taken.delete(taken.keys().next().value ?? 0);
    },
    isRepetition({ dup }) {
      // Brokers send again what is unacknowledged before anything new.
      if (!dup) isFirst = false;
      return dup && isFirst;
    },
    forget() {
      taken.clear();
      isFirst = false;
    },
  };
}
