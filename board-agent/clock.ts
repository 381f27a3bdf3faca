/** Time as a dependency, so that reconnect and heartbeat logic is tested without waiting. */
import { uptime } from 'node:os';

export interface Clock {
  /** The host's clock, epoch milliseconds; may jump. */
  now(): number;
  /** Milliseconds that never run backwards, for measuring durations. */
  monotonicMs(): number;
  /** Milliseconds since the host was started, those that it slept included; coarse, and dear to ask. */
  uptimeMs(): number;
  /** Calls `work` once after the delay; the returned function cancels it. */
  after(delayMs: number, work: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  uptimeMs: () => uptime() * 1000,
  after(delayMs, work) {
    const timer = setTimeout(work, delayMs);
    return () => clearTimeout(timer);
  },
};

/** Resolves after the delay, or at once when the signal aborts: callers look at the signal, nothing is thrown. */
export function pause(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const done = () => {
      cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.after(delayMs, done);
    signal?.addEventListener('abort', done, { once: true });
  });
}
