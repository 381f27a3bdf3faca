/**
 * When to try again: for ever, full jitter, and never in step with other boards. Pure: the caller
 * sleeps.
 *
 * | what happened                        | next delay                                        |
 * |--------------------------------------|---------------------------------------------------|
 * | an established session was lost      | random within the server's spread, and no less    |
 * |                                      | than the back-off when it did not live 30 s        |
 * | unreachable, no welcome, "not yet"   | random below 1 s, 2 s, 4 s … the cap              |
 * | refused (revoked, unknown, wrong key)| 60 s, ± 10 %: it may be healed on the server       |
 *
 * The cap is five times the server's spread, from 5 s to 60 s: the spread grows with the boards of
 * the cell, and a few boards that ask every few seconds cost a router nothing.
 */
import { backoffDelayMs } from '../../common/runtime/backoff.ts';

export interface Attempt {
  /** established: hello was answered; refused: the identity was not let in; failed: anything else. */
  outcome: 'established' | 'refused' | 'failed';
  /** How long the established session lived. */
  livedMs?: number;
  /** What the server asked for. */
  retryAfterMs?: number;
}

export const reconnectLimits = {
  baseMs: 1000,
  capMs: { least: 5000, most: 60_000, spreads: 5 },
  resetAfterMs: 30_000,
  refusedMs: 60_000,
} as const;

export interface ReconnectPolicy {
  /** Milliseconds until the next attempt. `spreadMs` is the server's window for lost sessions. */
  delayAfter(attempt: Attempt, spreadMs: number): number;
}

export function createReconnectPolicy(random: () => number = Math.random): ReconnectPolicy {
  const { baseMs, capMs, resetAfterMs, refusedMs } = reconnectLimits;
  let failures = 0;
  const backoff = (spreadMs: number) => {
    const cap = Math.min(Math.max(spreadMs * capMs.spreads, capMs.least), capMs.most);
    const delayMs = backoffDelayMs(failures, { baseMs, capMs: cap, random });
    failures += 1;
    return delayMs;
  };

  return {
    delayAfter({ outcome, livedMs = 0, retryAfterMs = 0 }, spreadMs) {
      if (outcome === 'refused') {
        failures += 1;
        return Math.max(retryAfterMs, Math.round(refusedMs * (0.9 + 0.2 * random())));
      }
      if (outcome === 'failed') return Math.max(retryAfterMs, backoff(spreadMs));
      const spread = Math.floor(random() * spreadMs);
      if (livedMs < resetAfterMs) return Math.max(spread, backoff(spreadMs));
      failures = 0;
      return spread;
    },
  };
}
