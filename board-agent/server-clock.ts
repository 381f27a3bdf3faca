/**
 * The server's clock as this board knows it. Deadlines and due times are meant by that clock, and a
 * gateway's own is often wrong after a start. From what was heard last it goes on by monotonic time,
 * so that setting the host's clock moves nothing here, and by the time that the host has slept since,
 * which monotonic time leaves out.
 */
import type { Clock } from './clock.ts';

export interface ServerClock {
  /** Epoch milliseconds; the host's clock until the server has been heard. */
  now(): number;
  isKnown(): boolean;
  /** What the server's clock says at this moment. */
  observe(serverNow: number): void;
  /** A time of the server that is past for certain, because it came in a message. */
  observeAtLeast(serverTime: number): void;
  /** Calls `work` once when the server's clock has reached `time`; the returned function cancels it. */
  at(time: number, work: () => void): () => void;
}

/** Far times are waited for in steps: the clock may be corrected on the way, and timers are 32 bits. */
const longestStepMs = 60_000;
/** Clocks of the server's machines differ a little among themselves. */
const toleranceMs = 2000;

/** Asking the host for its uptime is dear: once in so long is enough. */
const lookForSleepMs = 1000;

export function createServerClock(clock: Clock): ServerClock {
  let heard: { serverNow: number; monotonicMs: number; uptimeAheadMs: number } | undefined;
  let slept = { ms: 0, lookedAtMs: 0 };

  const uptimeAheadMs = () => clock.uptimeMs() - clock.monotonicMs();

  function now(): number {
    if (!heard) return clock.now();
    const nowMs = clock.monotonicMs();
    if (nowMs - slept.lookedAtMs >= lookForSleepMs)
      slept = { ms: uptimeAheadMs() - heard.uptimeAheadMs, lookedAtMs: nowMs };
    // Less is the coarseness of the one clock, not sleep.
    const sleptMs = slept.ms >= toleranceMs ? slept.ms : 0;
    return Math.round(heard.serverNow + nowMs - heard.monotonicMs + sleptMs);
  }

  function observe(serverNow: number): void {
    heard = { serverNow, monotonicMs: clock.monotonicMs(), uptimeAheadMs: uptimeAheadMs() };
    slept = { ms: 0, lookedAtMs: heard.monotonicMs };
  }

  return {
    now,
    isKnown: () => heard !== undefined,
    observe,
    observeAtLeast(serverTime) {
      if (!heard || now() < serverTime - toleranceMs) observe(serverTime);
    },
    at(time, work) {
      let cancel = () => {};
      const step = () => {
        const leftMs = time - now();
        if (leftMs <= 0) work();
        else cancel = clock.after(Math.min(leftMs, longestStepMs), step);
      };
      cancel = clock.after(Math.max(0, Math.min(time - now(), longestStepMs)), step);
      return () => cancel();
    },
  };
}
